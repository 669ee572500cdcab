"""A trial of a sweep as runs: the phases at its parameters, tested at its own keep ratio and at others."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.compare.tables import read_scores
from pipelines.recipes.recipe import Recipe
from pipelines.runs.config import make_request
from pipelines.runs.folder import CONFIG, RunRequest, read_json, write_json
from pipelines.runs.plan import deployed_ratios, testing, training
from pipelines.tune.plan import Planned, SearchName
from pipelines.tune.space import Space, changed, check_space, described
from stprivacy.attackers import attacker_names
from stprivacy.config import check_keep_ratio
from stprivacy.plain import to_dict
from stprivacy.storage import location, make_folder

STOPPED, FAILED, SECONDS = "stopped.json", "failed.json", "seconds.json"


@dataclass(frozen=True)
class Sweep:
    """What is searched. Raises: ValueError: a name or number that cannot be.

    Args:
        data: ingested data set that trials are trained and tested on
        recipe: sizes and schedule, which trials vary
        space: values of each parameter
        search: grid, random, or optuna (top-1 up, cMAP and F1 down)
        num_trials: how many; of a grid 0 for all
        deploy_keep_ratios: every trial is tested at these, too, without being trained again
        attackers: who reads the private attributes
        validation_share: part of the training videos that decides which attacker counts for which attribute
        seed: of the search, and of every trial's weights, order and noise
        stop_at: epochs of phase 2 after which a trial that falls behind is stopped; see stopping.py
    """

    data: Path
    recipe: Recipe
    space: Space
    search: SearchName = "grid"
    num_trials: int = 0
    deploy_keep_ratios: tuple[float, ...] = ()
    attackers: tuple[str, ...] = ()
    validation_share: float = 0.15
    seed: int = 0
    stop_at: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        attacker_names(self.attackers)
        for ratio in self.deploy_keep_ratios:
            check_keep_ratio(ratio)
        epochs = self.recipe.adversarial.train.epochs
        if any(not 0 < epoch < epochs for epoch in self.stop_at):
            raise ValueError(f"--stop-at takes epochs from 1 to {epochs - 1}: phase 2 has {epochs} in this recipe")
        check_space(self.space, self.recipe)

    def settings(self) -> dict[str, Any]:
        """All that the trials' results depend on, as JSON has it."""
        space = {name: list(x.choices) or f"{x.low:g}:{x.high:g}" for name, x in self.space.items()}
        own = {name: getattr(self, name) for name in ("search", "validation_share", "seed")}
        lists = {name: list(getattr(self, name)) for name in ("deploy_keep_ratios", "attackers", "stop_at")}
        return {"data": str(self.data), "recipe": self.recipe.init.recipe, "space": space, **own, **lists}


@dataclass(frozen=True)
class Trial:
    """One trial: `start` is its phase 1, which others may share; `runs` phase 2 and the evaluations, its own first."""

    planned: Planned
    folder: Path
    start: RunRequest
    runs: tuple[RunRequest, ...]
    ratios: tuple[float, ...]

    @property
    def name(self) -> str:
        """What tables and MLflow call it."""
        return f"trial {self.planned.number:03d}"

    @property
    def finished(self) -> bool:
        """Whether all its results are there."""
        return all(run.finished for run in self.runs)

    @property
    def stopped(self) -> dict[str, Any]:
        """Why it was stopped early; empty if it was not."""
        return read_json(self.folder / STOPPED)

    @property
    def failure(self) -> str:
        """Why it failed, the last time that it was tried; empty if it did not."""
        return str(read_json(self.folder / FAILED).get("message", ""))

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to do."""
        return bool(self.finished or self.stopped or self.failure)

    def results(self) -> list[dict[str, Any]]:
        """The scores at each deployed keep ratio, its own first; none before it has finished."""
        return [read_scores(run.folder) for run in self.runs[1:]] if self.finished else []


def make_trial(sweep: Sweep, out: Path, planned: Planned) -> Trial:
    """The trial's runs, in folders below `out`. Trials whose phases 1 have the same settings share it."""
    recipe = changed(sweep.recipe, planned.parameters)
    both: dict[str, Any] = {"data": str(sweep.data), "seed": sweep.seed}
    folder, name, tried = out / "trials" / f"{planned.number:03d}", f"trial {planned.number:03d}", planned.parameters
    begun = read_json(folder / "adversarial" / CONFIG).get("from_run")
    settings = json.dumps(to_dict(replace(recipe.init, **both)), sort_keys=True)
    init = out / "init" / hashlib.sha256(settings.encode()).hexdigest()[:12]
    of_start: dict[str, float] = {key: tried[key] for key in ("keep_ratio", "tubelet_frames") if key in tried}
    titles = f"init of {described(of_start)}", f"{name}, {described(tried)}"
    start, adversarial = training(
        # A trial begun by an earlier version names its phase 1 otherwise.
        recipe.init, recipe.adversarial, location(begun) if begun else init, folder / "adversarial", titles, **both
    )  # fmt: skip
    test = replace(recipe.evaluate, label=name, **_of_tests(sweep))
    test = testing(test, recipe.adversarial, adversarial.folder)
    ratios = deployed_ratios(recipe.init.model.keep_ratio, sweep.deploy_keep_ratios)
    tests = [
        make_request(
            folder / f"evaluate-keep-{ratio:g}", replace(test, deploy_keep_ratio=ratio), f"{name}, keep ratio {ratio:g}"
        )
        for ratio in ratios
    ]
    return Trial(planned, folder, start, (adversarial, *tests), ratios)


def raw_run(sweep: Sweep, out: Path) -> RunRequest:
    """The evaluation of untouched videos, against which the ground that trials cover is measured."""
    test = replace(sweep.recipe.evaluate, label="raw", anonymizer="raw", deploy_keep_ratio=1.0, **_of_tests(sweep))
    return make_request(out / "raw", test, "evaluate raw")


def record(trial: Trial, name: str, values: Mapping[str, Any]) -> None:
    """Write one of the small files beside the trial's runs."""
    make_folder(trial.folder)
    write_json(trial.folder / name, values)


def add_seconds(folder: Path, seconds: float) -> None:
    """Count the time that a run took, all attempts at it together."""
    write_json(folder / SECONDS, {"seconds": seconds_of(folder) + seconds})


def seconds_of(folder: Path) -> float:
    """The time that a run took so far."""
    return float(read_json(folder / SECONDS).get("seconds", 0.0))


def _of_tests(sweep: Sweep) -> dict[str, Any]:
    attackers = {"attackers": attacker_names(sweep.attackers), "validation_share": sweep.validation_share}
    return {"data": str(sweep.data), "seed": sweep.seed, **attackers}
