"""Settings of models and phases: frozen dataclasses that refuse a bad value when they are made."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Stem = Literal["conv3d", "tubelet_mlp"]
MaskGradient = Literal["exact", "bounded"]
Select = Literal["slot", "global"]
PrivacyLossForm = Literal["linear", "bounded"]
Inflation = Literal["averaging", "central"]
PixelScale = Literal["half", "imagenet"]


def _positive(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if value <= 0:
            raise ValueError(f"{name} must be positive, got {value}")


def _not_negative(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if value < 0:
            raise ValueError(f"{name} must not be negative, got {value}")


def check_keep_ratio(keep_ratio: float) -> float:
    """Return keep_ratio if it lies in (0, 1]; raise ValueError otherwise."""
    if not 0 < keep_ratio <= 1:
        raise ValueError(f"keep_ratio must be in (0, 1], got {keep_ratio}")
    return keep_ratio


def check_released_quality(quality: int) -> int:
    """Return H.264's constant rate factor if it lies in 0..51; raise ValueError otherwise."""
    if not 0 <= quality <= 51:
        raise ValueError(f"released_quality must be in 0..51, H.264's constant rate factors, got {quality}")
    return quality


def check_one_of(owner: object, **choices: Any) -> None:
    """Raise ValueError where a setting of `owner` is none of its choices; each is a Literal type."""
    for name, literal in choices.items():
        value = getattr(owner, name)
        if value not in get_args(literal):
            raise ValueError(f"{name} must be one of {', '.join(get_args(literal))}, got {value!r}")


def _check_vit(owner: Any, **choices: Any) -> None:
    if not 0 <= owner.drop_path < 1:
        raise ValueError(f"drop_path must be in [0, 1), got {owner.drop_path}")
    check_one_of(owner, **choices, inflation=Inflation, pretrained_pixels=PixelScale)
    # A pretrained start needs the embedding that 2D weights can be inflated into.
    if owner.pretrained and owner.stem != "conv3d":
        raise ValueError(f"pretrained {owner.pretrained!r} needs stem conv3d, got stem {owner.stem!r}")


@dataclass(frozen=True)
class ClipConfig:
    """Geometry of one training clip: T x H x W pixels cut into L x N tubelets (Section 3.1)."""

    frames: int = 16
    height_px: int = 112
    width_px: int = 112
    tubelet_frames: int = 2
    patch_size: int = 16

    def __post_init__(self) -> None:
        _positive(self, "frames", "height_px", "width_px", "tubelet_frames", "patch_size")
        divisors = {"frames": self.tubelet_frames, "height_px": self.patch_size, "width_px": self.patch_size}
        for name, divisor in divisors.items():
            if getattr(self, name) % divisor:
                raise ValueError(f"{name} must be a multiple of {divisor}, the tubelet's, got {getattr(self, name)}")

    @property
    def grid(self) -> tuple[int, int, int]:
        """(L, rows, columns) of the tubelet grid."""
        patch = self.patch_size
        return self.frames // self.tubelet_frames, self.height_px // patch, self.width_px // patch

    @property
    def tubelet_values(self) -> int:
        """Numbers in one tubelet: 3 * tubelet_frames * patch_size^2."""
        return 3 * self.tubelet_frames * self.patch_size**2


