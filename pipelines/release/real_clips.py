"""Real clips to try a network on: of the test videos of an ingested data set, or cut from video files."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from pipelines.data.datasets.files import VIDEO_SUFFIXES
from pipelines.data.index import VideoIndex
from stprivacy.config import ClipConfig, TestViewsConfig
from stprivacy.storage import local_copy
from stprivacy.video.decoding import VideoError
from stprivacy.video.sampled import read_video
from stprivacy.views import evaluation_views, view_frames

Video = TypeVar("Video")


def clips_of_data(folder: Path, split: int, clip: ClipConfig, count: int) -> Tensor:
    """`count` clips [b 3 t h w] in [-1, 1] of test videos spread over an ingested data set's official split.

    Where there are fewer videos, several of each. Raises: ValueError: no such data set or split, or no test videos.
    """
    index = VideoIndex(folder)
    rows, views = _chosen(index.split("test", split), count, f"{folder} has no test videos in split {split}")
    shown = [view_frames(row.shape[0], clip, views) for row in rows]
    videos = index.clips(rows, [frames.flatten() for frames in shown])
    return _cut(videos, clip, views, count)


def clips_of_files(place: Path, stride: int, clip: ClipConfig, count: int) -> Tensor:
    """`count` clips [b 3 t h w] in [-1, 1] of a video file, or of those spread over all in and below a folder.

    Where there are fewer files, several of each. Raises: ValueError: no videos, or one that cannot be read.
    """
    found = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
    paths, views = _chosen(found, count, f"{place} is no video and holds none ({', '.join(VIDEO_SUFFIXES)})")
    return _cut((_frames(path, stride, clip) for path in paths), clip, views, count)


def _frames(path: Path, stride: int, clip: ClipConfig) -> Tensor:
    """Every stride-th frame [t h w c] uint8, no larger than clips need."""
    with local_copy(path) as file:
        try:
            video = read_video(file, stride=stride, short_side_px=max(clip.height_px, clip.width_px))
        except VideoError as error:
            raise ValueError(f"{path}: {error}") from error
    return torch.from_numpy(video.frames)


def _chosen(videos: Sequence[Video], count: int, none: str) -> tuple[list[Video], TestViewsConfig]:
    """Up to `count` videos, evenly spread, and the views of each that make `count` clips or more."""
    if not videos:
        raise ValueError(none)
    taken = min(len(videos), count)
    return [videos[i * len(videos) // taken] for i in range(taken)], TestViewsConfig(clips=-(-count // taken), crops=1)


def _cut(videos: Iterable[Tensor], clip: ClipConfig, views: TestViewsConfig, count: int) -> Tensor:
    return torch.cat([evaluation_views(frames, clip, views) for frames in videos])[:count]
