import dataclasses

import pytest
import torch
from torch import Tensor

from stprivacy.config import AugmentConfig, ClipConfig, TestViewsConfig
from stprivacy.views import (
    clip_starts,
    covering_size,
    crop_offsets,
    denormalize,
    draw_crop,
    evaluation_views,
    normalize,
    resize,
    shown_frames,
    take_frames,
    train_clip,
    train_start,
    view_frames,
)

CLIP = ClipConfig(frames=4, height_px=16, width_px=16, tubelet_frames=2, patch_size=8)
WHOLE_FRAME = AugmentConfig(crop_scale=(1.0, 1.0), crop_aspect=(1.0, 1.0), flip_probability=0.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered_video(frames: int, height: int = 16, width: int = 16) -> Tensor:
    """Frame i holds the grey level i."""
    return torch.arange(frames, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, height, width, 3)


def random_video(frames: int, height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (frames, height, width, 3), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("video_frames", "clips", "starts"),
    [
        (40, 5, [0, 6, 12, 18, 24]),  # i * (40 - 16) / 4
        (27, 5, [0, 2, 5, 8, 11]),  # i * 2.75, floored
        (16, 5, [0, 0, 0, 0, 0]),
        (9, 5, [0, 0, 0, 0, 0]),  # shorter than the clip
        (27, 1, [5]),  # one clip is centred
        (9, 1, [0]),
        (30, 2, [0, 14]),
    ],
)
def test_clips_spread_evenly_over_the_video(video_frames: int, clips: int, starts: list[int]) -> None:
    assert clip_starts(video_frames, 16, clips) == starts


@pytest.mark.parametrize(
    ("length", "crops", "offsets"),
    [(150, 3, [0, 19, 38]), (149, 3, [0, 18, 37]), (112, 3, [0, 0, 0]), (150, 1, [19]), (150, 2, [0, 38])],
)
def test_crops_spread_evenly_along_the_side(length: int, crops: int, offsets: list[int]) -> None:
    assert crop_offsets(length, 112, crops) == offsets


def test_short_videos_repeat_their_last_frame() -> None:
    video = numbered_video(3)
    assert take_frames(video, 0, 5)[:, 0, 0, 0].tolist() == [0, 1, 2, 2, 2]
    assert take_frames(video, 1, 2)[:, 0, 0, 0].tolist() == [1, 2]


@pytest.mark.parametrize(("start", "count"), [(0, 5), (1, 2), (2, 4), (0, 1)])
def test_shown_frames_are_those_that_are_taken(start: int, count: int) -> None:
    taken = take_frames(numbered_video(3), start, count)[:, 0, 0, 0]
    assert shown_frames(3, start, count).tolist() == taken.tolist()


@pytest.mark.parametrize("frames", [3, 4, 9])
def test_view_frames_are_those_of_the_views(frames: int) -> None:
    views = TestViewsConfig(clips=3, crops=2)
    pixels = denormalize(evaluation_views(numbered_video(frames), CLIP, views))[..., 0, 0, 0]
    assert view_frames(frames, CLIP, views).tolist() == pixels.tolist()


def test_training_starts_cover_every_place_inside_of_the_video() -> None:
    draws = {train_start(10, 4, generator(seed)) for seed in range(200)}
    assert draws == set(range(7))
    assert train_start(4, 4, generator()) == train_start(2, 4, generator()) == 0


def drawn_clip(video: torch.Tensor, clip: ClipConfig, augment: AugmentConfig, draws: torch.Generator) -> torch.Tensor:
    """A training clip from a drawn start."""
    return train_clip(video, train_start(len(video), clip.frames, draws), clip, augment, draws)


def test_training_clips_are_consecutive_frames() -> None:
    clip = denormalize(drawn_clip(numbered_video(20), CLIP, AugmentConfig(), generator(3)))[:, 0, 0, 0].tolist()
    assert clip == list(range(clip[0], clip[0] + 4))


def test_normalization_maps_black_and_white_to_minus_one_and_one_and_back() -> None:
    frames = torch.tensor([0, 255, 51], dtype=torch.uint8).reshape(1, 1, 1, 3)
    assert torch.allclose(normalize(frames).flatten(), torch.tensor([-1.0, 1.0, -0.6]))
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).expand(-1, -1, -1, 3)
    assert torch.equal(denormalize(normalize(levels)), levels)
    assert denormalize(torch.full((3, 1, 1, 1), 7.0)).unique().tolist() == [255]


