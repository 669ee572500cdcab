"""What a sweep found: every trial at every deployed keep ratio, and which of these points no other beats.

As a table, as a picture, and as a page on which every point says what it is.
"""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from pipelines.compare.spreadsheet import csv_text
from pipelines.tune.space import CHANGES, described
from pipelines.tune.trials import Trial
from stprivacy.metrics.pareto import TradeOff, nearest_to_ideal, on_front, trade_off_hypervolume

Point = Mapping[str, Any]
SCORES = ("action_top1", "privacy_cmap", "privacy_f1", "privacy_auc", "privacy_balanced_accuracy")
FLOORS = ("floor_action_top1", "floor_privacy_cmap", "floor_privacy_f1")
_GREY, _BLUE, _ORANGE = "#8A8A8A", "#0072B2", "#D55E00"
_PANELS = (
    ("privacy_f1", "on_front_f1", "F1 of the private attributes", "floor_privacy_f1"),
    ("privacy_cmap", "on_front", "cMAP of the private attributes, %", "floor_privacy_cmap"),
)
_TITLE = "Each point is a trial at one deployed keep ratio; the line joins those that no other beats"


def points_of(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """A point for each finished trial and deployed keep ratio: parameters, scores with intervals, whether on a front.

    `on_front` is said of top-1 and cMAP, `on_front_f1` of top-1 and F1.
    """
    points = []
    for trial in trials:
        for ratio, result in zip(trial.ratios, trial.results(), strict=False):
            points.append(
                {"trial": trial.planned.number, **trial.planned.parameters, "deploy_keep_ratio": ratio}
                | {key: result[key] for score in SCORES for key in (score, f"{score}_low", f"{score}_high")}
                | {"attacker": result["attacker"]}
            )
    for name, score in (("on_front", "privacy_cmap"), ("on_front_f1", "privacy_f1")):
        best = on_front([TradeOff(point["action_top1"], point[score]) for point in points])
        for point, chosen in zip(points, best, strict=True):
            point[name] = chosen
    return points


def summary(points: Sequence[Point], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Hypervolume, its reference point, and the knee.

    Where raw is not above the floors there is neither, and `hypervolume_missing` says why.
    """
    floors = {name: raw[name] for name in FLOORS}
    about = {"raw": {name: raw[name] for name in SCORES}, "floors": floors}
    own = TradeOff(raw["action_top1"], raw["privacy_cmap"])
    trade_offs = [TradeOff(point["action_top1"], point["privacy_cmap"]) for point in points]
    limits = {"floor_cmap": floors["floor_privacy_cmap"], "floor_top1": floors["floor_action_top1"]}
    try:
        volume = trade_off_hypervolume(trade_offs, own, **limits)
        knee = nearest_to_ideal(trade_offs, own, **limits) if points else None
    except ValueError as error:
        return about | {"hypervolume": None, "hypervolume_missing": str(error), "knee": None}
    reference = {"action_top1": floors["floor_action_top1"], "privacy_cmap": raw["privacy_cmap"]}
    named = None if knee is None else {name: points[knee][name] for name in ("trial", "deploy_keep_ratio")}
    return about | {"hypervolume": volume, "hypervolume_reference": reference, "knee": named}


def front_csv(points: Sequence[Point]) -> str:
    """The points as the text of front.csv, those on the front first, then by top-1."""
    table = pd.DataFrame(points)
    if not table.empty:
        table = table.sort_values(["on_front", "action_top1", "trial"], ascending=[False, False, True])
    return csv_text(table)


def front_figure(points: Sequence[Point], found: Mapping[str, Any]) -> Figure:
    """Top-1 over F1 and over cMAP, with 95 % intervals; upper left is better."""
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    for axis, (score, chosen, name, floor) in zip(figure.subplots(1, 2, sharey=True), _PANELS, strict=True):
        for point in points:
            _draw_point(axis, point, score, bool(point[chosen]))
        front = sorted((point for point in points if point[chosen]), key=itemgetter(score))
        axis.plot([x[score] for x in front], [x["action_top1"] for x in front], color=_BLUE, linewidth=1.2, zorder=2)
        raw = found["raw"]
        axis.plot(raw[score], raw["action_top1"], "*", color="black", markersize=12, label="raw")
        axis.plot([], [], "o", color=_BLUE, label="on the front")
        axis.plot([], [], "o", color=_GREY, markerfacecolor="white", label="beaten by another")
        if score == "privacy_cmap" and found["knee"]:
            _draw_knee(axis, points, found["knee"])
        axis.axvline(found["floors"][floor], color="#555555", linestyle=(0, (6, 3)), linewidth=1, zorder=1)
        axis.annotate("floor", (found["floors"][floor], 1.01), xycoords=("data", "axes fraction"), ha="center",
                      fontsize=7.5, color="#555555")  # fmt: skip
        axis.set_xlabel(f"{name} (lower: less is read)", fontsize=9)
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("action top-1, % (higher is better)", fontsize=9)
    handles, labels = figure.axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8.5, frameon=False)
    figure.suptitle(_TITLE, fontsize=8.5, color="#555555")
    return figure


def _draw_point(axis: Any, point: Point, score: str, chosen: bool) -> None:
    x, y = point[score], point["action_top1"]
    low, high = point[f"{score}_low"], point[f"{score}_high"]
    colour = _BLUE if chosen else _GREY
    axis.plot([low, high], [y, y], color=colour, linewidth=0.8, alpha=0.5)
    axis.plot([x, x], [point["action_top1_low"], point["action_top1_high"]], color=colour, linewidth=0.8, alpha=0.5)
    axis.plot(x, y, "o", color=colour, markerfacecolor=colour if chosen else "white", zorder=3)


def _draw_knee(axis: Any, points: Sequence[Point], knee: Mapping[str, Any]) -> None:
    for point in points:
        if all(point[name] == value for name, value in knee.items()):
            axis.plot(point["privacy_cmap"], point["action_top1"], "o", color=_ORANGE, markersize=14,
                      markerfacecolor="none", markeredgewidth=1.6, label="knee: nearest to the corner")  # fmt: skip


def write_page(points: Sequence[Point], found: Mapping[str, Any], path: Path) -> None:
    """An interactive chart of top-1 over cMAP as one HTML file; hovering shows parameters, scores and the trial."""
    import plotly.graph_objects as go

    figure = go.Figure()
    along = sorted(points, key=itemgetter("privacy_cmap"))
    for name, colour, symbol, chosen in (
        ("beaten by another", _GREY, "circle-open", False),
        ("on the front", _BLUE, "circle", True),
    ):
        own = [x for x in along if bool(x["on_front"]) is chosen]
        figure.add_scatter(
            x=[x["privacy_cmap"] for x in own],
            y=[x["action_top1"] for x in own],
            mode="lines+markers" if chosen else "markers",
            name=name,
            marker={"color": colour, "symbol": symbol, "size": 10},
            error_x=_error(own, "privacy_cmap"),
            error_y=_error(own, "action_top1"),
            text=[_hover(x) for x in own],
            hovertemplate="%{text}<extra></extra>",
        )
    raw = found["raw"]
    figure.add_scatter(x=[raw["privacy_cmap"]], y=[raw["action_top1"]], mode="markers", name="raw",
                       marker={"color": "black", "symbol": "star", "size": 14})  # fmt: skip
    figure.add_vline(x=found["floors"]["floor_privacy_cmap"], line_dash="dash", annotation_text="floor")
    figure.update_layout(
        title=_TITLE,
        xaxis_title="cMAP of the private attributes, % (lower: less is read)",
        yaxis_title="action top-1, % (higher is better)",
        template="plotly_white",
    )
    path.write_text(figure.to_html(include_plotlyjs=True, full_html=True), encoding="utf-8")


def _error(points: Sequence[Point], score: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [x[f"{score}_high"] - x[score] for x in points],
        "arrayminus": [x[score] - x[f"{score}_low"] for x in points],
        "thickness": 0.8,
        "width": 0,
    }


def _hover(point: Point) -> str:
    parameters = {name: float(point[name]) for name in CHANGES if name in point}
    scores = f"top-1 {point['action_top1']:.1f} %, cMAP {point['privacy_cmap']:.1f} %, F1 {point['privacy_f1']:.3f}"
    lines = [f"<b>trial {point['trial']:03d}</b>", *described(parameters).split(", ")]
    return "<br>".join([*lines, f"deployed keep ratio {point['deploy_keep_ratio']:g}", scores])
