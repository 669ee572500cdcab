"""PCA-whitened tubelets: the input of the attacker that undoes a low-rank output layer."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from stprivacy.config import ClipConfig
from stprivacy.tubelets import to_tubelets


class WhitenedEmbedding(nn.Module):
    """Principal components of tubelets scaled to variance 1, then a two-layer MLP."""

    mean: Tensor
    directions: Tensor

    def __init__(self, clip: ClipConfig, components: int, embed_dim: int) -> None:
        super().__init__()
        self.clip = clip
        components = min(components, clip.tubelet_values)
        self.register_buffer("mean", torch.zeros(clip.tubelet_values))
        self.register_buffer("directions", torch.zeros(clip.tubelet_values, components))
        self.proj = nn.Sequential(nn.Linear(components, 2 * embed_dim), nn.GELU(), nn.Linear(2 * embed_dim, embed_dim))

    def forward(self, video: Tensor) -> Tensor:
        """Tokens of a video: [b 3 t h w] -> [b n d]."""
        tubelets = to_tubelets(video, self.clip.tubelet_frames, self.clip.patch_size)
        tokens: Tensor = self.proj((tubelets - self.mean) @ self.directions)
        return tokens

    def fit(self, moments: "Moments") -> None:
        """Set the projection from tubelet moments; directions of next to no variance are left out (zero).

        Where there is a projection already, the new one is turned towards it: what was learned of tokens stays true.
        """
        covariance, mean = moments.covariance()
        values, vectors = torch.linalg.eigh(covariance)
        values, vectors = values.flip(0)[: self.directions.shape[1]], vectors.flip(1)[:, : self.directions.shape[1]]
        # Below single precision's resolution of the output, a direction holds rounding noise alone.
        scale = torch.where(values > values[0] * 1e-9, values.clamp_min(1e-30).rsqrt(), 0.0)
        directions = vectors * scale
        if self.directions.any():
            # The rotation after which the new whitened values are most like the old ones.
            left, _, right = torch.linalg.svd(directions.T @ covariance @ self.directions.to(covariance))
            directions = directions @ (left @ right)
        self.mean.copy_(mean)
        self.directions.copy_(directions)


class Statistics(ABC):
    """Sums over transformed training clips, by name, in double precision: addable over clips and workers."""

    def __init__(self, device: torch.device, **sizes: tuple[int, ...]) -> None:
        """Zeros of these sizes."""
        self.sums = {name: torch.zeros(size, dtype=torch.float64, device=device) for name, size in sizes.items()}

    @abstractmethod
    def add(self, video: Tensor, keep: Tensor) -> None:
        """Take in video [b 3 t h w], keep [b l n]."""

    def reduce(self, add_up: Callable[[Tensor], Tensor]) -> None:
        """Replace the sums by those over workers."""
        self.sums = {name: add_up(part) for name, part in self.sums.items()}


class Moments(Statistics):
    """Count, sum and sum of products of kept tubelets."""

    def __init__(self, clip: ClipConfig, device: torch.device) -> None:
        values = clip.tubelet_values
        super().__init__(device, count=(1,), total=(values,), products=(values, values))
        self.clip = clip

    def add(self, video: Tensor, keep: Tensor) -> None:
        """Take in the kept tubelets of video [b 3 t h w], keep [b l n]."""
        tubelets = to_tubelets(video, self.clip.tubelet_frames, self.clip.patch_size)
        kept = tubelets[keep.flatten(1) > 0.5].double()
        self.sums["count"] += kept.shape[0]
        self.sums["total"] += kept.sum(0)
        self.sums["products"] += kept.T @ kept

    def covariance(self) -> tuple[Tensor, Tensor]:
        """Covariance [v v] and mean [v]. Raises: ValueError: fewer than two tubelets were taken in."""
        count, total, products = self.sums["count"], self.sums["total"], self.sums["products"]
        if count < 2:
            raise ValueError("whitening needs at least two kept tubelets, and the training split gave none")
        mean = total / count
        return products / count - torch.outer(mean, mean), mean
