"""What the rivals VITA and SPAct have in common: a 2D network that redraws every frame by itself."""

from dataclasses import replace

import torch
from einops import rearrange
from torch import Tensor, nn

from stprivacy.anonymized import Anonymized
from stprivacy.config import ModelConfig
from stprivacy.models.embedding import grid_of
from stprivacy.noise import Noise


class FrameAnonymizer(nn.Module):
    """Redraws every frame of a video with `network`: frames [b 3 h w] in [-1, 1] -> the same. Every tubelet is kept.

    Frames of any size that the tubelet and `multiple` divide. There is nothing to abandon: the kept fraction is 1, and
    L_Spars 0.
    """

    def __init__(self, config: ModelConfig, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.config = replace(config, keep_ratio=1.0)
        self.network = network
        self._multiple = multiple

    def forward(
        self, video: Tensor, keep_ratio: float | None = None, noise: Noise = Noise(), person: Tensor | None = None
    ) -> Anonymized:
        """Transform video [b 3 t h w]; there is nothing for keep_ratio, noise or person to change.

        Raises: ValueError: height or width is no multiple of what the network or the tubelet needs.
        """
        slots, rows, columns = grid_of(video, self.config.clip)
        batch, _, _, height, width = video.shape
        if height % self._multiple or width % self._multiple:
            raise ValueError(
                f"video of {height}x{width} pixels: {type(self).__name__} takes multiples of {self._multiple}"
            )
        frames = rearrange(video, "b c t h w -> (b t) c h w")
        redrawn = self.network(frames.contiguous(memory_format=torch.channels_last))  # faster on CPUs
        keep = video.new_ones(batch, slots, rows * columns)
        return Anonymized(rearrange(redrawn, "(b t) c h w -> b c t h w", b=batch), keep, (keep,))


def scaled(width: int, factor: float) -> int:
    """A number of channels times a factor, at least 1."""
    return max(round(width * factor), 1)
