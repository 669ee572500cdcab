"""A sweep of four tiny trials."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.recipes.recipe import Recipe
from pipelines.runs.claims import claim
from pipelines.runs.config import AdversarialRun, EvaluateRun, run_of
from pipelines.train.options import LaunchOptions
from pipelines.tune.plan import Planned
from pipelines.tune.space import Space, parse_space
from pipelines.tune.sweep import Concurrency, run_sweep
from pipelines.tune.trials import Sweep, make_trial, raw_run
from stprivacy.config import OptimConfig, PhaseConfig
from tests.support.launch_fixtures import TINY, later
from tests.support.run_fixtures import do_run
from tests.support.shard_fixtures import write_tiny_dataset

WHERE, TWO = LaunchOptions(workers=1), Concurrency(2)
SPACE = parse_space({"keep_ratio": ("0.5", "1"), "lambda_privacy": ("0.5", "2")})


@dataclass(frozen=True)
class Swept:
    """A sweep that has run, its folder, and what it found."""

    sweep: Sweep
    out: Path
    result: dict[str, Any]

    def lend(self, out: Path) -> Path:
        """Copy raw and phases 1, which depend on no trial, for another sweep of the same data in `out`."""
        for name in ("raw", "init"):
            shutil.copytree(self.out / name, out / name)
        return out


def tiny_recipe() -> Recipe:
    """Two epochs of each phase on the tiny networks."""
    train = PhaseConfig(epochs=2, batch_size=6, optim=OptimConfig(learning_rate=0.1))
    base = replace(TINY, train=train)
    return Recipe(
        init=base,
        adversarial=later(base, AdversarialRun),
        evaluate=later(base, EvaluateRun),
        stride=1,
        short_side_px=32,
    )


def tiny_sweep(folder: Path, space: Space = SPACE, recipe: Recipe | None = None) -> Sweep:
    """A sweep on a data set that is made in `folder`."""
    data = write_tiny_dataset(folder, videos=12, test_videos=8)
    return Sweep(data, recipe or tiny_recipe(), space, attackers=("standard",), validation_share=0.0)


def do_before(sweep: Sweep, out: Path, parameters: dict[str, float]) -> None:
    """Do raw and phase 1 of trials with these parameters in this process: starting workers takes half a minute."""
    for request in (raw_run(sweep, out), make_trial(sweep, out, Planned(0, parameters)).start):
        claim(request, "an earlier launch")
        do_run(run_of(request.config), request.folder)


def sweep_tiny(folder: Path) -> Swept:
    """Run one, with two more keep ratios of deployment. Workers do one of its two phases 1."""
    sweep = replace(tiny_sweep(folder / "data"), deploy_keep_ratios=(0.5, 0.7))
    do_before(sweep, folder / "front", {"keep_ratio": 1.0})
    return Swept(sweep, folder / "front", run_sweep(sweep, folder / "front", WHERE, TWO))
