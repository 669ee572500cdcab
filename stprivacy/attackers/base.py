"""What attackers are made from, and how one that looks at training clips before it trains does so."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from stprivacy.config import ClipConfig, RecognizerConfig
from stprivacy.models.embedding import pixel_mask


@dataclass(frozen=True)
class AttackerSettings:
    """All that an attacker's size follows from: the protocol's own recognizer, its clips, and p = `outputs` attributes.

    `whitened_components` is the number of principal components that the whitened attacker sees.
    """

    recognizer: RecognizerConfig
    clip: ClipConfig
    outputs: int
    whitened_components: int = 128


class Statistics(Protocol):
    """Sums over transformed training clips, by name, in double precision: addable over clips and workers."""

    sums: dict[str, Tensor]

    def add(self, video: Tensor, keep: Tensor) -> None:
        """Take in video [b 3 t h w], keep [b l n]."""

    def reduce(self, add_up: Callable[[Tensor], Tensor]) -> None:
        """Replace the sums by those over workers."""


@runtime_checkable
class Fitted(Protocol):
    """An attacker that is set from transformed training clips before it trains."""

    def statistics(self, device: torch.device) -> Statistics:
        """Empty sums."""

    def fit(self, statistics: Statistics) -> None:
        """Set what they decide."""


def kept_pixels(video: Tensor, keep: Tensor, clip: ClipConfig) -> Tensor:
    """Video [b 3 t h w] with abandoned tubelets 0, whatever they were: what a reader without a mask sees."""
    return video * pixel_mask(keep, video, clip)
