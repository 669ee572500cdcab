"""What the adversarial phase asks of a privacy objective."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from stprivacy.anonymized import Anonymized
from stprivacy.noise import ClipNoise
from stprivacy.phases.context import Batch
from stprivacy.phases.learner import Learner


class PrivacyObjective(Protocol):
    """The adversaries of an anonymizer, the game that it plays with them, and who moves when."""

    takes_turns: bool
    """False: all learn in every step; True: the anonymizer in even steps, all recognizers and adversaries in odd."""

    @property
    def learners(self) -> Sequence[Learner]:
        """The adversaries."""

    def gain(self, anonymized: Anonymized, share: Batch, noise: ClipNoise) -> Tensor:
        """What the anonymizer maximises (L_Privacy of Eq 13); gradients reach its output and no adversary's weights."""

    def losses(self, anonymized: Anonymized, share: Batch, noise: ClipNoise) -> Sequence[Tensor]:
        """What the adversaries minimise, each by itself, on an output that is detached."""
