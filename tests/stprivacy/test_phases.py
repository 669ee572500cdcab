"""The three phases in one process: which gradients flow, what a resumed run equals, what stops a run."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipelines.data.reader import ParquetClips
from stprivacy.anonymizers import Identity, STPrivacy
from stprivacy.attackers.transformer import Whitened
from stprivacy.checkpoint import CheckpointStore, weights_digest
from stprivacy.config import (
    AugmentConfig,
    LossConfig,
    OptimConfig,
    PhaseConfig,
    TestViewsConfig,
)
from stprivacy.losses import action_loss, privacy_loss, sparsification_loss
from stprivacy.models.recognizer import Recognizer
from stprivacy.noise import ClipNoise
from stprivacy.phases.adversarial import AdversarialPhase, adversarial
from stprivacy.phases.context import Batch
from stprivacy.phases.evaluate import evaluate
from stprivacy.phases.initialize import InitializationPhase, SelfRecognizer, initialize
from stprivacy.phases.learner import NonFiniteError
from stprivacy.phases.local import LocalContext
from stprivacy.phases.loop import Training
from stprivacy.phases.objectives.heads import Head
from stprivacy.phases.objectives.label import LabelObjective
from tests.support.shard_fixtures import write_tiny_dataset
from tests.support.tiny import CLIP, MODEL, RECOGNIZER

TRAIN = PhaseConfig(
    epochs=2, batch_size=6, checkpoint_every_steps=1, keep_checkpoints=9, optim=OptimConfig(learning_rate=0.1)
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ParquetClips:
    folder = write_tiny_dataset(tmp_path_factory.mktemp("data"), videos=20, test_videos=8)
    augment = AugmentConfig(flip_probability=0.0)
    return ParquetClips(folder, CLIP, augment, TestViewsConfig(clips=2, crops=2))


def recognizer(outputs: int) -> Recognizer:
    model = Recognizer(RECOGNIZER, CLIP, outputs)
    nn.init.normal_(model.head.weight)  # from zero, the head lets no gradient through at the first step
    return model


def a_batch() -> tuple[Batch, ClipNoise]:
    video = torch.randn(4, 3, 4, 32, 32)
    privacy = torch.randint(2, (4, 5)).float()
    return Batch(video, torch.tensor([0, 1, 1, 0]), privacy, torch.arange(4), 1.0), ClipNoise(0, 0, range(4))


def store(folder: Path) -> CheckpointStore:
    return CheckpointStore(folder, keep=9, rank=0, warn=pytest.fail)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def test_equation_13_reaches_the_anonymizer_and_each_recognizer_gets_its_own_loss_only() -> None:
    weights = LossConfig(lambda_action=0.5, lambda_privacy=0.25)
    anonymizer, action, privacy = STPrivacy(MODEL), recognizer(2), recognizer(5)
    objective = LabelObjective({"standard": Head(privacy)}, weights, TRAIN, LocalContext())
    phase = AdversarialPhase(anonymizer, action, objective, weights, TRAIN, LocalContext())
    batch, noise = a_batch()
    phase.backward(batch, noise)
    routed = [gradients(module) for module in (anonymizer, action, privacy)]

    for module in (anonymizer, action, privacy):
        module.zero_grad()
    anonymizer.output_std.zero_()  # as it was before the first batch
    out = anonymizer(batch.video, noise=noise.scoped("anonymizer"))
    loss_action = action_loss(action(out.video, out.keep, noise.scoped("action_recognizer")), batch.action)
    loss_privacy = privacy_loss(privacy(out.video, out.keep, noise.scoped("privacy_recognizer")), batch.privacy)
    sparsification = sparsification_loss(out.stage_keeps, MODEL.keep_ratio)
    total = sparsification + 0.5 * loss_action - 0.25 * loss_privacy
    expected = []
    for module, loss in ((anonymizer, total), (action, loss_action), (privacy, loss_privacy)):
        names, parameters = zip(*module.named_parameters(), strict=True)
        expected.append(dict(zip(names, torch.autograd.grad(loss, parameters, retain_graph=True), strict=True)))
    for got, wanted in zip(routed, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)


def test_phase_1_trains_the_output_layer_by_reconstruction_only() -> None:
    for weight, trained in ((0.0, False), (1.0, True)):
        anonymizer = STPrivacy(MODEL)
        phase = InitializationPhase(anonymizer, 2, LossConfig(lambda_reconstruction=weight), TRAIN, LocalContext())
        terms = phase.backward(*a_batch())
        assert (anonymizer.head.weight.grad is not None) == trained
        groups = phase.learner.optimizer.param_groups
        assert any(p is anonymizer.head.weight for group in groups for p in group["params"]) == trained
        assert all(p.grad is not None for p in anonymizer.predictors.parameters())
        assert {"kept_stage_1", "kept_stage_2", "mask_gradient_norm", "loss_action"} <= set(terms)


def test_phase_1_classifies_the_mean_of_the_tokens_that_are_kept() -> None:
    model, (batch, noise) = SelfRecognizer(STPrivacy(MODEL), 2).train(), a_batch()
    anonymized, logits = model(batch.video, noise)
    _, tokens, keep = model.anonymizer.features(batch.video, noise=noise)
    assert 0 < keep.mean() < 1
    for sample in range(4):
        expected = model.classifier(tokens[sample][keep[sample] == 1].mean(0))
        torch.testing.assert_close(logits[sample], expected)
        assert torch.equal(keep[sample], anonymized.keep[sample].flatten())


def train_init(
    data: ParquetClips, folder: Path, settings: PhaseConfig = TRAIN, lambda_sparsification: float = 10.0
) -> tuple[STPrivacy, LocalContext]:
    torch.manual_seed(0)
    model, context = STPrivacy(MODEL), LocalContext()
    losses = LossConfig(lambda_sparsification=lambda_sparsification, lambda_reconstruction=1.0)
    initialize(model, losses, Training(data, settings, context, store(folder), seed=3))
    return model, context


def play(players: tuple[STPrivacy, Recognizer, Recognizer], training: Training) -> None:
    """Phase 2 of STPrivacy."""
    anonymizer, action, privacy = players
    objective = LabelObjective({"standard": Head(privacy)}, LossConfig(), training.settings, training.context)
    adversarial(anonymizer, action, objective, LossConfig(), training)


def train_adversarial(data: ParquetClips, folder: Path, settings: PhaseConfig = TRAIN) -> str:
    torch.manual_seed(0)
    players = STPrivacy(MODEL), recognizer(2), recognizer(5)
    play(players, Training(data, settings, LocalContext(), store(folder), seed=3))
    return "".join(weights_digest(player.state_dict()) for player in players)


def test_the_anonymizers_rate_is_scaled_beside_the_recognizers(data: ParquetClips, tmp_path: Path) -> None:
    def first_step(scale: float) -> list[Tensor]:
        torch.manual_seed(0)
        players = STPrivacy(MODEL), recognizer(2), recognizer(5)
        before = [player.head.weight.detach().clone() for player in players]
        settings = replace(TRAIN, max_steps=1, anonymizer_rate_scale=scale)
        training = Training(data, settings, LocalContext(), store(tmp_path / str(scale)), seed=3)
        play(players, training)
        return [player.head.weight.detach() - old for player, old in zip(players, before, strict=True)]

    for whole, scaled, scale in zip(first_step(1.0), first_step(0.1), (0.1, 1.0, 1.0), strict=True):
        torch.testing.assert_close(scaled, scale * whole, rtol=1e-3, atol=1e-7)


def test_opponents_with_a_head_start_learn_alone_for_its_epochs(data: ParquetClips, tmp_path: Path) -> None:
    def after(epochs: int, head_start: int, name: str) -> list[Tensor]:
        torch.manual_seed(0)
        players = STPrivacy(MODEL), recognizer(2), recognizer(5)
        settings = replace(TRAIN, epochs=epochs, head_start_epochs=head_start)
        play(players, Training(data, settings, LocalContext(), store(tmp_path / name), seed=3))
        return [player.head.weight.detach().clone() for player in players]

    torch.manual_seed(0)
    start = [player.head.weight.detach().clone() for player in (STPrivacy(MODEL), recognizer(2), recognizer(5))]
    # Killed at the end of the head start, and gone on with.
    whole = after(3, 2, "whole")
    forget_after(tmp_path / "whole", 8)
    alone = store(tmp_path / "whole").latest()
    assert alone is not None
    assert alone.number == 8
    torch.testing.assert_close(alone.model["anonymizer.head.weight"], start[0], rtol=0, atol=0)
    assert not torch.equal(alone.model["action_recognizer.head.weight"], start[1])
    assert not torch.equal(alone.model["privacy_recognizer.head.weight"], start[2])
    assert all(not torch.equal(weight, old) for weight, old in zip(whole, start, strict=True))
    resumed = after(3, 2, "whole")
    assert all(torch.equal(weight, again) for weight, again in zip(whole, resumed, strict=True))
    context, short = LocalContext(), replace(TRAIN, epochs=3, head_start_epochs=2, max_steps=8)
    play((STPrivacy(MODEL), recognizer(2), recognizer(5)), Training(data, short, context, store(tmp_path / "s"), 3))
    assert "the anonymizer stays as phase 1 left it" in context.messages[-1]
    with pytest.raises(ValueError, match=r"head_start_epochs must be in 0..2, got 3"):
        replace(TRAIN, epochs=3, head_start_epochs=3)


def forget_after(folder: Path, step: int) -> None:
    """As if the run had been killed before it wrote its later checkpoints."""
    for checkpoint in folder.iterdir():
        if int(checkpoint.name) > step:
            shutil.rmtree(checkpoint)


@pytest.mark.parametrize("step", [2, 4, 5])  # of 4 in an epoch: in mid-epoch, at its end, after it
def test_a_run_resumed_at_any_step_equals_the_undisturbed_one(data: ParquetClips, tmp_path: Path, step: int) -> None:
    whole, whole_context = train_init(data, tmp_path / "init")
    forget_after(tmp_path / "init", step)
    resumed, context = train_init(data, tmp_path / "init")
    assert weights_digest(resumed.state_dict()) == weights_digest(whole.state_dict())
    assert context.reports == [entry for entry in whole_context.reports if entry[1] > step]

    digest = train_adversarial(data, tmp_path / "adversarial")
    forget_after(tmp_path / "adversarial", step)
    assert train_adversarial(data, tmp_path / "adversarial") == digest


LONG = replace(TRAIN, epochs=40, checkpoint_every_steps=1000, optim=OptimConfig(learning_rate=0.25))


def test_initialization_learns_the_actions_of_the_tiny_data(data: ParquetClips, tmp_path: Path) -> None:
    _, context = train_init(data, tmp_path, LONG)
    first, last = context.reports[0][2], context.reports[-1][2]
    assert last["loss_action"] < 0.5 * first["loss_action"]


def test_the_sparsification_loss_brings_every_stage_to_its_kept_fraction(data: ParquetClips, tmp_path: Path) -> None:
    _, context = train_init(data, tmp_path, LONG, lambda_sparsification=100.0)
    last = context.reports[-1][2]
    assert last["kept_stage_1"] == pytest.approx(0.7, abs=0.1)
    assert last["kept_stage_2"] == pytest.approx(0.49, abs=0.1)


def test_max_steps_ends_a_run_early_with_a_report_and_a_checkpoint(data: ParquetClips, tmp_path: Path) -> None:
    _, context = train_init(data, tmp_path, replace(TRAIN, max_steps=3, checkpoint_every_steps=100))
    assert [step for _, step, _ in context.reports] == [3]
    assert store(tmp_path).latest().number == 3


class Spoiled:
    """The data set, with an infinite pixel in one batch."""

    def __init__(self, data: ParquetClips, step: int) -> None:
        self._data, self._step = data, step

    def __getattr__(self, name: str) -> object:
        return getattr(self._data, name)

    def train_batches(self, epoch: int, first_step: int, batch_size: int) -> Iterator[Batch]:
        for step, batch in enumerate(self._data.train_batches(epoch, first_step, batch_size), first_step):
            if step == self._step:
                batch.video[0, 0, 0, 0, 0] = torch.inf
            yield batch


def test_a_loss_that_is_not_finite_stops_the_run_before_the_step(data: ParquetClips, tmp_path: Path) -> None:
    spoiled = Training(Spoiled(data, 2), TRAIN, LocalContext(), store(tmp_path), seed=0)
    with pytest.raises(NonFiniteError, match=r"phase init, step 2: loss_\w+ is nan"):
        initialize(STPrivacy(MODEL), LossConfig(), spoiled)
    checkpoint = store(tmp_path).latest()
    assert checkpoint.number == 2
    assert all(weight.isfinite().all() for weight in checkpoint.model.values())


def run_evaluation(data: ParquetClips, folder: Path, epochs: int) -> dict[str, float | str]:
    torch.manual_seed(0)
    attackers = {
        "standard": Recognizer(RECOGNIZER, CLIP, 5),
        "whitened": Whitened(RECOGNIZER, CLIP, 5, 16),
    }
    settings = replace(TRAIN, epochs=epochs, checkpoint_every_steps=7, optim=OptimConfig(learning_rate=0.2))
    action = Recognizer(RECOGNIZER, CLIP, 2)
    training = Training(data, settings, LocalContext(), store(folder), seed=0)
    return evaluate(Identity(CLIP), 0.7, action, attackers, training)


def test_evaluation_reads_raw_video_and_reports_the_stronger_attacker(data: ParquetClips, tmp_path: Path) -> None:
    scores = run_evaluation(data, tmp_path, epochs=60)
    assert scores["action_top1"] >= 75
    assert scores["privacy_cmap"] > scores["floor_privacy_cmap"] + 10
    assert scores["privacy_cmap"] == max(scores["privacy_cmap_standard"], scores["privacy_cmap_whitened"])
    assert scores["privacy_cmap"] == scores[f"privacy_cmap_{scores['attacker']}"]
    assert scores["privacy_cmap_low"] <= scores["privacy_cmap"] <= scores["privacy_cmap_high"]


def test_a_resumed_evaluation_equals_the_undisturbed_one(data: ParquetClips, tmp_path: Path) -> None:
    whole = run_evaluation(data, tmp_path, epochs=3)
    forget_after(tmp_path, 7)
    assert run_evaluation(data, tmp_path, epochs=3) == whole


def test_the_frozen_anonymizer_of_an_evaluation_does_not_change(data: ParquetClips, tmp_path: Path) -> None:
    model = STPrivacy(MODEL)
    before = weights_digest(model.state_dict())
    settings = replace(TRAIN, epochs=1)
    attackers = {"standard": Recognizer(RECOGNIZER, CLIP, 5)}
    action = Recognizer(RECOGNIZER, CLIP, 2)
    evaluate(model, 0.7, action, attackers, Training(data, settings, LocalContext(), store(tmp_path), seed=0))
    assert weights_digest(model.state_dict()) == before
