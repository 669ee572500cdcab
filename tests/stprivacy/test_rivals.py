"""The rivals that are not trained, each against its definition."""

import math

import pytest
import torch
from torch import Tensor

from stprivacy.anonymizers import (
    ANONYMIZERS,
    PURPOSES,
    AnonymizerName,
    RivalOptions,
    make_anonymizer,
    needs_person,
)
from stprivacy.anonymizers.obscure import gaussian_kernel
from stprivacy.config import ClipConfig, ModelConfig

MODEL = ModelConfig(clip=ClipConfig(frames=4, height_px=32, width_px=48))


def transform(name: AnonymizerName, video: Tensor, person: Tensor | None = None, **options: str) -> Tensor:
    out = make_anonymizer(name, MODEL, RivalOptions(**options))(video, person=person)
    assert out.video.shape == video.shape
    assert out.keep.shape == (len(video), 2, 6)
    assert out.keep.min() == 1  # nothing is abandoned
    return out.video


def a_video() -> Tensor:
    return torch.rand(2, 3, 4, 32, 48) * 2 - 1


def boxes() -> Tensor:
    """Another box in each clip, none in the second one's last frame."""
    person = torch.zeros(2, 1, 4, 32, 48)
    person[0, :, :, 5:20, 7:30] = 1
    person[1, :, :3, 0:32, 40:48] = 1
    return person


def test_the_kernel_is_the_gaussian_of_hand() -> None:
    """Three weights at sigma 1: e^-.5, 1, e^-.5 over their sum."""
    side = math.exp(-0.5)
    whole = 1 + 2 * side
    assert gaussian_kernel(3, 1.0).tolist() == pytest.approx([side / whole, 1 / whole, side / whole])


@pytest.mark.parametrize("size", [21, 13])
def test_kernels_of_the_rows_are_normalised_symmetric_and_as_wide_as_they_say(size: int) -> None:
    kernel = gaussian_kernel(size, 10.0)
    assert len(kernel) == size
    assert float(kernel.sum()) == pytest.approx(1.0)
    assert torch.equal(kernel, kernel.flip(0))
    reach = size // 2
    assert float(kernel[0] / kernel[reach]) == pytest.approx(math.exp(-(reach**2) / 200))


