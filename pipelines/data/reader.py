"""Training input read by index: the order and content of batches depend on (seed, epoch) and nothing else."""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from pipelines.data.index import VideoIndex, VideoRow
from stprivacy.config import AugmentConfig, ClipConfig, TestViewsConfig
from stprivacy.noise import ClipNoise, derived_seed
from stprivacy.phases.context import Batch, TestBatch, TestPart
from stprivacy.regions import Window, cut_window, person_mask, shows_person, view_windows
from stprivacy.views import cut_clip, draw_cut, evaluation_views, shown_frames, train_start, view_frames

Item = TypeVar("Item")
_CENTRE = TestViewsConfig(clips=1, crops=1)


def epoch_order(seed: int, epoch: int, size: int) -> list[int]:
    """The order of an epoch's clips: a permutation of range(size), the same for any number of workers."""
    generator = torch.Generator().manual_seed(derived_seed(seed, epoch, "order"))
    return torch.randperm(size, generator=generator).tolist()


def share_of(batch: Sequence[int], rank: int, world_size: int) -> tuple[Sequence[int], float]:
    """A worker's clips of a global batch, and their weight (see `Batch`): every world_size-th from rank on.

    An empty share is the batch's first clip with weight 0.
    """
    share = batch[rank::world_size]
    return (share, len(share) * world_size / len(batch)) if share else (batch[:1], 0.0)


def is_for_validation(video_id: str, share: float) -> bool:
    """Whether a training video lies in the validation part: a hash of its id alone decides, whatever the seed."""
    return derived_seed("validation", video_id) < share * 2**63


