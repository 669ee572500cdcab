"""What a recipient of released video holds: 8-bit frames that have been through H.264, not float tensors."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
import torch
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray
from torch import Tensor, nn

from stprivacy.anonymized import Anonymized, Anonymizer
from stprivacy.config import ClipConfig, ModelConfig, check_released_quality
from stprivacy.models.embedding import pixel_mask
from stprivacy.views import denormalize, normalize

_FRAME_RATE = 25
_STANDARD_DEVIATIONS = 3.0


class AsReleased(nn.Module):
    """An anonymizer whose output is written to H.264 and read again, clip by clip.

    Model values of -value_range to value_range are written as black to white, what lies outside is cut off, and what
    is read has the same scale again. Abandoned tubelets are written black; the keep mask, which the black shows to
    every recipient, is handed on with the video. Only what is decoded is read from then on.
    """

    def __init__(self, anonymizer: Anonymizer, clip: ClipConfig, quality: int, value_range: float = 1.0) -> None:
        """`quality` is the constant rate factor, 0 (best) to 51."""
        super().__init__()
        self.anonymizer = anonymizer
        self.clip, self.quality, self.value_range = clip, quality, value_range

    def forward(self, *args: Any, **kwargs: Any) -> Anonymized:
        """Whatever the anonymizer takes -> what is decoded, video [b 3 t h w], with its keep masks."""
        anonymized = self.anonymizer(*args, **kwargs)
        video = release(anonymized.video, anonymized.keep, self.clip, self.quality, self.value_range)
        return Anonymized(video, anonymized.keep, anonymized.stage_keeps)


def value_range(config: ModelConfig) -> float:
    """The model value that an STPrivacy of these settings writes as white; its negative is black.

    Pixels reach from -1 to 1. An output that is normalised has standard deviation 1: three of them are written.
    """
    return _STANDARD_DEVIATIONS if config.normalize_output and config.anonymizer_depth else 1.0


@torch.no_grad()
def release(video: Tensor, keep: Tensor, clip: ClipConfig, quality: int, value_range: float) -> Tensor:
    """Video [b 3 t h w] written to H.264 and read again, tubelets that keep [b l n] abandons black."""
    kept = pixel_mask(keep, video, clip)
    shown = (video.float() / value_range).where(kept > 0.5, -1.0).cpu()
    decoded = [h264_round_trip(frames, quality) for frames in denormalize(shown).numpy()]
    return torch.stack([normalize(torch.from_numpy(frames)) for frames in decoded]).to(video) * value_range


def h264_round_trip(frames: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Frames [t h w 3] uint8 RGB through H.264 (yuv420p), in memory and in one thread: equally many of the same size.

    The same frames always give the same result, on the same library versions.
    Args: quality: constant rate factor, 0 (best) to 51. Raises: ValueError: another quality, or odd height or width.
    """
    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise ValueError(f"H.264 with colour at half the size takes even heights and widths, got {height}x{width}")
    encoder = _encoder(height, width, check_released_quality(quality))
    to_planes, to_pixels = VideoReformatter(), VideoReformatter()
    packets = [packet for i, frame in enumerate(frames) for packet in encoder.encode(_planes(to_planes, frame, i))]
    packets += encoder.encode(None)
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    decoded = [frame for packet in (*packets, None) for frame in decoder.decode(packet)]
    shown = sorted(decoded, key=lambda frame: frame.pts or 0)
    return np.stack([to_pixels.reformat(frame, format="rgb24", threads=1).to_ndarray() for frame in shown])


def _encoder(height: int, width: int, quality: int) -> VideoCodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.height, encoder.width, encoder.pix_fmt = height, width, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, _FRAME_RATE), Fraction(_FRAME_RATE)
    encoder.thread_count = 1
    # The macroblock tree made one in a hundred tiny clips come out differently when encoded a second time.
    encoder.options = {"crf": str(quality), "x264-params": "no-mbtree=1"}
    return encoder


def _planes(convert: VideoReformatter, pixels: NDArray[np.uint8], number: int) -> VideoFrame:
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    planes = convert.reformat(frame, format="yuv420p", threads=1)
    planes.pts = number
    return planes
