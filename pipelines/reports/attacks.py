"""Charts of what the attackers read: the cMAP of each on every row, and the hypervolume of the rows."""

from collections.abc import Mapping, Sequence
from statistics import mean

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipelines.reports.styles import Style, roomy_layout

_DECISIVE = "as chosen"
_LINE_INCHES, _CELL_INCHES = 0.29, 0.78
_GREY = "#555555"
_INK_CHANGE = 0.179  # relative luminance (WCAG) of a cell from which on black is easier to read than white


def attacker_figure(attacks: pd.DataFrame, decisive: Sequence[float], floor: float) -> Figure:
    """The cMAP of every attacker on every row as a heat map with its numbers, the highest of each row bold.

    Args:
        attacks: as `comparison_tables.by_attacker` gives them.
        decisive: cMAP (%) of the attackers chosen attribute by attribute, a value for each line of `attacks`.
        floor: cMAP (%) of knowing nothing, with which the colours begin.
    """
    names = [name for name in attacks.columns if name not in ("anonymizer", "keep ratio")]
    values = attacks[names].to_numpy(dtype=float)
    columns = np.column_stack([np.array(decisive, dtype=float), values])
    several = attacks["anonymizer"].duplicated(keep=False)
    lines = [
        f"{label}, keeping {ratio}" if again else str(label)
        for label, ratio, again in zip(attacks["anonymizer"], attacks["keep ratio"], several, strict=True)
    ]
    size = ((len(names) + 1) * _CELL_INCHES + 2.6, len(lines) * _LINE_INCHES + 1.5)
    figure = Figure(figsize=size, layout=roomy_layout())
    apart, axis = figure.subplots(1, 2, width_ratios=(1, len(names)))
    scale = Normalize(floor, max(float(columns.max()), floor + 1))
    _draw_cells(apart, columns[:, :1], [_DECISIVE], scale, np.zeros((len(lines), 1), dtype=bool))
    _draw_cells(axis, values, names, scale, values == values.max(axis=1, keepdims=True))
    apart.set_yticks(range(len(lines)), lines, fontsize=8.5)
    axis.set_yticks([])
    bar = figure.colorbar(axis.images[0], ax=[apart, axis], location="right", fraction=0.03, pad=0.01, aspect=30)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("cMAP %", fontsize=8.5)
    return figure


def _draw_cells(
    axis: Axes, values: NDArray[np.float64], names: Sequence[str], scale: Normalize, bold: NDArray[np.bool_]
) -> None:
    colours = colormaps["cividis_r"]
    axis.imshow(values, cmap=colours, norm=scale, aspect="auto")
    for (line, column), value in np.ndenumerate(values):
        axis.text(
            column, line, f"{value:.1f}", ha="center", va="center", fontsize=8, color=ink_on(colours(scale(value))),
            fontweight="bold" if bold[line, column] else "normal",
        )  # fmt: skip
    axis.set_xticks(range(len(names)), names, rotation=35, ha="left", rotation_mode="anchor", fontsize=8.5)
    axis.xaxis.tick_top()
    axis.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(len(values) + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="white", linewidth=1.5)
    axis.tick_params(which="both", length=0)
    axis.spines[:].set_visible(False)


def ink_on(colour: Sequence[float]) -> str:
    """Black or white, whichever is easier to read on a colour (red, green, blue in [0, 1])."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3])
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > _INK_CHANGE else "white"


def hypervolume_figure(
    volumes: Mapping[str, Sequence[float]], intervals: Mapping[str, tuple[float, float]], styles: Mapping[str, Style]
) -> Figure:
    """Mean hypervolume of each row over its seeds, largest first, with every seed and the interval.

    Args: volumes, intervals: as `comparison_tables` gives them; raw, which covers nothing, is left out.
    """
    rows = sorted(((label, values) for label, values in volumes.items() if label != "raw"), key=lambda x: mean(x[1]))
    figure = Figure(figsize=(7.2, len(rows) * _LINE_INCHES + 1.0), layout=roomy_layout())
    axis = figure.subplots()
    for place, (label, values) in enumerate(rows):
        style, middle = styles[label], mean(values)
        axis.plot([0, middle], [place, place], color=style.colour, linewidth=1, alpha=0.35)
        low, high = intervals[label]
        axis.plot([low, high], [place, place], color=style.colour, linewidth=2.6)
        axis.plot(values, [place] * len(values), "|", color="black", markersize=13, zorder=2.5)
        marker = style.line(label, joined=False)
        marker.set_data([middle], [place])
        axis.add_line(marker).set_zorder(4)
        axis.text(
            1.02, place, f"{middle:.3f} [{low:.3f}, {high:.3f}]", va="center",
            transform=axis.get_yaxis_transform(), fontsize=8,
        )  # fmt: skip
    axis.set_yticks(range(len(rows)), [label for label, _ in rows], fontsize=8.5)
    axis.set_ylim(-0.7, len(rows) - 0.3)
    axis.set_xlim(left=0)
    axis.set_xlabel("hypervolume (larger is better); upright strokes: single seeds, bar: interval", fontsize=8.5)
    axis.grid(axis="x", alpha=0.25, linewidth=0.6)
    axis.tick_params(labelsize=8.5, length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    return figure
