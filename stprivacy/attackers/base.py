"""What attackers are made from, and how one that looks at training clips before it trains does so."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from stprivacy.config import ClipConfig, RecognizerConfig
from stprivacy.models.embedding import pixel_mask
from stprivacy.models.whitening import Statistics


@dataclass(frozen=True)
class AttackerSettings:
    """All that an attacker's size follows from: the protocol's own recognizer, its clips, and p = `outputs` attributes.

    `whitened_components` is the number of principal components that the whitened attacker sees.
    """

    recognizer: RecognizerConfig
    clip: ClipConfig
    outputs: int
    whitened_components: int = 128


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
