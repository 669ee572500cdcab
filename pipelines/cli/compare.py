"""The comparison of anonymizers as one command: what is missing of the matrix is run, then its tables are written."""

import inspect
import json
import sys
from dataclasses import replace
from pathlib import Path

import tyro

from pipelines.cli.phases import ingested_folder
from pipelines.compare.matrix import QUICK_ATTACKERS, ROWS, Comparison, cells_of
from pipelines.compare.tables import print_tables, read_scores, write_tables
from pipelines.locations import Location
from pipelines.train.options import LaunchOptions, launch_runs
from stprivacy.attackers import ATTACKERS
from stprivacy.storage import checked_location, location, named_location


def main() -> None:
    """Parse the command line, run the matrix and print its table; --list prints the names."""
    if "--list" in sys.argv[1:]:
        print("Anonymizers:", *(f"  {name:<20} {purpose}" for name, purpose in ROWS.items()), sep="\n")
        print("\nAttackers:", *(f"  {name:<20} {inspect.getdoc(make)}" for name, make in ATTACKERS.items()), sep="\n")
        return
    files = tyro.cli(_compare, description=__doc__)
    cells = json.loads(next(file for file in files if file.suffix == ".json").read_text())["cells"]
    print_tables(cells)
    print("", *files, sep="\n")


def _compare(
    comparison: tyro.conf.OmitArgPrefixes[Comparison],
    out: Location,
    quick: bool = False,
    parallel: int = 1,
    where: tyro.conf.OmitArgPrefixes[LaunchOptions] = LaunchOptions(),
) -> list[Path]:
    """Run what is missing of the matrix and write result.json, table.md, table.tex and table.csv.

    A finished cell is never run again; an interrupted one resumes.

    Args:
        comparison: what is compared
        out: folder of the comparison
        quick: one seed, known actions and four attackers
        parallel: rows at a time, each on --workers of its own; with --workers 1 none exchanges gradients
        where: what it runs on
    """
    if quick:
        comparison = replace(comparison, attackers=QUICK_ATTACKERS, seeds=1, unseen_data=None)
    unseen = comparison.unseen_data
    comparison = replace(
        comparison,
        data=location(ingested_folder(comparison.data)),
        unseen_data=location(ingested_folder(unseen)) if unseen else None,
        trained=checked_location(comparison.trained) if comparison.trained else None,
    )
    return run_comparison(comparison, named_location(out), where, parallel)


def run_comparison(comparison: Comparison, out: Path, where: LaunchOptions, parallel: int = 1) -> list[Path]:
    """The same, from its settings; returns the files."""
    cells = cells_of(comparison, out)
    requests = {request.folder: request for cell in cells for request in (*cell.before, cell.request)}
    launch_runs(list(requests.values()), out, where, parallel)
    return write_tables(out, [read_scores(cell.request.folder) for cell in cells])
