"""Phase 3, evaluation: recognizers trained from scratch on the frozen anonymizer's output, tested on its test split."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.autograd import backward

from stprivacy.anonymized import Anonymized, Anonymizer
from stprivacy.losses import action_loss, privacy_loss
from stprivacy.models.frame_recognizer import FrameRecognizer
from stprivacy.models.recognizer import Recognizer
from stprivacy.models.whitening import Moments, WhitenedEmbedding
from stprivacy.noise import ClipNoise
from stprivacy.phases.context import Batch
from stprivacy.phases.learner import Learner
from stprivacy.phases.loop import PhaseLoop, Training
from stprivacy.phases.predictions import Readers, Scoring

ACTION = "action"
WHITENING_CLIPS = 512

Reader = Recognizer | FrameRecognizer


class EvaluationPhase:
    """Trains any number of recognizers side by side on the same transformed clips: `ACTION`, the others on privacy.

    They share the data and its transformation and nothing else: each has its own loss and optimizer.
    """

    def __init__(
        self,
        name: str,
        anonymizer: Anonymizer,
        keep_ratio: float,
        recognizers: Mapping[str, Reader],
        training: Training,
    ) -> None:
        self.name = name
        self._anonymizer, self._keep_ratio = anonymizer, keep_ratio
        self._recognizers, self._training = recognizers, training
        (self.clip,) = {module.clip for module in recognizers.values()}
        self.learners = [
            Learner(name, module, training.settings, training.context) for name, module in recognizers.items()
        ]

    @torch.no_grad()
    def transform(self, batch: Batch) -> Anonymized:
        """The clips as the recipient of released video would see them."""
        return self._anonymizer(batch.video, keep_ratio=self._keep_ratio, person=batch.person)

    def backward(self, share: Batch, noise: ClipNoise) -> dict[str, Tensor]:
        """One share of a batch: every recognizer's own loss on the transformed clips."""
        anonymized = self.transform(share)
        terms = {}
        for learner in self.learners:
            logits = learner(anonymized.video, anonymized.keep, noise.scoped(learner.name))
            reads_action = learner.name == ACTION
            loss = action_loss(logits, share.action) if reads_action else privacy_loss(logits, share.privacy)
            backward(loss * share.weight)
            terms[f"loss_{learner.name}"] = loss.detach()
        return terms

    def train(self) -> None:
        """Train all of them to the end, or what is left of it."""
        loop = PhaseLoop(self, self._training)
        step = loop.resume()
        if step == 0:  # a resumed run finds the projections in its checkpoint
            for module in self._recognizers.values():
                if isinstance(module.embedding, WhitenedEmbedding):
                    self._fit_whitening(module, module.embedding)
        loop.train(step)

    def _fit_whitening(self, module: Reader, embedding: WhitenedEmbedding) -> None:
        """Set the projection of a whitened attacker from transformed training clips."""
        context, batch_size = self._training.context, self._training.settings.batch_size
        moments = Moments(embedding.clip, context.device)
        for step, batch in enumerate(self._training.data.train_batches(0, 0, batch_size)):
            if step * batch_size >= WHITENING_CLIPS:
                break
            if batch.weight:
                anonymized = self.transform(batch.to(context.device))
                moments.add(*module.inputs(anonymized.video, anonymized.keep))
        moments.reduce(context.sum)
        embedding.fit(moments)


def evaluate(
    anonymizer: Anonymizer,
    keep_ratio: float,
    action_recognizer: Recognizer,
    attackers: Mapping[str, Reader],
    training: Training,
    scoring: Scoring = Scoring(),
) -> dict[str, float | str]:
    """Run phase 3 against a frozen anonymizer in evaluation mode; gives back flat metrics with intervals and floors."""
    _freeze(anonymizer, training)
    recognizers = {ACTION: action_recognizer, **attackers}
    phase = EvaluationPhase("evaluate", anonymizer, keep_ratio, recognizers, training)
    phase.train()
    return _test(Readers(phase.learners[0], phase.learners[1:], phase.transform), training, scoring)


def evaluate_apart(
    anonymizer: Anonymizer,
    keep_ratio: float,
    action_recognizer: Recognizer,
    attackers: Mapping[str, Reader],
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
    batch_videos = max(training.settings.batch_size // 8, 1)
    predictions = readers.predict(training.data, training.context, batch_videos)
    return predictions.scores(list(training.data.attribute_names), scoring, training.seed)
