"""A start from images: the weights of a 2D ViT, as timm names them, in STPrivacy or a recognizer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from safetensors.torch import load_file
from torch import Tensor

from stprivacy.config import Inflation, ModelConfig, PixelScale, RecognizerConfig
from stprivacy.models.anonymizer import STPrivacy
from stprivacy.models.embedding import ConvEmbedding
from stprivacy.models.recognizer import Recognizer
from stprivacy.models.transformer import Layer

KERNEL, BIAS, POSITION = "embedding.proj.weight", "embedding.proj.bias", "position.weight"
_TIMM_KERNEL, _TIMM_BIAS, _TIMM_POSITION = "patch_embed.proj.weight", "patch_embed.proj.bias", "pos_embed"
_PARTS = {  # of a layer: our name -> timm's
    "norm1": "norm1",
    "attention.qkv": "attn.qkv",
    "attention.proj": "attn.proj",
    "norm2": "norm2",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}
_LAYER_SCALES = {"attn.proj": "ls1.gamma", "mlp.fc2": "ls2.gamma"}  # a factor on the output of these, in DeiT-III
_PREFIX_TOKENS = ("cls_token", "dist_token", "reg_token")
# A tensor of these that we have no place for would make the same layers compute something else.
_BACKBONE = ("blocks.", "patch_embed.", "norm_pre.", "rope.")


@dataclass(frozen=True)
class Pixels:
    """The mean and standard deviation, in units of [0, 1] pixels, that a checkpoint's input was normalised by."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


