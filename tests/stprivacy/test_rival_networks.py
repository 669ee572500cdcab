"""VITA's and SPAct's networks: their papers' sizes, frames by themselves, pixels in range."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from stprivacy.anonymizers import LEARNED, FrameAnonymizer, ITNet, UNet
from stprivacy.config import ClipConfig, ModelConfig
from tests.support.tiny import MODEL

RIVALS: list[type[ITNet] | type[UNet]] = [ITNet, UNet]
SMALL = replace(MODEL, vita_width=0.125, spact_width=0.125)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def conv(size: int, inputs: int, outputs: int) -> int:
    """Weights of a convolution without bias, and the scale and shift of its norm."""
    return size * size * inputs * outputs + 2 * outputs


def test_itnet_has_its_papers_layers() -> None:
    around = conv(9, 3, 32) + (81 * 32 * 3 + 3)
    scales = 2 * (9 * 32 * 64 + 9 * 64 * 128) + 2 * (64 + 128) + 2 * (64 + 32)
    assert parameters(ITNet(ModelConfig())) == around + scales + 5 * 2 * conv(3, 128, 128) == 1_677_635


def test_unet_has_its_papers_layers() -> None:
    down = sum(conv(3, a, b) + conv(3, b, b) for a, b in [(3, 64), (64, 128), (128, 256), (256, 512), (512, 512)])
    up = sum(
        conv(3, joined, joined // 2) + conv(3, joined // 2, out)
        for joined, out in [(512 + 512, 256), (256 + 256, 128), (128 + 128, 64), (64 + 64, 64)]
    )
    assert parameters(UNet(ModelConfig())) == down + up + (64 * 3 + 3) == 17_263_107


def test_widths_are_settings_of_their_own() -> None:
    half = ModelConfig(vita_width=0.5)
    widths = {block[0].out_channels for block in ITNet(half).network if isinstance(block, nn.Sequential)}
    assert widths == {16, 32, 64}
    assert parameters(UNet(half)) == parameters(UNet(ModelConfig()))
    with pytest.raises(ValueError, match="spact_width must be positive, got 0"):
        ModelConfig(spact_width=0)


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("size", [(4, 32, 32), (2, 16, 48), (6, 64, 32)])
def test_any_size_that_the_tubelet_divides_keeps_its_shape_and_all_tubelets(
    rival: type[FrameAnonymizer], size: tuple[int, int, int]
) -> None:
    anonymized = rival(SMALL)(torch.randn(2, 3, *size), keep_ratio=0.3)
    assert anonymized.video.shape == (2, 3, *size)
    assert torch.equal(anonymized.keep, torch.ones(2, size[0] // 2, size[1] * size[2] // 256))
    assert anonymized.stage_keeps == (anonymized.keep,)


@pytest.mark.parametrize(("rival", "multiple"), [(ITNet, 4), (UNet, 16)])
def test_a_size_that_the_network_cannot_halve_is_refused(rival: type[FrameAnonymizer], multiple: int) -> None:
    fine = replace(SMALL, clip=ClipConfig(frames=4, height_px=32, width_px=32, patch_size=2))
    with pytest.raises(ValueError, match=rf"34x32 pixels: \w+ takes multiples of {multiple}"):
        rival(fine)(torch.randn(1, 3, 4, 34, 32))
    with pytest.raises(ValueError, match="cannot be cut into tubelets of 2 frames"):
        rival(SMALL)(torch.randn(1, 3, 3, 32, 32))


@pytest.mark.parametrize("rival", RIVALS)
def test_every_frame_is_redrawn_by_itself(rival: type[FrameAnonymizer]) -> None:
    model, video = rival(SMALL).eval(), torch.randn(2, 3, 4, 32, 32)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(model(video[:, :, order]).video, model(video).video[:, :, order])
    changed = video.clone()
    changed[1, :, 2] = 0
    same = (model(changed).video == model(video).video).flatten(3).all(-1).all(1)  # b t
    assert same.tolist() == [[True] * 4, [True, True, False, True]]


@pytest.mark.parametrize("rival", RIVALS)
def test_pixels_stay_in_the_range_of_frames(rival: type[FrameAnonymizer]) -> None:
    redrawn = rival(SMALL)(50 * torch.randn(2, 3, 4, 32, 32)).video
    assert redrawn.abs().max() <= 1
    assert redrawn.min() < 0 < redrawn.max()


def test_rivals_abandon_nothing_whatever_the_configured_ratio() -> None:
    assert MODEL.keep_ratio == 0.7
    assert {name: make(SMALL).config.keep_ratio for name, make in LEARNED.items()} == {
        "stprivacy": 0.7,
        "vita": 1.0,
        "spact": 1.0,
    }
