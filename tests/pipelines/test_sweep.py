"""A whole sweep at tiny size: its trials on Ray Tune, its files, its MLflow runs, and running it again."""

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from pipelines.commands import LaunchOptions
from pipelines.recipe import Recipe
from pipelines.tune.plan import Planned
from pipelines.tune.space import parse_space
from pipelines.tune.sweep import Concurrency, run_sweep
from pipelines.tune.trials import STOPPED, Sweep, make_trial, record
from stprivacy.config import LossConfig, OptimConfig, PhaseConfig
from tests.launch_fixtures import TINY
from tests.shard_fixtures import write_tiny_dataset

WHERE, TWO = LaunchOptions(workers=1), Concurrency(2)
SPACE = parse_space({"keep_ratio": ("0.5", "1"), "lambda_privacy": ("0.5", "2")})


def tiny_recipe() -> Recipe:
    train = PhaseConfig(epochs=2, batch_size=6, optim=OptimConfig(learning_rate=0.1))
    base = replace(TINY, train=train)
    return Recipe(
        init=base,
        adversarial=replace(base, phase="adversarial"),
        evaluate=replace(base, phase="evaluate"),
        stride=1,
        short_side_px=32,
    )


@dataclass(frozen=True)
class Ran:
    """A sweep that has run."""

    sweep: Sweep
    out: Path
    result: dict[str, Any]


@pytest.fixture(scope="module")
def ran(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("sweep")
    data = write_tiny_dataset(folder / "data", videos=12, test_videos=8)
    sweep = Sweep(
        data, tiny_recipe(), SPACE, deploy_keep_ratios=(0.5, 0.7), attackers=("standard",), validation_share=0.0
    )
    return Ran(sweep, folder / "front", run_sweep(sweep, folder / "front", WHERE, TWO))


def test_every_trial_is_tested_at_every_deployed_keep_ratio_that_differs(ran: Ran) -> None:
    points = {(point["trial"], point["deploy_keep_ratio"]) for point in ran.result["points"]}
    # Trials that keep everything have no deployment knob.
    assert points == {(0, 0.5), (0, 0.7), (1, 0.5), (1, 0.7), (2, 1.0), (3, 1.0)}
    assert any(point["on_front"] for point in ran.result["points"])


def test_trials_that_begin_alike_share_phase_1(ran: Ran) -> None:
    assert len(list((ran.out / "init").glob("*/result.json"))) == 2
    starts = [make_trial(ran.sweep, ran.out, Planned(n, p)).start.folder for n, p in enumerate(PARAMETERS)]
    assert starts[0] == starts[1] != starts[2] == starts[3]


PARAMETERS = [{"keep_ratio": keep, "lambda_privacy": weight} for keep in (0.5, 1.0) for weight in (0.5, 2.0)]


def test_the_files_say_the_same(ran: Ran) -> None:
    assert json.loads((ran.out / "result.json").read_text()) == ran.result
    rows = list(csv.DictReader((ran.out / "front.csv").open()))
    assert len(rows) == 6
    assert [row["on_front"] for row in rows] == sorted((row["on_front"] for row in rows), reverse=True)
    page = (ran.out / "front.html").read_text()
    assert r"trial 000\u003c\u002fb\u003e\u003cbr\u003ekeep_ratio 0.5" in page  # as plotly writes markup
    assert (ran.out / "front.png").read_bytes().startswith(b"\x89PNG")


def test_mlflow_has_one_run_a_trial_below_the_sweeps(ran: Ran) -> None:
    client = MlflowClient(f"sqlite:///{ran.out / 'mlflow.db'}")
    (experiment,) = [x for x in client.search_experiments() if x.name == "stprivacy"]
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) >= {"front", "evaluate raw", *(f"trial {n:03d}" for n in range(4))}
    assert len(runs) == 1 + 1 + 2 + 4  # the sweep, raw, two phases 1, four trials
    trial, parent = runs["trial 001"], runs["front"]
    assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (trial.data.params["keep_ratio"], trial.data.params["lambda_privacy"]) == ("0.5", "2.0")
    assert trial.data.params["deploy_keep_ratio"] == "0.5"
    point = next(x for x in ran.result["points"] if x["trial"] == 1 and x["deploy_keep_ratio"] == 0.5)
    other = next(x for x in ran.result["points"] if x["trial"] == 1 and x["deploy_keep_ratio"] == 0.7)
    assert trial.data.metrics["action_top1"] == point["action_top1"]
    assert trial.data.metrics["keep_0.7/action_top1"] == other["action_top1"]
    history = client.get_metric_history(trial.info.run_id, "adversarial/loss_action")
    assert [metric.step for metric in history] == [2, 4]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def test_the_same_sweep_again_runs_nothing_and_finds_the_same(ran: Ran) -> None:
    results = sorted(ran.out.glob("**/evaluate-*/result.json"))
    before = [path.stat().st_mtime_ns for path in results]
    assert run_sweep(ran.sweep, ran.out, WHERE, TWO) == ran.result
    assert [path.stat().st_mtime_ns for path in results] == before


def test_other_settings_do_not_mix_with_a_sweep(ran: Ran) -> None:
    with pytest.raises(ValueError, match=r"holds a sweep with other settings \(seed was 0, now 1\)"):
        run_sweep(replace(ran.sweep, seed=1), ran.out, WHERE, TWO)


def test_a_trial_that_cannot_be_done_is_told_and_the_others_are_done(ray_cluster: None, tmp_path: Path) -> None:
    data = write_tiny_dataset(tmp_path / "data", videos=12, test_videos=8)
    exploding = replace(tiny_recipe().adversarial, losses=LossConfig(lambda_action=1.0))
    sweep = Sweep(
        data,
        replace(tiny_recipe(), adversarial=exploding),
        parse_space({"lambda_privacy": ("0.5", "1e38")}),
        attackers=("standard",),
        validation_share=0.0,
    )
    result = run_sweep(sweep, tmp_path / "front", WHERE, TWO)
    assert [failed["trial"] for failed in result["failed"]] == [1]
    assert "mask_gradient_norm is inf" in result["failed"][0]["reason"]
    assert {point["trial"] for point in result["points"]} == {0}


def test_a_stopped_trial_stays_stopped(ran: Ran, tmp_path: Path) -> None:
    sweep = replace(ran.sweep, space=parse_space({"keep_ratio": ("0.5",)}), stop_at=(1,))
    record(make_trial(sweep, tmp_path, Planned(0, {"keep_ratio": 0.5})), STOPPED, {"epoch": 1, "reason": "behind"})
    result = run_sweep(sweep, tmp_path, WHERE, TWO)
    assert result["points"] == []
    assert result["stopped"] == [{"trial": 0, "epoch": 1, "reason": "behind"}]
