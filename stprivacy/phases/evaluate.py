"""Phase 3, evaluation: recognizers trained from scratch on the frozen anonymizer's output, tested on its test split."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.autograd import backward

from stprivacy.anonymized import Anonymized, Anonymizer
from stprivacy.attackers import Fitted, Reconstructed, epoch_factor
from stprivacy.attackers.reconstruction import recovery_loss
from stprivacy.config import ClipConfig
from stprivacy.losses import action_loss, privacy_loss
from stprivacy.models.recognizer import Recognizer
from stprivacy.noise import ClipNoise
from stprivacy.phases.context import Batch
from stprivacy.phases.evaluation.predictions import Readers, Scoring
from stprivacy.phases.evaluation.selection import choose_attackers
from stprivacy.phases.learner import Learner
from stprivacy.phases.loop import PhaseLoop, Training, total_steps

ACTION = "action"
FITTING_CLIPS = 512


class EvaluationPhase:
    """Trains any number of recognizers side by side on the same transformed clips: `ACTION`, the others on privacy.

    They share the data and its transformation and nothing else: each has its own loss and optimizer, and some train
    longer than the others (`epoch_factor`).
    """

    def __init__(
        self,
        name: str,
        anonymizer: Anonymizer,
        keep_ratio: float,
        recognizers: Mapping[str, nn.Module],
        training: Training,
    ) -> None:
        self.name = name
        self._anonymizer, self._keep_ratio = anonymizer, keep_ratio
        self._recognizers, self._training = recognizers, training
        (clip,) = {module.clip for module in recognizers.values()}
        assert isinstance(clip, ClipConfig)
        self.clip: ClipConfig = clip  # of what all of them read
        self.learners = [
            Learner(name, module, training.settings, training.context) for name, module in recognizers.items()
        ]
        steps_per_epoch = training.data.steps_per_epoch(training.settings.batch_size)
        for learner in self.learners:
            learner.total_steps = total_steps(training.settings, steps_per_epoch, epoch_factor(learner.name))

    @torch.no_grad()
    def transform(self, batch: Batch) -> Anonymized:
        """The clips as the recipient of released video would see them."""
        return self._anonymizer(batch.video, keep_ratio=self._keep_ratio, person=batch.person)

    def backward(self, share: Batch, noise: ClipNoise) -> dict[str, Tensor]:
        """One share of a batch: the loss, on the transformed clips, of every recognizer that still learns."""
        anonymized = self.transform(share)
        terms: dict[str, Tensor] = {}
        for learner in (learner for learner in self.learners if not learner.done):
            read = learner(anonymized.video, anonymized.keep, noise.scoped(learner.name))
            losses = _losses(learner.name, read, share)
            backward(torch.stack(list(losses.values())).sum() * share.weight)
            terms |= {name: loss.detach() for name, loss in losses.items()}
        return terms

    def train(self) -> None:
        """Train all of them to the end, or what is left of it."""
        loop = PhaseLoop(self, self._training)
        step = loop.resume()
        if step == 0:  # a resumed run finds what was fitted in its checkpoint
            self._fit()
        loop.train(step)

    def _fit(self) -> None:
        """Set whitening and the like from transformed training clips."""
        context, batch_size = self._training.context, self._training.settings.batch_size
        fitted = [module for module in self._recognizers.values() if isinstance(module, Fitted)]
        sums = [module.statistics(context.device) for module in fitted]
        for step, batch in enumerate(self._training.data.train_batches(0, 0, batch_size) if fitted else ()):
            if step * batch_size >= FITTING_CLIPS:
                break
            if batch.weight:
                anonymized = self.transform(batch.to(context.device))
                for statistics in sums:
                    statistics.add(anonymized.video, anonymized.keep)
        for module, statistics in zip(fitted, sums, strict=True):
            statistics.reduce(context.sum)
            module.fit(statistics)


def _losses(name: str, read: Tensor | Reconstructed, share: Batch) -> dict[str, Tensor]:
    """A recognizer's own losses; they are added up."""
    if name == ACTION and isinstance(read, Tensor):
        return {"loss_action": action_loss(read, share.action)}
    if isinstance(read, Reconstructed):
        pixels = recovery_loss(read.video, share.video)
        return {f"loss_{name}": privacy_loss(read.logits, share.privacy), f"loss_{name}_pixels": pixels}
    return {f"loss_{name}": privacy_loss(read, share.privacy)}


def evaluate(
    anonymizer: Anonymizer,
    keep_ratio: float,
    action_recognizer: Recognizer,
    attackers: Mapping[str, nn.Module],
    training: Training,
    scoring: Scoring = Scoring(),
) -> dict[str, float | str]:
    """Run phase 3 against a frozen anonymizer in evaluation mode; returns flat metrics with intervals and floors."""
    _freeze(anonymizer, training)
    phase = EvaluationPhase("evaluate", anonymizer, keep_ratio, {ACTION: action_recognizer, **attackers}, training)
    phase.train()
    action, *others = phase.learners
    return _test(Readers(action, others, phase.transform), training, scoring)


def evaluate_apart(
    anonymizer: Anonymizer,
    keep_ratio: float,
    action_recognizer: Recognizer,
    attackers: Mapping[str, nn.Module],
    training: Training,
    action_training: Training,
    scoring: Scoring = Scoring(),
) -> dict[str, float | str]:
    """The same with an action recognizer that is trained on data of its own (Section 4.7).

    It is tested on `training`'s test split with the others: the two data sources have the same `action_names`.
    """
    _freeze(anonymizer, training)
    action = EvaluationPhase("evaluate-action", anonymizer, keep_ratio, {ACTION: action_recognizer}, action_training)
    attacks = EvaluationPhase("evaluate", anonymizer, keep_ratio, attackers, training)
    action.train()
    attacks.train()
    return _test(Readers(action.learners[0], attacks.learners, attacks.transform), training, scoring)


def _freeze(anonymizer: Anonymizer, training: Training) -> None:
    if isinstance(anonymizer, nn.Module):
        anonymizer.eval().requires_grad_(False).to(training.context.device)


def _test(readers: Readers, training: Training, scoring: Scoring) -> dict[str, float | str]:
    data, context, names = training.data, training.context, list(training.data.attribute_names)
    batch_videos = max(training.settings.batch_size // 8, 1)
    choice: list[str] = []
    scores: dict[str, float | str] = {}
    if data.test_size("validation"):
        validation = readers.predict(data, context, batch_videos, "validation")
        choice, validated = choose_attackers(validation, names, context.tell)
        scores |= validated
    tested = readers.predict(data, context, batch_videos)
    return tested.scores(names, scoring, training.seed, choice) | scores
