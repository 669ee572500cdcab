"""Settings that buy speed or memory change no result: accumulation, recomputed activations, autocast, compilation."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipelines.data.reader import ParquetClips
from stprivacy.anonymizers import STPrivacy
from stprivacy.checkpoint import CheckpointStore
from stprivacy.config import AugmentConfig, LossConfig, OptimConfig, PhaseConfig, TestViewsConfig
from stprivacy.models.recognizer import Recognizer
from stprivacy.noise import ClipNoise
from stprivacy.phases.adversarial import AdversarialPhase, adversarial
from stprivacy.phases.context import Batch
from stprivacy.phases.evaluate import evaluate
from stprivacy.phases.initialize import InitializationPhase, initialize
from stprivacy.phases.local import LocalContext
from stprivacy.phases.loop import Phase, Training
from stprivacy.phases.objectives.heads import Head
from stprivacy.phases.objectives.label import LabelObjective
from tests.shard_fixtures import write_tiny_dataset
from tests.tiny import CLIP, MODEL, RECOGNIZER

# One batch an epoch: a report for each of ten steps.
TEN_STEPS = PhaseConfig(epochs=10, batch_size=12, checkpoint_every_steps=100, optim=OptimConfig(learning_rate=0.02))
# The running scale of the output follows each part of a batch by itself.
UNSCALED = replace(MODEL, normalize_output=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ParquetClips:
    folder = write_tiny_dataset(tmp_path_factory.mktemp("data"), videos=12, test_videos=8)
    return ParquetClips(folder, CLIP, AugmentConfig(flip_probability=0.0), TestViewsConfig(clips=1, crops=1))


def recognizers() -> tuple[Recognizer, Recognizer]:
    pair = Recognizer(RECOGNIZER, CLIP, 2), Recognizer(RECOGNIZER, CLIP, 5)
    for model in pair:
        nn.init.normal_(model.head.weight, std=0.1)  # from zero, the head lets no gradient through at the first step
    return pair


def run_init(training: Training) -> None:
    initialize(STPrivacy(MODEL), LossConfig(lambda_reconstruction=1.0), training)


def run_adversarial(training: Training) -> None:
    anonymizer, (action, privacy) = STPrivacy(MODEL), recognizers()
    objective = LabelObjective({"standard": Head(privacy)}, LossConfig(), training.settings, training.context)
    adversarial(anonymizer, action, objective, LossConfig(), training)


def run_evaluation(training: Training) -> None:
    action, attacker = recognizers()
    evaluate(STPrivacy(MODEL), 0.7, action, {"standard": attacker}, training)


def losses(run: Callable[[Training], None], data: ParquetClips, folder: Path, settings: PhaseConfig) -> Tensor:
    """Every loss term of each of the ten steps."""
    torch.manual_seed(0)
    context = LocalContext()
    run(Training(data, settings, context, CheckpointStore(folder, keep=2, rank=0, warn=pytest.fail), seed=0))
    rows = [[value for name, value in terms.items() if name.startswith("loss")] for _, _, terms in context.reports]
    assert len(rows) == 10
    return torch.tensor(rows)


@pytest.mark.parametrize("run", [run_init, run_adversarial, run_evaluation])
@pytest.mark.parametrize(("setting", "tolerance"), [("recompute_activations", 0.0), ("compile", 1e-3), ("amp", 0.05)])
def test_ten_steps_follow_those_in_plain_float32(
    data: ParquetClips, tmp_path: Path, run: Callable[[Training], None], setting: str, tolerance: float
) -> None:
    plain = losses(run, data, tmp_path / "plain", TEN_STEPS)
    fast = losses(run, data, tmp_path / "fast", replace(TEN_STEPS, **{setting: True}))
    torch.testing.assert_close(fast, plain, rtol=tolerance, atol=tolerance)


def init_phase(settings: PhaseConfig) -> Phase:
    return InitializationPhase(STPrivacy(UNSCALED), 2, LossConfig(), settings, LocalContext())


def adversarial_phase(settings: PhaseConfig) -> Phase:
    anonymizer, (action, privacy) = STPrivacy(UNSCALED), recognizers()
    objective = LabelObjective({"standard": Head(privacy)}, LossConfig(), settings, LocalContext())
    return AdversarialPhase(anonymizer, action, objective, LossConfig(), settings, LocalContext())


@pytest.mark.parametrize("make", [init_phase, adversarial_phase])
def test_parts_of_a_batch_add_up_to_the_gradient_of_the_whole(make: Callable[[PhaseConfig], Phase]) -> None:
    privacy = torch.randint(2, (6, 5)).float()
    batch = Batch(torch.randn(6, 3, 4, 32, 32), torch.tensor([0, 1, 1, 0, 1, 0]), privacy, torch.arange(6), 1.0)

    def gradients(parts: int) -> list[Tensor]:
        torch.manual_seed(0)
        phase = make(PhaseConfig())
        for share in batch.split(parts):
            phase.backward(share, ClipNoise(0, 0, share.clip_index.tolist()))
        return [p.grad for learner in phase.learners for p in learner.module.parameters() if p.grad is not None]

    for whole, summed in zip(gradients(1), gradients(3), strict=True):
        torch.testing.assert_close(summed, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [init_phase, adversarial_phase])
def test_recomputed_activations_give_the_same_gradients_bit_for_bit(make: Callable[[PhaseConfig], Phase]) -> None:
    batch = Batch(torch.randn(4, 3, 4, 32, 32), torch.tensor([0, 1, 1, 0]), torch.ones(4, 5), torch.arange(4), 1.0)

    def gradients(recompute: bool) -> list[Tensor | None]:
        torch.manual_seed(0)
        phase = make(PhaseConfig(recompute_activations=recompute))
        phase.backward(batch, ClipNoise(0, 0, range(4)))
        return [p.grad for learner in phase.learners for p in learner.module.parameters()]

    for kept, recomputed in zip(gradients(False), gradients(True), strict=True):
        assert (kept is None) == (recomputed is None)
        if kept is not None:
            assert torch.equal(kept, recomputed)
