"""The library's front door: `stprivacy.load(run)`, a function from frames to anonymised frames of the same size."""

import os
from typing import Any

import numpy as np
import torch
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from stprivacy.deploy.deployed import Deployed, MaskName, Released, check_video, load_deployed
from stprivacy.video.frames import UprightFrames


class FrameAnonymizer:
    """A trained network as a function: frames of any number and size to as many anonymised ones of the same size.

    `deployed` is the network at work; called with frames of the network's own size, it also returns the keep mask.
    """

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed

    def __call__(self, frames: NDArray[np.uint8] | Tensor) -> NDArray[np.uint8]:
        """Anonymise one video.

        Frames are resized to the network's size, anonymised as jobs/anonymize.py does, and resized back. Abandoned
        tubelets are black to the pixel.

        Args:
            frames: [t h w 3] uint8 RGB, upright, one or more, every stride-th frame of a video as for training

        Returns: frames [t h w 3] uint8 RGB.
        Raises: ValueError: other shapes or types.
        """
        if not isinstance(frames, np.ndarray | Tensor):
            raise ValueError(f"a video is an array or tensor of frames [t h w 3] of uint8; got {type(frames).__name__}")
        check_video(frames)
        source = frames.cpu().numpy() if isinstance(frames, Tensor) else frames
        shrink = UprightFrames(self.deployed.clip.height_px, self.deployed.clip.width_px)
        small = np.stack([shrink(_frame(pixels)) for pixels in source])
        return self._enlarged(self.deployed(torch.from_numpy(small)), *source.shape[1:3])

    def _enlarged(self, released: Released, height: int, width: int) -> NDArray[np.uint8]:
        """Released frames [t h w 3] at another size."""
        _, rows, columns = self.deployed.clip.grid
        keep = rearrange(released.keep > 0.5, "l (h w) -> l h w", h=rows).cpu().numpy()
        row, column = _tubelets_of(height, rows), _tubelets_of(width, columns)
        convert = VideoReformatter()
        frames = np.empty((len(released.frames), height, width, 3), np.uint8)
        for number, pixels in enumerate(released.frames.numpy()):
            kept = keep[number // self.deployed.clip.tubelet_frames][row][:, column]
            # What is kept would run over its edges into the black.
            frames[number] = np.where(kept[..., None], _resized(convert, pixels, height, width), 0)
        return frames


def load(
    run: str | os.PathLike[str],
    *,
    keep_ratio: float | None = None,
    device: str | torch.device = "cpu",
    mask: MaskName = "steady",
) -> FrameAnonymizer:
    """The anonymizer that a run trained, to be called with frames.

    Args:
        run: folder, or URI of an object store, of a finished init or adversarial run of STPrivacy
        keep_ratio: share of tubelets that each stage keeps, in (0, 1]; by default the trained one
        device: where the network computes
        mask: steady averages scores over time, so that clips leave no seams; clip is the network's own choice

    Raises: ValueError: no such run, one whose final weights are damaged, or settings that it cannot have.
    """
    try:
        usable = torch.zeros(1, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device} cannot be used: {str(error).splitlines()[0]}") from error
    deployed = load_deployed(run, keep_ratio, mask)
    deployed.model.to(usable)
    return FrameAnonymizer(deployed)


def _frame(pixels: NDArray[np.uint8]) -> VideoFrame:
    return VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")


def _resized(convert: VideoReformatter, pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[Any]:
    """A frame [h w 3] at another size, by the filters with which a release is encoded at its source's."""
    shrinks = height <= pixels.shape[0] and width <= pixels.shape[1]
    way = Interpolation.AREA if shrinks else Interpolation.BICUBIC
    return convert.reformat(_frame(pixels), width, height, "rgb24", interpolation=way, threads=1).to_ndarray()


def _tubelets_of(length: int, tubelets: int) -> NDArray[np.int64]:
    """Of each pixel along a side of `length` pixels: in which of so many tubelets its centre lies."""
    return (2 * np.arange(length) + 1) * tubelets // (2 * length)
