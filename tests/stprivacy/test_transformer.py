"""Transformer layers: what stochastic depth drops, how often, and by how much it scales the rest."""

import pytest
import torch

from stprivacy.models.transformer import Layer, branch_scales
from stprivacy.noise import ClipNoise


def test_branches_are_dropped_more_often_the_deeper_they_are_and_keep_their_mean() -> None:
    clips = 2000
    scales = list(branch_scales(ClipNoise(0, 0, range(clips)), torch.zeros(clips, 1, 1), depth=3, rate=0.5))
    for scale, rate in zip(scales, (0.0, 0.25, 0.5), strict=True):
        assert scale.shape == (clips, 2)
        torch.testing.assert_close(scale, scale.sign() / (1 - rate))  # the others are scaled up
        # Standard error of a share of 4000 draws: .008 at most.
        assert (scale == 0).double().mean().item() == pytest.approx(rate, abs=0.03)
    assert not torch.equal(scales[2][:, 0], scales[2][:, 1])  # the two branches of a layer by themselves


def test_a_layer_scales_its_attention_and_its_mlp_each_by_its_own_factor() -> None:
    layer, x = Layer(8, 2, 2.0, "exact"), torch.randn(3, 5, 8)
    attended = x + 2 * layer.attention(layer.norm1(x), None)
    mixed = x + 3 * layer.mlp(layer.norm2(x))
    torch.testing.assert_close(layer(x, None, torch.tensor([[2.0, 0.0]] * 3)), attended)
    torch.testing.assert_close(layer(x, None, torch.tensor([[0.0, 3.0]] * 3)), mixed)
    one = layer(x, None, torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]))
    torch.testing.assert_close(one[1], layer(x, None, None)[1])  # each sample by its own, too
    torch.testing.assert_close(one[[0, 2]], x[[0, 2]])
