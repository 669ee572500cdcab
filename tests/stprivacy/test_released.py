"""What a recipient holds: frames through H.264 and back."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stprivacy.anonymizers import Identity, STPrivacy
from stprivacy.anonymizers.as_released import AsReleased, h264_round_trip, release, value_range
from stprivacy.config import ModelConfig
from stprivacy.tubelets import expand_keep
from stprivacy.video.sampled import read_video
from stprivacy.views import normalize
from tests.support.places import CLIPS
from tests.support.tiny import CLIP, MODEL

NATURAL = CLIPS / "mmaction2_demo.mp4"


def psnr(frames: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    error = np.mean((frames.astype(float) - other.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / error))


def drawn(height: int = 64) -> NDArray[np.uint8]:
    """A bright square that moves over a grainy wall."""
    grain = np.random.default_rng(0).normal(0, 20, (1, height, 64, 1))
    frames = np.tile((np.linspace(60, 180, 64)[None, None, :, None] + grain).clip(0, 255), (8, 1, 1, 3)).astype(
        np.uint8
    )
    for t in range(8):
        frames[t, 8 + 4 * t : 24 + 4 * t, 20:40] = (220, 120, 40)
    return frames


@pytest.mark.parametrize("natural", [False, True])
def test_a_lower_constant_rate_factor_gives_a_better_copy(natural: bool) -> None:
    if natural and not NATURAL.exists():
        pytest.skip(f"no natural video: {NATURAL} is not there")
    frames = read_video(NATURAL, stride=2, short_side_px=64).frames[:16, :64, :64] if natural else drawn()
    copies = [h264_round_trip(frames, quality) for quality in (10, 23, 40)]
    assert all(copy.shape == frames.shape and copy.dtype == np.uint8 for copy in copies)
    best, middle, worst = (psnr(frames, copy) for copy in copies)
    assert best > middle + 2 > middle > worst + 2
    assert best > 30


def test_the_same_frames_give_the_same_copy_and_every_frame_stays_in_its_place() -> None:
    frames = drawn()
    copy = h264_round_trip(frames, 23)
    assert np.array_equal(copy, h264_round_trip(frames, 23))
    for t, frame in enumerate(copy):
        nearest = min(range(8), key=lambda other: np.abs(frame.astype(int) - frames[other]).mean())
        assert nearest == t


def test_tiny_clips_too_are_encoded_alike_whatever_was_in_memory_before() -> None:
    """With x264's macroblock tree about one in a hundred is not."""
    rng = np.random.default_rng(0)
    for _ in range(150):
        frames = rng.integers(0, 255, (4, 32, 32, 3)).astype(np.uint8)
        copy = h264_round_trip(frames, 40)
        rng.integers(0, 255, (4, 200, 32))
        assert np.array_equal(copy, h264_round_trip(frames, 40))


def test_sizes_and_qualities_that_h264_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="even heights and widths, got 63x64"):
        h264_round_trip(drawn(63), 23)
    with pytest.raises(ValueError, match=r"released_quality must be in 0\.\.51, .* got 52"):
        h264_round_trip(drawn(), 52)


def test_abandoned_tubelets_are_released_black_and_kept_ones_as_they_are() -> None:
    video = normalize(torch.from_numpy(drawn()))[:, :4, :32, :32].unsqueeze(0)
    keep = torch.tensor([[[1.0, 0, 1, 1], [0, 1, 1, 1]]])
    seen = release(video, keep, CLIP, quality=10, value_range=1.0)
    kept = expand_keep(keep, CLIP.grid, CLIP.tubelet_frames, CLIP.patch_size).expand_as(video) > 0.5
    # Pixels beside an edge share their colour with its other side: most are what they were.
    assert seen[~kept].quantile(0.9) < -0.9
    assert (seen - video)[kept].abs().median() < 0.05


def test_an_output_without_a_natural_range_is_written_over_three_standard_deviations() -> None:
    assert value_range(MODEL) == 3.0
    assert value_range(ModelConfig()) == 1.0
    video = 2.5 * normalize(torch.from_numpy(drawn()))[:, :4, :32, :32].unsqueeze(0)
    keep = torch.ones(1, 2, 4)
    wide, narrow = (release(video, keep, CLIP, 10, limit) for limit in (3.0, 1.0))
    assert (wide - video).abs().median() < 0.15
    assert narrow.max() <= 1.0


def test_the_released_anonymizer_hands_on_the_mask_and_is_what_it_was() -> None:
    model = STPrivacy(MODEL).eval()
    released = AsReleased(model, CLIP, 23, value_range(MODEL))
    video = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        own, copy = model(video, keep_ratio=0.5), released(video, keep_ratio=0.5)
    assert torch.equal(own.keep, copy.keep)
    assert copy.video.shape == own.video.shape
    raw = AsReleased(Identity(CLIP), CLIP, 0)(video.clamp(-1, 1)).video
    assert raw.abs().max() <= 1.0
