"""Fronts and hypervolume of trade-offs: worked by hand, counted by brute force, and as pymoo has them."""

import random

import numpy as np
import pytest
from pymoo.indicators.hv import HV

from stprivacy.metrics.pareto import TradeOff, nearest_to_ideal, on_front, trade_off_hypervolume

RAW = TradeOff(90, 80)
FLOOR_CMAP = 50


def volume(*points: tuple[float, float], floor_top1: float = 0.0) -> float:
    return trade_off_hypervolume([TradeOff(*point) for point in points], RAW, FLOOR_CMAP, floor_top1)


@pytest.mark.parametrize(
    ("points", "share"),
    [
        ([], 0),
        ([(90, 80)], 0),  # raw itself
        ([(90, 50)], 1),  # the ideal
        ([(45, 50)], 1 / 2),
        ([(90, 65)], 1 / 2),
        ([(45, 50), (90, 65)], 3 / 4),  # two halves that share a quarter
        ([(45, 50), (90, 65), (40, 70)], 3 / 4),  # the third is beaten
        ([(45, 50), (95, 85)], 1 / 2),  # one reads more than raw: it adds nothing
        ([(99, 50)], 1.1),  # beyond the ideal corner
    ],
)
def test_the_share_of_ground_covered_worked_by_hand(points: list[tuple[float, float]], share: float) -> None:
    assert volume(*points) == pytest.approx(share)


def test_a_floor_of_top1_moves_the_corner() -> None:
    assert volume((54, 50), floor_top1=18) == pytest.approx(1 / 2)
    assert volume((18, 50), floor_top1=18) == 0


def test_random_fronts_cover_what_counting_cells_says_and_what_pymoo_says() -> None:
    draw = random.Random(1)
    points = [(draw.randrange(0, 91), draw.randrange(50, 81)) for _ in range(12)]
    cells = sum(any(x < a and y >= b for a, b in points) for x in range(90) for y in range(50, 80))
    assert volume(*points) == pytest.approx(cells / (90 * 30))
    costs = np.array([[-top1, cmap] for top1, cmap in points], dtype=float)
    assert volume(*points) == pytest.approx(HV(ref_point=np.array([0.0, 80.0]))(costs) / (90 * 30))


def test_dominated_points_are_flagged_and_equal_ones_stay() -> None:
    points = [TradeOff(90, 60), TradeOff(80, 55), TradeOff(80, 60), TradeOff(70, 55), TradeOff(80, 55)]
    assert on_front(points) == [True, True, False, False, True]
    assert on_front([]) == []


def knee(*points: tuple[float, float], floor_top1: float = 0.0) -> int:
    return nearest_to_ideal([TradeOff(*point) for point in points], RAW, FLOOR_CMAP, floor_top1)


def test_the_knee_is_nearest_to_the_corner_in_sides_of_the_rectangle() -> None:
    assert knee((90, 80), (45, 50), (70, 56)) == 2
    # 9 of 90 points of top-1 are as far as 3 of 30 points of cMAP; of equal points the first.
    assert knee((81, 50), (90, 53)) == knee((90, 53), (81, 50)) == 0
    assert knee((80, 50), (90, 53)) == 1
    # Above a floor of 60, 9 points are a third of what there is.
    assert knee((81, 50), (90, 53), floor_top1=60) == 1


def test_the_knees_corner_is_the_best_top1_and_no_lower_than_the_floor_of_cmap() -> None:
    assert knee((99, 55), (90, 52)) == 1  # 9 points of 90 below the best, and 2 of 30 above the floor
    assert knee((90, 55), (85, 20)) == 1  # a cMAP below the floor is as good as the floor, and no worse
    with pytest.raises(ValueError, match="no knee without points"):
        knee()


def test_a_raw_point_that_leaves_nothing_to_trade_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cMAP 50 must lie above the floors 0 and 50"):
        trade_off_hypervolume([], TradeOff(90, 50), FLOOR_CMAP)
    with pytest.raises(ValueError, match="two finite scores, got nan"):
        TradeOff(float("nan"), 3)
