"""STPrivacy's privacy objective: video-level recognizers of the private attributes (Eq 13); the paper has one."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stprivacy.anonymized import Anonymized
from stprivacy.config import LossConfig, PhaseConfig
from stprivacy.losses import labels_for, privacy_loss
from stprivacy.noise import ClipNoise
from stprivacy.phases.context import Batch, PhaseContext
from stprivacy.phases.learner import Learner
from stprivacy.phases.objectives.following import FollowingLearner
from stprivacy.phases.objectives.heads import Head, PrivacyHead

_PAPERS = "privacy_recognizer"


def learner_name(head: PrivacyHead) -> str:
    """What checkpoints and reports call a head."""
    return _PAPERS if head == "standard" else f"{_PAPERS}_{head.replace('-', '_')}"


class LabelObjective:
    """The anonymizer maximises the mean, over the heads, of the cross-entropy that each of them minimises."""

    takes_turns = False

    def __init__(
        self, heads: Mapping[PrivacyHead, Head], losses: LossConfig, settings: PhaseConfig, context: PhaseContext
    ) -> None:
        self._form = losses.privacy_objective
        self._heads = [(head.learner(learner_name(name), settings, context), head) for name, head in heads.items()]
        self.learners: list[Learner] = [learner for learner, _ in self._heads]

    def gain(self, anonymized: Anonymized, share: Batch, noise: ClipNoise) -> Tensor:
        """The heads' mean L_Privacy, against all of them held fixed."""
        losses = []
        for learner, head in self._heads:
            logits = learner.frozen(anonymized.video, head.mask(anonymized), noise.scoped(learner.name))
            losses.append(privacy_loss(logits, labels_for(logits, share.privacy), self._form))
        return torch.stack(losses).mean()

    def losses(self, anonymized: Anonymized, share: Batch, noise: ClipNoise) -> Sequence[Tensor]:
        """Each head's own L_Privacy, which is not bounded."""
        losses = []
        for learner, head in self._heads:
            keep = head.mask(anonymized)
            if isinstance(learner, FollowingLearner) and share.weight:  # a stand-in clip counts for nothing
                learner.take_in(anonymized.video, keep)
            logits = learner(anonymized.video, keep, noise.scoped(learner.name))
            losses.append(privacy_loss(logits, labels_for(logits, share.privacy)))
        return losses
