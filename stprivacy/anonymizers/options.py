"""What the rivals leave open."""

from dataclasses import dataclass
from typing import Literal, get_args

Region = Literal["boxes", "frame"]
ResizeMode = Literal["bilinear", "bicubic", "nearest", "area"]


@dataclass(frozen=True)
class RivalOptions:
    """Settings of the anonymizers that are not trained.

    region: what is obscured, person boxes or the whole frame; resize_mode: of the downsampling rows, down and up;
    seed: of the weights of the untrained network.
    """

    region: Region = "boxes"
    resize_mode: ResizeMode = "bilinear"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in (("region", get_args(Region)), ("resize_mode", get_args(ResizeMode))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
