"""The charts of a report: what they show, and that no text lies on another, at sixteen rows and three seeds."""

import math
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from pipelines.compare.matrix import INITIALISED, ROWS
from pipelines.compare.tables import by_attacker, hypervolume_intervals, hypervolumes, numbers, readable
from pipelines.reports.attacks import attacker_figure, hypervolume_figure
from pipelines.reports.masks import KeepSums, keep_map_figure, person_figure
from pipelines.reports.styles import MARKER_POINTS, styles_of
from pipelines.reports.takeaways import about_attackers, about_hypervolume, about_trade_off
from pipelines.reports.tradeoff import trade_off_figure
from stprivacy.attackers import ATTACKERS
from tests.support.figure_fixtures import overlapping, text_boxes, texts_of
from tests.support.report_fixtures import scores
from tests.support.tiny import CLIP

SEVERAL = ("stprivacy", "untrained", "random-selection", "motion-selection", "sparsification-only", INITIALISED)


def cell(label: str, seed: int, ratio: float, top1: float, cmap: float, f1: float = 0.6) -> dict[str, Any]:
    about = {"label": label, "seed": seed, "protocol": "known", "deploy_keep_ratio": ratio}
    return about | scores(top1, cmap, f1)


def crowded(seeds: int = 3) -> list[dict[str, Any]]:
    """All rows of a comparison, six of them at four keep ratios, as close to each other as they come."""
    rng = np.random.default_rng(0)
    cells = []
    for seed in range(seeds):
        for number, label in enumerate(ROWS):
            for ratio in (0.9, 0.7, 0.5, 0.3) if label in SEVERAL else (1.0,):
                top1 = 80 - 2 * number * (label != "raw") - 20 * (1 - ratio) + rng.normal()
                cmap = 76 - number - 8 * (1 - ratio) + rng.normal()
                values = cell(label, seed, ratio, top1, cmap, 0.45 + cmap / 400 + rng.normal() / 100)
                cells.append(values | {f"privacy_cmap_{name}": cmap - rng.uniform(0, 9) for name in ATTACKERS})
    return cells


HANDY = [
    cell("raw", 0, 1.0, 90.0, 80.0, 0.70),
    cell("raw", 1, 1.0, 80.0, 90.0, 0.80),
    cell("ours", 0, 0.5, 50.0, 55.0, 0.50),
    cell("ours", 1, 0.5, 46.0, 57.0, 0.54),
    cell("ours", 0, 0.7, 70.0, 60.0, 0.60),
    cell("ours", 1, 0.7, 80.0, 70.0, 0.62),
]


def chart(cells: list[dict[str, Any]]) -> Figure:
    table = numbers(cells)
    return trade_off_figure(table, styles_of(list(table["anonymizer"])))


def lines_of(figure: Figure, panel: int) -> dict[str, Any]:
    return {str(line.get_label()): line for line in figure.axes[panel].get_lines()}


def test_points_are_means_over_seeds_joined_along_the_keep_ratio() -> None:
    f1, cmap = (lines_of(chart(HANDY), panel) for panel in (0, 1))
    np.testing.assert_allclose(cmap["raw"].get_xydata(), [[85, 85]])
    np.testing.assert_allclose(cmap["ours"].get_xydata(), [[65, 75], [56, 48]])
    np.testing.assert_allclose(f1["ours"].get_xydata(), [[0.61, 75], [0.52, 48]])


def test_intervals_reach_from_mean_low_end_to_mean_high_end_both_ways() -> None:
    drawn = [line.get_xydata().tolist() for line in chart(HANDY).axes[1].get_lines()]
    for expected in ([[63, 75], [68, 75]], [[65, 73], [65, 78]], [[83, 85], [88, 85]], [[85, 83], [85, 88]]):
        assert expected in drawn
    drawn_f1 = [line.get_xydata() for line in chart(HANDY).axes[0].get_lines()]
    assert any(np.allclose(line, [[0.59, 75], [0.64, 75]]) for line in drawn_f1)


