"""Tables of evaluations: means over seeds with intervals and floors; printed, as Markdown, LaTeX, CSV and JSON."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal, get_args

import pandas as pd
from rich import box
from rich import print as print_rich
from rich.table import Table
from rich.text import Text

from pipelines.compare.spreadsheet import csv_text
from stprivacy.metrics.pareto import TradeOff, trade_off_hypervolume
from stprivacy.run_files import DAMAGED, RESULT, read_result
from stprivacy.storage import make_folder

Result = Mapping[str, Any]
PointEnd = Literal["score", "worst", "best"]
_POINT_KEYS = ("label", "deploy_keep_ratio")  # what the seeds of a row share
# header, key, factor of decimals, key of its floor
SCORES = (
    ("top-1 %", "action_top1", 1, "floor_action_top1"),
    ("cMAP %", "privacy_cmap", 1, "floor_privacy_cmap"),
    ("F1", "privacy_f1", 3, "floor_privacy_f1"),
    ("AUC", "privacy_auc", 3, 0.5),
    ("balanced accuracy", "privacy_balanced_accuracy", 3, 0.5),
)
_OF_SEEDS = (
    "Mean over seeds, ± standard deviation over seeds, [95 % bootstrap interval over test videos, mean of its ends]."
)
_CHOSEN = (
    "Privacy scores are those of the attackers that were strongest on validation videos, attribute by attribute; "
    "lower is better, down to the floor, which is what knowing nothing scores."
)
_UNCHOSEN = (
    "Privacy scores are those of the one attacker with the highest cMAP, decided on the test split itself: that can "
    "only make a row look worse. Lower is better, down to the floor, which is what knowing nothing scores."
)
ABOUT_HYPERVOLUME = (
    "Hypervolume: the share of the ground between (floor top-1, raw's cMAP) and (raw's top-1, floor cMAP) that a row's "
    "points, at all its deployed keep ratios, beat; higher is better. Raw itself covers none. Its interval is that of "
    "points which all lie at the worst ends of their two intervals, and at the best: wider than 95 %."
)


def notes(results: Sequence[Result]) -> list[str]:
    """What a reader of the tables must know of these results."""
    # Where no validation videos chose, one attacker counts for all attributes, and its name stands alone.
    chosen = all(f"privacy_cmap_{cell['attacker']}" not in cell for cell in results)
    return [_OF_SEEDS, _CHOSEN if chosen else _UNCHOSEN, ABOUT_HYPERVOLUME]


def needed_keys() -> Iterator[str]:
    """The keys of a result that tables and charts read as numbers."""
    for _, key, _, floor in SCORES:
        yield from (key, f"{key}_low", f"{key}_high", *([floor] if isinstance(floor, str) else []))
    yield from ("seed", "deploy_keep_ratio")


def read_scores(folder: Path) -> dict[str, Any]:
    """The result of a finished evaluation that tables show. Raises: ValueError: it is damaged."""
    result = read_result(folder)
    for key in needed_keys():
        if not isinstance(result.get(key), (int, float)):
            raise ValueError(f"{folder / RESULT} is damaged (it has no number {key}): {DAMAGED}")
    for key in ("protocol", "label", "attacker"):
        if key not in result:
            raise ValueError(f"{folder / RESULT} is damaged (it has no {key}): {DAMAGED}")
    return result


def tables(results: Sequence[Result]) -> dict[str, pd.DataFrame]:
    """By title, for each protocol: scores and their floors, cMAP of each attacker, AP of each private attribute."""
    shown = {}
    for (protocol,), cells in _grouped(results, "protocol").items():
        shown[f"{protocol} actions"] = readable(numbers(cells))
        shown[f"{protocol} actions: cMAP % of each attacker"] = by_attacker(cells)
        shown[f"{protocol} actions: AP % of each attribute"] = by_attribute(cells)
    return shown


def write_tables(out: Path, results: Sequence[Result]) -> list[Path]:
    """Write result.json (all cells) and table.md, table.tex, table.csv into `out`; returns the files."""
    make_folder(out)
    files = {name: out / name for name in ("result.json", "table.md", "table.tex", "table.csv")}
    shown = tables(results)
    files["result.json"].write_text(json.dumps({"cells": list(results)}, indent=1))
    files["table.csv"].write_text(csv_text(numbers(results)), encoding="utf-8")
    parts = [part for title, table in shown.items() for part in (f"## {title}", _markdown(table))]
    files["table.md"].write_text("\n\n".join([*parts, "\n".join(f"- {note}" for note in notes(results))]) + "\n")
    files["table.tex"].write_text(
        "\n\n".join(table.to_latex(index=False, escape=True, caption=title) for title, table in shown.items())
    )
    return list(files.values())


def print_tables(results: Sequence[Result]) -> None:
    """Print the tables, narrow enough for most terminals: intervals stand below their scores."""
    for title, table in tables(results).items():
        shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
        for name in table.columns:
            if name == "anonymizer":
                shown.add_column(name, overflow="fold")
            else:
                header = name.replace(" ", "\n").replace("hypervolume", "hyper-\nvolume")
                shown.add_column(header, justify="right", no_wrap=True)
        for line in table.itertuples(index=False):
            shown.add_row(Text(str(line[0])), *map(_narrow, line[1:]), style="bold" if line[0] == "floor" else "")
        print_rich(f"\n{title}", shown, sep="\n")
    print_rich(*notes(results), sep="\n")


def _narrow(cell: str) -> Text:
    """A cell without the 0 of decimals, its interval without brackets below it."""
    return Text(re.sub(r"\b0\.", ".", cell).replace(" [", "\n").replace(", ", "-").rstrip("]"))


def numbers(results: Sequence[Result]) -> pd.DataFrame:
    """One line for each protocol, row and deployed keep ratio: means, deviations, ends of intervals, hypervolume.

    A hypervolume is NaN where there is nothing to compare a row with.
    """
    lines = []
    for (protocol,), cells in _grouped(results, "protocol").items():
        volumes, worst, best = (_known_hypervolumes(cells, end) for end in get_args(PointEnd))
        for (label, ratio), group in _grouped(cells, *_POINT_KEYS).items():
            of_seeds = volumes.get(label, [])
            line: dict[str, Any] = {
                "protocol": protocol, "anonymizer": label, "keep_ratio": ratio, "seeds": len(group),
                "hypervolume": _mean(of_seeds), "hypervolume_sd": _sd(of_seeds),
                "hypervolume_low": _mean(worst.get(label, [])), "hypervolume_high": _mean(best.get(label, [])),
                "attacker": "; ".join(dict.fromkeys(str(cell["attacker"]) for cell in group)),
            }  # fmt: skip
            for _, key, _, floor in SCORES:
                line |= {name: mean(float(cell[name]) for cell in group) for name in (key, f"{key}_low", f"{key}_high")}
                line[f"{key}_sd"] = _sd([float(cell[key]) for cell in group])
                line[f"{key}_floor"] = floor if isinstance(floor, float) else mean(float(cell[floor]) for cell in group)
            lines.append(line)
    return pd.DataFrame(lines)


def hypervolumes(cells: Sequence[Result], end: PointEnd = "score") -> dict[str, list[float]]:
    """Hypervolume of each row, seed by seed, against the raw point of that seed.

    With `end` worst or best, of points that lie at these ends of their intervals; the raw point stays where it is.
    Seeds and rows without such a point are left out. Raises: ValueError: raw is not above the floors.
    """
    volumes: dict[str, list[float]] = {}
    for raw in sorted((cell for cell in cells if cell["label"] == "raw"), key=lambda cell: cell["seed"]):
        of_seed = [cell for cell in cells if cell["seed"] == raw["seed"]]
        for label in dict.fromkeys(cell["label"] for cell in of_seed):
            points = [_point(cell, "score" if label == "raw" else end) for cell in of_seed if cell["label"] == label]
            volume = trade_off_hypervolume(
                points, _point(raw), raw["floor_privacy_cmap"], floor_top1=raw["floor_action_top1"]
            )
            volumes.setdefault(label, []).append(volume)
    return volumes


def hypervolume_intervals(cells: Sequence[Result]) -> dict[str, tuple[float, float]]:
    """Lower and upper end of each row's hypervolume, mean over seeds: see `ABOUT_HYPERVOLUME`."""
    worst, best = hypervolumes(cells, "worst"), hypervolumes(cells, "best")
    return {label: (mean(worst[label]), mean(best[label])) for label in worst}


