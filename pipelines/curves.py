"""Training curves of a run, and how figures are saved."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from pipelines.runs.history import Report
from stprivacy.storage import write_whole

# Okabe and Ito's colours, told apart with any colour vision; dashes tell apart what shares one.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", ":", "-.")


def save_figure(figure: Figure, file: Path, dpi: int) -> None:
    """Write a figure as PNG, to a local folder or an object store."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=dpi)
    write_whole(file, content.getvalue())


def curves_figure(history: Sequence[Report]) -> Figure:
    """Loss terms, kept fraction per stage and gradient norms over the steps of a run; panels without data are left out.

    Args:
        history: reports of one or several phases, as `read_history` gives them. A step reported twice counts once.
    """
    panels = [(title, curves) for title, mark in _PANELS if (curves := _curves(history, mark))]
    figure = Figure(figsize=(4.2 * max(1, len(panels)), 4.0), layout="constrained")
    if not panels:
        figure.text(0.5, 0.5, "No loss, kept fraction or\ngradient norm was reported.", ha="center")
        return figure
    for axis, (title, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_curves(axis, curves)
        axis.set_title(title, fontsize=10)
        if title == "kept fraction":
            axis.set_ylim(0, 1.02)
        elif title == "gradient norm":
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter(NullFormatter())
    return figure


# Title, and what the names of its metrics have in common.
_PANELS = (("loss", "loss"), ("kept fraction", "kept_stage"), ("gradient norm", "gradient_norm"))


def _curves(history: Sequence[Report], mark: str) -> dict[str, dict[int, float]]:
    """The curves whose name holds `mark`, as value by step; led by the phase where there are several."""
    several = len({report.phase for report in history}) > 1
    curves: dict[str, dict[int, float]] = {}
    for report in history:
        for name, value in report.metrics.items():
            if mark in name:
                label = f"{report.phase}: {name}" if several else name
                curves.setdefault(label.replace("_", " "), {})[report.step] = value
    return curves


def _draw_curves(axis: Axes, curves: dict[str, dict[int, float]]) -> None:
    for index, (label, curve) in enumerate(curves.items()):
        steps = sorted(curve)
        style: dict[str, Any] = {
            "color": _COLOURS[index % len(_COLOURS)],
            "linestyle": _DASHES[index // len(_COLOURS) % len(_DASHES)],
            "marker": "o" if len(steps) < 30 else "",
        }
        axis.plot(steps, [curve[step] for step in steps], label=label, markersize=3, linewidth=1.4, **style)
    axis.set_xlabel("step", fontsize=9)
    axis.grid(alpha=0.3)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), fontsize=8, frameon=False, ncols=1)
