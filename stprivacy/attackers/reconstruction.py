"""The reconstruction attacker: a decoder that learns to recover the raw clip, and a recognizer of what it recovers."""

from itertools import repeat
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from stprivacy.attackers.base import AttackerSettings
from stprivacy.config import ClipConfig, RecognizerConfig
from stprivacy.models.embedding import PositionEmbedding, TubeletMLP, grid_of, make_embedding
from stprivacy.models.recognizer import Recognizer
from stprivacy.models.transformer import initialise, make_layers, run_layers
from stprivacy.noise import Noise
from stprivacy.tubelets import from_tubelets, to_tubelets

_CELL_HIDDEN = 64
_HIGHEST_PSNR = 100.0
_VALUE_RANGE = 2.0  # of normalised pixels: -1 to 1


class Reconstructed(NamedTuple):
    """What the attacker gives: the recovered clip [b 3 t h w] and what is read off it, logits [b outputs]."""

    video: Tensor
    logits: Tensor


class Decoder(nn.Module):
    """A ViT that gives each cell of 4 x 4 pixels a small network of its own with the tokens' context.

    A linear map of the cell's own values goes past all that: it starts as the identity, and alone undoes any invertible
    linear map within a cell. An abandoned tubelet is a learned token and recovered from its surroundings.
    """

    def __init__(self, config: RecognizerConfig, clip: ClipConfig) -> None:
        super().__init__()
        self.clip = clip
        cell_px = TubeletMLP(clip, 1).cell_px
        self.cells = clip.patch_size // cell_px  # along each side of a tubelet
        values = clip.tubelet_values // self.cells**2
        self.embedding = make_embedding(config.stem, clip, config.embed_dim)
        self.position = PositionEmbedding(clip.grid, config.embed_dim)
        self.missing = nn.Parameter(torch.zeros(config.embed_dim))
        self.layers = make_layers(config, config.depth)
        self.norm = nn.LayerNorm(config.embed_dim, eps=1e-6)
        self.context = nn.Linear(config.embed_dim, self.cells**2 * _CELL_HIDDEN)
        self.cell = nn.Linear(values, _CELL_HIDDEN)
        self.join = nn.Linear(_CELL_HIDDEN, values)
        self.past = nn.Linear(values, values)
        self.apply(initialise)
        nn.init.zeros_(self.join.weight)
        nn.init.eye_(self.past.weight)

    def forward(self, video: Tensor, keep: Tensor) -> Tensor:
        """Transformed video [b 3 t h w], keep [b l n] -> the raw video as it may have been."""
        grid, clip = grid_of(video, self.clip), self.clip
        kept = rearrange(keep, "b l n -> b (l n) 1")
        tokens = self.embedding(video) * kept + self.missing * (1 - kept) + self.position(grid)
        tokens = self.norm(run_layers(self.layers, tokens, None, repeat(None)))  # b n d
        context = rearrange(self.context(tokens), "b n (q r f) -> b n q r f", q=self.cells, r=self.cells)
        tubelets = to_tubelets(video, clip.tubelet_frames, clip.patch_size) * kept
        sizes = {"p": clip.tubelet_frames, "q": self.cells, "r": self.cells, "u": clip.patch_size // self.cells}
        own = rearrange(tubelets, "b n (p q u r v c) -> b n q r (p u v c)", **sizes, c=3)
        recovered = self.past(own) + self.join(F.gelu(self.cell(own) + context))
        tubelets = rearrange(recovered, "b n q r (p u v c) -> b n (p q u r v c)", **sizes, c=3)
        return from_tubelets(tubelets, grid, clip.tubelet_frames, clip.patch_size)


class Reconstruction(nn.Module):
    """The decoder and, on its output, a privacy recognizer, which does not train it: it learns from the raw clip."""

    def __init__(self, settings: AttackerSettings) -> None:
        super().__init__()
        self.clip = settings.clip
        self.decoder = Decoder(settings.recognizer, settings.clip)
        self.recognizer = Recognizer(settings.recognizer, settings.clip, settings.outputs)

    def forward(self, video: Tensor, keep: Tensor, noise: Noise = Noise()) -> Reconstructed:
        """Video [b 3 t h w], keep [b l n] -> the recovered video and its logits. Nothing is missing in what is read."""
        recovered = self.decoder(video, keep)
        return Reconstructed(recovered, self.recognizer(recovered.detach(), None, noise))


def recovery_loss(recovered: Tensor, raw: Tensor) -> Tensor:
    """Mean squared error of the recovered clips against the raw ones, both [b 3 t h w] normalised."""
    return F.mse_loss(recovered.float(), raw)


def recovery_quality(recovered: Tensor, raw: Tensor) -> Tensor:
    """PSNR in dB, over a clip, and SSIM, the mean over its frames, of recovered and raw [b 3 t h w]: [b 2].

    Values outside of what a pixel can have are cut off first; an equal clip would have an infinite PSNR and counts as
    100 dB.
    """
    # A second of imports that only this attacker needs.
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    recovered = recovered.float().clamp(-_VALUE_RANGE / 2, _VALUE_RANGE / 2)
    signal = [peak_signal_noise_ratio(x, y, data_range=_VALUE_RANGE) for x, y in zip(recovered, raw, strict=True)]
    frames, raw_frames = (
        rearrange(video, "b c t h w -> (b t) c h w").contiguous(memory_format=torch.channels_last)  # faster on CPUs
        for video in (recovered, raw)
    )
    similarity = structural_similarity_index_measure(frames, raw_frames, data_range=_VALUE_RANGE, reduction="none")
    assert isinstance(similarity, Tensor)  # and not, as on request, with an image of it
    of_clips = reduce(similarity, "(b t) -> b", "mean", b=len(raw))
    return torch.stack([torch.stack(signal).clamp_max(_HIGHEST_PSNR), of_clips], 1)
