"""The comparison of anonymizers as runs: every row, trained and tested under the same protocol, seed by seed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from operator import methodcaller
from pathlib import Path
from typing import Any, cast

from pipelines.locations import Location
from pipelines.recipes.ablations import ABLATIONS, DEPARTURES
from pipelines.recipes.named import RECIPES
from pipelines.recipes.recipe import Recipe
from pipelines.runs.config import EvaluateRun, ProtocolName, make_request
from pipelines.runs.folder import RunRequest
from pipelines.runs.plan import deployed_ratios, testing, training
from stprivacy.anonymizers import LEARNED, PURPOSES, AnonymizerName, Region
from stprivacy.attackers import ALL, attacker_names

STPRIVACY = "stprivacy"
INITIALISED = "initialised-only"
DEFENDED = "stprivacy-defended"
SELECTING = ("untrained", "random-selection", "motion-selection")  # not trained, and yet they abandon tubelets
QUICK_ATTACKERS = ("standard", "whitened", "pooled", "mask")


# Rows that are trained, each as a change of the recipe: the same data, epochs and rates.
TRAINED: Mapping[str, Callable[[Recipe], Recipe]] = {
    **{str(name): methodcaller("training", name) for name in LEARNED},
    "sparsification-only": ABLATIONS["sparsification-only"],
    "anonymization-only": ABLATIONS["anonymization-only"],
    DEFENDED: DEPARTURES["defended"],
}
ROWS: Mapping[str, str] = {
    **{str(name): purpose for name, purpose in PURPOSES.items()},
    "sparsification-only": "STPrivacy without its anonymization block: kept tubelets stay as they are.",
    "anonymization-only": "STPrivacy that keeps every tubelet (alpha = 1).",
    DEFENDED: "A departure from the paper: STPrivacy against adversaries on the deterministic mask, on pooled and "
    "whitened tubelets and on frames, besides the paper's. Attackers standard, pooled, whitened have the form of one.",
    INITIALISED: "STPrivacy after phase 1, without any adversary: what phase 2 adds is the difference to it.",
}


@dataclass(frozen=True)
class Comparison:
    """What is compared. Raises: ValueError: an unknown name, or a number that cannot be.

    Args:
        data: ingested data set that rows are trained and tested on
        unseen_data: ingested data set with other actions, on which the same rows are tested, too
        anonymizers: rows; raw, which the others are compared with, is always one
        attackers: who reads the private attributes
        seeds: how many, from 0 on
        deploy_keep_ratios: further points of rows that abandon tubelets, without training them again
        recipe: sizes and schedule; jobs/adv.py --list prints them
        validation_share: part of the training videos that decides which attacker counts for which attribute
        as_released: attack 8-bit H.264 instead of the transformed tensors
        released_quality: its constant rate factor
        region: what blackening and blurs obscure
        trained: folder of another comparison, whose trained anonymizers are taken; missing ones are trained there
    """

    data: Location
    unseen_data: Location | None = None
    anonymizers: tuple[str, ...] = (ALL,)
    attackers: tuple[str, ...] = (ALL,)
    seeds: int = 1
    deploy_keep_ratios: tuple[float, ...] = ()
    recipe: str = "demo"
    validation_share: float = 0.15
    as_released: bool = False
    released_quality: int = 23
    region: Region = "boxes"
    trained: Location | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.anonymizers if name not in ROWS and name != ALL]
        if unknown:
            raise ValueError(f"unknown anonymizer {', '.join(unknown)}; known are {', '.join(ROWS)}, or {ALL}")
        if self.recipe not in RECIPES:
            raise ValueError(f"unknown recipe {self.recipe}; jobs/adv.py --list prints them")
        attacker_names(self.attackers)
        if self.seeds < 1:
            raise ValueError(f"seeds must be 1 or more, got {self.seeds}")

    @property
    def rows(self) -> tuple[str, ...]:
        """The names of the rows, raw among them."""
        return tuple(ROWS) if ALL in self.anonymizers else tuple(dict.fromkeys(["raw", *self.anonymizers]))


@dataclass(frozen=True)
class Cell:
    """One evaluation of the matrix, and the runs that must come before it."""

    row: str
    seed: int
    protocol: ProtocolName
    before: tuple[RunRequest, ...]
    request: RunRequest


def cells_of(comparison: Comparison, out: Path) -> list[Cell]:
    """All evaluations, each row at its own keep ratio and, where it has one, at the other deployed ones."""
    tests: list[tuple[ProtocolName, Path]] = [("known", comparison.data)]
    if comparison.unseen_data:
        tests.append(("unseen", comparison.unseen_data))
    return [
        cell
        for seed in range(comparison.seeds)
        for protocol, data in tests
        for row in comparison.rows
        for cell in _cells(comparison, out, row, seed, protocol, data)
    ]


def _cells(comparison: Comparison, out: Path, row: str, seed: int, protocol: ProtocolName, data: Path) -> list[Cell]:
    test, before = _tested(comparison, out, row, seed)
    test = replace(
        test,
        data=str(data),
        seed=seed,
        label=row,
        protocol=protocol,
        attackers=attacker_names(comparison.attackers),
        validation_share=comparison.validation_share,
        as_released=comparison.as_released,
        released_quality=comparison.released_quality,
        region=comparison.region,
    )
    own = test.deploy_keep_ratio
    cells = []
    for ratio in deployed_ratios(own, comparison.deploy_keep_ratios):
        # The folder says what tells cells of one comparison apart.
        name, title = f"evaluate-{protocol}", f"evaluate {row}, {protocol}, seed {seed}"
        if ratio != own:
            name, title = f"{name}-keep-{ratio:g}", f"{title}, keep ratio {ratio:g}"
        request = make_request(out / f"seed-{seed}" / row / name, replace(test, deploy_keep_ratio=ratio), title)
        cells.append(Cell(row, seed, protocol, before, request))
    return cells


def _tested(comparison: Comparison, out: Path, row: str, seed: int) -> tuple[EvaluateRun, tuple[RunRequest, ...]]:
    """How a row is evaluated, and the runs that must come before."""
    recipe = RECIPES[comparison.recipe]()
    if row not in TRAINED and row != INITIALISED:
        keep_ratio = recipe.init.model.keep_ratio if row in SELECTING else 1.0
        return replace(recipe.evaluate, anonymizer=cast(AnonymizerName, row), deploy_keep_ratio=keep_ratio), ()
    name = STPRIVACY if row == INITIALISED else row
    own = TRAINED[name](recipe)
    # What begins alike has one phase 1.
    start = STPRIVACY if own.init == TRAINED[STPRIVACY](recipe).init else name
    folder = (comparison.trained or out) / f"seed-{seed}"
    titles = f"init {start}, seed {seed}", f"adversarial {name}, seed {seed}"
    both: dict[str, Any] = {"data": str(comparison.data), "seed": seed}
    runs = training(own.init, own.adversarial, folder / start / "init", folder / name / "adversarial", titles, **both)
    before = runs[:1] if row == INITIALISED else runs
    source = own.init if row == INITIALISED else own.adversarial
    return testing(own.evaluate, source, before[-1].folder), before
