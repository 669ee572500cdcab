"""How rows look in all charts of a report: told apart with any colour vision, and without colour."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.colors import to_rgb
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

# Okabe and Ito's colours without yellow, which is too pale for lines on white; black is raw's.
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6E6E6E")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h", "d")
_DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.5), (1, 1.2), (5, 1.5, 1, 1.5))
MARKER_POINTS = 7.0
CHART_DPI = 160
_RAW_MARKER = "*"


@dataclass(frozen=True)
class Style:
    """Marker, filled or open, colour and dashes (points on and off) of a row."""

    marker: str
    filled: bool
    colour: str
    dashes: tuple[float, ...] = ()

    @property
    def dark(self) -> tuple[float, float, float]:
        """The colour as small text takes it."""
        red, green, blue = to_rgb(self.colour)
        return 0.6 * red, 0.6 * green, 0.6 * blue

    def line(self, label: str, joined: bool = True) -> Line2D:
        """A line through nothing yet, for an axis or a legend."""
        size = MARKER_POINTS * (1.5 if self.marker == _RAW_MARKER else 1.0)
        line = Line2D([], [], color=self.colour, marker=self.marker, markersize=size, linewidth=1.3, label=label)
        line.set_markerfacecolor(self.colour if self.filled else "white")
        line.set_markeredgecolor(self.colour)
        line.set_linestyle("-" if joined else "none")
        if joined and self.dashes:
            line.set_dashes(self.dashes)
        return line


def roomy_layout(left: float = 0.0) -> ConstrainedLayoutEngine:
    """A layout in which no text touches the edge of the figure; `left` is a share of its width that stays free."""
    return ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06, rect=(left, 0, 1 - left, 1))


def styles_of(labels: Sequence[str]) -> dict[str, Style]:
    """A style for each row; 24 besides raw differ without colour, in shape or filling."""
    styles = {label: Style(_RAW_MARKER, True, "#000000") for label in labels if label == "raw"}
    for number, label in enumerate(label for label in dict.fromkeys(labels) if label != "raw"):
        filled = number // len(_MARKERS) % 2 == 0
        styles[label] = Style(
            _MARKERS[number % len(_MARKERS)], filled, _COLOURS[number % len(_COLOURS)], _DASHES[number % len(_DASHES)]
        )
    return styles