_EXAMPLE = "deit_small_patch16_224"
PIXELS: dict[PixelScale, Pixels] = {
    "half": Pixels((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclass(frozen=True)
class PretrainedReport:
    """Where every tensor went.

    `loaded` (taken as is, but for exact rescaling) and `resized` (patch kernel and positions, fitted to the model's
    tubelets and grid) give for each model parameter the checkpoint's tensors that it was made of; `new` are the
    model's other parameters, which keep their random start; `dropped` the checkpoint's tensors that were not used.
    """

    loaded: Mapping[str, tuple[str, ...]]
    resized: Mapping[str, tuple[str, ...]]
    new: tuple[str, ...]
    dropped: tuple[str, ...]

    def summary(self) -> str:
        """One line; new parameters are counted by the part of the model that they are in."""
        new = ", ".join(f"{part} ({len(list(names))})" for part, names in groupby(self.new, lambda n: n.split(".")[0]))
        return (
            f"{len(self.loaded)} parameters loaded, {len(self.resized)} resized ({', '.join(self.resized) or 'none'}), "
            f"new: {new or 'none'}; not used: {', '.join(self.dropped) or 'none'}"
        )


def start_from_pretrained(
    models: Mapping[str, STPrivacy | Recognizer], settings: ModelConfig | RecognizerConfig
) -> dict[str, PretrainedReport]:
    """Load the checkpoint that `settings` name into each of `models`; returns their reports.

    Raises: ValueError: it cannot be loaded, or does not fit; the message names it.
    """
    source = settings.pretrained
    weights = load_pretrained_weights(source)
    pixels = pixels_of(source, settings.pretrained_pixels)
    try:
        return {name: inflate(model, weights, settings.inflation, pixels) for name, model in models.items()}
    except ValueError as error:
        raise ValueError(f"pretrained {source!r} does not fit: {error}") from None


def load_pretrained_weights(source: str) -> dict[str, Tensor]:
    """The tensors of a local .safetensors file, or of the timm model of that name, fetched by timm.

    Raises: ValueError: it cannot be had; the message says why, and how to pass a local file.
    """
    try:
        weights = load_file(source) if _is_file(source) else _fetch(source)
    except Exception as error:  # what timm's download raises is up to its HTTP client
        reason = " ".join(str(error).split()) or type(error).__name__
        kind = "file" if _is_file(source) else "timm model"
        example = _EXAMPLE if _is_file(source) else source
        raise ValueError(
            f"pretrained {kind} {source!r} cannot be loaded: {reason[:300]}. Pass a local file in timm's format: "
            "--model.pretrained FILE.safetensors, or --recognizer.pretrained (jobs/paper.py: --pretrained); '' starts "
            "from scratch. Where there is network, make one with: "
            'python -c "import timm, safetensors.torch as s; s.save_file(timm.create_model('
            f"'{example}', pretrained=True).state_dict(), 'FILE.safetensors')\""
        ) from None
    return weights


def pixels_of(source: str, scale: PixelScale) -> Pixels:
    """How the input of `source` is normalised: a timm name's own mean and std, `scale` for a file."""
    if _is_file(source):
        return PIXELS[scale]
    import timm

    known = timm.get_pretrained_cfg(source)
    assert known is not None, source
    return Pixels(known.mean, known.std)


def _is_file(source: str) -> bool:
    return source.endswith(".safetensors") or Path(source).is_file()


def _fetch(name: str) -> dict[str, Tensor]:
    import timm  # here, as it takes seconds

    if not timm.is_model(name):
        raise ValueError(f"timm {timm.__version__} has no model of that name, and there is no such file")
    weights: dict[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
    return weights


def inflate(
    model: STPrivacy | Recognizer, weights: Mapping[str, Tensor], inflation: Inflation, pixels: Pixels
) -> PretrainedReport:
    """Load a 2D ViT with timm's names into a video model in place: blocks in order, final norm, patches, positions.

    The patch kernel is spread over a tubelet's frames (`inflate_kernel`); positions lose those of the class and
    other prefix tokens, and are resized and repeated over time (`resize_position`); LayerScale is multiplied into the
    projections before it. Our pixels lie in [-1, 1]: the difference to `pixels` goes, exactly, into the patch kernel
    and bias (`fold_pixels`). In a model with an embedding of its own kind, the embedding stays new. The number of
    heads cannot be read off a checkpoint: `num_heads` must be that of the 2D model (for timm's, width / 64).

    Raises: ValueError: another naming, patch size, width, depth or layer shape, or tensors that our layers lack.
    """
    layers = [name for name, module in model.named_modules() if isinstance(module, Layer)]  # in their order of use
    _check_form(model, weights, len(layers))
    loaded, values = _layers(layers, weights)
    for kind in ("weight", "bias"):
        if f"norm.{kind}" in weights:
            loaded[f"norm.{kind}"], values[f"norm.{kind}"] = (f"norm.{kind}",), weights[f"norm.{kind}"]
    resized = {POSITION: (_TIMM_POSITION,)}
    values[POSITION] = resize_position(_grid_positions(weights), model.position.grid)
    if isinstance(model.embedding, ConvEmbedding):
        kernel, bias = fold_pixels(weights[_TIMM_KERNEL], weights[_TIMM_BIAS], pixels)
        values[KERNEL], values[BIAS] = inflate_kernel(kernel, model.embedding.proj.kernel_size[0], inflation), bias
        resized[KERNEL], loaded[BIAS] = (_TIMM_KERNEL,), (_TIMM_BIAS,)
    used = {name for origin in (loaded, resized) for names in origin.values() for name in names}
    dropped = tuple(name for name in weights if name not in used)
    foreign = [name for name in dropped if name.startswith(_BACKBONE) and name not in (_TIMM_KERNEL, _TIMM_BIAS)]
    if foreign:
        listed = ", ".join(foreign[:8]) + (", ..." if len(foreign) > 8 else "")
        raise ValueError(f"{len(foreign)} of its tensors have no place in our layers: {listed}")
    _copy(model, values)
    new = tuple(name for name, _ in model.named_parameters() if name not in values)
    return PretrainedReport(loaded, resized, new, dropped)


def fold_pixels(kernel: Tensor, bias: Tensor, pixels: Pixels) -> tuple[Tensor, Tensor]:
    """A patch kernel [d 3 p p] and bias [d] for (pixel - mean) / std input, as those for the same pixels in [-1, 1].

    With x = 2 pixel - 1, (pixel - mean) / std = x / (2 std) + (.5 - mean) / std, and patches have no padding.
    """
    mean, std = (kernel.new_tensor(triple, dtype=torch.float64) for triple in (pixels.mean, pixels.std))
    offset = torch.einsum("dcpq,c->d", kernel.double(), (0.5 - mean) / std)
    folded = kernel.double() / (2 * std)[:, None, None]
    return folded.float(), (bias.double() + offset).float()


def inflate_kernel(kernel: Tensor, frames: int, inflation: Inflation) -> Tensor:
    """A 2D kernel [d c p q] as a 3D one [d c t p q] that answers the same to `frames` equal images.

    "averaging": kernel / t at each frame; "central": the kernel at frame t // 2, zeros elsewhere.
    """
    if inflation == "averaging":
        return repeat(kernel / frames, "d c p q -> d c t p q", t=frames)
    inflated = kernel.new_zeros(*kernel.shape[:2], frames, *kernel.shape[2:])
    inflated[:, :, frames // 2] = kernel
    return inflated


def resize_position(position: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Positions [1 d h0 w0] at the rows and columns of `grid` (L, h, w), the same in every slot: [1 (l h w) d].

    Bicubic, antialiased, as timm resizes its own.
    """
    if position.shape[2:] != grid[1:]:
        position = F.interpolate(position.float(), size=grid[1:], mode="bicubic", antialias=True, align_corners=False)
    return repeat(position, "1 d h w -> 1 (l h w) d", l=grid[0])


def _layers(layers: list[str], weights: Mapping[str, Tensor]) -> tuple[dict[str, tuple[str, ...]], dict[str, Tensor]]:
    """For every parameter of the layers the names of the tensors that it comes from, and its value."""
    origins: dict[str, tuple[str, ...]] = {}
    values: dict[str, Tensor] = {}
    for number, layer in enumerate(layers):
        for (ours, theirs), kind in product(_PARTS.items(), ("weight", "bias")):
            name, scale = f"blocks.{number}.{theirs}.{kind}", f"blocks.{number}.{_LAYER_SCALES.get(theirs, '-')}"
            if name in weights:
                own = f"{layer}.{ours}.{kind}"
                origins[own], values[own] = (name,), weights[name]
                if scale in weights:
                    origins[own] = name, scale
                    values[own] = torch.einsum("o...,o->o...", weights[name], weights[scale])
            elif (theirs, kind) != ("attn.qkv", "bias"):  # without it, ours stays at its start of 0
                raise ValueError(f"it has no {name}")
    return origins, values


def _grid_positions(weights: Mapping[str, Tensor]) -> Tensor:
    """The positions of a square grid of patches, without those of prefix tokens: [1 d h0 w0]."""
    position = weights[_TIMM_POSITION]
    prefix = sum(weights[name].shape[1] for name in _PREFIX_TOKENS if name in weights)
    for skipped in (prefix, 0):  # some models give their prefix tokens no position
        side = math.isqrt(max(position.shape[1] - skipped, 0))
        if side and side**2 == position.shape[1] - skipped:
            return rearrange(position[:, skipped:], "1 (h w) d -> 1 d h w", h=side)
    raise ValueError(f"its {position.shape[1]} positions are no square grid, with or without those of {prefix} tokens")


def _check_form(model: STPrivacy | Recognizer, weights: Mapping[str, Tensor], depth: int) -> None:
    for name in (_TIMM_KERNEL, _TIMM_BIAS, _TIMM_POSITION):
        if name not in weights:
            some = ", ".join(sorted(weights)[:5]) or "nothing"
            raise ValueError(f"it is no plain ViT in timm's naming: it has no {name}, but {some}, ...")
    kernel = weights[_TIMM_KERNEL]
    clip = model.config.clip if isinstance(model, STPrivacy) else model.clip
    if kernel.ndim != 4 or kernel.shape[1:] != (3, clip.patch_size, clip.patch_size):
        has = " x ".join(str(size) for size in kernel.shape[1:])
        raise ValueError(f"its patches are {has}, the model's patch_size is {clip.patch_size} (3 x p x p)")
    if len(kernel) != model.config.embed_dim:
        raise ValueError(f"its width is {len(kernel)}, the model's embed_dim is {model.config.embed_dim}")
    position = weights[_TIMM_POSITION]
    if position.ndim != 3:
        raise ValueError(f"its {_TIMM_POSITION} is {tuple(position.shape)}, expected (1, positions, width)")
    blocks = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    if blocks != depth:
        raise ValueError(f"its depth is {blocks} blocks, the model's is {depth} layers")


@torch.no_grad()
def _copy(model: STPrivacy | Recognizer, values: Mapping[str, Tensor]) -> None:
    """Write the values into the model, all or none."""
    parameters = dict(model.named_parameters())
    for name, value in values.items():
        wanted = parameters[name].shape
        if value.shape != wanted:
            raise ValueError(f"its {name} would be {tuple(value.shape)}, the model's is {tuple(wanted)}")
    for name, value in values.items():
        parameters[name].copy_(value)
