"""Search the trade-off of action against privacy: trials over the paper's parameters, and the front that they give."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from pipelines.cli.phases import ingested_folder
from pipelines.locations import Location
from pipelines.recipes.named import RECIPES
from pipelines.runs.folder import PhaseError
from pipelines.train.options import LaunchOptions
from pipelines.tune.plan import SearchName
from pipelines.tune.space import described, parse_space
from pipelines.tune.sweep import FRONT_PAGE, FRONT_PICTURE, FRONT_TABLE, Concurrency, run_sweep
from pipelines.tune.trials import Sweep
from stprivacy.storage import location, named_location


def main() -> None:
    """Parse the command line, run the sweep and print its front.

    Raises: PhaseError: a trial failed.
    """
    result, out = tyro.cli(_sweep, description=__doc__)
    _print(result)
    print("", *(out / name for name in ("result.json", FRONT_TABLE, FRONT_PAGE, FRONT_PICTURE)), sep="\n")
    if result["failed"]:
        names = ", ".join(f"{trial['trial']:03d}" for trial in result["failed"])
        raise PhaseError(f"trials {names} failed: {result['failed'][0]['reason']}; delete their folders to try again")


@dataclass(frozen=True)
class SpaceOptions:
    """Values to choose from, or, in a random search and with optuna, a range LOW:HIGH."""

    keep_ratio: tuple[str, ...] = ("0.5", "0.7", "0.9")  # alpha, the share of tubelets that each stage keeps
    lambda_action: tuple[str, ...] = ("0.5",)  # weight of L_Action in Eq 13
    lambda_privacy: tuple[str, ...] = ("0.25", "0.5", "1")  # weight of L_Privacy in Eq 13
    tubelet_frames: tuple[str, ...] = ("2",)  # frames of a tubelet


@dataclass(frozen=True)
class TestOptions:
    """How trials are tested."""

    # every finished trial is tested at these, too, without being trained again (Section 4.6)
    deploy_keep_ratios: tuple[float, ...] = ()
    attackers: tuple[str, ...] = ("standard", "whitened", "pooled", "frame-mean")  # recognizers of private attributes
    validation_share: float = 0.15  # part of the training videos that decides which attacker counts for which attribute


def _sweep(
    data: Location,
    out: Location,
    search: SearchName = "grid",
    num_trials: int = 0,
    max_concurrent: int = 2,
    space: tyro.conf.OmitArgPrefixes[SpaceOptions] = SpaceOptions(),
    tests: tyro.conf.OmitArgPrefixes[TestOptions] = TestOptions(),
    recipe: str = "demo",
    seed: int = 0,
    stop_at: tuple[int, ...] = (),
    where: tyro.conf.OmitArgPrefixes[LaunchOptions] = LaunchOptions(workers=1),
) -> tuple[dict[str, Any], Path]:
    """Run what is missing of a sweep; an interrupted one resumes, and no finished trial is run again.

    Args:
        data: ingested data set that trials are trained and tested on
        out: folder of the sweep
        search: all combinations, random ones, or optuna's (multi-objective: top-1 up, cMAP and F1 down)
        num_trials: how many; of a grid 0 for all
        max_concurrent: trials at a time, each on --workers of its own
        space: values to choose from, or, in a random search and with optuna, a range LOW:HIGH
        tests: how trials are tested
        recipe: sizes and schedule; jobs/adv.py --list prints them
        seed: of the search and of every trial
        stop_at: epochs of phase 2 after which a trial ends if half of the others read the action better and privacy
            worse, both; none by default
        where: what it runs on
    """
    if recipe not in RECIPES:
        raise ValueError(f"unknown recipe {recipe}; jobs/adv.py --list prints them")
    folder, searched, tested = location(ingested_folder(data)), parse_space(vars(space)), vars(tests)
    sweep = Sweep(folder, RECIPES[recipe](), searched, search, num_trials, seed=seed, stop_at=stop_at, **tested)
    out = named_location(out)
    return run_sweep(sweep, out, where, Concurrency(max_concurrent)), out


def _print(result: dict[str, Any]) -> None:
    """The points on the front, and what the front covers."""
    for point in sorted(result["points"], key=lambda point: point["privacy_cmap"]):
        if point["on_front"]:
            own = {name: value for name, value in point.items() if name in result["settings"]["space"]}
            print(
                f"trial {point['trial']:03d}  deployed keep ratio {point['deploy_keep_ratio']:g}  "
                f"top-1 {point['action_top1']:.1f}  cMAP {point['privacy_cmap']:.1f}  F1 {point['privacy_f1']:.3f}  "
                f"({described(own)})"
            )
    if result["hypervolume"] is None:
        print(f"no hypervolume: {result['hypervolume_missing']}")
        return
    reference = result["hypervolume_reference"]
    print(
        f"hypervolume {result['hypervolume']:.3f}, as a share of the ground beside raw; reference point: top-1 "
        f"{reference['action_top1']:.1f}, cMAP {reference['privacy_cmap']:.1f}"
    )
    if result["knee"]:
        print(f"knee: trial {result['knee']['trial']:03d} at keep ratio {result['knee']['deploy_keep_ratio']:g}")
