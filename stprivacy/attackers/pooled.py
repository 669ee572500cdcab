"""The smallest attackers: a linear probe on pooled token statistics, and an MLP on which tubelets were abandoned."""

import torch
from einops import rearrange
from torch import Tensor, nn

from stprivacy.attackers.base import AttackerSettings
from stprivacy.config import ClipConfig
from stprivacy.models.embedding import grid_of
from stprivacy.models.whitening import Statistics
from stprivacy.noise import Noise
from stprivacy.tubelets import to_tubelets

_HIDDEN_FACTOR = 4  # of the MLP, to the width of the protocol's recognizer


class Pooled(nn.Module):
    """A linear layer on the mean and standard deviation, over a clip's kept tubelets, of every tubelet value.

    The features are standardised by their mean and standard deviation over training clips. Where a clip keeps no
    tubelet, they are 0 before that.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, clip: ClipConfig, num_outputs: int) -> None:
        super().__init__()
        self.clip = clip
        features = 2 * clip.tubelet_values
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.head = nn.Linear(features, num_outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def pool(self, video: Tensor, keep: Tensor) -> Tensor:
        """Features [b 2v] of video [b 3 t h w], keep [b l n], not standardised."""
        tubelets = to_tubelets(video, self.clip.tubelet_frames, self.clip.patch_size)  # b n v
        weight = rearrange(keep, "b l n -> b (l n) 1").to(tubelets)
        weight = weight / weight.sum(1, keepdim=True).clamp_min(1.0)
        mean = (tubelets * weight).sum(1)
        variance = ((tubelets - mean.unsqueeze(1)).square() * weight).sum(1)
        # Of one tubelet, or none, the deviation is 0: there the root's derivative is infinite, and no gradient.
        deviation = variance.where(variance > 0, 1.0).sqrt().where(variance > 0, 0.0)
        return torch.cat([mean, deviation], 1)

    def forward(self, video: Tensor, keep: Tensor, noise: Noise = Noise()) -> Tensor:
        """Video [b 3 t h w], keep [b l n] -> logits [b outputs]."""
        logits: Tensor = self.head((self.pool(video, keep) - self.mean) * self.scale)
        return logits

    def statistics(self, device: torch.device) -> "FeatureSums":
        """Sums of the features."""
        return FeatureSums(self, device)

    def fit(self, statistics: Statistics) -> None:
        """Set mean and scale; a feature that never changes is left out (scale 0)."""
        assert isinstance(statistics, FeatureSums)
        mean, std = statistics.moments()
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(std > 1e-6, 1 / std.clamp_min(1e-6), 0.0))


class FeatureSums(Statistics):
    """Count, sum and sum of squares of pooled features."""

    def __init__(self, probe: Pooled, device: torch.device) -> None:
        features = probe.mean.shape
        super().__init__(device, count=(1,), total=features, squares=features)
        self._probe = probe

    def add(self, video: Tensor, keep: Tensor) -> None:
        """Take in video [b 3 t h w], keep [b l n]."""
        features = self._probe.pool(video, keep).double()
        self.sums["count"] += len(features)
        self.sums["total"] += features.sum(0)
        self.sums["squares"] += features.square().sum(0)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [2v]."""
        mean = self.sums["total"] / self.sums["count"]
        return mean, (self.sums["squares"] / self.sums["count"] - mean.square()).clamp_min(0).sqrt()


def pooled(settings: AttackerSettings) -> Pooled:
    """A linear probe on mean and standard deviation of the kept tubelets."""
    return Pooled(settings.clip, settings.outputs)


class MaskReader(nn.Module):
    """A two-layer MLP on the keep mask alone. It looks at no pixel."""

    def __init__(self, settings: AttackerSettings) -> None:
        super().__init__()
        self.clip = settings.clip
        slots, rows, columns = self.clip.grid
        self.hidden = nn.Linear(slots * rows * columns, _HIDDEN_FACTOR * settings.recognizer.embed_dim)
        self.head = nn.Linear(self.hidden.out_features, settings.outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, video: Tensor, keep: Tensor, noise: Noise = Noise()) -> Tensor:
        """Keep [b l n] -> logits [b outputs]. Raises: ValueError: a video of another grid than the clip's."""
        if grid_of(video, self.clip) != self.clip.grid:
            raise ValueError(f"the mask attacker reads grids of {self.clip.grid}, got {grid_of(video, self.clip)}")
        logits: Tensor = self.head(nn.functional.gelu(self.hidden(2 * keep.flatten(1) - 1)))
        return logits
