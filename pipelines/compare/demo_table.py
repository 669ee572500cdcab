"""The results of anonymizers side by side, with the floors that knowing nothing reaches, and the report folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich import print as print_rich
from rich.table import Table
from rich.text import Text

from stprivacy.storage import make_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Result = Mapping[str, Any]

NOTES = (
    "Intervals: 95 %, bootstrap over test videos. Lower privacy scores are better, down to the floor.",
    "Floor: what knowing nothing scores: the most frequent action, prevalence (AP, cMAP), always answering yes (F1), "
    "chance (AUC, balanced accuracy).",
    "The privacy scores are those of the stronger attacker, the one with the higher cMAP.",
)


class ReportError(ValueError):
    """A result lacks what the report prints; the message names the row and the key."""


@dataclass(frozen=True)
class _Column:
    """One measure: where it and its floor are found in a result, and how its numbers are written."""

    header: str
    key: str
    floor: str | float
    write: Callable[[float], str]
    required: bool = True


def _percent(value: float) -> str:
    return f"{value:.1f}"


def _decimal(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


_RESULTS = (
    _Column("top-1 %", "action_top1", "floor_action_top1", _percent),
    _Column("cMAP % standard", "privacy_cmap_standard", "floor_privacy_cmap", _percent, required=False),
    _Column("cMAP % whitened", "privacy_cmap_whitened", "floor_privacy_cmap", _percent, required=False),
    _Column("cMAP % stronger", "privacy_cmap", "floor_privacy_cmap", _percent),
    _Column("F1", "privacy_f1", "floor_privacy_f1", _decimal),
    _Column("AUC", "privacy_auc", 0.5, _decimal),
)


def results_table(results: Sequence[Result]) -> Table:
    """The main table for the terminal: action and privacy scores of every result, and the floor of each data set.

    Args:
        results: contents of result.json files. `label` names a row, otherwise `anonymizer` does. Results of one
            `dataset` that follow each other share a floor row.

    Raises: ReportError: a result without one of the scores.
    """
    return _rich_table(_RESULTS, results)


def attribute_table(results: Sequence[Result]) -> Table:
    """Balanced accuracy and each private attribute's AP, for the terminal; arguments as for `results_table`."""
    return _rich_table(_attribute_columns(results), results)


def print_results(results: Sequence[Result]) -> None:
    """Print the main table and its notes; arguments as for `results_table`."""
    print_rich(results_table(results), *NOTES, sep="\n")


def results_markdown(results: Sequence[Result]) -> str:
    """Both tables and their notes as Markdown; arguments as for `results_table`."""
    tables = (_markdown_table(columns, results) for columns in (_RESULTS, _attribute_columns(results)))
    return "\n\n".join([*tables, "\n".join(f"- {note}" for note in NOTES)]) + "\n"


def save_report(folder: Path, results: Sequence[Result], strip: "Figure | None" = None) -> list[Path]:
    """Write table.md, and strip.png if there is a strip, into `folder`; gives back what was written."""
    make_folder(folder)
    written = [folder / "table.md"]
    written[0].write_text(results_markdown(results))
    if strip is not None:
        written.append(folder / "strip.png")
        from pipelines.curves import save_figure  # half a second: only who draws pays it

        save_figure(strip, written[-1], dpi=150)
    return written


def _attribute_columns(results: Sequence[Result]) -> list[_Column]:
    marker = "floor_privacy_ap_"
    names = dict.fromkeys(key.removeprefix(marker) for row in results for key in row if key.startswith(marker))
    balanced = _Column("balanced accuracy", "privacy_balanced_accuracy", 0.5, _decimal)
    each_ap = [
        _Column(f"AP % {name.replace('_', ' ')}", f"privacy_ap_{name}", f"{marker}{name}", _percent, required=False)
        for name in names
    ]
    return [balanced, *each_ap]


def _lines(columns: Sequence[_Column], results: Sequence[Result]) -> list[list[str]]:
    """Label and cells of every result, the floor of each data set after its results."""
    lines = []
    several = len({row.get("dataset") for row in results}) > 1
    for dataset, group in groupby(results, key=lambda row: row.get("dataset")):
        rows = list(group)
        name = f"floor, {dataset}" if several else "floor"
        lines += [[_label(row), *(_cell(column, row) for column in columns)] for row in rows]
        lines.append([name, *(_floor(column, rows[0]) for column in columns)])
    return lines


def _label(row: Result) -> str:
    return str(row.get("label") or _value(row, "anonymizer"))


def _cell(column: _Column, row: Result) -> str:
    if not column.required and column.key not in row:
        return "-"
    text = column.write(_value(row, column.key))
    bounds = [row.get(f"{column.key}_{side}") for side in ("low", "high")]
    if None in bounds:
        return text
    low, high = (column.write(float(bound)) for bound in bounds if bound is not None)
    return f"{text} [{low}, {high}]"


def _floor(column: _Column, row: Result) -> str:
    if not isinstance(column.floor, str):
        return column.write(column.floor)
    if not column.required and column.floor not in row:
        return "-"
    return column.write(_value(row, column.floor))


def _value(row: Result, key: str) -> Any:
    if key not in row:
        name = row.get("label") or row.get("anonymizer") or "without a name"
        raise ReportError(f"the result {name} has no {key}: run its evaluation again; it has {', '.join(sorted(row))}")
    return row[key]


def _markdown_table(columns: Sequence[_Column], results: Sequence[Result]) -> str:
    head = ["anonymizer", *(column.header for column in columns)]
    rule = ["---", *("---:" for _ in columns)]
    lines = [[cell.replace("|", r"\|") for cell in line] for line in _lines(columns, results)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines])


def _rich_table(columns: Sequence[_Column], results: Sequence[Result]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    table.add_column("anonymizer")
    for column in columns:
        table.add_column(column.header.replace(" % ", " %\n"), justify="right")
    for line in _lines(columns, results):
        # The interval goes below its score, without brackets, to fit a terminal 80 characters wide.
        cells = [Text(cell.replace(" [", "\n").replace(", ", "-").rstrip("]")) for cell in line[1:]]
        is_floor = line[0].startswith("floor")
        table.add_row(Text(line[0]), *cells, style="bold" if is_floor else "", end_section=is_floor)
    return table
