"""Figure 4 as a chart: action accuracy over the privacy that is left, one front for each row."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.reports.labels import PointLabel, Spot, place_labels
from pipelines.reports.styles import CHART_DPI, Style, roomy_layout

Line = Mapping[str, Any]

TOP1 = "action_top1"
# Score on the level axis, its name there, and how its floor is written.
PANELS = (
    ("privacy_f1", "F1 of the private attributes", "{:.3f}"),
    ("privacy_cmap", "cMAP of the private attributes, %", "{:.1f} %"),
)
READING = (
    "A joined line is one row's front, the keep ratio of each stage written at its points. "
    "Fronts are compared, not counts of tubelets."
)
_GREY, _BAR_WIDTH = "#555555", 0.9
_LEGEND_CHARACTERS = 140  # that fit beside each other
_HEADROOM = 0.14  # for the arrow, which must not lie on a point


def trade_off_figure(table: pd.DataFrame, styles: Mapping[str, Style]) -> Figure:
    """Top-1 over F1 and over cMAP, with 95 % intervals both ways and the floors; upper left is better.

    Args: table: lines of one protocol, as `comparison_tables.numbers` gives them; styles: one a row.
    """
    fronts = {label: part.to_dict("records") for label, part in table.groupby("anonymizer", sort=False)}
    columns = max(1, min(4, _LEGEND_CHARACTERS // (10 + max(map(len, fronts)))))
    legend_lines = math.ceil(len(fronts) / columns)
    figure = Figure(figsize=(11, 5.4 + 0.22 * legend_lines), layout=roomy_layout(), dpi=CHART_DPI)
    axes = figure.subplots(1, len(PANELS), sharey=True)
    floors = table.iloc[0]
    for axis, (score, name, written) in zip(axes, PANELS, strict=True):
        _draw_panel(axis, fronts, styles, score)
        floor = float(floors[f"{score}_floor"])
        _draw_floor(axis, f"floor {written.format(floor)}", floor, level=False)
        axis.set_xlabel(f"{name} (lower: less is read)", fontsize=9)
    axes[0].set_ylabel("action top-1, % (higher is better)", fontsize=9)
    for axis in axes:
        name = f"floor {floors[f'{TOP1}_floor']:.1f} %" if axis is axes[-1] else ""
        _draw_floor(axis, name, float(floors[f"{TOP1}_floor"]), level=True)
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(low, high + _HEADROOM * (high - low))
    for axis in axes:
        _mark_better(axis)
    handles = [styles[label].line(label, joined=len(front) > 1) for label, front in fronts.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8.5, frameon=False,
                  handlelength=3.2)  # fmt: skip
    figure.suptitle(READING, fontsize=8.5, color=_GREY)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # labels are placed where the axes are now
    for axis, (score, _, _) in zip(axes, PANELS, strict=True):
        _label_points(axis, fronts, styles, score)
    return figure


def _draw_panel(axis: Axes, fronts: Mapping[str, Sequence[Line]], styles: Mapping[str, Style], score: str) -> None:
    for label, front in fronts.items():
        style = styles[label]
        for (x0, y0), (x1, y1) in _bars(front, score):
            axis.plot([x0, x1], [y0, y1], color=style.colour, linewidth=_BAR_WIDTH, alpha=0.55, solid_capstyle="butt")
        line = style.line(label, joined=len(front) > 1)
        line.set_data(*_points(front, score))
        axis.add_line(line)
        line.set_zorder(4)
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def _points(front: Sequence[Line], score: str) -> tuple[list[float], list[float]]:
    """The points of a row along its keep ratio: privacy, and top-1."""
    along = sorted(front, key=lambda line: -line["keep_ratio"])
    return [float(line[score]) for line in along], [float(line[TOP1]) for line in along]


def _bars(front: Sequence[Line], score: str) -> list[tuple[Spot, Spot]]:
    """The intervals of a row's points, each as a level and an upright line."""
    bars = []
    for line in front:
        x, y = float(line[score]), float(line[TOP1])
        bars.append(((float(line[f"{score}_low"]), y), (float(line[f"{score}_high"]), y)))
        bars.append(((x, float(line[f"{TOP1}_low"])), (x, float(line[f"{TOP1}_high"]))))
    return bars


def _draw_floor(axis: Axes, name: str, value: float, *, level: bool) -> None:
    """A dashed line at what knowing nothing scores, named outside of the axis; far from all points only its name."""
    low, high = axis.dataLim.intervaly if level else axis.dataLim.intervalx
    near = low - (high - low) / 2 <= value <= high + (high - low) / 2
    if near:
        draw = axis.axhline if level else axis.axvline
        draw(value, color=_GREY, linestyle=(0, (6, 3)), linewidth=1, zorder=1)
    elif name:
        name += ",\noff the chart"
    where, scale = (value, "data") if near else (float(value > high), "axes fraction")
    style: dict[str, Any] = {"fontsize": 7.5, "color": _GREY}
    if level:
        side = "center" if near else ("bottom", "top")[round(where)]
        axis.annotate(name, (1.01, where), xycoords=("axes fraction", scale), ha="left", va=side, **style)
    else:
        side = "center" if near else ("left", "right")[round(where)]
        axis.annotate(name, (where, 1.01), xycoords=(scale, "axes fraction"), ha=side, va="bottom", **style)


def _mark_better(axis: Axes) -> None:
    """An arrow into the upper left corner."""
    axis.annotate(
        "better",
        (0.015, 0.985),
        (0.075, 0.915),
        xycoords="axes fraction",
        ha="left",
        va="center",
        fontsize=9,
        fontweight="bold",
        arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 1.6, "shrinkA": 1, "shrinkB": 0},
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        zorder=5,
    )


def _label_points(axis: Axes, fronts: Mapping[str, Sequence[Line]], styles: Mapping[str, Style], score: str) -> None:
    """The keep ratios beside the points of rows that have several."""
    labels = [
        PointLabel(f"{line['keep_ratio']:g}".replace("0.", ".", 1), line[score], line[TOP1], styles[label].dark)
        for label, front in fronts.items()
        for line in front
        if len(front) > 1
    ]
    points = [(line[score], line[TOP1]) for front in fronts.values() for line in front]
    lines = [bar for front in fronts.values() for bar in _bars(front, score)]
    lines += [pair for front in fronts.values() for pair in pairwise(zip(*_points(front, score), strict=True))]
    place_labels(axis, labels, points, lines)
