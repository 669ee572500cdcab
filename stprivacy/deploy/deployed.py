"""A trained network at work: frames in, anonymised frames out, of videos of any length and size."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stprivacy.anonymizers.as_released import value_range
from stprivacy.config import check_keep_ratio
from stprivacy.deploy.load import load_trained
from stprivacy.deploy.steady_masks import AnonymizedClip, Clip, ClipMasks, Masks, SteadyMasks
from stprivacy.models.anonymizer import STPrivacy
from stprivacy.storage import location
from stprivacy.tubelets import expand_keep
from stprivacy.views import denormalize, normalize, resize

MaskName = Literal["steady", "clip"]
_Frame = TypeVar("_Frame")
_BATCH_CLIPS = 8


@dataclass(frozen=True)
class Released:
    """What may be handed out: frames [t h w 3] uint8, abandoned tubelets black, and the keep mask [l n] of its slots.

    Each slot is `tubelet_frames` frames long; the last one may have fewer.
    """

    frames: Tensor
    keep: Tensor


class Deployed:
    """A network at a keep ratio, which need not be the trained one (the knob of Section 4.6).

    A video is cut into abutting clips. `mask` is how the tubelets to keep are chosen: "steady" by scores that are
    averaged over time, so that clips leave no seams; "clip" as the network was trained, each clip by itself.
    """

    def __init__(self, model: STPrivacy, keep_ratio: float | None = None, mask: MaskName = "steady") -> None:
        """Raises: ValueError: a keep ratio outside (0, 1], an unknown mask, or one that the network cannot have."""
        if mask not in get_args(MaskName):
            raise ValueError(f"mask must be one of {', '.join(get_args(MaskName))}, got {mask!r}")
        self.model = model.eval()
        self.keep_ratio = check_keep_ratio(model.config.keep_ratio if keep_ratio is None else keep_ratio)
        self.mask: MaskName = mask
        self.clip = model.config.clip
        self.masks()  # raises

    def masks(self) -> Masks:
        """A fresh way to decide what is kept, for any number of videos at a time."""
        return (SteadyMasks if self.mask == "steady" else ClipMasks)(self.model, self.keep_ratio)

    def __call__(self, frames: Tensor) -> Released:
        """Anonymise one video: frames [t h w 3] uint8 RGB, already sampled as for training, of any size.

        The whole field of view becomes the network's height and width. Raises: ValueError: other shapes or types.
        """
        check_video(frames)
        masks, cut = self.masks(), cut_clips(frames, self.clip.frames)
        clips = (Clip("", self.prepare(torch.stack(clip)), last) for clip, last in cut)
        pixels: list[Tensor] = []
        keep: list[Tensor] = []
        while batch := list(islice(clips, _BATCH_CLIPS)):
            for clip in masks.push(batch):
                pixels.append(self.pixels(clip))
                keep.append(clip.keep)
        return Released(torch.cat(pixels)[: len(frames)], torch.cat(keep)[: self.slots(len(frames))])

    def slots(self, frames: int) -> int:
        """Slots of so many frames."""
        return -(-frames // self.clip.tubelet_frames)

    def prepare(self, frames: Tensor) -> Tensor:
        """1 to `clip.frames` frames [t h w 3] uint8 as a clip [3 t h w] on the network's device, the last repeated."""
        small = resize(frames, self.clip.height_px, self.clip.width_px)
        missing = self.clip.frames - len(small)
        whole = torch.cat([small, small[-1:].expand(missing, -1, -1, -1)])
        return normalize(whole).to(next(self.model.parameters()).device)

    def pixels(self, clip: AnonymizedClip) -> Tensor:
        """The frames [t h w 3] uint8 of a clip, on the CPU, as a release writes them: abandoned ones black."""
        config = self.model.config
        kept = expand_keep(clip.keep[None], self.clip.grid, self.clip.tubelet_frames, self.clip.patch_size)
        shown = (clip.pixels.float() / value_range(config)).where(kept[0] > 0.5, -1.0)
        return denormalize(shown).cpu()


def check_video(frames: Tensor | NDArray[Any]) -> None:
    """Raises: ValueError: something else than frames [t h w 3] of uint8, at least one of at least one pixel."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape or frames.dtype not in (torch.uint8, np.uint8):
        raise ValueError(
            f"a video is frames [t h w 3] of uint8, at least one; got {list(frames.shape)} of {frames.dtype}"
        )


def cut_clips(frames: Iterable[_Frame], length: int) -> Iterator[tuple[list[_Frame], bool]]:
    """A video's frames in abutting lists of `length`, the last one of 1 to `length`, and whether it is the last."""
    clip: list[_Frame] = []
    for frame in frames:
        if len(clip) == length:
            yield clip, False
            clip = []
        clip.append(frame)
    yield clip, True


def load_deployed(
    run: str | os.PathLike[str],
    keep_ratio: float | None = None,
    mask: MaskName = "steady",
    allow_older_weights: bool = False,
) -> Deployed:
    """The network of the finished init or adversarial run in the folder (or URI) `run`, on the CPU.

    A run whose final weights are damaged is refused, unless `allow_older_weights`.

    Raises: ValueError: see stprivacy.deploy.load.load_trained and Deployed.
    """
    return Deployed(load_trained(location(run), allow_older_weights).model, keep_ratio, mask)
