"""From a decoded video to model input: clips in time, training augmentation, and the test views."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from stprivacy.config import AugmentConfig, ClipConfig, TestViewsConfig

_CROP_TRIES = 10


@dataclass(frozen=True)
class Cut:
    """The part of a frame that a training clip shows, in the frame's pixels, and whether it is mirrored."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool


def normalize(clip: Tensor) -> Tensor:
    """Pixels [t h w c] uint8 as model input [c t h w] float32 in [-1, 1]."""
    return rearrange(clip, "t h w c -> c t h w").float().div_(127.5).sub_(1.0).contiguous()


def denormalize(video: Tensor) -> Tensor:
    """Model values [... c t h w] as pixels [... t h w c] uint8; what lies outside of [-1, 1] is cut off."""
    pixels = video.add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return rearrange(pixels, "... c t h w -> ... t h w c")


def take_frames(video: Tensor, start: int, count: int) -> Tensor:
    """`count` frames of video [t h w c] from `start` on; the last one is repeated where the video ends earlier."""
    clip = video[start : start + count]
    missing = count - len(clip)
    return clip if missing == 0 else torch.cat([clip, video[-1:].expand(missing, -1, -1, -1)])


def shown_frames(video_frames: int, start: int, count: int) -> Tensor:
    """Which frames of a video `take_frames` gives: [count] int64."""
    return torch.arange(start, start + count).clamp_(max=video_frames - 1)


def train_start(video_frames: int, clip_frames: int, generator: torch.Generator) -> int:
    """A random first frame such that the clip lies inside of the video; 0 if the video is shorter."""
    return _draw_index(max(video_frames - clip_frames, 0) + 1, generator)


def clip_starts(video_frames: int, clip_frames: int, clips: int) -> list[int]:
    """First frames of `clips` clips spread evenly from the first to the last possible one; one clip is centred."""
    return _spread(max(video_frames - clip_frames, 0), clips)


def crop_offsets(length: int, crop_length: int, crops: int) -> list[int]:
    """First pixels of `crops` crops spread evenly along a side of `length` pixels; one crop is centred."""
    return _spread(length - crop_length, crops)


def _spread(slack: int, count: int) -> list[int]:
    return [slack // 2] if count == 1 else [i * slack // (count - 1) for i in range(count)]


def draw_crop(
    height: int, width: int, clip: ClipConfig, augment: AugmentConfig, generator: torch.Generator
) -> tuple[int, int, int, int]:
    """A random crop (top, left, height, width) in pixels of a frame of height x width.

    Its area is a `crop_scale` part of the frame. `crop_aspect` is relative to the clip's own aspect, so that 1 means
    undistorted for any clip size. If ten tries do not fit, the largest centred crop within the range of aspects.
    """
    shape = clip.width_px / clip.height_px
    low, high = augment.crop_aspect
    for _ in range(_CROP_TRIES):
        area = height * width * _draw_between(*augment.crop_scale, generator)
        aspect = shape * math.exp(_draw_between(math.log(low), math.log(high), generator))
        crop_height, crop_width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < crop_height <= height and 0 < crop_width <= width:
            top = _draw_index(height - crop_height + 1, generator)
            left = _draw_index(width - crop_width + 1, generator)
            return top, left, crop_height, crop_width
    aspect = min(max(width / height, shape * low), shape * high)
    crop_height, crop_width = min(height, round(width / aspect)), min(width, round(height * aspect))
    return (height - crop_height) // 2, (width - crop_width) // 2, max(crop_height, 1), max(crop_width, 1)


def draw_cut(height: int, width: int, clip: ClipConfig, augment: AugmentConfig, generator: torch.Generator) -> Cut:
    """A random crop and flip of a frame of height x width pixels."""
    crop = draw_crop(height, width, clip, augment, generator)
    return Cut(*crop, mirrored=_draw_between(0.0, 1.0, generator) < augment.flip_probability)


def cut_clip(video: Tensor, start: int, clip: ClipConfig, cut: Cut) -> Tensor:
    """The clip [c t h w] float32 from frame `start` on of a video [t h w c] uint8, every frame cut the same."""
    frames = take_frames(video, start, clip.frames)
    frames = frames[:, cut.top : cut.top + cut.height, cut.left : cut.left + cut.width]
    frames = resize(frames, clip.height_px, clip.width_px)
    return normalize(frames.flip(2) if cut.mirrored else frames)


def train_clip(
    video: Tensor, start: int, clip: ClipConfig, augment: AugmentConfig, generator: torch.Generator
) -> Tensor:
    """The augmented training clip [c t h w] float32 from frame `start` on of a video [t h w c] uint8.

    Crop and flip are drawn from `generator` alone and are the same for all frames of the clip.
    """
    return cut_clip(video, start, clip, draw_cut(video.shape[1], video.shape[2], clip, augment, generator))


def evaluation_views(video: Tensor, clip: ClipConfig, views: TestViewsConfig) -> Tensor:
    """All test views [v c t h w] float32 of a video [t h w c] uint8, clip by clip and crop by crop (Section 4.2).

    Frames are resized until they just cover the clip's size, then cropped along the side that is left over.
    """
    height, width = covering_size(video.shape[1], video.shape[2], clip)
    tops = crop_offsets(height, clip.height_px, views.crops)
    lefts = crop_offsets(width, clip.width_px, views.crops)
    rows = []
    for start in clip_starts(len(video), clip.frames, views.clips):
        frames = resize(take_frames(video, start, clip.frames), height, width)
        for top, left in zip(tops, lefts, strict=True):
            rows.append(normalize(frames[:, top : top + clip.height_px, left : left + clip.width_px]))
    return torch.stack(rows)


def view_frames(video_frames: int, clip: ClipConfig, views: TestViewsConfig) -> Tensor:
    """Which frames of a video each of its test views shows: [v t] int64, in the order of `evaluation_views`."""
    starts = clip_starts(video_frames, clip.frames, views.clips)
    return torch.stack([shown_frames(video_frames, start, clip.frames) for start in starts for _ in range(views.crops)])


def covering_size(height: int, width: int, clip: ClipConfig) -> tuple[int, int]:
    """(height, width) in pixels of the frame resized, at its own aspect, until it just covers the clip's size."""
    if clip.height_px * width >= clip.width_px * height:
        return clip.height_px, max(round(width * clip.height_px / height), clip.width_px)
    return max(round(height * clip.width_px / width), clip.height_px), clip.width_px


def resize(frames: Tensor, height: int, width: int) -> Tensor:
    """Frames [t h w c] uint8 at another size: bilinear, antialiased, rounded to whole grey levels."""
    if frames.shape[1:3] == (height, width):
        return frames
    # On uint8 this takes a tenth of the time it takes on float, and differs by less than one grey level.
    planes = rearrange(frames, "t h w c -> t c h w")
    resized = F.interpolate(planes, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
    return rearrange(resized, "t c h w -> t h w c")


def _draw_between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def _draw_index(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
