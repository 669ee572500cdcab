"""Learning rates and parameter groups."""

import pytest
import torch
from torch import nn

from stprivacy.anonymizers import STPrivacy
from stprivacy.config import ClipConfig, ModelConfig, OptimConfig
from stprivacy.optim import learning_rate, make_optimizer, set_learning_rate


def test_rate_scales_with_the_batch_warms_up_and_ends_at_zero() -> None:
    optim = OptimConfig(learning_rate=1e-3, warmup_epochs=1)
    rates = [learning_rate(optim, 256, step, 100, 10) for step in range(101)]
    assert max(rates) == pytest.approx(0.5e-3)
    assert rates.index(max(rates)) == 10
    assert rates[:2] == pytest.approx([0.5e-3 / 11, 0.5e-3 * 2 / 11])  # the first step moves, too
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.25e-3)  # half-way down the cosine
    assert rates[100] == 0


def test_a_held_rate_stays_at_its_peak_and_decays_after_it() -> None:
    optim = OptimConfig(learning_rate=1e-3, warmup_epochs=1)
    rates = [learning_rate(optim, 512, step, 100, 10, held_steps=60) for step in range(101)]
    assert rates[:10] == [learning_rate(optim, 512, step, 100, 10) for step in range(10)]
    assert set(rates[10:61]) == {1e-3}
    assert rates[80] == pytest.approx(0.5e-3)
    assert rates[100] == 0


def test_vectors_and_positions_are_not_decayed() -> None:
    model = STPrivacy(ModelConfig(ClipConfig(4, 32, 32), 24, 2, (1,), 1))
    decayed = {
        id(p) for g in make_optimizer(model, OptimConfig()).param_groups if g["weight_decay"] for p in g["params"]
    }
    assert id(model.position.weight) not in decayed
    assert {id(p) for p in model.parameters() if p.ndim > 1} - {id(model.position.weight)} == decayed


def test_the_backbone_is_slower_than_predictors_and_head_and_frozen_at_first() -> None:
    model = STPrivacy(ModelConfig(ClipConfig(4, 32, 32), 24, 2, (1,), 1))
    optim = OptimConfig(backbone_rate_scale=0.1, backbone_freeze_epochs=2)
    optimizer = make_optimizer(model, optim)
    fast = {id(p) for p in [*model.predictors.parameters(), *model.head.parameters()]}
    for epoch, backbone_rate in ((1, 0.0), (2, 0.1)):
        set_learning_rate(optimizer, optim, 1.0, epoch)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                assert group["lr"] == (1.0 if id(parameter) in fast else backbone_rate)


def test_frozen_parameters_are_left_out() -> None:
    module = nn.Linear(2, 2).requires_grad_(False)
    module.bias.requires_grad_(True)
    groups = make_optimizer(module, OptimConfig()).param_groups
    assert [p for g in groups for p in g["params"]] == [module.bias]
    assert isinstance(module.bias, torch.Tensor)