@dataclass(frozen=True)
class ModelConfig:
    """STPrivacy's size and named options; the defaults are the paper's (ViT-S, three PSBs, one PAB).

    `stage_depths` are the Transformer layers of each sparsification block, `anonymizer_depth` those of the
    anonymization block. `normalize_output` divides the output by its training standard deviation.
    """

    clip: ClipConfig = field(default_factory=ClipConfig)
    embed_dim: int = 384
    num_heads: int = 6
    stage_depths: tuple[int, ...] = (3, 3, 3)  # Transformer layers of each sparsification block
    anonymizer_depth: int = 3  # Transformer layers of the anonymization block; 0: sparsification only
    mlp_ratio: float = 4.0
    keep_ratio: float = 0.7  # alpha: tubelets that each stage keeps
    stem: Stem = "conv3d"  # the paper's, or two layers over each tubelet, which learn motion sooner from scratch
    select: Select = "slot"  # evaluation keeps the best of each temporal slot, or of the whole clip
    mask_gradient: MaskGradient = "exact"  # of pruned tokens: the derivative of Eq 10, or a bounded form
    normalize_output: bool = False  # divide the output by its training standard deviation
    vita_width: float = 1.0  # factor on the widths of VITA's network; 1 is its paper's
    spact_width: float = 1.0  # factor on the widths of SPAct's network; 1 is its paper's
    drop_path: float = 0.1  # stochastic depth of the last layer
    pretrained: str = ""  # 2D ViT to start from: a timm name or a .safetensors file; by default none
    inflation: Inflation = "averaging"  # of its patch kernel over a tubelet's frames, or into the central one
    pretrained_pixels: PixelScale = "half"  # a file's mean and std: .5 and .5, or ImageNet's; timm names know theirs

    def __post_init__(self) -> None:
        _positive(self, "embed_dim", "num_heads", "mlp_ratio", "vita_width", "spact_width")
        _not_negative(self, "anonymizer_depth")
        if not self.stage_depths or min(self.stage_depths) < 1:
            raise ValueError(f"stage_depths must name one or more layers for each stage, got {self.stage_depths}")
        if self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim must be a multiple of num_heads {self.num_heads}, got {self.embed_dim}")
        if self.embed_dim < 12:
            raise ValueError(f"embed_dim must be 12 or more, got {self.embed_dim}")
        check_keep_ratio(self.keep_ratio)
        _check_vit(self, stem=Stem, select=Select, mask_gradient=MaskGradient)


@dataclass(frozen=True)
class RecognizerConfig:
    """A video ViT classifier; `mask_aware` ones receive the keep mask, the others see pixels only."""

    embed_dim: int = 384
    num_heads: int = 6
    depth: int = 12
    mlp_ratio: float = 4.0
    stem: Stem = "conv3d"  # the paper's, or two layers over each tubelet, which learn motion sooner from scratch
    mask_aware: bool = True  # sees the keep mask and no abandoned tubelet; otherwise pixels only
    mask_gradient: MaskGradient = "exact"  # of pruned tokens: the derivative of Eq 10, or a bounded form
    drop_path: float = 0.1  # stochastic depth of the last layer
    pretrained: str = ""  # 2D ViT to start from: a timm name or a .safetensors file; by default none
    inflation: Inflation = "averaging"  # of its patch kernel over a tubelet's frames, or into the central one
    pretrained_pixels: PixelScale = "half"  # a file's mean and std: .5 and .5, or ImageNet's; timm names know theirs

    def __post_init__(self) -> None:
        _positive(self, "embed_dim", "num_heads", "depth", "mlp_ratio")
        if self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim must be a multiple of num_heads {self.num_heads}, got {self.embed_dim}")
        _check_vit(self, stem=Stem, mask_gradient=MaskGradient)


