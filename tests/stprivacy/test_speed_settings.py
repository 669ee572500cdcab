"""Settings that buy speed or memory change no result: accumulation, recomputed activations, autocast, compilation."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from torch import Tensor, nn

from pipelines.data.reader import ParquetClips
from stprivacy.anonymizers import STPrivacy
from stprivacy.checkpoint import CheckpointStore
from stprivacy.config import AugmentConfig, LossConfig, OptimConfig, PhaseConfig, TestViewsConfig
from stprivacy.models.recognizer import Recognizer
from stprivacy.models.transformer import Layer
from stprivacy.noise import ClipNoise
from stprivacy.phases.adversarial import AdversarialPhase, adversarial
from stprivacy.phases.context import Batch
from stprivacy.phases.evaluate import EvaluationPhase, evaluate
from stprivacy.phases.initialize import InitializationPhase, initialize
from stprivacy.phases.local import LocalContext
from stprivacy.phases.loop import Phase, PhaseLoop, Training
from stprivacy.phases.objectives.heads import Head
from stprivacy.phases.objectives.label import LabelObjective
from tests.support.shard_fixtures import write_tiny_dataset
from tests.support.tiny import CLIP, MODEL, RECOGNIZER

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
@pytest.mark.parametrize(
    ("setting", "tolerance"),
    [
        ("recompute_activations", 0.0),
        pytest.param("compile", 1e-3, marks=pytest.mark.slow),
        ("amp", 0.05),
    ],
)
def test_ten_steps_follow_those_in_plain_float32(
    data: ParquetClips, tmp_path: Path, run: Callable[[Training], None], setting: str, tolerance: float
) -> None:
    plain = losses(run, data, tmp_path / "plain", TEN_STEPS)
    fast = losses(run, data, tmp_path / "fast", replace(TEN_STEPS, **{setting: True}))
    torch.testing.assert_close(fast, plain, rtol=tolerance, atol=tolerance)
    assert torch.equal(fast, plain) == (tolerance == 0)  # a setting that does nothing would follow, too


def init_phase(training: Training) -> Phase:
    return InitializationPhase(STPrivacy(UNSCALED), 2, LossConfig(), training.settings, training.context)


def adversarial_phase(training: Training) -> Phase:
    anonymizer, (action, privacy) = STPrivacy(UNSCALED), recognizers()
    objective = LabelObjective({"standard": Head(privacy)}, LossConfig(), training.settings, training.context)
    return AdversarialPhase(anonymizer, action, objective, LossConfig(), training.settings, training.context)


def evaluation_phase(training: Training) -> Phase:
    action, attacker = recognizers()
    readers = {"action": action, "standard": attacker}
    return EvaluationPhase("evaluate", STPrivacy(UNSCALED).eval(), 0.7, readers, training)


def stepped_gradients(make: Callable[[Training], Phase], data: ParquetClips, settings: PhaseConfig) -> list[Tensor]:
    """Of every learner, the gradient [n] that its optimizer gets in the first step of the loop."""
    torch.manual_seed(0)
    with TemporaryDirectory() as folder:
        store = CheckpointStore(Path(folder), keep=2, rank=0, warn=pytest.fail)
        training = Training(data, replace(settings, max_steps=1), LocalContext(), store, seed=0)
        phase = make(training)
        given: list[Tensor] = []
        for learner in phase.learners:
            weights = list(learner.module.parameters())
            learner.optimizer.register_step_pre_hook(
                lambda *_, weights=weights: given.append(
                    torch.cat([x.grad.flatten() for x in weights if x.grad is not None])
                )
            )
        PhaseLoop(phase, training).run()
    return given


@pytest.mark.parametrize("make", [init_phase, adversarial_phase, evaluation_phase])
def test_accumulated_gradients_are_the_whole_batchs(make: Callable[[Training], Phase], data: ParquetClips) -> None:
    five = PhaseConfig(batch_size=5)  # in three parts: two clips, two, and one, which weighs half as much
    whole, accumulated, of_four = (
        stepped_gradients(make, data, settings)
        for settings in (five, replace(five, accumulate_steps=3), replace(five, batch_size=4))
    )
    for together, summed, other in zip(whole, accumulated, of_four, strict=True):
        assert (summed - together).norm() <= 1e-5 * together.norm()
        assert (other - together).norm() > 0.05 * together.norm()  # a clip that went missing would be seen


@pytest.mark.parametrize("make", [init_phase, adversarial_phase])
def test_recomputed_activations_give_the_same_gradients_bit_for_bit(
    make: Callable[[Training], Phase], data: ParquetClips, tmp_path: Path
) -> None:
    batch = Batch(torch.randn(4, 3, 4, 32, 32), torch.tensor([0, 1, 1, 0]), torch.ones(4, 5), torch.arange(4), 1.0)

    def gradients(recompute: bool) -> tuple[list[Tensor | None], int]:
        """And how often layers were computed."""
        torch.manual_seed(0)
        store = CheckpointStore(tmp_path, keep=2, rank=0, warn=pytest.fail)
        settings = PhaseConfig(recompute_activations=recompute)
        phase = make(Training(data, settings, LocalContext(), store, seed=0))
        modules = [learner.module for learner in phase.learners]
        passes: list[nn.Module] = []
        for layer in (layer for module in modules for layer in module.modules() if isinstance(layer, Layer)):
            layer.register_forward_pre_hook(lambda layer, _: passes.append(layer))
        phase.backward(batch, ClipNoise(0, 0, range(4)))
        return [p.grad for module in modules for p in module.parameters()], len(passes)

    (kept_gradients, once), (recomputed_gradients, twice) = gradients(False), gradients(True)
    assert twice == 2 * once
    for kept, recomputed in zip(kept_gradients, recomputed_gradients, strict=True):
        assert (kept is None) == (recomputed is None)
        if kept is not None:
            assert torch.equal(kept, recomputed)
