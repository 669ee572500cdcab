import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.data.index import VideoIndex
from pipelines.data.reader import ParquetClips, epoch_order, share_of
from stprivacy.config import AugmentConfig, ClipConfig, TestViewsConfig
from stprivacy.noise import ClipNoise
from stprivacy.phases.context import Batch
from stprivacy.views import denormalize, evaluation_views, train_clip, train_start
from tests.support.shard_fixtures import write_tiny_dataset

CLIP = ClipConfig(frames=4, height_px=16, width_px=16, tubelet_frames=2, patch_size=8)
AUGMENT = AugmentConfig()
VIEWS = TestViewsConfig(clips=2, crops=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven training and five test videos of 2, 6 and 8 frames in several shards, and one unused video."""
    return write_tiny_dataset(
        tmp_path_factory.mktemp("tiny"), 11, 5, frames=(8, 2, 6), height=18, width=24, extra_splits=["unused"]
    )


def clips(
    folder: Path, rank: int = 0, world_size: int = 1, prefetch_batches: int = 0, seed: int = 7, split: int = 1
) -> ParquetClips:
    return ParquetClips(folder, CLIP, AUGMENT, VIEWS, seed, rank, world_size, prefetch_batches, split)


def assert_same_batches(left: Iterable[Batch], right: Iterable[Batch]) -> None:
    for a, b in zip(left, right, strict=True):
        for name in ("video", "action", "privacy", "clip_index"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name
        assert a.weight == b.weight


def test_names_and_sizes_come_from_the_data_set(folder: Path) -> None:
    source = clips(folder)
    assert list(source.action_names) == ["down", "up"]
    assert list(source.attribute_names) == ["skin_color", "face", "gender", "nudity", "relationship"]
    assert (source.train_size(), source.test_size(), len(source.fingerprint)) == (11, 5, 64)
    assert [source.steps_per_epoch(size) for size in (1, 4, 11, 12)] == [11, 3, 1, 1]


def test_batches_hold_normalised_clips_with_the_labels_of_their_rows(folder: Path) -> None:
    source = clips(folder)
    rows = VideoIndex(folder).split("train")
    for batch in source.train_batches(0, 0, 4):
        assert batch.video.shape[1:] == (3, 4, 16, 16)
        assert batch.video.dtype == batch.privacy.dtype == torch.float32
        assert batch.action.dtype == batch.clip_index.dtype == torch.int64
        assert batch.video.min() >= -1
        assert batch.video.max() <= 1
        for i, clip in enumerate(batch.clip_index.tolist()):
            assert (batch.action[i],) == rows[clip].actions
            assert bytes(batch.privacy[i].int().tolist()) == rows[clip].privacy


def test_a_multi_label_data_set_gives_float_multi_hot_actions(tmp_path: Path) -> None:
    source = clips(write_tiny_dataset(tmp_path, 3, 2, height=18, width=24, multi_label=True))
    (batch,) = source.train_batches(0, 0, 3)
    assert batch.action.dtype == torch.float32
    for i, clip in enumerate(batch.clip_index.tolist()):
        assert batch.action[i].tolist() == ([1, 1] if clip % 2 == 0 else [0, 1])
    tested, *_ = source.test_batches(2)
    assert tested.batch.action[:: tested.views].tolist() == [[0, 1], [1, 1]]


def test_the_official_split_is_chosen_by_number(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path, 2, 2, second_split=["unused", "test", "train", "train"])
    assert [row.video_id for row in clips(folder, split=2).train] == ["down/0002.mp4", "up/0003.mp4"]
    assert [row.video_id for row in clips(folder, split=2).test] == ["up/0001.mp4"]
    with pytest.raises(ValueError, match="there is no split 3: the data set tiny has 2 splits"):
        clips(folder, split=3)


def test_order_is_a_permutation_of_seed_and_epoch_alone() -> None:
    assert sorted(epoch_order(1, 2, 50)) == list(range(50))
    assert epoch_order(1, 2, 50) == epoch_order(1, 2, 50)
    assert len({tuple(epoch_order(seed, epoch, 50)) for seed in range(3) for epoch in range(3)}) == 9


def test_shares_of_a_batch_weigh_as_much_as_their_part_of_it() -> None:
    batch = [4, 8, 1, 5, 0]
    assert share_of(batch, 0, 2) == ([4, 1, 0], 1.2)
    assert share_of(batch, 1, 2) == ([8, 5], 0.8)
    assert share_of([4, 8], 2, 3) == ([4], 0.0)


@pytest.mark.parametrize("batch_size", [2, 4])
def test_every_clip_once_an_epoch_and_in_one_global_order_for_any_number_of_workers(
    folder: Path, batch_size: int
) -> None:
    ledgers = []
    for world_size in (1, 2, 3):
        workers = [clips(folder, rank, world_size) for rank in range(world_size)]
        ledger = []
        for epoch in range(2):
            seen: list[int] = []
            for shares in zip(*(worker.train_batches(epoch, 0, batch_size) for worker in workers), strict=True):
                assert sum(share.weight for share in shares) == pytest.approx(world_size)
                merged = [share.clip_index.tolist() if share.weight else [] for share in shares]
                size = sum(map(len, merged))
                seen += [merged[i % world_size][i // world_size] for i in range(size)]
            assert sorted(seen) == list(range(11))
            ledger.append(seen)
        assert ledger[0] != ledger[1]
        ledgers.append(ledger)
    assert ledgers[0] == ledgers[1] == ledgers[2]


def test_a_clip_looks_the_same_whatever_its_worker_and_batch(folder: Path) -> None:
    def by_clip(worker: ParquetClips, batch_size: int) -> dict[int, torch.Tensor]:
        batches = worker.train_batches(3, 0, batch_size)
        return {int(i): clip for batch in batches for i, clip in zip(batch.clip_index, batch.video, strict=True)}

    alone = by_clip(clips(folder), 4)
    shared = by_clip(clips(folder, 0, 2), 6) | by_clip(clips(folder, 1, 2), 6)
    assert alone.keys() == shared.keys() == set(range(11))
    assert all(torch.equal(alone[i], shared[i]) for i in alone)


def test_augmentation_draws_from_the_generator_of_seed_epoch_and_clip(folder: Path) -> None:
    source = clips(folder, seed=7)
    for batch in source.train_batches(2, 0, 4):
        for i, clip in enumerate(batch.clip_index.tolist()):
            generator = ClipNoise(7, 2, [clip]).generators("augment")[0]
            frames = source.index.frames(source.train[clip])
            start = train_start(len(frames), CLIP.frames, generator)
            assert torch.equal(batch.video[i], train_clip(frames, start, CLIP, AUGMENT, generator))


def test_epochs_and_seeds_augment_differently(folder: Path) -> None:
    def first(seed: int, epoch: int) -> torch.Tensor:
        batch = next(clips(folder, seed=seed).train_batches(epoch, 0, 11))
        return batch.video[batch.clip_index.argsort()]

    assert not torch.equal(first(7, 0), first(7, 1))
    assert not torch.equal(first(7, 0), first(8, 0))


@pytest.mark.parametrize("prefetch_batches", [0, 2])
@pytest.mark.parametrize("first_step", [0, 1, 2, 3])
def test_resuming_in_mid_epoch_gives_the_rest_of_the_undisturbed_epoch(
    folder: Path, first_step: int, prefetch_batches: int
) -> None:
    for rank in range(2):
        undisturbed = list(clips(folder, rank, 2).train_batches(5, 0, 4))
        resumed = clips(folder, rank, 2, prefetch_batches).train_batches(5, first_step, 4)
        assert_same_batches(resumed, undisturbed[first_step:])


@pytest.mark.parametrize(("prefetch_batches", "read"), [(0, 1), (1, 2), (3, 4)])
def test_prefetching_reads_so_many_batches_ahead_and_no_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch, prefetch_batches: int, read: int
) -> None:
    source = clips(folder, prefetch_batches=prefetch_batches)
    read_clips, reads = source.index.reading, []

    def counted(*args: Any) -> Any:
        reads.append(threading.current_thread())
        return read_clips(*args)

    monkeypatch.setattr(source.index, "reading", counted)
    batches = source.train_batches(0, 0, 2)  # of six
    for given in range(1, 7):
        next(batches)
        expected = min(given - 1 + read, 6)
        wait_until(lambda expected=expected: len(reads) >= expected)
        assert len(reads) == expected
    assert (threading.current_thread() in reads) == (prefetch_batches == 0)


def wait_until(reached: Callable[[], bool], seconds: float = 10.0, settled_seconds: float = 0.02) -> None:
    """Wait for what another thread does, and a little longer, so that it could do too much."""
    end = time.monotonic() + seconds
    while not reached() and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(settled_seconds)


def test_prefetching_stops_its_thread_when_the_epoch_is_left_early(folder: Path) -> None:
    def reading() -> int:
        # Threads named checksums come and go with every batch.
        return sum(thread.name.startswith("clips") for thread in threading.enumerate())

    before = reading()
    batches = clips(folder, prefetch_batches=3).train_batches(0, 0, 1)
    next(batches)
    assert reading() == before + 1
    batches.close()  # type: ignore[attr-defined]
    assert reading() == before
    assert "checksums" not in {thread.name for thread in threading.enumerate()}


def test_test_videos_come_once_with_all_their_views_whatever_the_number_of_workers(folder: Path) -> None:
    for world_size in (1, 2, 3):
        seen = []
        for rank in range(world_size):
            source = clips(folder, rank, world_size, prefetch_batches=rank)
            mine = []
            for test in source.test_batches(2):
                batch = test.batch
                assert test.views == 6
                assert len(batch.video) % 6 == 0
                assert batch.weight == 1.0
                videos = batch.clip_index[::6].tolist()
                assert batch.clip_index.tolist() == [video for video in videos for _ in range(6)]
                for i, video in enumerate(videos):
                    views = evaluation_views(source.index.frames(source.test[video]), CLIP, VIEWS)
                    assert torch.equal(batch.video[6 * i : 6 * i + 6], views)
                    assert set(batch.action[6 * i : 6 * i + 6].tolist()) == set(source.test[video].actions)
                mine += videos
            assert mine == list(range(5))[rank::world_size]
            seen += mine
        assert sorted(seen) == list(range(5))


def test_clips_for_figures_are_centred(folder: Path) -> None:
    source = clips(folder)
    shown = source.test_clips([4, 1])
    assert shown.shape == (2, 3, 4, 16, 16)
    assert torch.equal(shown[0], evaluation_views(source.index.frames(source.test[4]), CLIP, TestViewsConfig(1, 1))[0])


def test_small_videos_are_enlarged_and_short_ones_repeat_their_last_frame(tmp_path: Path) -> None:
    source = clips(write_tiny_dataset(tmp_path, 1, 1, frames=2, height=8, width=8))
    batch = next(source.train_batches(0, 0, 1))
    frames = denormalize(batch.video)[0]
    assert frames.shape == (4, 16, 16, 3)
    assert torch.equal(frames[1], frames[3])


def test_splits_without_videos_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no videos in the train split"):
        clips(write_tiny_dataset(tmp_path / "a", 0, 2))
    source = clips(write_tiny_dataset(tmp_path / "b", 2, 0))
    assert source.test_size() == 0
    with pytest.raises(ValueError, match="no videos in the test split"):
        source.test_batches(1)


def test_a_rank_outside_of_the_group_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"rank must be in \[0, world_size\), got 2 of 2"):
        clips(folder, 2, 2)
