"""Recipes by name: every ablation of Figure 4 runs through all three phases, and says what it is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.demo import prepare_data
from pipelines.data.datasets.synth.settings import SynthSettings
from pipelines.progress import Progress
from pipelines.recipes.ablations import ABLATIONS, DEPARTURES
from pipelines.recipes.named import RECIPES, describe_recipes
from pipelines.runs.config import EvaluateRun, LaterRun, PhaseName
from pipelines.runs.protocols import PROTOCOLS
from stprivacy.anonymizers import ANONYMIZERS
from stprivacy.attackers import ATTACKERS
from stprivacy.config import TestViewsConfig
from stprivacy.phases.objectives.heads import PRIVACY_HEADS
from tests.support.run_fixtures import do_run

USUAL = {"keep_ratio": 0.7, "deploy_keep_ratio": 0.7, "tubelet_frames": 2, "lambda_action": 0.5, "lambda_privacy": 0.5}
# What the runs of an ablation report of themselves where it differs from that.
CHANGED: dict[str, dict[str, float]] = {
    "sparsification-only": {},
    "anonymization-only": {"keep_ratio": 1.0, "deploy_keep_ratio": 1.0},
    **{f"keep-ratio-{x}": {"keep_ratio": x, "deploy_keep_ratio": x} for x in (0.5, 0.6, 0.8, 0.9)},
    **{f"tubelet-frames-{x}": {"tubelet_frames": x} for x in (1, 4)},
    **{f"lambda-action-{x}": {"lambda_action": x} for x in (0.25, 1.0)},
    **{f"lambda-privacy-{x}": {"lambda_privacy": x} for x in (0.25, 1.0)},
    "defended": {},
}


@pytest.fixture(scope="module")
def data(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few videos of the demo's."""
    settings = SynthSettings("a", train_videos=16, test_videos=16)
    with Progress(quiet=True) as progress:
        return prepare_data(tmp_path_factory.mktemp("demo"), settings, RECIPES["demo"](), 2, progress)


def do(phase: PhaseName, recipe: str, data: Path, folder: Path, source: Path | None = None) -> dict[str, Any]:
    run = RECIPES[recipe]().of(phase)
    run = replace(run, data=str(data), train=replace(run.train, batch_size=4, max_steps=1))
    if isinstance(run, EvaluateRun):
        run = replace(run, views=TestViewsConfig(clips=1, crops=1), deploy_keep_ratio=run.model.keep_ratio)
    return do_run(replace(run, from_run=str(source)) if isinstance(run, LaterRun) else run, folder)


@pytest.mark.parametrize("name", [*sorted(ABLATIONS), *DEPARTURES])
@pytest.mark.slow
def test_every_ablation_and_departure_runs_through_all_phases_at_demo_size(
    name: str, data: Path, tmp_path: Path
) -> None:
    recipe = f"demo-{name}"
    do("init", recipe, data, tmp_path / "init")
    trained = do("adversarial", recipe, data, tmp_path / "adversarial", tmp_path / "init")
    scores = do("evaluate", recipe, data, tmp_path / "evaluate", tmp_path / "adversarial")
    reported = {key: (trained if key.startswith("lambda") else scores)[key] for key in USUAL}
    assert reported == USUAL | CHANGED[name]
    assert 0 <= scores["action_top1"] <= 100


def test_a_phase_finds_the_recipe_of_the_run_that_it_starts_from() -> None:
    for name, recipe in RECIPES.items():
        assert {recipe().of(phase).recipe for phase in ("init", "adversarial", "evaluate")} == {name}


def test_the_list_names_and_explains_every_recipe_protocol_anonymizer_and_attacker() -> None:
    listed = describe_recipes()
    heads = [line for line in listed.splitlines() if line[:1].islower()]
    known = {*RECIPES, *PROTOCOLS, *ANONYMIZERS, *ATTACKERS, *PRIVACY_HEADS}
    assert {name for line in heads for name in line.split(", ")} == known
    assert listed.count("Figure 4, column") == len(ABLATIONS)
    assert listed.count("A departure from the paper") == len(DEPARTURES)
    assert "None was run on the real data here" in listed