def _known_hypervolumes(cells: Sequence[Result], end: PointEnd) -> dict[str, list[float]]:
    """The same; none where raw is not above the floors, so that the other scores still have their table."""
    try:
        return hypervolumes(cells, end)
    except ValueError:
        return {}


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The lines of one protocol as text, with a line of floors at the end."""
    lines = [
        {"anonymizer": line["anonymizer"], "keep ratio": f"{line['keep_ratio']:g}"}
        | {header: _text(line, key, digits) for header, key, digits, _ in SCORES}
        | {"hypervolume": _text(line, "hypervolume", 3)}
        for line in table.to_dict("records")
    ]
    first = table.iloc[0]
    floors = {header: f"{first[f'{key}_floor']:.{digits}f}" for header, key, digits, _ in SCORES}
    return pd.DataFrame([*lines, {"anonymizer": "floor", "keep ratio": "", **floors, "hypervolume": ""}])


def by_attacker(cells: Sequence[Result]) -> pd.DataFrame:
    """The cMAP (%) of every attacker on every row, mean over seeds. Which of them count, validation videos decide."""
    prefix = "privacy_cmap_"
    names = [
        key.removeprefix(prefix) for key in cells[0] if key.startswith(prefix) and not key.endswith(("_low", "_high"))
    ]
    return pd.DataFrame(
        {"anonymizer": label, "keep ratio": f"{ratio:g}"}
        | {name: f"{mean(float(cell[prefix + name]) for cell in group):.1f}" for name in names}
        for (label, ratio), group in _grouped(cells, *_POINT_KEYS).items()
    )


def by_attribute(cells: Sequence[Result]) -> pd.DataFrame:
    """The AP (%) of every private attribute under its attacker, mean over seeds, with its floor, prevalence."""
    marker = "floor_privacy_ap_"
    names = dict.fromkeys(key.removeprefix(marker) for cell in cells for key in cell if key.startswith(marker))
    lines = [
        {"anonymizer": label, "keep ratio": f"{ratio:g}"}
        | {name.replace("_", " "): _interval(group, f"privacy_ap_{name}", 1) for name in names}
        for (label, ratio), group in _grouped(cells, *_POINT_KEYS).items()
    ]
    floors = {name.replace("_", " "): f"{mean(float(cell[marker + name]) for cell in cells):.1f}" for name in names}
    return pd.DataFrame([*lines, {"anonymizer": "floor", "keep ratio": "", **floors}])


def _interval(group: Sequence[Result], key: str, digits: int) -> str:
    values = [float(cell[key]) for cell in group]
    low, high = (mean(float(cell[f"{key}_{end}"]) for cell in group) for end in ("low", "high"))
    return _spread(mean(values), _sd(values), low, high, digits)


def _grouped(cells: Sequence[Result], *keys: str) -> dict[tuple[Any, ...], list[Result]]:
    """The cells by what they hold under these keys, in the order in which that first comes up."""
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for cell in cells:
        groups.setdefault(tuple(cell[key] for key in keys), []).append(cell)
    return groups


def _point(cell: Result, end: PointEnd = "score") -> TradeOff:
    top1, cmap = {"score": ("", ""), "worst": ("_low", "_high"), "best": ("_high", "_low")}[end]
    return TradeOff(float(cell[f"action_top1{top1}"]), float(cell[f"privacy_cmap{cmap}"]))


def _mean(values: Sequence[float]) -> float:
    return mean(values) if values else math.nan


def _sd(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def _text(line: Mapping[str, Any], key: str, digits: int) -> str:
    if math.isnan(line[key]):
        return "-"
    return _spread(line[key], line[f"{key}_sd"], line[f"{key}_low"], line[f"{key}_high"], digits)


def _spread(value: float, deviation: float, low: float, high: float, digits: int) -> str:
    of_seeds = f" ± {deviation:.{digits}f}" if deviation else ""
    return f"{value:.{digits}f}{of_seeds} [{low:.{digits}f}, {high:.{digits}f}]"


def _markdown(table: pd.DataFrame) -> str:
    lines = [list(table.columns), ["---"] + ["---:"] * (len(table.columns) - 1), *table.values.tolist()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines)
