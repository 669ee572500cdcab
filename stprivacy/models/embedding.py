"""From pixels to tokens: one embedding for each tubelet, and positions for any grid."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from stprivacy.config import ClipConfig, Stem
from stprivacy.tubelets import expand_keep


class ConvEmbedding(nn.Module):
    """The paper's embedding: a 3D convolution whose kernel and stride are the tubelet (Section 3.1)."""

    def __init__(self, clip: ClipConfig, embed_dim: int) -> None:
        super().__init__()
        size = (clip.tubelet_frames, clip.patch_size, clip.patch_size)
        self.proj = nn.Conv3d(3, embed_dim, kernel_size=size, stride=size)

    def forward(self, video: Tensor) -> Tensor:
        """Tokens of a video: [b 3 t h w] -> [b n d], slot by slot, row by row."""
        tokens: Tensor = rearrange(self.proj(video), "b d l h w -> b (l h w) d")
        return tokens


class TubeletMLP(nn.Module):
    """Mean and differences over a tubelet's frames, through two layers: learns motion from scratch quickly.

    The first layer is shared by all cells of 4 x 4 pixels, the second joins a tubelet's cells. Not the paper's. It
    looks at one tubelet at a time, so a pruned tubelet cannot leak through it.
    """

    cell_features = 48
    change_gain = 4.0  # a difference is several times smaller than a mean in video
    frame_mix: Tensor

    def __init__(self, clip: ClipConfig, embed_dim: int) -> None:
        super().__init__()
        self.cell_px = math.gcd(clip.patch_size, 4)
        self.cells = clip.patch_size // self.cell_px  # along each side of a tubelet
        self.cell = nn.Linear(clip.tubelet_values // self.cells**2, self.cell_features)
        self.join = nn.Linear(self.cell_features * self.cells**2, embed_dim)
        # Rows: the mean over the tubelet's frames, then the change from each frame to the next.
        mix = self.change_gain * (torch.eye(clip.tubelet_frames) - torch.eye(clip.tubelet_frames).roll(-1, 1))
        mix[0] = 1 / clip.tubelet_frames
        self.register_buffer("frame_mix", mix, persistent=False)

    def forward(self, video: Tensor) -> Tensor:
        """Tokens of a video: [b 3 t h w] -> [b n d], slot by slot, row by row."""
        # Mixing frames is linear: applied to the weights, it costs nothing, and the cells become a convolution.
        frames, size = len(self.frame_mix), self.cell_px
        weight = rearrange(self.cell.weight, "f (s u v c) -> f c s u v", s=frames, u=size, v=size)
        weight = torch.einsum("fcsuv,st->fctuv", weight, self.frame_mix)
        cells = F.gelu(F.conv3d(video, weight, self.cell.bias, stride=(frames, size, size)))
        joined = rearrange(cells, "b f l (h q) (w r) -> b (l h w) (q r f)", q=self.cells, r=self.cells)
        tokens: Tensor = self.join(joined)
        return tokens


def make_embedding(stem: Stem, clip: ClipConfig, embed_dim: int) -> nn.Module:
    """The embedding named `stem`."""
    return {"conv3d": ConvEmbedding, "tubelet_mlp": TubeletMLP}[stem](clip, embed_dim)


class PositionEmbedding(nn.Module):
    """A learned vector for each place of the (L, rows, columns) grid, resized when a video's grid differs."""

    def __init__(self, grid: tuple[int, int, int], embed_dim: int) -> None:
        super().__init__()
        self.grid = grid
        self.weight = nn.Parameter(torch.zeros(1, grid[0] * grid[1] * grid[2], embed_dim))
        # Tokens have a standard deviation near 1: at ViT's .02 it takes epochs until positions are heard beside them.
        nn.init.trunc_normal_(self.weight, std=0.5)

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


def pixel_mask(keep: Tensor, video: Tensor, clip: ClipConfig) -> Tensor:
    """The mask [b 1 t h w] of those pixels of video [b 3 t h w] that keep [b l n] keeps.

    Raises: ValueError: a video that the tubelet does not divide, or a mask of another grid.
    """
    return expand_keep(keep, grid_of(video, clip), clip.tubelet_frames, clip.patch_size)


def slots_of(grid: tuple[int, int, int], batch_size: int, device: torch.device) -> Tensor:
    """The temporal slot of every token: [b n] integers."""
    slots = torch.arange(grid[0], device=device)
    return repeat(slots, "l -> b (l n)", b=batch_size, n=grid[1] * grid[2])
