"""Small texts beside the points of a chart, placed so that none lies on another or on a marker."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from pipelines.reports.styles import MARKER_POINTS

Spot = tuple[float, float]  # in the axis's own units
_DISTANCES = (1.0, 1.8)  # of the marker's size, from near to far
_SIDES = ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))
_FONT_SIZE = 6.5
_STEPS = 60  # places along a line at which it is looked whether a text lies there


@dataclass(frozen=True)
class PointLabel:
    """A text and the point that it belongs to, in the axis's own units."""

    text: str
    x: float
    y: float
    colour: tuple[float, float, float]


def place_labels(
    axis: Axes, labels: Sequence[PointLabel], points: Sequence[Spot], lines: Sequence[tuple[Spot, Spot]]
) -> None:
    """Write what finds room.

    A text avoids other texts and the markers at `points`, and lies on as few as can be of the `lines` (from, to). The
    figure must have been laid out: its axes are not moved any more.
    """
    figure = axis.get_figure()
    assert isinstance(figure, Figure)
    taken = [_around(axis, point) for point in points]
    steps = np.linspace(0, 1, _STEPS)[:, None, None]
    ends = axis.transData.transform(np.reshape(lines, (-1, 2))).reshape(-1, 2, 2)  # line, end, pixel
    along = ends[:, 0] * (1 - steps) + ends[:, 1] * steps
    for label in labels:
        if best := _best_place(axis, label, taken, along):
            _, side, distance = best
            taken.append(_written(axis, label, side, distance).get_window_extent())


def _best_place(
    axis: Axes, label: PointLabel, taken: Sequence[Bbox], along: NDArray[np.float64]
) -> tuple[int, tuple[int, int], float] | None:
    """Cost, side and distance of a free place, near and on few lines, whose steps are [steps lines 2] pixels."""
    free: list[tuple[int, tuple[int, int], float]] = []
    for distance, side in product(_DISTANCES, _SIDES):
        text = _written(axis, label, side, distance)
        box = text.get_window_extent()
        text.remove()
        if _inside(box, axis.bbox) and not any(box.overlaps(other) for other in taken):
            within = ((along > np.subtract(box.min, 1)) & (along < np.add(box.max, 1))).all(-1)
            free.append((int(within.any(0).sum()) + 2 * _DISTANCES.index(distance), side, distance))
    return min(free, key=lambda place: place[0], default=None)


def _written(axis: Axes, label: PointLabel, side: tuple[int, int], distance: float) -> Annotation:
    offset = (side[0] * distance * MARKER_POINTS * 0.8, side[1] * distance * MARKER_POINTS * 0.8)
    return axis.annotate(
        label.text,
        (label.x, label.y),
        offset,
        textcoords="offset points",
        ha=("right", "center", "left")[side[0] + 1],
        va=("top", "center", "bottom")[side[1] + 1],
        fontsize=_FONT_SIZE,
        color=label.colour,
    )


def _around(axis: Axes, point: Spot) -> Bbox:
    """The box of a marker, in pixels."""
    x, y = axis.transData.transform(point)
    half = MARKER_POINTS / 72 * axis.get_figure().dpi / 2  # type: ignore[union-attr]
    return Bbox([[x - half, y - half], [x + half, y + half]])


def _inside(box: Bbox, frame: Bbox) -> bool:
    return bool(frame.x0 < box.x0 and box.x1 < frame.x1 and frame.y0 < box.y0 and box.y1 < frame.y1)
