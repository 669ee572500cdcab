"""What recognizers say of the test split, and the scores of it."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from einops import rearrange, reduce
from torch import Tensor

from stprivacy.anonymized import Anonymized
from stprivacy.attackers import Reconstructed, Reconstruction
from stprivacy.attackers.reconstruction import recovery_quality
from stprivacy.metrics.bootstrap import means_with_intervals
from stprivacy.metrics.scores import action_scores, group_scores, privacy_scores
from stprivacy.phases.context import Batch, ClipSource, PhaseContext, TestBatch, TestPart
from stprivacy.phases.learner import Learner

RECOVERY_RESAMPLES = 1000


@dataclass(frozen=True)
class Scoring:
    """How privacy is scored.

    Instead of single attributes `groups` of them, each by its columns, if there are any; an attribute counts as read
    from the probability `f1_threshold` on.
    """

    groups: Mapping[str, Sequence[int]] = field(default_factory=dict)
    f1_threshold: float = 0.5


@dataclass(frozen=True)
class Predictions:
    """Test labels and every recognizer's probabilities, videos in the split's order.

    action [v] or [v c] and action_probabilities [v c]; privacy [n p] and each attacker's probabilities [n p], a row for
    each video or for each frame of it; video [n] says of which video a row is. `recovered` [v 2] has PSNR (dB) and SSIM
    of each attacker that recovers the video.
    """

    action: Tensor
    action_probabilities: Tensor
    video: Tensor
    privacy: Tensor
    attacks: dict[str, Tensor]
    recovered: dict[str, Tensor] = field(default_factory=dict)

    def scores(
        self, attribute_names: Sequence[str], scoring: "Scoring", seed: int, choice: Sequence[str] = ()
    ) -> dict[str, float | str]:
        """Flat metrics: action, the privacy left by the decisive attackers, and that of each attacker by itself.

        `choice` names the decisive attacker of each attribute. Without one it is the same for all: that with the
        highest test cMAP, which can only make an anonymizer look worse.
        """
        flat: dict[str, float | str] = dict(action_scores(self.action_probabilities, self.action, seed=seed))
        score = partial(self._privacy_scores, attribute_names, scoring, seed)
        attacks = {name: score(probabilities) for name, probabilities in self.attacks.items()}
        if choice:
            chosen = [self.attacks[name][:, i] for i, name in enumerate(choice)]
            flat |= score(torch.stack(chosen, 1)) | {"attacker": _describe(choice, attribute_names, scoring)}
        else:
            strongest = max(attacks, key=lambda name: attacks[name]["privacy_cmap"])
            flat |= attacks[strongest] | {"attacker": strongest}
        for name, scores in attacks.items():
            for key, value in scores.items():
                # Scores of the labels alone are the same for every attacker.
                if not key.startswith("floor_") and not key.endswith("_classes"):
                    flat[_of_attacker(key, name)] = value
        for name, quality in self.recovered.items():
            columns = {f"{name}_psnr": quality[:, 0], f"{name}_ssim": quality[:, 1]}
            flat |= means_with_intervals(columns, RECOVERY_RESAMPLES, seed)
        return flat

    def _privacy_scores(
        self, attribute_names: Sequence[str], scoring: "Scoring", seed: int, probabilities: Tensor
    ) -> dict[str, float]:
        how: dict[str, Any] = {"seed": seed, "f1_threshold": scoring.f1_threshold}
        if scoring.groups:
            return group_scores(probabilities, self.privacy, scoring.groups, **how)
        return privacy_scores(probabilities, self.privacy, attribute_names, video=self.video, **how)


def _describe(choice: Sequence[str], attribute_names: Sequence[str], scoring: "Scoring") -> str:
    """Whose prediction counts for which attribute; for how many, where they are not scored one by one."""
    if scoring.groups:
        return ", ".join(f"{name} ({count} attributes)" for name, count in Counter(choice).most_common())
    return ", ".join(f"{attribute}={name}" for attribute, name in zip(attribute_names, choice, strict=True))


def _of_attacker(key: str, name: str) -> str:
    """privacy_cmap_low of attacker x: privacy_cmap_x_low."""
    for bound in ("_low", "_high"):
        if key.endswith(bound):
            return f"{key.removesuffix(bound)}_{name}{bound}"
    return f"{key}_{name}"


@dataclass(frozen=True)
class Readers:
    """Trained recognizers, and what transforms the clips that they are tested on."""

    action: Learner
    attackers: Sequence[Learner]
    transform: Callable[[Batch], Anonymized]

    @torch.no_grad()
    def predict(
        self, data: ClipSource, context: PhaseContext, batch_videos: int, part: TestPart = "test"
    ) -> Predictions:
        """Probabilities for every video of `part` or frame of it, averaged over the views that show it.

        They are the same on all workers. `batch_videos` are transformed at a time. How well videos are recovered is
        measured on the test part alone.
        """
        for learner in (self.action, *self.attackers):
            # Normalisation layers have followed each worker's own share since the last step.
            learner.share_buffers()
            learner.module.eval()
        recovering = [x.name for x in self.attackers if part == "test" and isinstance(x.module, Reconstruction)]
        # A worker without a test video still takes part in the gathering, with no rows.
        columns = [self._no_rows(data, recovering)]
        batches = math.ceil(data.test_size(part) / (context.world_size * batch_videos))
        for step, test in enumerate(data.test_batches(batch_videos, part), start=1):
            columns.append(self._predict_batch(test, test.batch.to(context.device), recovering))
            context.progress(part, step, batches, len(test.batch.action) * context.world_size)
        whole = [torch.cat(parts).to(context.device) for parts in zip(*columns, strict=True)]
        index, action, action_probabilities, video, privacy, *read = (
            torch.cat(context.gather(column)).cpu() for column in whole
        )
        order, rows = index.argsort(), video.argsort(stable=True)
        attacks = {learner.name: column[rows] for learner, column in zip(self.attackers, read, strict=False)}
        recovered = {name: column[order] for name, column in zip(recovering, read[len(attacks) :], strict=True)}
        return Predictions(action[order], action_probabilities[order], video[rows], privacy[rows], attacks, recovered)

    def _no_rows(self, data: ClipSource, recovering: Sequence[str]) -> list[Tensor]:
        index, actions = torch.zeros(0, dtype=torch.int64), torch.zeros(0, len(data.action_names))
        attributes = torch.zeros(0, len(data.attribute_names))
        read = [attributes] * len(self.attackers) + [torch.zeros(0, 2)] * len(recovering)
        return [index, actions if data.multi_label else index, actions, index, attributes, *read]

    def _predict_batch(self, test: TestBatch, batch: Batch, recovering: Sequence[str]) -> list[Tensor]:
        anonymized = self.transform(batch)
        several = batch.action.is_floating_point()
        logits = self.action.module(anonymized.video, anonymized.keep).float()
        columns = [
            batch.clip_index[:: test.views],
            batch.action[:: test.views],
            _over_views(logits.sigmoid() if several else logits.softmax(-1), test)[0],
        ]
        attacks, recovered = [], []
        for learner in self.attackers:
            read = learner.module(anonymized.video, anonymized.keep)
            if isinstance(read, Reconstructed):
                if learner.name in recovering:
                    recovered.append(_over_views(recovery_quality(read.video, batch.video), test)[0])
                read = read.logits
            attacks.append(_over_views(read.float().sigmoid(), test)[0])
        privacy, video = _over_views(batch.privacy, test)
        return [column.cpu() for column in (*columns, video, privacy, *attacks, *recovered)]


def _over_views(values: Tensor, test: TestBatch) -> tuple[Tensor, Tensor]:
    """Mean over all views that show a video, or a frame of it, and the video of each row: clip_index's.

    Values [(k v) c] of k videos in v views -> [k c], or [(k v) t c] -> a row for each different frame, in order.
    """
    videos = test.batch.clip_index[:: test.views]
    if values.ndim == 2:
        return reduce(values, "(k v) c -> k c", "mean", v=test.views), videos
    shown = rearrange(test.frame_index, "(k v) t -> k (v t)", v=test.views)
    read = rearrange(values, "(k v) t c -> k (v t) c", v=test.views)
    means = [_mean_by(one, frame) for one, frame in zip(read, shown, strict=True)]
    return torch.cat(means), videos.repeat_interleave(torch.tensor([len(mean) for mean in means]))


def _mean_by(values: Tensor, key: Tensor) -> Tensor:
    """Mean of the rows of values [n c] that share a key [n], keys in rising order."""
    keys, place, count = torch.unique(key.to(values.device), return_inverse=True, return_counts=True)
    means: Tensor = values.new_zeros(len(keys), values.shape[1]).index_add_(0, place, values) / count.unsqueeze(1)
    return means
