"""Kept fractions by hand, and what is made of test clips for the pictures of a report."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipelines.compare.matrix import ROWS
from pipelines.data.index import read_description
from pipelines.reports.clips import draw_row, open_material
from pipelines.reports.masks import KeepMap, KeepSums, keep_map_figure, tubelets_on_person
from pipelines.reports.runs import Evaluation
from pipelines.runs.config import EvaluateRun
from stprivacy.anonymizers import AnonymizerName
from tests.support.figure_fixtures import overlapping, text_boxes
from tests.support.report_fixtures import EVALUATION, UPPER_HALF
from tests.support.shard_fixtures import write_tiny_dataset
from tests.support.tiny import CLIP  # 4 frames of 32 x 32: 2 slots of 2 x 2 tubelets


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(
        tmp_path_factory.mktemp("tiny"), 4, 8, height=40, width=40, person_boxes=dict.fromkeys(range(12), UPPER_HALF)
    )


def evaluation(folder: Path, name: AnonymizerName, **changes: object) -> Evaluation:
    run: EvaluateRun = replace(EVALUATION, anonymizer=name, data=str(folder), **changes)  # type: ignore[arg-type]
    return Evaluation(folder, run, {"data_fingerprint": read_description(folder).fingerprint}, name)


def test_a_tubelet_is_on_the_person_from_half_of_its_pixels_on() -> None:
    person = torch.zeros(1, 1, 4, 32, 32)
    person[:, :, 0, :16, :16] = 1  # all of a frame, none of the other: half of the first slot's first tubelet
    person[:, :, :2, :8, 16:31] = 1  # 8 x 15 of 16 x 16
    person[:, :, 2:, 16:, 16:] = 1
    assert tubelets_on_person(person, CLIP).tolist() == [
        [[True, False, False, False], [False, False, False, True]],
    ]


def test_kept_fractions_by_hand() -> None:
    person = torch.zeros(2, 1, 4, 32, 32)
    person[0, :, :, :16] = 1  # the upper half of the first clip: 4 of 16 tubelets
    keep = torch.zeros(2, 2, 4)
    keep[0, 0] = torch.tensor([1.0, 1.0, 1.0, 0.0])  # two on the person, one beside
    keep[0, 1] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    keep[1, :, 3] = 1
    sums = KeepSums(CLIP)
    for clip in (0, 1):  # in batches
        sums.add(keep[clip : clip + 1], person[clip : clip + 1])
    found = sums.keep_map("ours", 0.7, keep[:1])
    assert found.clips == 2
    assert found.kept == pytest.approx(6 / 16)
    assert found.on_person == pytest.approx(3 / 4)
    assert found.on_background == pytest.approx(3 / 12)
    assert found.places.tolist() == [[0.5, 0.25], [0.25, 0.5]]
    assert found.person_share.tolist() == [[0.5, 0.5], [0.0, 0.0]]
    assert found.examples.tolist() == [[[1.0, 0.5], [0.5, 0.0]]]


def test_no_text_of_the_heat_maps_leaves_the_figure_or_lies_on_another() -> None:
    shares = torch.rand(4, 4)
    maps = [KeepMap(row, 0.7, 100, shares, torch.rand(3, 4, 4), 0.31, 0.4, 0.3, shares) for row in ROWS]
    figure = keep_map_figure(maps, torch.zeros(3, 3, 8, 64, 64), None, ["clap", "kick", "walk left"])
    boxes = text_boxes(figure)
    assert overlapping(boxes) == 0
    assert min(box.x0 for box in boxes) > 0.02 * figure.bbox.width
    assert max(box.x1 for box in boxes) < figure.bbox.width


def test_without_boxes_or_persons_the_fractions_are_not_known() -> None:
    keep, nobody = torch.ones(1, 2, 4), torch.zeros(1, 1, 4, 32, 32)
    sums = KeepSums(CLIP)
    sums.add(keep, None)
    found = sums.keep_map("ours", 0.7, keep)
    assert (found.kept, math.isnan(found.on_person), math.isnan(found.on_background)) == (1.0, True, True)
    assert found.person_share.numel() == 0
    sums = KeepSums(CLIP)
    sums.add(keep, nobody)
    found = sums.keep_map("ours", 0.7, keep)
    assert math.isnan(found.on_person)
    assert found.on_background == 1.0


def test_rows_show_the_same_clips_and_tell_what_they_keep(folder: Path) -> None:
    material = open_material(evaluation(folder, "raw"), 3, 7)
    assert material.titles == [material.clips.action_names[material.clips.test[i].actions[0]] for i in (0, 2, 5)]
    assert (len(material.raw), len(material.counted)) == (3, 7)
    black = draw_row(evaluation(folder, "blackening", deploy_keep_ratio=1.0), material)
    assert material.persons is not None
    expected = material.raw.where(material.persons < 0.5, -1.0)
    assert torch.equal(black.anonymized, expected)
    assert (black.keep_map, black.stretch) == (None, False)
    moving = draw_row(evaluation(folder, "motion-selection", deploy_keep_ratio=0.5), material)
    assert moving.keep_map is not None
    assert moving.keep_map.clips == 7
    assert moving.keep_map.kept == float(moving.keep.mean())  # as many in every clip
    assert moving.keep_map.on_person + moving.keep_map.on_background == pytest.approx(2 * moving.keep_map.kept)
    assert moving.keep_map.person_share.tolist() == [[1, 1], [0, 0]]
    assert not moving.stretch
    assert draw_row(evaluation(folder, "untrained", deploy_keep_ratio=0.5), material).stretch


def test_what_a_recipient_holds_is_shown_in_its_own_range(folder: Path) -> None:
    released = evaluation(folder, "untrained", deploy_keep_ratio=0.5, as_released=True)
    material = open_material(released, 2, 2)
    shown = draw_row(released, material)
    assert not shown.stretch
    assert -1 <= float(shown.anonymized.min()) < float(shown.anonymized.max()) <= 1
    assert shown.keep_map is not None


def test_data_without_boxes_still_have_clips(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path, 2, 3, person_boxes={0: None})
    material = open_material(evaluation(folder, "raw"), 2, 2)
    assert material.persons is None
    assert "no person boxes" in material.without_persons
    assert len(material.raw) == 2


def test_data_that_are_gone_or_others_by_now_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the data set is gone: .*nowhere has no dataset.json"):
        open_material(replace_data(evaluation(folder, "raw"), tmp_path / "nowhere"), 1, 1)
    other = write_tiny_dataset(tmp_path / "other", 2, 2, seed=9)
    with pytest.raises(ValueError, match="holds other data than the evaluation was made on"):
        open_material(replace_data(evaluation(folder, "raw"), other), 1, 1)


def replace_data(one: Evaluation, folder: Path) -> Evaluation:
    return replace(one, run=replace(one.run, data=str(folder)))
