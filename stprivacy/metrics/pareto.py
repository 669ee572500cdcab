"""Trade-offs of action against privacy: which points no other beats, and how much ground a front covers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting


@dataclass(frozen=True)
class TradeOff:
    """One deployed anonymizer: action top-1 in % (more is better) and privacy cMAP in % (less is better)."""

    action_top1: float
    privacy_cmap: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.action_top1) and math.isfinite(self.privacy_cmap)):
            raise ValueError(f"a trade-off needs two finite scores, got {self.action_top1} and {self.privacy_cmap}")


def on_front(points: Sequence[TradeOff]) -> list[bool]:
    """For each point whether none is better in one score and no worse in the other: equal points all stay."""
    if not points:
        return []
    front = NonDominatedSorting().do(_costs(points), only_non_dominated_front=True)
    chosen = set(front.tolist())
    return [i in chosen for i in range(len(points))]


def trade_off_hypervolume(
    points: Sequence[TradeOff], raw: TradeOff, floor_cmap: float, floor_top1: float = 0.0
) -> float:
    """Area that the points beat, as a share of what could be won beside the raw video.

    The reference corner is the worst of both: `floor_top1` (0 %, or what the most frequent action alone scores) at
    the raw video's cMAP. The area between it and the points, each point beating all that is lower in top-1 and higher
    in cMAP, is divided by the rectangle from that corner to the ideal one: raw's top-1 at `floor_cmap`, the cMAP of
    ignorance. The raw point by itself covers 0, the ideal 1; points beyond the ideal corner can exceed 1.
    Points that are no better than the corner in both scores add nothing.
    Raises: ValueError: raw is not above `floor_top1`, or not above `floor_cmap`: there is nothing to trade.
    """
    width, height = _sides(raw, floor_cmap, floor_top1)
    better = [x for x in points if x.action_top1 > floor_top1 and x.privacy_cmap < raw.privacy_cmap]
    if not better:
        return 0.0
    corner = np.array([-floor_top1, raw.privacy_cmap])
    return float(HV(ref_point=corner)(_costs(better))) / (width * height)


def nearest_to_ideal(points: Sequence[TradeOff], raw: TradeOff, floor_cmap: float, floor_top1: float = 0.0) -> int:
    """Index of the point closest to the upper-left corner, the knee of a front (Figure 4's reading of a chart).

    Both scores are measured in the sides of the rectangle of `trade_off_hypervolume`; the corner is raw's top-1, or the
    best point's where that is higher, at `floor_cmap`. Of equal points the first.
    Raises: ValueError: no points, or raw is not above the floors.
    """
    width, height = _sides(raw, floor_cmap, floor_top1)
    if not points:
        raise ValueError("there is no knee without points")
    top = max(raw.action_top1, *(point.action_top1 for point in points))
    distances = [
        math.hypot((top - x.action_top1) / width, max(0.0, x.privacy_cmap - floor_cmap) / height) for x in points
    ]
    return distances.index(min(distances))


def _sides(raw: TradeOff, floor_cmap: float, floor_top1: float) -> tuple[float, float]:
    """The rectangle between the floors and raw, in points of top-1 and of cMAP."""
    width, height = raw.action_top1 - floor_top1, raw.privacy_cmap - floor_cmap
    if width <= 0 or height <= 0:
        raise ValueError(
            f"the raw video's top-1 {raw.action_top1:g} and cMAP {raw.privacy_cmap:g} must lie above the floors "
            f"{floor_top1:g} and {floor_cmap:g}: without that there is nothing to lose or to protect"
        )
    return width, height


def _costs(points: Sequence[TradeOff]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Both scores [n 2] such that less is better."""
    return np.array([[-point.action_top1, point.privacy_cmap] for point in points])
