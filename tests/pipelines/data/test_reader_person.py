"""Person masks of batches: asked for, of the same clip, carried along, and refused where boxes are missing."""

from pathlib import Path

import pytest
import torch

from pipelines.data.index import VideoIndex
from pipelines.data.reader import ParquetClips
from stprivacy.config import AugmentConfig, ClipConfig, TestViewsConfig
from tests.support.shard_fixtures import write_tiny_dataset

CLIP = ClipConfig(frames=4, height_px=32, width_px=32)


def clips(folder: Path, person_regions: bool = True, views: TestViewsConfig = TestViewsConfig(2, 3)) -> ParquetClips:
    return ParquetClips(folder, CLIP, AugmentConfig(), views, seed=3, person_regions=person_regions)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of 2, 6 and 16 frames; the square is brighter (>= 150) than any background (<= 105)."""
    return write_tiny_dataset(tmp_path_factory.mktemp("tiny"), 9, 4, frames=(16, 2, 6), height=48, width=60)


def test_masks_lie_on_the_squares_of_training_clips_and_test_views(folder: Path) -> None:
    batches = [batch for epoch in range(3) for batch in clips(folder).train_batches(epoch, 0, 4)]
    batches += [test.batch for test in clips(folder).test_batches(2)]
    middle = 127.5 / 127.5 - 1  # grey level 127.5
    assert len(batches) == 11
    for batch in batches:
        assert batch.person is not None
        assert batch.person.shape == (len(batch.video), 1, 4, 32, 32)
        assert batch.person.dtype == torch.float32
        bright = batch.video.mean(1, keepdim=True) > middle
        # The edge of a square that is not white on black lies off the middle by less than a pixel.
        inner = -torch.nn.functional.max_pool3d(-batch.person, (1, 3, 3), 1, (0, 1, 1))
        outer = torch.nn.functional.max_pool3d(batch.person, (1, 3, 3), 1, (0, 1, 1))
        assert (bright >= (inner > 0)).all()
        assert (bright <= (outer > 0)).all()
        assert batch.person.any()


def test_clips_are_the_same_with_and_without_masks(folder: Path) -> None:
    for asked, plain in zip(
        clips(folder).train_batches(1, 0, 4), clips(folder, False).train_batches(1, 0, 4), strict=True
    ):
        assert torch.equal(asked.video, plain.video)
        assert plain.person is None


def test_masks_go_along_to_the_device_and_into_the_parts_of_a_batch(folder: Path) -> None:
    batch = next(clips(folder).train_batches(0, 0, 5))
    moved = batch.to(torch.device("cpu"))
    parts = moved.split(2)
    assert torch.equal(torch.cat([part.person for part in parts]), batch.person)
    assert [len(part.person) for part in parts] == [3, 2]
    plain = next(clips(folder, False).train_batches(0, 0, 5))
    assert [part.person for part in plain.to(torch.device("cpu")).split(2)] == [None, None]


def test_masks_show_the_frames_that_are_shown(tmp_path: Path) -> None:
    """Only the last of six frames has a box: no clip that starts before it has it in its first frames."""
    box = [[0.0, 0.0, 1.0, 1.0]]
    folder = write_tiny_dataset(
        tmp_path, 2, 1, frames=6, height=32, width=32, person_boxes={row: [*[[]] * 5, box] for row in range(3)}
    )
    (test,) = clips(folder, views=TestViewsConfig(clips=3, crops=1)).test_batches(1)
    shown = test.batch.person.flatten(3).amax(-1).squeeze(1)
    assert shown.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert test.frame_index[2].tolist() == [2, 3, 4, 5]


def test_videos_without_a_person_in_any_view_are_counted(tmp_path: Path) -> None:
    corner = [[0.0, 0.0, 0.05, 0.05]]  # outside of the centre crop of a wide frame
    folder = write_tiny_dataset(tmp_path, 2, 4, width=96, person_boxes={2: [[]] * 16, 3: [corner] * 16, 0: [[]] * 16})
    source = clips(folder, views=TestViewsConfig(clips=2, crops=1))
    assert source.test_videos_without_person() == 2
    empty = [not batch.person.any() for test in source.test_batches(1) for batch in [test.batch]]
    assert empty == [True, True, False, False]
    assert clips(folder, views=TestViewsConfig(clips=2, crops=3)).test_videos_without_person() == 1


def test_masks_of_the_clips_for_figures_are_those_of_the_centred_view(folder: Path) -> None:
    source = clips(folder, views=TestViewsConfig(clips=1, crops=1))
    batches = [test.batch for test in source.test_batches(2)]
    masks = torch.cat([batch.person for batch in batches])
    assert torch.equal(source.test_persons([3, 0]), masks[[3, 0]])
    assert torch.equal(source.test_clips([3, 0]), torch.cat([batch.video for batch in batches])[[3, 0]])
    assert masks.any()


@pytest.mark.parametrize("boxes", [None, [], [[[0.1, 0.1, 0.2, 0.2]]]])
def test_a_data_set_without_boxes_says_what_to_run(tmp_path: Path, boxes: object) -> None:
    folder = write_tiny_dataset(tmp_path, 3, 1, person_boxes={1: boxes})
    assert clips(folder, person_regions=False).train_size() == 3
    with pytest.raises(
        ValueError,
        match=r"parquet, video up/0001.mp4: it has no person boxes for each of its 16 frames. Ingest into another "
        r"--out with jobs/ingest.py and --detector hog or --boxes FILE; .* jobs/evaluate.py --region frame",
    ):
        clips(folder)


def test_the_index_pads_frames_with_fewer_boxes(tmp_path: Path) -> None:
    one, two = [[0.5, 0.25, 0.75, 1.0]], [[0.0, 0.0, 0.5, 0.5], [0.25, 0.0, 1.0, 1.0]]
    folder = write_tiny_dataset(tmp_path, 1, 0, frames=4, person_boxes={0: [one, two, [], one]})
    boxes = VideoIndex(folder, person_regions=True).rows[0].boxes
    zeros = [0.0] * 4
    assert boxes.tolist() == [[*one, zeros], two, [zeros, zeros], [*one, zeros]]
    assert VideoIndex(folder).rows[0].boxes.shape == (4, 0, 4)
