"""Where the texts of a figure are, and whether any lies on another."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def texts_of(figure: Figure) -> list[Text]:
    """All texts that are to be seen: titles, ticks within view, names of axes, legends, and those in the drawing."""
    figure.draw_without_rendering()
    texts = [*figure.texts, *(text for legend in figure.legends for text in _of_legend(legend))]
    for axes in figure.axes:
        texts += _of_axes(axes)
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def text_boxes(figure: Figure, rotated: bool = False) -> list[Bbox]:
    """Their boxes in pixels; those of slanted texts, whose boxes are larger than they are, only if asked for."""
    return [text.get_window_extent() for text in texts_of(figure) if rotated or text.get_rotation() % 90 == 0]


def overlapping(boxes: Sequence[Bbox]) -> int:
    """How many pairs lie on each other."""
    return sum(Bbox.intersection(a, b) is not None for a, b in combinations(boxes, 2))


def _of_axes(axes: Axes) -> Iterator[Text]:
    yield from (axes.title, *axes.texts)
    if legend := axes.get_legend():
        yield from _of_legend(legend)
    for axis in (axes.xaxis, axes.yaxis):
        yield axis.label
        yield from _ticks(axis)


def _ticks(axis: Axis) -> Iterator[Text]:
    low, high = sorted(axis.get_view_interval())
    for tick in axis.get_major_ticks():
        if low <= tick.get_loc() <= high:
            yield from (tick.label1, tick.label2)


def _of_legend(legend: Legend) -> Iterator[Text]:
    yield from legend.get_texts()
