"""The objectives against hand-worked numbers."""

import math

import pytest
import torch

from stprivacy.config import LossConfig
from stprivacy.losses import (
    action_loss,
    adversarial_loss,
    initialization_loss,
    privacy_loss,
    reconstruction_loss,
    sparsification_loss,
)


def test_sparsification_by_hand() -> None:
    first = torch.tensor([[[1.0, 1, 1, 0], [1, 1, 0, 0]]])  # kept: .75 and .5 against .5
    second = torch.tensor([[[1.0, 0, 0, 0], [1, 1, 1, 0]]])  # kept: .25 and .75 against .25
    expected = ((0.25**2 + 0) + (0 + 0.5**2)) / 4
    assert sparsification_loss([first, second], 0.5).item() == pytest.approx(expected)


def test_sparsification_counts_each_slot_by_itself() -> None:
    even = torch.tensor([[[1.0, 0], [1, 0]]])
    uneven = torch.tensor([[[1.0, 1], [0, 0]]])  # the same number of tokens in all
    assert sparsification_loss([even], 0.5).item() == 0
    assert sparsification_loss([uneven], 0.5).item() == pytest.approx(0.25)


def test_sparsification_pulls_towards_the_target() -> None:
    keep = torch.ones(1, 2, 4, requires_grad=True)
    sparsification_loss([keep], 0.7).backward()
    assert (keep.grad > 0).all()
    with pytest.raises(ValueError, match="at least one stage"):
        sparsification_loss([], 0.7)


def test_action_and_privacy_losses_by_hand() -> None:
    assert action_loss(torch.zeros(2, 4), torch.tensor([0, 3])).item() == pytest.approx(math.log(4))
    logits, labels = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]])
    expected = (math.log(2) + math.log(1 + math.exp(2))) / 2
    assert privacy_loss(logits, labels).item() == pytest.approx(expected, rel=1e-6)


def test_bounded_privacy_rests_once_the_recognizer_is_wrong() -> None:
    logits = torch.tensor([[5.0, -1.0]], requires_grad=True)
    labels = torch.tensor([[0.0, 0.0]])  # the first is wrong by far, the second is right
    loss = privacy_loss(logits, labels, "bounded")
    loss.backward()
    assert logits.grad[0, 0] == 0
    assert logits.grad[0, 1] > 0
    assert loss.item() == pytest.approx((math.log(2) + math.log(1 + math.exp(-1))) / 2, rel=1e-6)
    far = torch.tensor([[1e4, 1e4]])
    assert privacy_loss(far, labels, "bounded").item() <= math.log(2) + 1e-6 < privacy_loss(far, labels).item()


def test_equations_12_and_13_by_hand() -> None:
    sparsification, action, privacy = (torch.tensor(x) for x in (0.1, 2.0, 0.6))
    weights = LossConfig(lambda_action=0.5, lambda_privacy=0.25)
    assert initialization_loss(sparsification, action, weights).item() == pytest.approx(2.1)
    assert adversarial_loss(sparsification, action, privacy, weights).item() == pytest.approx(0.1 + 1.0 - 0.15)


def test_reconstruction_counts_kept_pixels_only() -> None:
    raw, video = torch.zeros(1, 3, 1, 2, 2), torch.full((1, 3, 1, 2, 2), 2.0)
    video[..., 1] = 100.0
    keep = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).view(1, 1, 1, 2, 2)
    assert reconstruction_loss(video, raw, keep).item() == pytest.approx(4.0)
    assert reconstruction_loss(video, raw, torch.zeros_like(keep)).item() == 0