@dataclass(frozen=True)
class AugmentConfig:
    """Training augmentation: random resized crop (area scale and aspect ranges) and horizontal flip.

    A mirror changes "walk left" into "walk right": set `flip_probability` to 0 where sides matter.
    """

    crop_scale: tuple[float, float] = (0.5, 1.0)  # part of the frame's area
    crop_aspect: tuple[float, float] = (0.75, 4 / 3)
    flip_probability: float = 0.5  # of a mirrored clip

    def __post_init__(self) -> None:
        for name in ("crop_scale", "crop_aspect"):
            low, high = getattr(self, name)
            if not 0 < low <= high or (name == "crop_scale" and high > 1):
                raise ValueError(
                    f"{name} must be a rising range of positive numbers (areas at most 1), got {low, high}"
                )
        if not 0 <= self.flip_probability <= 1:
            raise ValueError(f"flip_probability must be in [0, 1], got {self.flip_probability}")


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with linear warm-up and cosine decay; the rate is `learning_rate` * batch_size / 512 (Section 4.3).

    `backbone_rate_scale` multiplies the rate of everything but the predictors and heads, and
    `backbone_freeze_epochs` holds it still at first (the practice of the DynamicViT family).
    """

    learning_rate: float = 1e-3  # at batch size 512
    weight_decay: float = 0.05  # of matrices; vectors and positions are not decayed
    warmup_epochs: float = 0.0  # linear rise of the rate
    clip_gradient_norm: float = 1.0  # of each module
    backbone_rate_scale: float = 1.0  # factor on the rate of all but predictors and heads
    backbone_freeze_epochs: int = 0  # epochs in which only predictors and heads learn

    def __post_init__(self) -> None:
        _positive(self, "learning_rate", "clip_gradient_norm", "backbone_rate_scale")
        _not_negative(self, "weight_decay", "warmup_epochs", "backbone_freeze_epochs")


@dataclass(frozen=True)
class PhaseConfig:
    """How long and how a phase trains. `batch_size` is the global one, over all workers."""

    epochs: int = 80  # times that every training video is seen, one clip each
    batch_size: int = 64  # clips in a step, over all workers
    max_steps: int = 0  # end after so many steps; 0: after the epochs
    accumulate_steps: int = 1  # parts that a worker's share of a batch is computed in, to save memory
    checkpoint_every_steps: int = 200  # what a kill may cost
    keep_checkpoints: int = 2  # newest checkpoints that are kept
    amp: bool = False  # bfloat16 autocast; slow on CPUs
    compile: bool = False  # torch.compile of the Transformer layers
    recompute_activations: bool = False  # in the backward pass: less memory, a third more time
    optim: OptimConfig = field(default_factory=OptimConfig)
    anonymizer_rate_scale: float = 1.0  # adversarial: factor on the anonymizer's rate; recognizers start from scratch
    head_start_epochs: int = 0  # adversarial: of the epochs, those in which recognizers and adversaries learn alone

    def __post_init__(self) -> None:
        counts = ("epochs", "batch_size", "accumulate_steps", "checkpoint_every_steps", "keep_checkpoints")
        _positive(self, *counts, "anonymizer_rate_scale")
        _not_negative(self, "max_steps")
        if not 0 <= self.head_start_epochs < self.epochs:
            raise ValueError(f"head_start_epochs must be in 0..{self.epochs - 1}, got {self.head_start_epochs}")
        if self.keep_checkpoints < 2:
            raise ValueError("keep_checkpoints must be 2 or more: a damaged newest one falls back to the one before")


@dataclass(frozen=True)
class LossConfig:
    """Weights of Eqs 12 and 13. `lambda_sparsification` and `lambda_reconstruction` are not the paper's (1 and 0)."""

    lambda_action: float = 0.5  # weight of L_Action in Eq 13
    lambda_privacy: float = 0.5  # weight of L_Privacy in Eq 13; VITA's gamma
    privacy_objective: PrivacyLossForm = "linear"  # linear is the paper's; bounded caps each term at log 2
    lambda_sparsification: float = 1.0  # weight of L_Spars; the paper's is 1
    lambda_reconstruction: float = 0.0  # weight of a masked reconstruction; the paper has none

    def __post_init__(self) -> None:
        _not_negative(self, "lambda_action", "lambda_privacy", "lambda_sparsification", "lambda_reconstruction")
        check_one_of(self, privacy_objective=PrivacyLossForm)


@dataclass(frozen=True)
class TestViewsConfig:
    """Test views whose predictions are averaged: `clips` in time x `crops` along the long side (Section 4.2)."""

    __test__ = False  # not a pytest class

    clips: int = 5  # spread over the video's length
    crops: int = 3  # spread along the long side

    def __post_init__(self) -> None:
        _positive(self, "clips", "crops")