def test_augmentation_repeats_for_the_same_generator_and_varies_between_generators() -> None:
    video = random_video(9, 24, 32)
    first, again, other = (drawn_clip(video, CLIP, AugmentConfig(), generator(seed)) for seed in (1, 1, 2))
    assert first.shape == (3, 4, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_augmentation_leaves_ambient_randomness_alone() -> None:
    state = torch.get_rng_state()
    drawn_clip(numbered_video(9), CLIP, AugmentConfig(), generator())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_flip_mirrors_every_frame_of_the_clip() -> None:
    video = random_video(6, 24, 32)
    plain, mirrored = (
        drawn_clip(video, CLIP, dataclasses.replace(AugmentConfig(), flip_probability=chance), generator(5))
        for chance in (0.0, 1.0)
    )
    assert torch.equal(plain.flip(-1), mirrored)


def test_the_whole_frame_at_its_own_size_passes_unchanged() -> None:
    video = random_video(4, 16, 16)
    assert torch.equal(denormalize(drawn_clip(video, CLIP, WHOLE_FRAME, generator())), video)


def test_random_crops_keep_to_the_ranges_of_area_and_aspect() -> None:
    augment = AugmentConfig(crop_scale=(0.3, 0.6), crop_aspect=(0.75, 4 / 3))
    for seed in range(100):
        top, left, height, width = draw_crop(240, 320, CLIP, augment, generator(seed))
        assert 0 <= top <= 240 - height
        assert 0 <= left <= 320 - width
        assert 0.29 < height * width / (240 * 320) < 0.61
        assert 0.74 < width / height < 1.35


def test_crops_are_as_often_wide_as_high() -> None:
    augment = AugmentConfig(crop_scale=(0.1, 0.2), crop_aspect=(0.5, 2.0))
    crops = [draw_crop(200, 200, CLIP, augment, generator(seed)) for seed in range(400)]
    # Standard error of the share: .025; were aspects uniform, and not their logarithms, it would be two thirds.
    assert sum(width > height for *_, height, width in crops) / 400 == pytest.approx(0.5, abs=0.08)


def test_crop_aspect_is_relative_to_the_clip() -> None:
    wide = ClipConfig(frames=4, height_px=16, width_px=32, tubelet_frames=2, patch_size=8)
    augment = AugmentConfig(crop_scale=(0.25, 0.25), crop_aspect=(1.0, 1.0))
    _, _, height, width = draw_crop(200, 200, wide, augment, generator())
    assert (height, width) == (71, 141)  # a quarter of the area, twice as wide as high


def test_where_no_random_crop_fits_the_largest_centred_one_is_taken() -> None:
    assert draw_crop(100, 400, CLIP, WHOLE_FRAME, generator()) == (0, 150, 100, 100)
    assert draw_crop(400, 100, CLIP, WHOLE_FRAME, generator()) == (150, 0, 100, 100)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(24, 32, (16, 21)), (32, 24, (21, 16)), (8, 8, (16, 16)), (17, 17, (16, 16))]
)
def test_frames_are_resized_until_their_short_side_is_the_clips(height: int, width: int, size: tuple[int, int]) -> None:
    assert covering_size(height, width, CLIP) == size


def test_frames_cover_clips_that_are_not_square() -> None:
    wide = ClipConfig(frames=4, height_px=16, width_px=32, tubelet_frames=2, patch_size=8)
    assert covering_size(24, 32, wide) == (24, 32)
    assert covering_size(24, 96, wide) == (16, 64)


def test_views_are_the_crops_of_each_clip_in_turn() -> None:
    video = random_video(12, 16, 30)
    views = denormalize(evaluation_views(video, CLIP, TestViewsConfig(clips=5, crops=3)))
    assert views.shape == (15, 4, 16, 16, 3)
    for clip, start in enumerate([0, 2, 4, 6, 8]):
        for crop, left in enumerate([0, 7, 14]):
            assert torch.equal(views[3 * clip + crop], video[start : start + 4, :, left : left + 16])


def test_views_of_a_tall_and_short_video_are_padded_and_cropped_along_its_height() -> None:
    video = random_video(2, 30, 16)
    views = denormalize(evaluation_views(video, CLIP, TestViewsConfig(clips=2, crops=3)))
    padded = video[[0, 1, 1, 1]]
    for view, top in zip(views, [0, 7, 14, 0, 7, 14], strict=True):
        assert torch.equal(view, padded[:, top : top + 16])


def test_one_view_is_the_centre() -> None:
    video = random_video(12, 16, 30)
    view = denormalize(evaluation_views(video, CLIP, TestViewsConfig(clips=1, crops=1)))
    assert torch.equal(view[0], video[4:8, :, 7:23])


def test_shrinking_averages_and_does_not_skip() -> None:
    stripes = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    stripes[:, :, 0::4] = stripes[:, :, 3::4] = 200  # black where one pixel of four, or two, would be looked at
    small = resize(stripes, 8, 8)
    assert small.shape == (1, 8, 8, 3)
    assert (small.float() - 100).abs().max() <= 15
