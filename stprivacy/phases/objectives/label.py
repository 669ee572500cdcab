"""STPrivacy's privacy objective: a video-level recognizer of the private attributes (Eq 13)."""

from collections.abc import Sequence

from torch import Tensor, nn

from stprivacy.anonymized import Anonymized
from stprivacy.config import LossConfig, PhaseConfig
from stprivacy.losses import privacy_loss
from stprivacy.noise import ClipNoise
from stprivacy.phases.context import Batch, PhaseContext
from stprivacy.phases.learner import Learner


class LabelObjective:
    """The anonymizer maximises the cross-entropy that the recognizer minimises."""

    takes_turns = False

    def __init__(
        self, privacy_recognizer: nn.Module, losses: LossConfig, settings: PhaseConfig, context: PhaseContext
    ) -> None:
        self._form = losses.privacy_objective
        self._recognizer = Learner("privacy_recognizer", privacy_recognizer, settings, context)
        self.learners = (self._recognizer,)

    def gain(self, anonymized: Anonymized, share: Batch, noise: ClipNoise) -> Tensor:
        """L_Privacy, against the recognizer held fixed."""
        logits = self._recognizer.frozen(anonymized.video, anonymized.keep, noise.scoped(self._recognizer.name))
        return privacy_loss(logits, share.privacy, self._form)

    def losses(self, anonymized: Anonymized, share: Batch, noise: ClipNoise) -> Sequence[Tensor]:
        """The recognizer's own L_Privacy, which is not bounded."""
        logits = self._recognizer(anonymized.video, anonymized.keep, noise.scoped(self._recognizer.name))
        return [privacy_loss(logits, share.privacy)]