class ParquetClips:
    """An ingested data set as a `ClipSource`, for worker `rank` of `world_size`.

    Videos of any size are resized to the clip's; shorter ones repeat their last frame. With `prefetch_batches`, one
    thread prepares that many batches ahead.

    Args:
        split: number of the official split, from 1.
        frame_labels: give every frame its own private labels instead of the video's.
        left_out: ids of videos that are not trained on.
        action_names: those of another data set, to which the batches' actions then refer.
        person_regions: give every batch the mask of its persons.
        validation_share: about this part of the training videos is for validation instead, chosen by their ids.

    Raises: ValueError: not an ingested data set, no such split, one without training videos, no labels or person boxes
        of frames, an action that `action_names` lack, or a share that leaves no video for validation.
    """

    def __init__(
        self,
        folder: Path,
        clip: ClipConfig,
        augment: AugmentConfig = AugmentConfig(),
        views: TestViewsConfig = TestViewsConfig(),
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        prefetch_batches: int = 0,
        split: int = 1,
        frame_labels: bool = False,
        left_out: Collection[str] = (),
        action_names: Sequence[str] = (),
        person_regions: bool = False,
        validation_share: float = 0.0,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in [0, world_size), got {rank} of {world_size}")
        self.index = VideoIndex(folder, frame_labels, person_regions)
        description = self.index.description
        self.action_names: Sequence[str] = action_names or description.action_names
        self.attribute_names: Sequence[str] = description.attribute_names
        self.multi_label = description.multi_label
        rows = [row for row in self.index.split("train", split) if row.video_id not in left_out]
        self.train, validation = _part_off(rows, validation_share, folder)
        self.test = self.index.split("test", split)
        self._parts = {"test": self.test, "validation": validation}
        self._actions = _positions(description.action_names, self.action_names, folder)
        self._frame_labels, self._person_regions = frame_labels, person_regions
        self._clip, self._augment, self._views = clip, augment, views
        self._seed, self._rank, self._world_size = seed, rank, world_size
        self._prefetch_batches = prefetch_batches

    @property
    def fingerprint(self) -> str:
        """Identity of the data set's content and ingest settings, hexadecimal."""
        return self.index.description.fingerprint

    def train_size(self) -> int:
        """Videos in the train split: one clip of each makes an epoch."""
        return len(self.train)

    def steps_per_epoch(self, batch_size: int) -> int:
        """Global batches in an epoch; the last one may be smaller."""
        return -(-len(self.train) // batch_size)

    def train_batches(self, epoch: int, first_step: int, batch_size: int) -> Iterator[Batch]:
        """The worker's shares of the epoch's global batches of `batch_size` clips, from `first_step` on, augmented."""
        return _prefetched(self._train_batches(epoch, first_step, batch_size), self._prefetch_batches)

    def test_size(self, part: TestPart = "test") -> int:
        """Videos in the test split, or in the validation part of the train split."""
        return len(self._parts[part])

    def test_batches(self, batch_videos: int, part: TestPart = "test") -> Iterator[TestBatch]:
        """The worker's test or validation videos, `batch_videos` at a time. Raises: ValueError: no such videos."""
        if not self._parts[part]:
            raise ValueError(f"no videos in the {part} split: check the split column of what was ingested")
        return _prefetched(self._test_batches(self._parts[part], batch_videos), self._prefetch_batches)

    def test_clips(self, videos: Sequence[int]) -> Tensor:
        """The centre clip [b c t h w] of the test videos at these positions of the split, for figures."""
        rows = [self.test[i] for i in videos]
        shown = [view_frames(row.shape[0], self._clip, _CENTRE) for row in rows]
        return torch.cat([evaluation_views(frames, self._clip, _CENTRE) for frames in self.index.clips(rows, shown)])

    def test_persons(self, videos: Sequence[int]) -> Tensor:
        """Where persons are in the same clips [b 1 t h w], 1 on them; needs `person_regions`."""
        rows = [self.test[i] for i in videos]
        shown = torch.cat([view_frames(row.shape[0], self._clip, _CENTRE) for row in rows])
        windows = [view_windows(*row.shape[1:3], self._clip, _CENTRE)[0] for row in rows]
        return self._person(rows, shown, windows)

    def test_videos_without_person(self) -> int:
        """Test videos of which no view shows a person; needs `person_regions`."""
        return sum(
            not shows_person(
                row.boxes[view_frames(row.shape[0], self._clip, self._views)], self._view_windows(row), self._clip
            )
            for row in self.test
        )

    def _train_batches(self, epoch: int, first_step: int, batch_size: int) -> Iterator[Batch]:
        order = epoch_order(self._seed, epoch, len(self.train))
        for first in range(first_step * batch_size, len(order), batch_size):
            share, weight = share_of(order[first : first + batch_size], self._rank, self._world_size)
            generators = ClipNoise(self._seed, epoch, share).generators("augment")
            rows = [self.train[i] for i in share]
            count = self._clip.frames
            starts = [train_start(row.shape[0], count, g) for row, g in zip(rows, generators, strict=True)]
            cuts = [
                draw_cut(*row.shape[1:3], self._clip, self._augment, g) for row, g in zip(rows, generators, strict=True)
            ]
            shown = torch.stack(
                [shown_frames(row.shape[0], start, count) for row, start in zip(rows, starts, strict=True)]
            )
            with self.index.reading(rows, list(shown)) as videos:
                clips = [
                    cut_clip(frames, start, self._clip, cut)
                    for frames, start, cut in zip(videos, starts, cuts, strict=True)
                ]
            windows = [cut_window(cut, *row.shape[1:3]) for row, cut in zip(rows, cuts, strict=True)]
            yield self._batch(torch.stack(clips), rows, shown, windows, share, weight)

    def _test_batches(self, tested: Sequence[VideoRow], batch_videos: int) -> Iterator[TestBatch]:
        count = self._views.clips * self._views.crops
        share = range(self._rank, len(tested), self._world_size)
        for first in range(0, len(share), batch_videos):
            videos = share[first : first + batch_videos]
            positions = [i for i in videos for _ in range(count)]
            rows = [tested[i] for i in positions]
            shown_of = [view_frames(tested[i].shape[0], self._clip, self._views) for i in videos]
            with self.index.reading([tested[i] for i in videos], shown_of) as read:
                views, shown = [evaluation_views(x, self._clip, self._views) for x in read], torch.cat(shown_of)
            windows = [window for i in videos for window in self._view_windows(tested[i])]
            yield TestBatch(self._batch(torch.cat(views), rows, shown, windows, positions, 1.0), count, shown)

    def _view_windows(self, row: VideoRow) -> list[Window]:
        return view_windows(*row.shape[1:3], self._clip, self._views)

    def _batch(
        self,
        video: Tensor,
        rows: Sequence[VideoRow],
        shown: Tensor,
        windows: Sequence[Window],
        positions: Sequence[int],
        weight: float,
    ) -> Batch:
        action = torch.tensor([self._actions[row.actions[0]] for row in rows])
        if self.multi_label:  # [b c] float32: 1 where the video shows the action
            action = torch.zeros(len(rows), len(self.action_names))
            for label, row in zip(action, rows, strict=True):
                label[[self._actions[own] for own in row.actions]] = 1
        return Batch(
            video=video,
            action=action,
            privacy=self._privacy(rows, shown),
            clip_index=torch.tensor(positions),
            weight=weight,
            person=self._person(rows, shown, windows) if self._person_regions else None,
        )

    def _person(self, rows: Sequence[VideoRow], shown: Tensor, windows: Sequence[Window]) -> Tensor:
        """Where persons are in the frames that are shown [b t] through each clip's window: [b 1 t h w]."""
        return torch.stack(
            [
                person_mask(row.boxes[frames], window, self._clip)
                for row, frames, window in zip(rows, shown, windows, strict=True)
            ]
        )

    def _privacy(self, rows: Sequence[VideoRow], shown: Tensor) -> Tensor:
        """Labels of the videos [b p], or of the frames that are shown [b t p], as float32."""
        width = len(self.attribute_names)
        if not self._frame_labels:
            return _labels(b"".join(row.privacy for row in rows), width)
        return torch.stack(
            [_labels(row.privacy_frames, width)[frames] for row, frames in zip(rows, shown, strict=True)]
        )


def _part_off(
    rows: Sequence[VideoRow], validation_share: float, folder: Path
) -> tuple[tuple[VideoRow, ...], tuple[VideoRow, ...]]:
    """The rows to train on and those for validation."""
    train = tuple(row for row in rows if not is_for_validation(row.video_id, validation_share))
    if not train:
        raise ValueError(
            f"{folder} has no videos in the train split: check the split column of what was ingested, and whether "
            "all of them are left out"
        )
    if validation_share and len(train) == len(rows):
        raise ValueError(
            f"{folder} has no video for validation: none of {len(rows)} training videos is in a share of "
            f"{validation_share:g}; set validation_share higher"
        )
    return train, tuple(row for row in rows if is_for_validation(row.video_id, validation_share))


def _labels(values: bytes, width: int) -> Tensor:
    return torch.frombuffer(bytearray(values), dtype=torch.uint8).reshape(-1, width).float()


def _positions(own: Sequence[str], given: Sequence[str], folder: Path) -> list[int]:
    """Where each of a data set's own actions stands among the given ones."""
    unknown = sorted(set(own) - set(given))
    if unknown:
        raise ValueError(f"{folder} has actions that the other data set lacks: {', '.join(unknown)}")
    return [given.index(name) for name in own]


def _prefetched(items: Iterator[Item], depth: int) -> Iterator[Item]:
    """The same items, up to `depth` of them made ahead in one thread."""
    if depth == 0:
        yield from items
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="clips") as pool:
        ahead = deque(pool.submit(next, items, None) for _ in range(depth))
        try:
            while (item := ahead.popleft().result()) is not None:
                ahead.append(pool.submit(next, items, None))
                yield item
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
