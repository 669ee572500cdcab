"""STPrivacy's privacy objective: its bounded form, and the rates of its heads."""

import math

import pytest
import torch
from torch import nn

from stprivacy.anonymized import Anonymized
from stprivacy.attackers import AttackerSettings
from stprivacy.config import LossConfig, OptimConfig, PhaseConfig
from stprivacy.models.recognizer import Recognizer
from stprivacy.noise import ClipNoise
from stprivacy.phases.context import Batch
from stprivacy.phases.local import LocalContext
from stprivacy.phases.objectives.heads import PRIVACY_HEADS, Head, make_head
from stprivacy.phases.objectives.label import LabelObjective
from tests.support.tiny import CLIP, MODEL, RECOGNIZER


def test_the_bounded_objective_gains_nothing_from_a_recognizer_that_is_wrong_already() -> None:
    privacy = Recognizer(RECOGNIZER, CLIP, 5)
    nn.init.normal_(privacy.head.weight)
    labels = torch.tensor([[1.0, 0.0, 1.0, 1.0, 0.0]])
    with torch.no_grad():
        privacy.head.bias.copy_(30 - 60 * labels[0])  # wrong, and sure of it
    video = torch.randn(1, 3, 4, 32, 32, requires_grad=True)
    share = Batch(video, torch.zeros(1, dtype=torch.long), labels, torch.arange(1), 1.0)
    keep = torch.ones(1, 2, 4)
    for form, pushed in (("bounded", False), ("linear", True)):
        losses = LossConfig(privacy_objective=form)
        objective = LabelObjective({"standard": Head(privacy)}, losses, PhaseConfig(), LocalContext())
        gain = objective.gain(Anonymized(video, keep, (keep,)), share, ClipNoise(0, 0, [0]))
        (gradient,) = torch.autograd.grad(gain, video)
        assert (gain.item() == pytest.approx(math.log(2))) == (form == "bounded")
        assert bool(gradient.any()) == pushed
        (own,) = objective.losses(Anonymized(video.detach(), keep, (keep,)), share, ClipNoise(0, 0, [0]))
        assert own > 10  # the recognizer itself always learns from its mistakes


def test_the_pooled_head_learns_at_a_tenth_of_the_others_rate() -> None:
    settings = PhaseConfig(optim=OptimConfig(learning_rate=0.5))
    rates = {}
    for name in PRIVACY_HEADS:
        head = make_head(name, AttackerSettings(RECOGNIZER, CLIP, 5, whitened_components=4), MODEL)
        optimizer = head.learner(name, settings, LocalContext()).optimizer
        rates[name] = {group["lr"] for group in optimizer.param_groups}
    assert rates == {name: {0.05 if name == "pooled" else 0.5} for name in PRIVACY_HEADS}