@pytest.mark.parametrize(("name", "size"), [("strong-blur", 21), ("weak-blur", 13)])
def test_a_point_becomes_the_kernel(name: AnonymizerName, size: int) -> None:
    video = torch.zeros(1, 3, 4, 32, 48)
    video[0, 1, 2, 15, 24] = 1.0
    out = transform(name, video, region="frame")
    kernel = [math.exp(-((i - size // 2) ** 2) / 200) for i in range(size)]
    expected = torch.zeros(32, 48)
    top, left = 15 - size // 2, 24 - size // 2
    for y in range(size):
        for x in range(size):
            expected[top + y, left + x] = kernel[y] * kernel[x] / sum(kernel) ** 2
    torch.testing.assert_close(out[0, 1, 2], expected, rtol=1e-4, atol=1e-8)
    assert out[0, (0, 2)].abs().sum() == out[0, 1, (0, 1, 3)].abs().sum() == 0  # nor other channels, nor other frames


def test_a_blur_mirrors_the_frame_at_its_border() -> None:
    """Reflected, without the border pixel twice: a point one pixel inside counts twice for the border itself."""
    video = torch.zeros(1, 3, 4, 32, 48)
    video[..., 16, 1] = 1.0
    out = transform("weak-blur", video, region="frame")
    kernel = gaussian_kernel(13, 10.0)
    assert float(out[0, 0, 0, 16, 0]) == pytest.approx(float(kernel[6] * (kernel[5] + kernel[7])))


def test_the_strong_blur_is_stronger() -> None:
    video = a_video()
    spread = [float(transform(name, video, region="frame").std()) for name in ("strong-blur", "weak-blur", "raw")]
    assert spread == sorted(spread)


def test_blackening_makes_exactly_the_boxes_black() -> None:
    video, person = a_video(), boxes()
    out = transform("blackening", video, person)
    inside = person.expand_as(video) == 1
    assert (out[inside] == -1).all()
    assert torch.equal(out[~inside], video[~inside])
    assert (transform("blackening", video, region="frame") == -1).all()


@pytest.mark.parametrize("name", ["strong-blur", "weak-blur"])
def test_blurs_change_exactly_the_boxes(name: AnonymizerName) -> None:
    video, person = a_video(), boxes()
    out = transform(name, video, person)
    inside = person.expand_as(video) == 1
    assert torch.equal(out[inside], transform(name, video, region="frame")[inside])
    assert torch.equal(out[~inside], video[~inside])
    assert (out != video)[inside].all()
    assert torch.equal(transform(name, video, torch.zeros_like(person)), video)


@pytest.mark.parametrize("name", ["blackening", "strong-blur", "weak-blur"])
def test_boxes_that_are_missing_are_one_clear_error(name: AnonymizerName) -> None:
    assert needs_person(name, "boxes")
    assert not needs_person(name, "frame")
    with pytest.raises(ValueError, match=r"needs masks of the persons: .* --detector hog or --boxes FILE; region"):
        transform(name, a_video())
    with pytest.raises(ValueError, match=r"person must be .* = \[2, 1, 4, 32, 48\], got \[2, 1, 4, 32, 32\]"):
        transform(name, a_video(), torch.zeros(2, 1, 4, 32, 32))


def test_a_blur_wider_than_the_frame_is_refused() -> None:
    model = ModelConfig(clip=ClipConfig(frames=4, height_px=8, width_px=48, patch_size=8))
    with pytest.raises(ValueError, match="21 x 21 pixels needs frames larger than 10 pixels, got 8 x 48"):
        make_anonymizer("strong-blur", model, RivalOptions("frame"))(torch.zeros(1, 3, 4, 8, 48))


@pytest.mark.parametrize("name", ["downsample-2x", "downsample-4x"])
def test_a_constant_survives_downsampling_and_a_checkerboard_becomes_its_mean(name: AnonymizerName) -> None:
    constant = torch.full((1, 3, 4, 32, 48), 0.3)
    torch.testing.assert_close(transform(name, constant), constant)
    board = (torch.arange(32).unsqueeze(1) + torch.arange(48)) % 2 * 2.0 - 1
    assert transform(name, board.expand(1, 3, 4, -1, -1)).abs().max() < 1e-6


def test_downsampling_by_two_of_hand() -> None:
    """A white column at x = 4: down, columns of pairs are 0, 0, .5, 0...; up, each pixel is 3/4 of the nearer one."""
    video = torch.zeros(1, 3, 4, 32, 48)
    video[..., 4] = 1.0
    row = transform("downsample-2x", video)[0, 0, 0, 9]
    assert row[:9].tolist() == pytest.approx([0, 0, 0, 0.125, 0.375, 0.375, 0.125, 0, 0])


def test_downsampling_by_four_of_hand() -> None:
    """A white column at x = 5, one of the two middle ones of its four: down .5; up, odd eighths of it and back."""
    video = torch.zeros(1, 3, 4, 32, 48)
    video[..., 5] = 1.0
    row = transform("downsample-4x", video)[0, 0, 0, 9]
    weights = [1 / 8, 3 / 8, 5 / 8, 7 / 8, 7 / 8, 5 / 8, 3 / 8, 1 / 8]
    assert row[2:10].tolist() == pytest.approx([weight / 2 for weight in weights])
    assert row[10:].abs().max() == 0


def test_downsampling_repeats_pixels_in_mode_nearest() -> None:
    video = a_video()
    out = transform("downsample-2x", video, resize_mode="nearest")
    assert torch.equal(out, video[..., ::2, ::2].repeat_interleave(2, -1).repeat_interleave(2, -2))


def test_collective_style_keeps_the_luma_of_neighbourhoods_alone() -> None:
    red = torch.tensor([1.0, -1.0, -1.0]).reshape(1, 3, 1, 1, 1).expand(1, 3, 4, 32, 48)
    torch.testing.assert_close(transform("collective-style", red), torch.full((1, 3, 4, 32, 48), 0.299 - 0.587 - 0.114))
    point = torch.zeros(1, 3, 4, 32, 48)
    point[:, :, 2, 16, 24] = 1.0
    out = transform("collective-style", point)
    assert out.nonzero().tolist() == [
        [0, c, t, y, x] for c in range(3) for t in (1, 2, 3) for y in (15, 16, 17) for x in (23, 24, 25)
    ]
    torch.testing.assert_close(out[0, 0, 1:, 15:18, 23:26], torch.full((3, 3, 3), 1 / 27))


def test_collective_style_is_fixed() -> None:
    video = a_video()
    torch.testing.assert_close(transform("collective-style", video), transform("collective-style", video))
    assert not list(make_anonymizer("collective-style", MODEL).parameters())


def test_every_anonymizer_has_a_purpose_and_an_unknown_one_lists_them() -> None:
    assert list(PURPOSES) == list(ANONYMIZERS)
    with pytest.raises(ValueError, match=r"unknown anonymizer 'blackning'; known are raw, downsample-2x, .*motion-sel"):
        make_anonymizer("blackning", MODEL)  # type: ignore[arg-type]


@pytest.mark.parametrize("option", [{"region": "box"}, {"resize_mode": "cubic"}])
def test_unknown_options_list_the_known_ones(option: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"must be one of (boxes, frame|bilinear, bicubic, nearest, area), got '"):
        RivalOptions(**option)  # type: ignore[arg-type]
