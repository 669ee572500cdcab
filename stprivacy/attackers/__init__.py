"""Privacy attackers of an evaluation by name. Each maps (video [b 3 t h w], keep [b l n], noise) to logits [b p].

All are trained from scratch on transformed training clips; no anonymizer is trained against any of them. Privacy heads
of an anonymizer (`stprivacy.phases.objectives.heads`) may have the form of one, and never its weights.
"""

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from stprivacy.attackers.base import AttackerSettings, Fitted
from stprivacy.attackers.convolutional import Cnn3d, frame_max, frame_mean
from stprivacy.attackers.pooled import MaskReader, pooled
from stprivacy.attackers.reconstruction import Reconstructed, Reconstruction
from stprivacy.attackers.transformer import WhitenedFrames, large, mask_blind, standard, whitened
from stprivacy.models.whitening import Statistics

ATTACKERS: Mapping[str, Callable[[AttackerSettings], nn.Module]] = {
    "standard": standard,
    "mask-blind": mask_blind,
    "whitened": whitened,
    "large": large,
    "cnn3d": Cnn3d,
    "frame-mean": frame_mean,
    "frame-max": frame_max,
    "pooled": pooled,
    "mask": MaskReader,
    "reconstruction": Reconstruction,
}
DEFAULT_ATTACKERS = ("standard", "whitened")
ALL = "all"
_EPOCH_FACTORS = {"large": 2}


def attacker_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names, `all` replaced by every one there is. Raises: ValueError: none, an unknown one, or one twice."""
    chosen = tuple(ATTACKERS) if ALL in names else tuple(names)
    unknown = [name for name in names if name not in ATTACKERS and name != ALL]
    if unknown or not chosen:
        said = f"unknown: {', '.join(unknown)}" if unknown else "none named"
        raise ValueError(f"attackers, {said}; there are: {', '.join(ATTACKERS)}, or {ALL}")
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"attackers must be named once each, got {', '.join(chosen)}")
    return chosen


def epoch_factor(name: str) -> int:
    """How many times as many epochs as the others an attacker is trained for."""
    return _EPOCH_FACTORS.get(name, 1)


__all__ = [
    "ALL",
    "ATTACKERS",
    "DEFAULT_ATTACKERS",
    "AttackerSettings",
    "Fitted",
    "Reconstructed",
    "Reconstruction",
    "Statistics",
    "WhitenedFrames",
    "attacker_names",
    "epoch_factor",
]
