"""Attackers: each reads what leaks to it, and nothing that it is not shown."""

from collections.abc import Callable

import pytest
import torch
from einops import rearrange
from torch import Tensor, nn
from torchvision.models import resnet18
from torchvision.models.video import r3d_18

from stprivacy.attackers import (
    ATTACKERS,
    AttackerSettings,
    Fitted,
    Reconstructed,
    attacker_names,
    epoch_factor,
)
from stprivacy.attackers.convolutional import FrameCnn, frame_max, frame_mean
from stprivacy.attackers.pooled import Pooled
from stprivacy.attackers.reconstruction import Reconstruction, recovery_loss, recovery_quality
from stprivacy.config import ClipConfig, RecognizerConfig
from stprivacy.metrics.ranking import average_precisions
from stprivacy.models.recognizer import Recognizer
from stprivacy.noise import ClipNoise
from stprivacy.tubelets import expand_keep, from_tubelets, to_tubelets
from tests.support.tiny import CLIP, RECOGNIZER

SETTINGS = AttackerSettings(RECOGNIZER, CLIP, outputs=1, whitened_components=32)
CLIPS = 48
EVERYTHING = torch.ones(CLIPS, 2, 4)


def make(name: str, outputs: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return ATTACKERS[name](AttackerSettings(RECOGNIZER, CLIP, outputs, 32))


def logits_of(read: Tensor | Reconstructed) -> Tensor:
    return read.logits if isinstance(read, Reconstructed) else read


def learn(module: nn.Module, video: Tensor, keep: Tensor, labels: Tensor, raw: Tensor, steps: int) -> float:
    """Train on half of the clips; AP in % on the other half."""
    half = len(video) // 2
    if isinstance(module, Fitted):
        statistics = module.statistics(torch.device("cpu"))
        statistics.add(video[:half], keep[:half])
        module.fit(statistics)
    optimizer = torch.optim.AdamW(module.parameters(), lr=5e-3)
    for _ in range(steps):
        read = module(video[:half], keep[:half], ClipNoise(0, 0, range(half)))
        loss = nn.functional.binary_cross_entropy_with_logits(logits_of(read), labels[:half])
        if isinstance(read, Reconstructed):
            loss = loss + recovery_loss(read.video, raw[:half])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        probabilities = logits_of(module.eval()(video[half:], keep[half:])).sigmoid()
    return 100 * float(average_precisions(probabilities, labels[half:]))


def random_labels(seed: int = 0) -> Tensor:
    """As many ones as zeros in each half."""
    generator = torch.Generator().manual_seed(seed)
    half = torch.tensor([0.0, 1.0]).repeat(CLIPS // 4)
    return torch.cat([half[torch.randperm(len(half), generator=generator)] for _ in range(2)]).unsqueeze(1)


def in_pixels(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The label is a brighter patch somewhere, in all frames."""
    video = 0.3 * torch.randn(CLIPS, 3, 4, 32, 32)
    video[:, :, :, 4:14, 4:14] += (2 * labels - 1).reshape(-1, 1, 1, 1, 1)
    return video, EVERYTHING


def in_mask(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The label is which of two tubelets was abandoned; the pixels are noise."""
    keep = (torch.rand(CLIPS, 2, 4) < 0.7).float()
    keep[:, 0, 0], keep[:, 1, 3] = labels[:, 0], 1 - labels[:, 0]
    return torch.randn(CLIPS, 3, 4, 32, 32), keep


@pytest.mark.parametrize("name", [name for name in ATTACKERS if name != "mask"])
def test_each_attacker_of_pixels_reads_a_patch_of_brightness(name: str) -> None:
    labels = random_labels()
    video, keep = in_pixels(labels)
    assert learn(make(name), video, keep, labels, raw=video, steps=25) > 90


def test_the_mask_attacker_reads_labels_that_are_in_the_mask_only() -> None:
    labels = random_labels()
    video, keep = in_mask(labels)
    assert learn(make("mask"), video, keep, labels, video, steps=60) > 97
    hidden, _ = in_pixels(labels)
    assert learn(make("mask"), hidden, EVERYTHING, labels, hidden, steps=60) == pytest.approx(50)


def test_the_mask_attacker_looks_at_no_pixel() -> None:
    model = make("mask")
    nn.init.normal_(model.head.weight)
    keep = (torch.rand(2, 2, 4) < 0.5).float()
    video = torch.randn(2, 3, 4, 32, 32)
    assert torch.equal(model(video, keep), model(video[:, :, torch.randperm(4)].flip(-1), keep))
    with pytest.raises(ValueError, match=r"reads grids of \(2, 2, 2\), got \(2, 4, 2\)"):
        model(torch.randn(2, 3, 4, 64, 32), torch.ones(2, 2, 8))


def untrained(name: str) -> nn.Module:
    """With a head that lets through what it reads; in evaluation mode."""
    model = make(name)
    for part in model.modules():
        head = getattr(part, "head", None)
        if isinstance(head, nn.Linear):
            nn.init.normal_(head.weight)
    return model.eval()


@pytest.mark.parametrize("name", list(ATTACKERS))
def test_no_attacker_sees_an_abandoned_tubelet(name: str) -> None:
    model, keep = untrained(name), (torch.rand(2, 2, 4) < 0.5).float()
    video = torch.randn(2, 3, 4, 32, 32)
    hidden = 1 - expand_keep(keep, CLIP.grid, CLIP.tubelet_frames, CLIP.patch_size)
    with torch.no_grad():
        shown, other = model(video, keep), model(video + 5 * hidden, keep)
    torch.testing.assert_close(logits_of(other), logits_of(shown), rtol=1e-4, atol=1e-5)


def test_the_order_of_tubelets_says_nothing_to_the_pooled_probe_and_does_to_the_others() -> None:
    tubelets = to_tubelets(torch.randn(2, 3, 4, 32, 32), CLIP.tubelet_frames, CLIP.patch_size)
    order = torch.randperm(8)
    videos = [
        from_tubelets(part, CLIP.grid, CLIP.tubelet_frames, CLIP.patch_size) for part in (tubelets, tubelets[:, order])
    ]
    keep = (torch.rand(2, 8) < 0.7).float()
    keeps = [rearrange(part, "b (l n) -> b l n", l=2) for part in (keep, keep[:, order])]
    for name in ("pooled", "standard", "cnn3d"):
        model = untrained(name)
        one, other = (model(video, mask).detach() for video, mask in zip(videos, keeps, strict=True))
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4) == (name == "pooled")


def test_the_pooled_probe_sees_mean_and_standard_deviation_of_the_kept_tubelets() -> None:
    model = make("pooled")
    tubelets = torch.randn(1, 8, CLIP.tubelet_values)
    video = from_tubelets(tubelets, CLIP.grid, CLIP.tubelet_frames, CLIP.patch_size)
    keep = torch.tensor([[[1.0, 0, 1, 0], [0, 0, 0, 1]]])
    kept = tubelets[:, [0, 2, 7]]
    expected = torch.cat([kept.mean(1), kept.std(1, correction=0)], 1)
    torch.testing.assert_close(model.pool(video, keep), expected)
    assert not model.pool(video, torch.zeros_like(keep)).any()


def test_the_pooled_probe_standardises_its_features_by_the_clips_it_was_fitted_to() -> None:
    small = ClipConfig(frames=2, height_px=8, width_px=8, tubelet_frames=2, patch_size=4)
    values = small.tubelet_values
    model = Pooled(small, 2 * values)
    nn.init.eye_(model.head.weight)  # so that the logits are what the layer sees
    video = 5.0 + 3.0 * torch.randn(40, 3, 2, 8, 8)
    video[:, :, :, 0::4] = 0.5  # a row of every tubelet never changes
    keep = torch.ones(40, 1, 4)
    statistics = model.statistics(torch.device("cpu"))
    statistics.add(video[:10], keep[:10])
    statistics.add(video[10:], keep[10:])
    model.fit(statistics)
    seen = model(video, keep).detach()
    still = model.pool(video, keep).std(0) < 1e-6
    assert 0 < still.float().mean() < 1
    torch.testing.assert_close(seen.mean(0), torch.zeros(2 * values), rtol=0, atol=1e-4)
    torch.testing.assert_close(seen[:, ~still].std(0, correction=0), torch.ones(int((~still).sum())), rtol=0, atol=1e-4)
    assert not seen[:, still].any()


def test_frames_are_joined_by_mean_or_by_the_highest() -> None:
    video, keep = torch.randn(2, 3, 4, 32, 32), torch.ones(2, 2, 4)
    for make_one, join in ((frame_mean, torch.mean), (frame_max, torch.amax)):
        torch.manual_seed(0)
        model = make_one(AttackerSettings(RECOGNIZER, CLIP, 3)).eval()
        assert isinstance(model, FrameCnn)
        nn.init.normal_(model.head.weight)
        of_frames = torch.stack([model.of_frames(video[:, :, [t]])[:, 0] for t in range(4)], 1)
        torch.testing.assert_close(model(video, keep), join(of_frames, 1), rtol=1e-4, atol=1e-5)


class Brightness(FrameCnn):
    """A frame's logit is its mean brightness."""

    def of_frames(self, video: Tensor) -> Tensor:
        return video.mean((1, 3, 4)).unsqueeze(-1)


def test_training_reads_one_frame_of_each_slot() -> None:
    video = torch.tensor([0.0, 1.0, 10.0, 30.0]).view(1, 1, 4, 1, 1).expand(64, 3, 4, 32, 32)
    keep = torch.ones(64, 2, 4)
    model = Brightness(CLIP, 1, 16, 1, "max")
    read = model(video, keep, ClipNoise(0, 0, range(64)))
    assert set(read.flatten().tolist()) == {10.0, 30.0}  # the higher of a draw from (0, 1) and one from (10, 30)
    mean = Brightness(CLIP, 1, 16, 1, "mean")
    assert set(mean(video, keep, ClipNoise(0, 0, range(64))).flatten().tolist()) == {5.0, 5.5, 15.0, 15.5}
    torch.testing.assert_close(model(video, keep, ClipNoise(0, 0, range(64))), read)
    assert not torch.equal(model(video, keep, ClipNoise(0, 1, range(64))), read)
    assert mean.eval()(video, keep).unique().tolist() == [10.25]


def test_one_telling_frame_is_enough_for_the_maximum_and_drowns_in_the_mean() -> None:
    """Frames at -1, one at 5: the mean of a clip with it is .5, as that of a clip that is .5 throughout."""
    video = torch.full((2, 3, 4, 32, 32), -1.0)
    video[0, :, 2] = 5.0
    video[1] = 0.5
    keep = torch.ones(2, 2, 4)
    mean, highest = (Brightness(CLIP, 1, 16, 1, join).eval()(video, keep)[:, 0].tolist() for join in ("mean", "max"))
    assert mean == [0.5, 0.5]
    assert highest == [5.0, 0.5]


@pytest.mark.parametrize(("name", "official"), [("cnn3d", r3d_18), ("frame-mean", resnet18), ("frame-max", resnet18)])
def test_at_the_papers_size_the_networks_are_torchvisions(name: str, official: Callable[..., nn.Module]) -> None:
    clip = ClipConfig(frames=4, height_px=32, width_px=32)
    model = ATTACKERS[name](AttackerSettings(RecognizerConfig(), clip, 5)).eval()
    theirs = official(num_classes=5).eval()
    own, wanted = model.state_dict(), theirs.state_dict()
    assert [value.shape for value in own.values()] == [value.shape for value in wanted.values()]
    model.load_state_dict(dict(zip(own, wanted.values(), strict=True)))
    video = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        if name == "cnn3d":
            torch.testing.assert_close(model(video, torch.ones(2, 2, 4)), theirs(video), rtol=1e-4, atol=1e-4)
        else:
            frames = theirs(rearrange(video, "b c t h w -> (b t) c h w"))
            read = rearrange(model.of_frames(video), "b t p -> (b t) p")
            torch.testing.assert_close(read, frames, rtol=1e-4, atol=1e-4)


def test_the_large_attacker_is_wider_deeper_and_longer_trained() -> None:
    model, standard = make("large"), make("standard")
    assert isinstance(model, Recognizer)
    assert isinstance(standard, Recognizer)
    assert model.config.embed_dim == 2 * standard.config.embed_dim
    assert len(model.layers) == 2 * len(standard.layers)
    assert (epoch_factor("large"), epoch_factor("standard")) == (2, 1)


def test_reconstruction_undoes_an_invertible_transformation() -> None:
    raw = nn.functional.interpolate(torch.rand(CLIPS, 3, 4, 4, 4) * 2 - 1, size=(4, 32, 32), mode="trilinear")
    transformed = -raw.flip(1)  # the negative, with red and blue exchanged
    labels = random_labels()
    model = make("reconstruction")
    learn(model, transformed, EVERYTHING, labels, raw, steps=60)
    with torch.no_grad():
        recovered = model.eval()(transformed[-8:], EVERYTHING[-8:]).video
    better, before = recovery_quality(recovered, raw[-8:]).mean(0), recovery_quality(transformed[-8:], raw[-8:]).mean(0)
    assert better[0] > before[0] + 10
    assert better[1] > before[1] + 0.3


def test_what_is_read_off_the_reconstruction_does_not_train_the_decoder() -> None:
    model = make("reconstruction")
    assert isinstance(model, Reconstruction)
    nn.init.normal_(model.recognizer.head.weight)
    read = model(torch.randn(2, 3, 4, 32, 32), torch.ones(2, 2, 4))
    read.logits.sum().backward()
    assert all(parameter.grad is None for parameter in model.decoder.parameters())
    assert all(parameter.grad is not None for parameter in model.recognizer.parameters())


def test_psnr_and_ssim_of_an_equal_and_of_a_shifted_clip() -> None:
    """An error of .2 of a range of 2 is 20 dB."""
    raw = torch.rand(2, 3, 4, 32, 32) - 0.5
    equal, shifted = recovery_quality(raw, raw), recovery_quality(raw + 0.2, raw)
    torch.testing.assert_close(equal, torch.tensor([[100.0, 1.0]] * 2))
    torch.testing.assert_close(shifted[:, 0], torch.full((2,), 20.0), rtol=1e-4, atol=1e-4)
    assert (shifted[:, 1] < 1).all()
    white = torch.ones_like(raw)
    torch.testing.assert_close(recovery_quality(7 * white, white), torch.tensor([[100.0, 1.0]] * 2))  # cut off: white


def test_unknown_attackers_are_refused_with_the_list_of_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"unknown: gpt; there are: standard, mask-blind, .*, reconstruction, or all"):
        attacker_names(["standard", "gpt"])
    with pytest.raises(ValueError, match="none named; there are: standard"):
        attacker_names([])
    with pytest.raises(ValueError, match="named once each"):
        attacker_names(["mask", "mask"])
    assert attacker_names(["all"]) == tuple(ATTACKERS)