def test_floors_are_drawn_and_named_or_said_to_lie_beyond() -> None:
    texts = [text.get_text() for text in texts_of(chart(HANDY))]
    assert {"floor 0.667", "floor 50.0 %", "floor 10.0 %,\noff the chart"} <= set(texts)
    assert texts.count("better") == 2
    figure = chart([*HANDY, cell("low", 0, 1.0, 20.0, 52.0)])
    assert "floor 10.0 %" in [text.get_text() for text in texts_of(figure)]
    assert any(np.allclose(line.get_ydata(), 10.0) for line in figure.axes[1].get_lines())


def test_keep_ratios_stand_beside_the_points_of_rows_that_have_several() -> None:
    written = sorted(text.get_text() for text in chart(HANDY).axes[1].texts if text.get_text().startswith("."))
    assert written == [".5", ".7"]


def test_no_text_lies_on_another_or_on_a_marker_at_sixteen_rows() -> None:
    figure = chart(crowded())
    boxes = text_boxes(figure)
    assert overlapping(boxes) == 0
    assert all(figure.bbox.x0 < box.x0 and box.x1 < figure.bbox.x1 for box in boxes)
    half = MARKER_POINTS / 72 * figure.dpi / 2
    for axes in figure.axes:
        labels = [text.get_window_extent() for text in axes.texts if text.get_text().startswith(".")]
        assert len(labels) >= 20  # of 24
        points = np.concatenate([line.get_xydata() for line in axes.get_lines() if line.get_label() in ROWS])
        for x, y in axes.transData.transform(points):
            marker = Bbox([[x - half, y - half], [x + half, y + half]])
            assert not any(marker.overlaps(label) for label in labels)


def test_rows_differ_without_colour() -> None:
    styles = styles_of(list(ROWS))
    assert len({(style.marker, style.filled) for style in styles.values()}) == len(ROWS)
    fronts = [styles[label].dashes for label in SEVERAL]
    assert all(a != b for a, b in pairwise(fronts))
    assert styles_of(["raw", "b"])["raw"] == styles["raw"]


def test_the_matrix_of_attackers_is_complete_and_legible() -> None:
    cells = crowded()
    attacks, table = by_attacker(cells), numbers(cells)
    figure = attacker_figure(attacks, table["privacy_cmap"].tolist(), 50.0)
    assert overlapping(text_boxes(figure)) == 0
    values = attacks.iloc[:, 2:].to_numpy(dtype=float)
    assert set(attacks.columns[2:]) == set(ATTACKERS)
    texts = figure.axes[1].texts
    assert [float(text.get_text()) for text in texts] == values.flatten().tolist()
    bold = [text.get_fontweight() == "bold" for text in texts]
    assert bold == (values == values.max(1, keepdims=True)).flatten().tolist()
    slanted = [text for text in texts_of(figure) if text.get_rotation() % 90]
    gaps = [b.get_position()[0] - a.get_position()[0] for a, b in pairwise(slanted[1:])]
    pixels = figure.axes[1].transData.transform([[0, 0], [min(gaps), 0]])
    apart = abs(pixels[1, 0] - pixels[0, 0]) * math.sin(math.radians(35))
    assert apart > 8.5 / 72 * figure.dpi  # the lines of two names lie further apart than they are high
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names[:2] == ["raw", "downsample-2x"]
    assert "stprivacy, keeping 0.3" in names


def test_hypervolumes_are_sorted_with_every_seed() -> None:
    volumes = hypervolumes(HANDY)
    styles = styles_of(["raw", "ours", "other"])
    intervals = hypervolume_intervals(HANDY) | {"other": (0.005, 0.04)}
    figure = hypervolume_figure(volumes | {"other": [0.01, 0.03]}, intervals, styles)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["other", "ours"]
    assert axes.texts[0].get_text() == "0.020 [0.005, 0.040]"
    drawn = [np.asarray(line.get_xdata()) for line in axes.get_lines()]
    for expected in (volumes["ours"], intervals["ours"], intervals["other"]):
        assert any(values.shape == np.shape(expected) and np.allclose(values, expected) for values in drawn)
    crowd = crowded()
    figure = hypervolume_figure(hypervolumes(crowd), hypervolume_intervals(crowd), styles_of(list(ROWS)))
    assert overlapping(text_boxes(figure)) == 0


