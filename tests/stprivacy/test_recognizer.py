"""Recognizers: what the mask hides from them, and the whitened view of an attacker."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from stprivacy.config import ClipConfig, RecognizerConfig
from stprivacy.models.recognizer import Recognizer, masked_mean
from stprivacy.models.whitening import Moments, WhitenedEmbedding
from stprivacy.noise import ClipNoise
from stprivacy.tubelets import expand_keep, from_tubelets, to_tubelets

CLIP = ClipConfig(frames=4, height_px=32, width_px=32)
CONFIG = RecognizerConfig(embed_dim=24, num_heads=2, depth=2, drop_path=0.0)


def make(**changes: object) -> Recognizer:
    torch.manual_seed(3)
    model = Recognizer(replace(CONFIG, **changes), CLIP, 5)
    torch.nn.init.normal_(model.head.weight)
    return model.eval()


def masks(counts: tuple[int, ...]) -> Tensor:
    """One [2 slots x 4] mask a row, with that many tokens kept."""
    rows = []
    for row, count in enumerate(counts):
        keep = torch.zeros(8)
        keep[torch.randperm(8, generator=torch.Generator().manual_seed(row))[:count]] = 1
        rows.append(keep.view(2, 4))
    return torch.stack(rows)


def test_the_head_starts_at_zero() -> None:
    assert (Recognizer(CONFIG, CLIP, 5)(torch.randn(2, 3, 4, 32, 32)) == 0).all()


@pytest.mark.parametrize("counts", [(3, 3, 3), (2, 5, 8)])
def test_a_mask_aware_recognizer_does_not_see_abandoned_tubelets(counts: tuple[int, ...]) -> None:
    model, keep = make(), masks(counts)
    video = torch.randn(3, 3, 4, 32, 32)
    hidden = 1 - expand_keep(keep, CLIP.grid, 2, 16)
    torch.testing.assert_close(model(video + 100 * hidden, keep), model(video, keep), rtol=1e-4, atol=1e-4)


def test_dropping_equal_counts_equals_masking_them() -> None:
    model, keep = make(), masks((3, 3, 3))
    video = torch.randn(3, 3, 4, 32, 32)
    masked = model(video, keep.clone().requires_grad_())  # a mask that needs a gradient is never dropped by
    torch.testing.assert_close(model(video, keep), masked, rtol=1e-4, atol=1e-5)


def test_the_logits_are_differentiable_in_the_mask() -> None:
    keep = masks((3, 4, 5)).requires_grad_()
    make()(torch.randn(3, 3, 4, 32, 32), keep).sum().backward()
    assert (keep.grad.abs() > 0).all()  # the pruned ones' too: that is how they come back


def test_a_mask_blind_recognizer_sees_abandoned_tubelets_as_zero_and_no_mask() -> None:
    model, keep = make(mask_aware=False), masks((3, 4, 5))
    video = torch.randn(3, 3, 4, 32, 32)
    zeroed = video * expand_keep(keep, CLIP.grid, 2, 16)
    torch.testing.assert_close(model(video, keep), model(zeroed, torch.ones_like(keep)))
    torch.testing.assert_close(model(video, keep), model(zeroed, None))


def test_no_mask_is_all_kept() -> None:
    video = torch.randn(2, 3, 4, 32, 32)
    torch.testing.assert_close(make()(video, torch.ones(2, 2, 4)), make()(video))


def test_another_grid_resizes_the_positions() -> None:
    assert make()(torch.randn(1, 3, 8, 48, 32)).shape == (1, 5)


def test_masked_mean_by_hand_and_without_any_token() -> None:
    x = torch.tensor([[[2.0], [4.0], [9.0]], [[1.0], [1.0], [1.0]]])
    keep = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert masked_mean(x, keep).flatten().tolist() == [3.0, 0.0]


def test_drop_path_acts_in_training_only_and_is_drawn_from_the_clip() -> None:
    model, video = make(drop_path=0.5), torch.randn(4, 3, 4, 32, 32)
    assert torch.equal(model(video), model(video))
    model.train()
    noise = ClipNoise(0, 0, [1, 2, 3, 4])
    assert torch.equal(model(video, noise=noise), model(video, noise=noise))
    assert not torch.equal(model(video, noise=ClipNoise(0, 1, [1, 2, 3, 4])), model(video, noise=noise))


def test_whitening_makes_kept_tubelets_uncorrelated_with_variance_one() -> None:
    torch.manual_seed(0)
    mixing = torch.randn(20, CLIP.tubelet_values) * torch.logspace(0, -2, 20).unsqueeze(1)  # the last one is faint
    tubelets = torch.randn(600, 20) @ mixing + 3.0  # a linear output layer of rank 20
    video = from_tubelets(tubelets.view(75, 8, -1), CLIP.grid, 2, 16)
    keep = torch.ones(75, 2, 4)
    moments = Moments(CLIP, torch.device("cpu"))
    moments.add(video, keep)
    embedding = WhitenedEmbedding(CLIP, components=32, embed_dim=8)
    embedding.fit(moments)
    seen = (to_tubelets(video, 2, 16).flatten(0, 1) - embedding.mean) @ embedding.directions
    covariance = seen.T @ seen / len(seen)
    torch.testing.assert_close(covariance[:20, :20], torch.eye(20), rtol=0, atol=1e-3)
    assert (seen[:, 20:] == 0).all()  # no direction of rounding noise is blown up


def test_whitening_leaves_abandoned_tubelets_out() -> None:
    video, keep = torch.randn(3, 3, 4, 32, 32), masks((3, 4, 5))
    one, other = Moments(CLIP, torch.device("cpu")), Moments(CLIP, torch.device("cpu"))
    one.add(video, keep)
    other.add(video + 50 * (1 - expand_keep(keep, CLIP.grid, 2, 16)), keep)
    torch.testing.assert_close(one.covariance(), other.covariance())
    assert one.sums["count"].item() == 12


def test_whitening_without_any_tubelet_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least two kept tubelets"):
        WhitenedEmbedding(CLIP, 4, 8).fit(Moments(CLIP, torch.device("cpu")))
