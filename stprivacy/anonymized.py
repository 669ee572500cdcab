"""What every anonymizer takes and gives."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from stprivacy.noise import Noise


@dataclass(frozen=True)
class Anonymized:
    """A transformed batch: video [b c t h w], keep [b l n] in {0, 1}, and the keep mask after each stage."""

    video: Tensor
    keep: Tensor
    stage_keeps: tuple[Tensor, ...]


class Anonymizer(Protocol):
    """Any module that maps video [b c t h w] to `Anonymized`; `keep_ratio` overrides its own where it has one."""

    def __call__(
        self, video: Tensor, keep_ratio: float | None = None, noise: Noise = ..., person: Tensor | None = None
    ) -> Anonymized:
        """Transform a batch.

        `noise` supplies the randomness of training; person [b 1 t h w] is 1 where persons are, for those that need it.
        """
