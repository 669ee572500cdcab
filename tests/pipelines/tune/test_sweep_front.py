"""What a sweep's tables say of trials that have run: points, fronts, hypervolume and knee, by hand."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines.recipes.named import RECIPES
from pipelines.runs.folder import RESULT, write_json
from pipelines.tune.front import SCORES, front_csv, points_of, summary
from pipelines.tune.plan import Planned
from pipelines.tune.space import parse_space
from pipelines.tune.trials import Sweep, Trial, make_trial
from stprivacy.storage import make_folder

RAW = {"action_top1": 90.0, "privacy_cmap": 80.0, "privacy_f1": 0.9, "privacy_auc": 0.9}
FLOORS = {"floor_action_top1": 0.0, "floor_privacy_cmap": 50.0, "floor_privacy_f1": 0.5}
RAW |= {"privacy_balanced_accuracy": 0.9} | FLOORS


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    space = parse_space({"keep_ratio": ("0.5", "0.9")})
    return Sweep(tmp_path / "data", RECIPES["demo"](), space, deploy_keep_ratios=(0.3,), attackers=("standard",))


def ended(sweep: Sweep, out: Path, number: int, scores: Sequence[tuple[float, float, float]]) -> Trial:
    """A trial of keep ratio .5 whose evaluations gave these (top-1, cMAP, F1), its own first."""
    trial = make_trial(sweep, out, Planned(number, {"keep_ratio": 0.5}))
    for run in trial.runs:
        make_folder(run.folder)
    write_json(trial.runs[0].folder / RESULT, {})
    for run, (top1, cmap, f1) in zip(trial.runs[1:], scores, strict=False):
        values = dict.fromkeys(SCORES, 0.6) | {"action_top1": top1, "privacy_cmap": cmap, "privacy_f1": f1}
        bounds = {f"{key}_{end}": value + by for key, value in values.items() for end, by in (("low", -1), ("high", 1))}
        about = {"seed": 0, "deploy_keep_ratio": 0.5, "protocol": "one clip", "label": "", "attacker": "standard"}
        write_json(run.folder / RESULT, FLOORS | values | bounds | about)
    return trial


def test_every_deployed_ratio_of_a_finished_trial_is_a_point_and_both_fronts_are_marked(
    sweep: Sweep, tmp_path: Path
) -> None:
    trials = [
        ended(sweep, tmp_path, 0, [(80.0, 60.0, 0.8), (60.0, 55.0, 0.7)]),
        ended(sweep, tmp_path, 1, [(70.0, 70.0, 0.6), (50.0, 56.0, 0.9)]),
        ended(sweep, tmp_path, 2, [(99.0, 50.0, 0.1)]),  # one evaluation is not there yet
    ]
    points = points_of(trials)
    assert [(x["trial"], x["deploy_keep_ratio"], x["keep_ratio"]) for x in points] == [
        (0, 0.5, 0.5), (0, 0.3, 0.5), (1, 0.5, 0.5), (1, 0.3, 0.5),
    ]  # fmt: skip
    assert [x["on_front"] for x in points] == [True, True, False, False]  # top-1 up, cMAP down
    assert [x["on_front_f1"] for x in points] == [True, False, True, False]  # top-1 up, F1 down
    assert (points[0]["action_top1_low"], points[0]["privacy_cmap_high"]) == (79.0, 61.0)
    assert points_of([]) == []


def test_the_table_has_the_front_first_and_the_best_top1_first_in_each_part(sweep: Sweep, tmp_path: Path) -> None:
    scores = [(60.0, 55.0, 0.7), (80.0, 60.0, 0.8)], [(40.0, 70.0, 0.6), (50.0, 56.0, 0.9)]
    points = points_of([ended(sweep, tmp_path, number, each) for number, each in enumerate(scores)])
    table = pd.read_csv(io.StringIO(front_csv(points)))
    assert table["action_top1"].tolist() == [80.0, 60.0, 50.0, 40.0]
    assert front_csv([]).strip() == ""


def summed(*scores: tuple[float, float], raw: dict[str, float] = RAW) -> dict[str, Any]:
    points = [
        {"trial": i, "deploy_keep_ratio": 0.5, "action_top1": top1, "privacy_cmap": cmap}
        for i, (top1, cmap) in enumerate(scores)
    ]
    return summary(points, raw)


def test_the_summary_measures_ground_and_knee_against_raw_and_the_floors() -> None:
    said = summed((45.0, 50.0), (90.0, 65.0), (80.0, 56.0))
    assert said["hypervolume"] == pytest.approx((80 * 24 + 10 * 15 + 45 * 6) / (90 * 30))
    assert said["hypervolume_reference"] == {"action_top1": 0.0, "privacy_cmap": 80.0}
    assert said["knee"] == {"trial": 2, "deploy_keep_ratio": 0.5}
    above = summed((45.0, 50.0), raw=RAW | {"floor_action_top1": 18.0})
    assert above["hypervolume"] == pytest.approx((45 - 18) / (90 - 18))
    assert summed()["knee"] is None


def test_without_ground_to_cover_the_summary_says_why() -> None:
    said = summed((45.0, 50.0), raw=RAW | {"floor_privacy_cmap": 80.0})
    assert (said["hypervolume"], said["knee"]) == (None, None)
    assert "must lie above the floors" in said["hypervolume_missing"]
    assert said["raw"]["action_top1"] == 90.0
