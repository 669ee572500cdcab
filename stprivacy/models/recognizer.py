"""Video ViT recognizers of actions and private attributes."""

from einops import rearrange
from torch import Tensor, nn

from stprivacy.config import ClipConfig, RecognizerConfig
from stprivacy.models.embedding import PositionEmbedding, grid_of, make_embedding, pixel_mask
from stprivacy.models.transformer import branch_scales, initialise, make_layers, run_layers
from stprivacy.noise import Noise


class Recognizer(nn.Module):
    """A ViT classifier of videos: embedding, positions, layers, mean over the kept tokens, LayerNorm, linear head.

    A mask-aware one never looks at abandoned tokens: where all videos keep equally many they leave the computation
    after the position embedding, otherwise masked attention and a masked mean hide them, differentiable in the mask.
    A mask-blind one ignores the mask and sees the pixels, abandoned tubelets as 0. The head starts at zero.
    """

    def __init__(
        self, config: RecognizerConfig, clip: ClipConfig, num_outputs: int, embedding: nn.Module | None = None
    ) -> None:
        """`embedding`, if given, takes the place of the configured stem."""
        super().__init__()
        self.config = config
        self.clip = clip
        self.num_outputs = num_outputs
        self.embedding = embedding or make_embedding(config.stem, clip, config.embed_dim)
        self.position = PositionEmbedding(clip.grid, config.embed_dim)
        self.layers = make_layers(config, config.depth)
        self.norm = nn.LayerNorm(config.embed_dim, eps=1e-6)
        self.head = nn.Linear(config.embed_dim, num_outputs)
        self.apply(initialise)
        nn.init.zeros_(self.head.weight)

    def forward(self, video: Tensor, keep: Tensor | None = None, noise: Noise = Noise()) -> Tensor:
        """Video [b 3 t h w] normalised, keep [b l n] in {0, 1} or None for all -> logits [b outputs]."""
        mask = None if keep is None else rearrange(keep, "b l n -> b (l n)")
        if keep is not None and not self.config.mask_aware:
            video, mask = video * pixel_mask(keep, video, self.clip), None
        x = self.embedding(video) + self.position(grid_of(video, self.clip))  # b n d
        if mask is not None and not mask.requires_grad and _equal_counts(mask):
            x, mask = rearrange(x[mask > 0.5], "(b k) d -> b k d", b=x.shape[0]), None
        rate = self.config.drop_path if self.training else 0.0
        x = run_layers(self.layers, x, mask, branch_scales(noise, x, self.config.depth, rate))
        pooled = x.mean(1) if mask is None else masked_mean(x, mask)
        logits: Tensor = self.head(self.norm(pooled))
        return logits


def masked_mean(x: Tensor, keep: Tensor) -> Tensor:
    """Mean of x [b n d] over the tokens kept by keep [b n]: [b d]; zeros where none is."""
    weight = keep.to(x.dtype)
    return (x * weight.unsqueeze(-1)).sum(1) / weight.sum(1, keepdim=True).clamp_min(1.0)


def _equal_counts(keep: Tensor) -> bool:
    counts = keep.sum(1)
    return bool((counts == counts[0]).all() and counts[0] > 0)