def test_takeaways_name_the_best_row_and_whether_it_is_apart() -> None:
    volumes = {"raw": [0.0, 0.0], "ours": [0.4, 0.5], "vita": [0.2, 0.3]}
    intervals = {"raw": (0.0, 0.0), "ours": (0.38, 0.52), "vita": (0.18, 0.37)}
    assert about_hypervolume(volumes, intervals) == (
        "Largest hypervolume: ours (0.450 [0.380, 0.520]), then vita (0.250 [0.180, 0.370]); "
        "their intervals do not overlap (2 seeds)."
    )
    assert "their intervals overlap" in about_hypervolume(volumes, intervals | {"vita": (0.18, 0.39)})
    near = [cell("raw", 0, 1.0, 80, 75), cell("a", 0, 1.0, 76, 65), cell("b", 0, 1.0, 50, 51)]
    assert about_trade_off(numbers(near)) == (
        "Of the rows that lose at most 5 points of raw's 80.0 % top-1, a leaves least to read: 65.0 % cMAP "
        "[63.0, 68.0], raw 75.0 % cMAP [73.0, 78.0]; the intervals do not overlap."
    )
    assert "the nearest is b 50.0 %" in about_trade_off(numbers([near[0], near[2]]))
    assert about_trade_off(numbers(near[1:])).startswith("b leaves least to read: 51.0 % cMAP")
    attacks = pd.DataFrame({"anonymizer": ["a", "b"], "keep ratio": ["1", "1"], "x": ["5", "7"], "y": ["6", "8"]})
    assert about_attackers(attacks) == "The strongest single attacker of 2 lines: y on 2."


def test_rows_without_raw_and_raw_at_its_floor_have_no_hypervolume_and_still_a_table() -> None:
    assert hypervolumes(HANDY[2:]) == {}
    shown = readable(numbers(HANDY[2:]))
    assert shown["hypervolume"].tolist() == ["-", "-", ""]
    assert numbers([HANDY[0], *HANDY[2:]])["hypervolume"].notna().all()  # of the seed that has raw
    flat = [one | {"privacy_cmap": 49.0} for one in HANDY]
    assert readable(numbers(flat))["hypervolume"].tolist() == ["-", "-", "-", ""]
    with pytest.raises(ValueError, match="must lie above the floors"):
        hypervolumes(flat)


def test_heat_maps_of_eight_rows_have_no_text_on_another() -> None:
    sums = KeepSums(CLIP)
    keep = (torch.rand(6, *CLIP.grid).flatten(2) < 0.4).float()
    person = (torch.rand(6, 1, CLIP.frames, CLIP.height_px, CLIP.width_px) < 0.6).float()
    sums.add(keep, person)
    one = sums.keep_map("sparsification-only", 0.7, keep[:3])
    maps = [replace(one, label=label) for label in [*SEVERAL, "a row of the user's own with a long name", "x"]]
    raw = torch.rand(3, 3, CLIP.frames, CLIP.height_px, CLIP.width_px) * 2 - 1
    titles = ["walk left", "jumping on a trampoline and 3 more", "clap"]
    for figure in (
        keep_map_figure(maps, raw, person[:3], titles),
        keep_map_figure(maps[:1], raw, None, titles),
        person_figure(maps, styles_of([one.label for one in maps])),
    ):
        boxes = text_boxes(figure)
        assert overlapping(boxes) == 0
        assert all(figure.bbox.x0 < box.x0 and box.x1 < figure.bbox.x1 for box in boxes)
        assert all(figure.bbox.y0 < box.y0 and box.y1 < figure.bbox.y1 for box in boxes)


def test_labels_find_no_room_rather_than_lie_on_each_other() -> None:
    ratios = [round(0.05 * step, 2) for step in range(1, 20)]
    cells = [cell("raw", 0, 1.0, 90, 80), *(cell("ours", 0, ratio, 70 + ratio, 60 + ratio) for ratio in ratios)]
    figure = chart(cells)
    written = [text.get_window_extent() for text in figure.axes[1].texts if text.get_text().startswith(".")]
    assert 0 < len(written) < len(ratios)
    assert not any(a.overlaps(b) for a, b in combinations(written, 2))
