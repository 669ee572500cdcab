"""Each rival beside raw on generated data: its own adversary reads less, and the action stays readable."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from einops import rearrange
from torch import Tensor, nn

from pipelines.data.reader import ParquetClips
from stprivacy.anonymized import Anonymized
from stprivacy.anonymizers import ITNet, UNet
from stprivacy.config import AugmentConfig, LossConfig, OptimConfig, PhaseConfig, TestViewsConfig
from stprivacy.models.frame_recognizer import frame_clip
from stprivacy.models.recognizer import Recognizer
from stprivacy.noise import ClipNoise, Noise
from stprivacy.phases.adversarial import AdversarialPhase
from stprivacy.phases.context import Batch
from stprivacy.phases.learner import Learner
from stprivacy.phases.local import LocalContext
from stprivacy.phases.objectives.protocol import PrivacyObjective
from stprivacy.phases.objectives.spact import FrameProjector, SelfSupervisedObjective, SPActConfig
from stprivacy.phases.objectives.vita import FrameEnsembleObjective, VITAConfig
from stprivacy.phases.reconstruct import ReconstructionPhase
from tests.support.shard_fixtures import write_tiny_dataset
from tests.support.tiny import CLIP, MODEL, RECOGNIZER

SMALL = replace(MODEL, vita_width=0.0625, spact_width=0.0625)
STEPS = 60
SETTINGS = PhaseConfig(batch_size=12, optim=OptimConfig(learning_rate=0.4), anonymizer_rate_scale=0.3)
CONTEXT = LocalContext()


class Colours(nn.Module):
    """A frame-level adversary that reads colours within a few steps: the strongest patch of a frame decides."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 64, 4, stride=4)
        self.head = nn.Linear(64, 5)

    def forward(self, video: Tensor, keep: Tensor, noise: Noise) -> Tensor:
        patches = self.patches(rearrange(video, "b c t h w -> (b t) c h w"))
        logits = self.head(nn.functional.gelu(patches).amax((2, 3)))
        return rearrange(logits, "(b t) p -> b t p", b=len(video))


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> list[Batch]:
    """Four batches of twelve clips."""
    folder = write_tiny_dataset(tmp_path_factory.mktemp("data"), videos=24, test_videos=4)
    data = ParquetClips(folder, CLIP, AugmentConfig(flip_probability=0.0), TestViewsConfig(clips=1, crops=1))
    return [batch for epoch in (0, 1) for batch in data.train_batches(epoch, 0, 12)]


def vita() -> FrameEnsembleObjective:
    return FrameEnsembleObjective(Colours, VITAConfig(adversaries=2, restart_steps=0), 0, SETTINGS, CONTEXT)


def spact() -> SelfSupervisedObjective:
    projector = FrameProjector(Recognizer(RECOGNIZER, frame_clip(CLIP), 24), 16)
    return SelfSupervisedObjective(projector, SPActConfig(), SETTINGS, CONTEXT)


def train(
    learners: list[Learner], step: Callable[[Batch, ClipNoise], dict[str, Tensor]], batches: list[Batch], count: int
) -> dict[str, float]:
    """The mean of each term over the last ten steps that have it."""
    history: dict[str, list[float]] = {}
    for number in range(count):
        for learner in learners:
            learner.begin(number)
        batch = batches[number % len(batches)]
        terms = step(batch, ClipNoise(0, number, batch.clip_index.tolist()))
        for learner in learners:
            if not learner.at_rest:
                learner.clip_gradient("test", number)
                learner.update(number, 2 * count, 2)
        for name, value in terms.items():
            history.setdefault(name, []).append(value.item())
    return {name: sum(values[-10:]) / 10 for name, values in history.items()}


def on_raw(objective: PrivacyObjective, batches: list[Batch], count: int) -> float:
    """The adversaries' mean loss after `count` steps on video as it is."""

    def step(batch: Batch, noise: ClipNoise) -> dict[str, Tensor]:
        keep = torch.ones(len(batch.video), *CLIP.grid[:1], CLIP.grid[1] * CLIP.grid[2])
        losses = objective.losses(Anonymized(batch.video, keep, (keep,)), batch, noise)
        for loss in losses:
            loss.backward()
        return {"loss_privacy": torch.stack(list(losses)).mean().detach()}

    return train(list(objective.learners), step, batches, count)["loss_privacy"]


@pytest.mark.parametrize(
    ("make_rival", "make_objective", "turns", "margin"), [(ITNet, vita, 1, 0.2), (UNet, spact, 2, 0.5)]
)
def test_a_rival_hides_from_its_own_adversary_and_keeps_the_action(
    batches: list[Batch],
    make_rival: type[ITNet] | type[UNet],
    make_objective: Callable[[], PrivacyObjective],
    turns: int,
    margin: float,
) -> None:
    rival = make_rival(SMALL)
    start = ReconstructionPhase(rival, SETTINGS, CONTEXT)
    first = start.backward(batches[0], ClipNoise(0, 0, range(12)))["loss_reconstruction"].item()
    redrawn = train(list(start.learners), start.backward, batches, 40)["loss_reconstruction"]
    assert redrawn < 0.6 * first

    action = Recognizer(RECOGNIZER, CLIP, 2)
    phase = AdversarialPhase(rival, action, make_objective(), LossConfig(), SETTINGS, CONTEXT)
    terms = train(list(phase.learners), phase.backward, batches, STEPS * turns)
    raw = on_raw(make_objective(), batches, STEPS)
    assert terms["loss_privacy"] > raw + margin
    assert terms["loss_action"] < 0.35  # log 2 is .69
