"""The comparison of anonymizers as one command: what is missing of the matrix is run, then its tables are written."""

import inspect
import sys
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.markdown import Markdown

from pipelines.commands import LaunchOptions, ingested_folder, launch_runs
from pipelines.comparison import QUICK_ATTACKERS, ROWS, Comparison, cells_of
from pipelines.comparison_tables import write_tables
from pipelines.train.runs import RunRequest
from stprivacy.anonymizers import Region
from stprivacy.attackers import ATTACKERS

ALL = "all"
_TABLE_CHARACTERS = 130  # fewer would cut the names in its first column


def compare_command() -> None:
    """Parse the command line of jobs/compare.py, run the matrix and print its table; --list prints the names."""
    if "--list" in sys.argv[1:]:
        print("Anonymizers:", *(f"  {name:<20} {purpose}" for name, purpose in ROWS.items()), sep="\n")
        print("\nAttackers:", *(f"  {name:<20} {inspect.getdoc(make)}" for name, make in ATTACKERS.items()), sep="\n")
        return
    try:
        files = tyro.cli(_compare, description=__doc__)
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
    console = Console(width=max(Console().width, _TABLE_CHARACTERS))
    console.print(Markdown(next(file for file in files if file.suffix == ".md").read_text()))
    print("", *files, sep="\n")


def _compare(
    data: Path,
    out: Path,
    anonymizers: tuple[str, ...] = (ALL,),
    attackers: tuple[str, ...] = (ALL,),
    seeds: int = 1,
    unseen_data: Path | None = None,
    deploy_keep_ratios: tuple[float, ...] = (),
    quick: bool = False,
    recipe: str = "demo",
    validation_share: float = 0.15,
    as_released: bool = False,
    released_quality: int = 23,
    region: Region = "boxes",
    where: tyro.conf.OmitArgPrefixes[LaunchOptions] = LaunchOptions(),
) -> list[Path]:
    """Run what is missing of the matrix and write result.json, table.md, table.tex and table.csv.

    A finished cell is never run again; an interrupted one goes on.

    Args:
        data: ingested data set that rows are trained and tested on
        out: folder of the comparison
        anonymizers: rows; raw, which the others are compared with, is always one
        attackers: who reads the private attributes
        seeds: how many, from 0 on
        unseen_data: ingested data set with other actions, on which the same rows are tested, too
        deploy_keep_ratios: further points of rows that abandon tubelets, without training them again
        quick: one seed, known actions and four attackers
        recipe: sizes and schedule; jobs/adv.py --list prints them
        validation_share: part of the training videos that decides which attacker counts for which attribute
        as_released: attack 8-bit H.264 instead of the transformed tensors
        released_quality: its constant rate factor
        region: what blackening and blurs obscure
        where: what it runs on
    """
    if quick:
        attackers, seeds, unseen_data = QUICK_ATTACKERS, 1, None
    comparison = Comparison(
        data=Path(ingested_folder(data)),
        unseen_data=Path(ingested_folder(unseen_data)) if unseen_data else None,
        recipe=recipe,
        rows=tuple(ROWS) if ALL in anonymizers else tuple(dict.fromkeys(["raw", *anonymizers])),
        attackers=tuple(ATTACKERS) if ALL in attackers else attackers,
        seeds=seeds,
        deploy_keep_ratios=deploy_keep_ratios,
        validation_share=validation_share,
        as_released=as_released,
        released_quality=released_quality,
        region=region,
    )
    return run_comparison(comparison, out.resolve(), where)


def run_comparison(comparison: Comparison, out: Path, where: LaunchOptions) -> list[Path]:
    """The same, from its settings; gives back the files."""
    cells = cells_of(comparison, out)
    requests: dict[Path, RunRequest] = {}
    for cell in cells:
        requests |= {request.folder: request for request in (*cell.before, cell.request)}
    results: dict[Path, dict[str, Any]] = dict(
        zip(requests, launch_runs(list(requests.values()), out, where), strict=True)
    )
    return write_tables(out, [results[cell.request.folder] for cell in cells])
