"""What every anonymizer takes and gives."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from stprivacy.noise import Noise


@dataclass(frozen=True)
class Anonymized:
    """A transformed batch: video [b c t h w], keep [b l n] in {0, 1}, and the keep mask after each stage.

    Where the masks were sampled (STPrivacy in training), stage_log_z are the log-probabilities [b l n 2] of keeping or
    abandoning each tubelet that each stage sampled from.
    """

    video: Tensor
    keep: Tensor
    stage_keeps: tuple[Tensor, ...]
    stage_log_z: tuple[Tensor, ...] = ()

    def detach(self) -> "Anonymized":
        """The same without gradients."""
        keeps, log_z = (tuple(x.detach() for x in stages) for stages in (self.stage_keeps, self.stage_log_z))
        return Anonymized(self.video.detach(), self.keep.detach(), keeps, log_z)


class Anonymizer(Protocol):
    """Any module that maps video [b c t h w] to `Anonymized`; `keep_ratio` overrides its own where it has one."""

    def __call__(
        self, video: Tensor, keep_ratio: float | None = None, noise: Noise = ..., person: Tensor | None = None
    ) -> Anonymized:
        """Transform a batch.

        `noise` supplies the randomness of training; person [b 1 t h w] is 1 where persons are, for those that need it.
        """
