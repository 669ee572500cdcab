"""Person masks: a white square of a known box lies where the mask is 1, whatever was done to the clip."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from stprivacy.config import AugmentConfig, ClipConfig, TestViewsConfig
from stprivacy.regions import Window, cut_window, person_mask, shows_person, view_windows
from stprivacy.views import Cut, cut_clip, draw_cut, evaluation_views, shown_frames, view_frames

CLIP = ClipConfig(frames=4, height_px=32, width_px=32)
WHOLE = Window(0.0, 0.0, 1.0, 1.0)


def walking_square(frames: int, height: int, width: int, side: int) -> tuple[Tensor, Tensor]:
    """A white square on black that moves right and down: video [t h w 3] and boxes [t 1 4]."""
    video = torch.zeros(frames, height, width, 3, dtype=torch.uint8)
    boxes = torch.zeros(frames, 1, 4)
    for frame in range(frames):
        y, x = frame * (height - side) // (frames - 1), frame * (width - side) // (frames - 1)
        video[frame, y : y + side, x : x + side] = 255
        boxes[frame, 0] = torch.tensor([x / width, y / height, (x + side) / width, (y + side) / height])
    return video, boxes


def assert_mask_is_the_square(clip: Tensor, mask: Tensor) -> None:
    """Bright inside of the mask and dark outside; resized edges and corners are grey, and only they are in doubt."""
    assert mask.shape == (1, *clip.shape[1:])
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    wrong = (clip[:1] > 0) != (mask > 0)
    assert (clip[:1][wrong].abs() < 0.6).all()
    assert wrong.sum() <= 0.04 * mask.sum()


def positions(height: int, width: int) -> Tensor:
    """A frame whose red tells the x and whose green the y of each pixel's centre, 0 to 255 across the frame."""
    x, y = (torch.arange(width) + 0.5) / width, (torch.arange(height) + 0.5) / height
    frame = torch.stack([x.expand(height, -1), y.unsqueeze(1).expand(-1, width), torch.zeros(height, width)], dim=-1)
    return frame.mul(255).round().byte()


@pytest.mark.parametrize("size", [(48, 64), (32, 32), (60, 40)])
@pytest.mark.parametrize("flip_probability", [0.0, 1.0])
def test_training_masks_follow_crop_resize_and_mirror(size: tuple[int, int], flip_probability: float) -> None:
    video, boxes = walking_square(7, *size, side=14)
    augment = AugmentConfig(crop_scale=(0.3, 1.0), flip_probability=flip_probability)
    covered = 0
    for seed in range(40):
        cut = draw_cut(*size, CLIP, augment, torch.Generator().manual_seed(seed))
        assert cut.mirrored == bool(flip_probability)
        start = seed % 5  # from 4 on, the last frame is repeated
        mask = person_mask(boxes[shown_frames(7, start, 4)], cut_window(cut, *size), CLIP)
        assert_mask_is_the_square(cut_clip(video, start, CLIP, cut), mask)
        covered += int(mask.sum())
    assert covered > 40 * 4 * 30


@pytest.mark.parametrize("size", [(48, 64), (32, 32), (60, 40)])
def test_every_pixel_is_where_its_color_comes_from(size: tuple[int, int]) -> None:
    """Bilinear resizing keeps a ramp of positions: its colors say where a pixel's centre lay, to a grey level."""
    video = positions(*size).expand(4, -1, -1, -1)
    box = torch.tensor([0.3, 0.2, 0.7, 0.9])
    for seed in range(40):
        cut = draw_cut(*size, CLIP, AugmentConfig(crop_scale=(0.3, 1.0)), torch.Generator().manual_seed(seed))
        clip = cut_clip(video, 0, CLIP, cut).add(1).div(2)[:, :, 1:-1, 1:-1]  # at the border there is no ramp
        mask = person_mask(box.expand(4, 1, 4), cut_window(cut, *size), CLIP)[:, :, 1:-1, 1:-1]
        distance = torch.stack([clip[0] - box[0], box[2] - clip[0], clip[1] - box[1], box[3] - clip[1]]).amin(0)
        sure = distance.abs() > 2 / 255
        assert torch.equal((distance > 0)[sure], (mask[0] > 0)[sure])
        assert sure.float().mean() > 0.9


@pytest.mark.parametrize("size", [(48, 64), (32, 32), (80, 41), (24, 20)])
def test_every_test_view_has_its_mask(size: tuple[int, int]) -> None:
    video, boxes = walking_square(9, *size, side=10)
    views = TestViewsConfig(clips=3, crops=3)
    windows, shown = view_windows(*size, CLIP, views), view_frames(9, CLIP, views)
    clips = evaluation_views(video, CLIP, views)
    assert len(windows) == len(shown) == len(clips) == 9
    for clip, window, frames in zip(clips, windows, shown, strict=True):
        assert_mask_is_the_square(clip, person_mask(boxes[frames], window, CLIP))


def test_a_mirrored_mask_is_the_mask_mirrored() -> None:
    _, boxes = walking_square(4, 48, 64, side=14)
    cut = Cut(5, 9, 30, 40, mirrored=False)
    plain, mirrored = (person_mask(boxes, cut_window(one, 48, 64), CLIP) for one in (cut, replace(cut, mirrored=True)))
    assert torch.equal(mirrored, plain.flip(-1))
    assert not torch.equal(mirrored, plain)


def test_pixels_are_inside_when_their_centres_are() -> None:
    boxes = torch.tensor([[[0.0, 0.5, 2.4 / 32, 1.0]], [[2.6 / 32, 0.0, 1.0, 0.5]], [[0.3, 0.3, 0.3, 0.9]], [[0] * 4]])
    mask = person_mask(boxes, WHOLE, CLIP)[0]
    assert mask[0].nonzero().tolist() == [[y, x] for y in range(16, 32) for x in range(2)]
    assert mask[1].nonzero().tolist() == [[y, x] for y in range(16) for x in range(3, 32)]
    assert mask[2:].sum() == 0  # boxes without extent


def test_several_boxes_of_a_frame_are_joined() -> None:
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.25, 0.25, 0.75, 0.75]]).expand(4, 2, 4)
    joined = person_mask(boxes, WHOLE, CLIP)
    apart = [person_mask(boxes[:, i : i + 1], WHOLE, CLIP) for i in range(2)]
    assert torch.equal(joined, torch.maximum(*apart))
    assert joined.sum() == 4 * (2 * 256 - 64)


def test_a_video_shows_a_person_if_any_view_does() -> None:
    views = TestViewsConfig(clips=1, crops=1)  # the centre of a wide frame
    windows = view_windows(32, 96, CLIP, views)
    for box, seen in (([0.0, 0.0, 0.3, 1.0], False), ([0.0, 0.0, 0.4, 1.0], True), ([0.0] * 4, False)):
        boxes = torch.zeros(1, 4, 2, 4)
        boxes[0, 2, 1] = torch.tensor(box)
        assert shows_person(boxes, windows, CLIP) == seen
        assert bool(person_mask(boxes[0], windows[0], CLIP).any()) == seen
    assert not shows_person(torch.zeros(1, 4, 0, 4), windows, CLIP)
    assert person_mask(torch.zeros(4, 0, 4), WHOLE, CLIP).shape == (1, 4, 32, 32)
