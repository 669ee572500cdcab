"""Phase 3, evaluation: recognizers trained from scratch on the frozen anonymizer's output, tested on its test split."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.autograd import backward

from stprivacy.anonymized import Anonymized, Anonymizer
from stprivacy.config import ClipConfig, PhaseConfig
from stprivacy.losses import action_loss, privacy_loss
from stprivacy.metrics import action_scores, privacy_scores
from stprivacy.models.recognizer import Recognizer
from stprivacy.models.whitening import Moments, WhitenedEmbedding
from stprivacy.noise import ClipNoise
from stprivacy.phases.context import Batch, ClipSource, PhaseContext
from stprivacy.phases.learner import Learner
from stprivacy.phases.loop import PhaseLoop, Training

ACTION = "action"
WHITENING_CLIPS = 512


class EvaluationPhase:
    """Trains an action recognizer and any number of privacy attackers side by side on the same transformed clips.

    They share the data and its transformation and nothing else: each has its own loss and optimizer.
    """

    name = "evaluate"

    def __init__(
        self,
        anonymizer: Anonymizer,
        keep_ratio: float,
        action_recognizer: Recognizer,
        attackers: Mapping[str, Recognizer],
        settings: PhaseConfig,
        context: PhaseContext,
    ) -> None:
        self._anonymizer = anonymizer
        self._keep_ratio = keep_ratio
        self.action_recognizer = Learner(ACTION, action_recognizer, settings, context)
        self.attackers = {name: Learner(name, module, settings, context) for name, module in attackers.items()}
        self.learners = (self.action_recognizer, *self.attackers.values())
        self._outputs = [model.num_outputs for model in (action_recognizer, *attackers.values())]

    @torch.no_grad()
    def transform(self, video: Tensor) -> Anonymized:
        """The clips as the recipient of released video would see them."""
        return self._anonymizer(video, keep_ratio=self._keep_ratio)

    def backward(self, share: Batch, noise: ClipNoise) -> dict[str, Tensor]:
        """One share of a batch: every recognizer's own loss on the transformed clips."""
        anonymized = self.transform(share.video)
        terms = {}
        for learner in self.learners:
            logits = learner(anonymized.video, anonymized.keep, noise.scoped(learner.name))
            if learner is self.action_recognizer:
                loss = action_loss(logits, share.action)
            else:
                loss = privacy_loss(logits, share.privacy)
            backward(loss * share.weight)
            terms[f"loss_{learner.name}"] = loss.detach()
        return terms

    def fit_whitening(self, data: ClipSource, batch_size: int, clip: ClipConfig, context: PhaseContext) -> None:
        """Set the projections of whitened attackers from transformed training clips."""
        whitened = [
            learner.module.embedding
            for learner in self.attackers.values()
            if isinstance(learner.module.embedding, WhitenedEmbedding)
        ]
        if not whitened:
            return
        moments = Moments(clip, context.device)
        for step, batch in enumerate(data.train_batches(0, 0, batch_size)):
            if step * batch_size >= WHITENING_CLIPS:
                break
            if batch.weight:
                anonymized = self.transform(batch.to(context.device).video)
                moments.add(anonymized.video, anonymized.keep)
        moments.reduce(context.sum)
        for embedding in whitened:
            embedding.fit(moments)

    @torch.no_grad()
    def predict(self, data: ClipSource, context: PhaseContext, batch_videos: int) -> "Predictions":
        """Probabilities for every test video, averaged over its views; the same on all workers."""
        for learner in self.learners:
            learner.module.eval()
        # A worker without a test video still takes part in the gathering, with no rows.
        columns = [self._no_rows(data)]
        batches = math.ceil(data.test_size() / (context.world_size * batch_videos))
        for step, (batch, views) in enumerate(data.test_batches(batch_videos), start=1):
            columns.append(self._predict_batch(batch.to(context.device), views))
            context.progress("test", step, batches, len(batch.action) * context.world_size)
        whole = [torch.cat(parts).to(context.device) for parts in zip(*columns, strict=True)]
        index, action, privacy, *probabilities = (torch.cat(context.gather(part)).cpu() for part in whole)
        order = index.argsort()
        by_name = {learner.name: part[order] for learner, part in zip(self.learners, probabilities, strict=True)}
        return Predictions(index[order], action[order], privacy[order], by_name)

    def _no_rows(self, data: ClipSource) -> list[Tensor]:
        labels = torch.zeros(0, dtype=torch.int64)
        return [labels, labels, torch.zeros(0, len(data.attribute_names)), *(torch.zeros(0, n) for n in self._outputs)]

    def _predict_batch(self, batch: Batch, views: int) -> list[Tensor]:
        anonymized = self.transform(batch.video)
        rows = [batch.clip_index[::views], batch.action[::views].cpu(), batch.privacy[::views].cpu()]
        for learner in self.learners:
            logits = learner.module(anonymized.video, anonymized.keep).float()
            probabilities = logits.softmax(-1) if learner is self.action_recognizer else logits.sigmoid()
            rows.append(probabilities.unflatten(0, (-1, views)).mean(1).cpu())
        return rows


class Predictions:
    """Test labels and every recognizer's probabilities, one row a video, in the split's order."""

    def __init__(self, index: Tensor, action: Tensor, privacy: Tensor, probabilities: dict[str, Tensor]) -> None:
        self.index, self.action, self.privacy, self.probabilities = index, action, privacy, probabilities

    def scores(self, attribute_names: list[str], seed: int) -> dict[str, float | str]:
        """Flat metrics: action, and the privacy of the strongest attacker (highest test cMAP) and of each one."""
        flat: dict[str, float | str] = dict(action_scores(self.probabilities[ACTION], self.action, seed=seed))
        attacks = {
            name: privacy_scores(probabilities, self.privacy, attribute_names, seed=seed)
            for name, probabilities in self.probabilities.items()
            if name != ACTION
        }
        strongest = max(attacks, key=lambda name: attacks[name]["privacy_cmap"])
        flat |= attacks[strongest] | {"attacker": strongest}
        for name, scores in attacks.items():
            flat |= {_of_attacker(key, name): value for key, value in scores.items() if not key.startswith("floor_")}
        return flat


def _of_attacker(key: str, name: str) -> str:
    """privacy_cmap_low of attacker x: privacy_cmap_x_low."""
    for bound in ("_low", "_high"):
        if key.endswith(bound):
            return f"{key.removesuffix(bound)}_{name}{bound}"
    return f"{key}_{name}"


def evaluate(
    anonymizer: Anonymizer,
    keep_ratio: float,
    action_recognizer: Recognizer,
    attackers: Mapping[str, Recognizer],
    training: Training,
) -> dict[str, float | str]:
    """Run phase 3 against a frozen anonymizer in evaluation mode; gives back flat metrics with intervals and floors."""
    data, settings, context = training.data, training.settings, training.context
    if isinstance(anonymizer, nn.Module):
        anonymizer.eval().requires_grad_(False).to(context.device)
    phase = EvaluationPhase(anonymizer, keep_ratio, action_recognizer, attackers, settings, context)
    loop = PhaseLoop(phase, training)
    step = loop.resume()
    if step == 0:  # a resumed run finds the projections in its checkpoint
        phase.fit_whitening(data, settings.batch_size, action_recognizer.clip, context)
    loop.train(step)
    batch_videos = max(settings.batch_size // 8, 1)
    return phase.predict(data, context, batch_videos).scores(list(data.attribute_names), training.seed)
