"""From pixels to tokens: one embedding for each tubelet, and positions for any grid."""

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from stprivacy.config import ClipConfig, Stem
from stprivacy.tubelets import to_tubelets


class ConvEmbedding(nn.Module):
    """The paper's embedding: a 3D convolution whose kernel and stride are the tubelet (Section 3.1)."""

    def __init__(self, clip: ClipConfig, embed_dim: int) -> None:
        super().__init__()
        size = (clip.tubelet_frames, clip.patch_size, clip.patch_size)
        self.proj = nn.Conv3d(3, embed_dim, kernel_size=size, stride=size)

    def forward(self, video: Tensor) -> Tensor:
        """Tokens of a video: [b 3 t h w] -> [b n d], slot by slot, row by row."""
        return rearrange(self.proj(video), "b d l h w -> b (l h w) d")


class TubeletMLP(nn.Module):
    """Mean and differences over a tubelet's frames, through two layers: learns motion from scratch quickly.

    Not the paper's. It looks at one tubelet at a time, so a pruned tubelet cannot leak through it.
    """

    def __init__(self, clip: ClipConfig, embed_dim: int) -> None:
        super().__init__()
        self.clip = clip
        self.proj = nn.Sequential(
            nn.Linear(clip.tubelet_values, 2 * embed_dim), nn.GELU(), nn.Linear(2 * embed_dim, embed_dim)
        )

    def forward(self, video: Tensor) -> Tensor:
        """Tokens of a video: [b 3 t h w] -> [b n d], slot by slot, row by row."""
        frames = rearrange(
            to_tubelets(video, self.clip.tubelet_frames, self.clip.patch_size),
            "b n (p v) -> b n p v",
            p=self.clip.tubelet_frames,
        )
        mean = frames.mean(2, keepdim=True)
        # A difference is an order of magnitude smaller than a mean in natural video.
        motion = 4.0 * frames.diff(dim=2)
        return self.proj(rearrange(torch.cat([mean, motion], 2), "b n p v -> b n (p v)"))  # type: ignore[no-any-return]


def make_embedding(stem: Stem, clip: ClipConfig, embed_dim: int) -> nn.Module:
    """The embedding named `stem`."""
    return {"conv3d": ConvEmbedding, "tubelet_mlp": TubeletMLP}[stem](clip, embed_dim)


class PositionEmbedding(nn.Module):
    """A learned vector for each place of the (L, rows, columns) grid, resized when a video's grid differs."""

    def __init__(self, grid: tuple[int, int, int], embed_dim: int) -> None:
        super().__init__()
        self.grid = grid
        self.weight = nn.Parameter(torch.zeros(1, grid[0] * grid[1] * grid[2], embed_dim))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, grid: tuple[int, int, int]) -> Tensor:
        """Positions [1 n d] of `grid`, by trilinear interpolation where it is not the trained one."""
        if grid == self.grid:
            return self.weight
        cells = rearrange(self.weight, "1 (l h w) d -> 1 d l h w", l=self.grid[0], h=self.grid[1])
        resized = F.interpolate(cells, size=grid, mode="trilinear", align_corners=False)
        return rearrange(resized, "1 d l h w -> 1 (l h w) d")


def grid_of(video: Tensor, clip: ClipConfig) -> tuple[int, int, int]:
    """(L, rows, columns) of a video [b 3 t h w]. Raises: ValueError: a size that the tubelet does not divide."""
    frames, height, width = video.shape[-3:]
    if frames % clip.tubelet_frames or height % clip.patch_size or width % clip.patch_size:
        raise ValueError(
            f"video of {frames} frames, {height}x{width} pixels cannot be cut into tubelets of "
            f"{clip.tubelet_frames} frames, {clip.patch_size}x{clip.patch_size} pixels"
        )
    return frames // clip.tubelet_frames, height // clip.patch_size, width // clip.patch_size


def slots_of(grid: tuple[int, int, int], batch_size: int, device: torch.device) -> Tensor:
    """The temporal slot of every token: [b n] integers."""
    slots = torch.arange(grid[0], device=device)
    return repeat(slots, "l -> b (l n)", b=batch_size, n=grid[1] * grid[2])
