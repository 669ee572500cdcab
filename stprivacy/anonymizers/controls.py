"""Controls of the method: what it must beat to claim that its selection, or its training, matters."""

import hashlib
from collections.abc import Callable

import torch
from einops import rearrange, reduce
from torch import Tensor, nn

from stprivacy.anonymized import Anonymized
from stprivacy.config import ModelConfig, check_keep_ratio
from stprivacy.models.anonymizer import STPrivacy
from stprivacy.models.embedding import grid_of, pixel_mask
from stprivacy.models.sparsifier import select_tokens, stage_count
from stprivacy.noise import Noise, derived_seed
from stprivacy.tubelets import to_tubelets
from stprivacy.views import denormalize

Score = Callable[[Tensor, ModelConfig], Tensor]  # of the tubelets [b n] of a video [b 3 t h w]


def untrained(config: ModelConfig, seed: int) -> STPrivacy:
    """STPrivacy with the weights that `seed` draws, whatever was drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "untrained"))
        return STPrivacy(config)


class Selection(nn.Module):
    """Keeps as many tubelets as STPrivacy's stages do in evaluation, those of the highest score; the others are 0.

    Kept tubelets stay as they are. In training and in evaluation the same.
    """

    def __init__(self, config: ModelConfig, score: Score) -> None:
        super().__init__()
        self.config, self.score = config, score

    @torch.no_grad()
    def forward(
        self, video: Tensor, keep_ratio: float | None = None, noise: Noise = Noise(), person: Tensor | None = None
    ) -> Anonymized:
        """Video [b 3 t h w] -> the same size; keep_ratio: as STPrivacy's; noise and person change nothing.

        Raises: ValueError: a size or ratio that cannot be.
        """
        c = self.config
        ratio = check_keep_ratio(c.keep_ratio if keep_ratio is None else keep_ratio)
        grid = grid_of(video, c.clip)
        # Ranks, not scores: of equal scores the first tubelet wins, so that each stage's choice contains the next.
        order = self.score(video, c).argsort(dim=1, descending=True, stable=True)
        rank = order.argsort(dim=1).float()
        log_z = torch.stack([-rank, torch.zeros_like(rank)], dim=-1)
        tokens = rank.shape[1] // grid[0] if c.select == "slot" else rank.shape[1]
        stage_keeps = []
        for stage in range(1, len(c.stage_depths) + 1):
            chosen = select_tokens(log_z, grid[0], stage_count(tokens, ratio, stage), c.select)
            keep = video.new_zeros(rank.shape).scatter_(1, chosen, 1.0)
            stage_keeps.append(rearrange(keep, "b (l n) -> b l n", l=grid[0]))
        shown = video * pixel_mask(stage_keeps[-1], video, c.clip)
        return Anonymized(shown, stage_keeps[-1], tuple(stage_keeps))


def random_score(video: Tensor, config: ModelConfig) -> Tensor:
    """Numbers that depend on the clip's pixels alone: the same clip always loses the same tubelets."""
    slots, rows, columns = grid_of(video, config.clip)
    seeds = [
        derived_seed("random-selection", hashlib.sha256(clip.numpy().tobytes()).hexdigest())
        for clip in denormalize(video).cpu()
    ]
    draws = [torch.rand(slots * rows * columns, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(draws).to(video.device)


def motion_score(video: Tensor, config: ModelConfig) -> Tensor:
    """Mean absolute difference of a tubelet's pixels to the frame before; the first frame's is that of the second."""
    change = video.diff(dim=2).abs()
    change = torch.cat([change[:, :, :1], change], dim=2) if change.shape[2] else torch.zeros_like(video)
    tubelets = to_tubelets(change, config.clip.tubelet_frames, config.clip.patch_size)
    return reduce(tubelets, "b n v -> b n", "mean")
