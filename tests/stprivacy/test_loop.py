"""The loop of all phases: whose noise a step draws, what it reports of its parts, and each learner's own schedule."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipelines.data.reader import ParquetClips
from stprivacy.anonymizers import STPrivacy
from stprivacy.checkpoint import CheckpointStore
from stprivacy.config import LossConfig, OptimConfig, PhaseConfig
from stprivacy.models.recognizer import Recognizer
from stprivacy.noise import ClipNoise, derived_seed
from stprivacy.optim import learning_rate
from stprivacy.phases.adversarial import AdversarialPhase
from stprivacy.phases.context import Batch
from stprivacy.phases.learner import Learner
from stprivacy.phases.local import LocalContext
from stprivacy.phases.loop import PhaseLoop, Training
from stprivacy.phases.objectives.heads import Head
from stprivacy.phases.objectives.label import LabelObjective
from tests.support.shard_fixtures import write_tiny_dataset
from tests.support.tiny import CLIP, MODEL, RECOGNIZER


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ParquetClips:
    """Eleven videos: batches of four, four and three."""
    return ParquetClips(write_tiny_dataset(tmp_path_factory.mktemp("data"), videos=11, test_videos=2), CLIP)


class Watching:
    """A phase that learns nothing: it keeps the noise of each clip, and reports the clips' numbers."""

    name = "watching"
    clip = CLIP
    learners: Sequence[Learner] = ()

    def __init__(self) -> None:
        self.shares: list[tuple[list[int], Tensor]] = []

    def backward(self, share: Batch, noise: ClipNoise) -> dict[str, Tensor]:
        clips = share.clip_index.tolist()
        self.shares.append((clips, noise.uniform("gumbel", len(clips), 3)))
        terms = {"clip": share.clip_index.double().mean()}
        return terms if len(clips) < 4 else terms | {"loss_of_four": torch.tensor(float(clips[0]))}


def watched(data: ParquetClips, folder: Path, accumulate_steps: int = 1) -> tuple[Watching, LocalContext]:
    phase, context = Watching(), LocalContext()
    settings = PhaseConfig(epochs=2, batch_size=4, accumulate_steps=accumulate_steps)
    store = CheckpointStore(folder, keep=2, rank=0, warn=pytest.fail)
    PhaseLoop(phase, Training(data, settings, context, store, seed=5)).run()
    return phase, context


def test_noise_is_that_of_the_runs_seed_the_phase_the_epoch_and_the_clip(data: ParquetClips, tmp_path: Path) -> None:
    phase, _ = watched(data, tmp_path)
    assert len(phase.shares) == 6
    for step, (clips, drawn) in enumerate(phase.shares):
        expected = ClipNoise(derived_seed(5, "watching"), step // 3, clips).uniform("gumbel", len(clips), 3)
        assert torch.equal(drawn, expected)


def test_a_report_is_the_mean_over_the_steps_that_had_the_term(data: ParquetClips, tmp_path: Path) -> None:
    phase, context = watched(data, tmp_path)
    for epoch, (name, step, terms) in enumerate(context.reports):
        shares = [clips for clips, _ in phase.shares[3 * epoch : 3 * epoch + 3]]
        assert (name, step) == ("watching", 3 * epoch + 3)
        assert terms["clip"] == pytest.approx(sum(sum(clips) / len(clips) for clips in shares) / 3)
        assert terms["loss_of_four"] == pytest.approx((shares[0][0] + shares[1][0]) / 2)  # not the step of three


def test_the_terms_of_a_batchs_parts_count_by_their_clips(data: ParquetClips, tmp_path: Path) -> None:
    (_, whole), (phase, parts) = watched(data, tmp_path / "a"), watched(data, tmp_path / "b", accumulate_steps=3)
    assert [len(clips) for clips, _ in phase.shares[:5]] == [2, 2, 2, 2, 1]
    for (_, _, one), (_, _, other) in zip(whole.reports, parts.reports, strict=True):
        assert other["clip"] == pytest.approx(one["clip"])


def test_after_a_head_start_the_anonymizers_schedule_begins_and_its_opponents_rates_decay(
    data: ParquetClips, tmp_path: Path
) -> None:
    optim = OptimConfig(learning_rate=0.1, warmup_epochs=1)
    settings = PhaseConfig(epochs=4, batch_size=4, head_start_epochs=2, anonymizer_rate_scale=0.5, optim=optim)
    store = CheckpointStore(tmp_path, keep=2, rank=0, warn=pytest.fail)
    training = Training(data, settings, LocalContext(), store, seed=0)
    objective = LabelObjective(
        {"standard": Head(Recognizer(RECOGNIZER, CLIP, 5))}, LossConfig(), settings, training.context
    )
    action = Recognizer(RECOGNIZER, CLIP, 2)
    phase = AdversarialPhase(STPrivacy(MODEL), action, objective, LossConfig(), settings, training.context, 6)
    rates: dict[str, list[float]] = {learner.name: [] for learner in phase.learners}
    for learner in phase.learners:
        learner.optimizer.register_step_pre_hook(
            lambda optimizer, *_, name=learner.name: rates[name].append(optimizer.param_groups[0]["lr"])
        )
    PhaseLoop(phase, training).run()
    scaled = replace(optim, learning_rate=0.05)
    assert rates["anonymizer"] == [learning_rate(scaled, 4, step, 6, 3) for step in range(6)]
    held = [learning_rate(optim, 4, step, 12, 3, held_steps=6) for step in range(12)]
    assert rates["action_recognizer"] == rates["privacy_recognizer"] == held
    assert held[5] == max(held) > held[8]
