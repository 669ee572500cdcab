"""Pre-norm Transformer layers whose attention respects a keep mask."""

from collections.abc import Iterator
from itertools import repeat

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from stprivacy.config import MaskGradient, ModelConfig, RecognizerConfig
from stprivacy.models.attention import masked_attention
from stprivacy.noise import Noise


class Attention(nn.Module):
    """Multi-head self-attention; masked (Eqs 8-10) where a mask is given, plain where all tokens stay."""

    def __init__(self, embed_dim: int, num_heads: int, mask_gradient: MaskGradient) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.mask_gradient = mask_gradient
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Tokens x [b n d], keep [b n] or None for all -> [b n d]."""
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.num_heads)
        if keep is None:
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            out = masked_attention(q, k, v, keep, self.mask_gradient)
        projected: Tensor = self.proj(rearrange(out, "b h n d -> b n (h d)"))
        return projected


class Layer(nn.Module):
    """Attention and MLP, each with LayerNorm before and a residual around it.

    With `recompute`, the backward pass computes it again instead of keeping its activations.
    """

    recompute = False

    def __init__(self, embed_dim: int, num_heads: int, mlp_ratio: float, mask_gradient: MaskGradient) -> None:
        super().__init__()
        hidden = int(embed_dim * mlp_ratio)
        self.norm1 = nn.LayerNorm(embed_dim, eps=1e-6)
        self.attention = Attention(embed_dim, num_heads, mask_gradient)
        self.norm2 = nn.LayerNorm(embed_dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(embed_dim, hidden), nn.GELU(), nn.Linear(hidden, embed_dim))

    def forward(self, x: Tensor, keep: Tensor | None, branch_scale: Tensor | None) -> Tensor:
        """Tokens x [b n d], keep [b n] or None, branch_scale [b 2] (stochastic depth) or None -> [b n d]."""
        attended: Tensor = self.attention(self.norm1(x), keep)
        x = x + (attended if branch_scale is None else attended * branch_scale[:, 0, None, None])
        mixed: Tensor = self.mlp(self.norm2(x))
        return x + (mixed if branch_scale is None else mixed * branch_scale[:, 1, None, None])


def make_layers(config: ModelConfig | RecognizerConfig, depth: int) -> nn.ModuleList:
    """`depth` layers of a network's width."""
    size = config.embed_dim, config.num_heads, config.mlp_ratio, config.mask_gradient
    return nn.ModuleList(Layer(*size) for _ in range(depth))


def branch_scales(noise: Noise, x: Tensor, depth: int, rate: float) -> Iterator[Tensor | None]:
    """Stochastic depth for `depth` layers: what multiplies each one's two residual branches, [b 2] or None for 1.

    A branch of layer i is dropped with probability rate * i / (depth - 1), and scaled up otherwise.
    """
    if not rate:
        return repeat(None)
    uniform = noise.uniform("drop_path", x.shape[0], depth, 2).to(x)
    rates = torch.linspace(0, rate, depth, dtype=x.dtype, device=x.device)[:, None]
    return iter(((uniform >= rates).to(x.dtype) / (1 - rates)).unbind(1))


def run_layers(layers: nn.Module, x: Tensor, keep: Tensor | None, scales: Iterator[Tensor | None]) -> Tensor:
    """Tokens x [b n d] through `layers`, which take their branch scales one after another."""
    for layer in layers.children():
        if layer.recompute and torch.is_grad_enabled():
            # With the weights of this call: those of a frozen pass are gone when the backward pass comes.
            call = layer, dict(layer.named_parameters()), (x, keep, next(scales))
            x = checkpoint(functional_call, *call, use_reentrant=False)
        else:
            x = layer(x, keep, next(scales))
    return x


def initialise(module: nn.Module) -> None:
    """ViT's own initialisation of linear layers: Xavier-uniform weights, zero biases. For `module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
