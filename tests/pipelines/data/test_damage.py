"""Damage to an ingested data set: every byte of it is noticed, by name, and ingest repairs it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pipelines.data.index import VideoIndex, read_description
from pipelines.data.ingest import ingest
from pipelines.data.manifest import Manifest, VideoEntry
from pipelines.data.reader import ParquetClips
from pipelines.data.schema import IngestSettings
from stprivacy.config import AugmentConfig, ClipConfig, TestViewsConfig
from tests.support.bad_corpus import write_video
from tests.support.ingest_fixtures import digests, write_csv
from tests.support.shard_fixtures import write_tiny_dataset

CLIP = ClipConfig(frames=4, height_px=16, width_px=16, tubelet_frames=2, patch_size=8)
SETTINGS = IngestSettings(stride=1, short_side_px=16, tubelet_frames=2, shard_videos=3)
REPAIR = "run jobs/ingest.py again with --verify to repair it"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight videos of 8 frames in three shards, with labels of frames."""
    return write_tiny_dataset(tmp_path / "data", 6, 2, frames=8, height=16, width=24, shard_videos=3, frame_labels=True)


def shards(folder: Path) -> list[Path]:
    return sorted((folder / "videos").glob("*.parquet"))


def read_all(folder: Path) -> None:
    """All that a training and an evaluation could see."""
    index = VideoIndex(folder, frame_labels=True, person_regions=True)
    for row in index.rows:
        index.frames(row)


def flip(path: Path, byte: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[byte] ^= 1 << bit
    path.write_bytes(content)


def fault(folder: Path) -> str:
    with pytest.raises(ValueError, match=REPAIR) as caught:
        read_all(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_flipped_bit_anywhere_in_a_shard_is_noticed_by_name(folder: Path) -> None:
    shard = shards(folder)[1]
    whole = shard.read_bytes()
    rng = np.random.default_rng(0)
    around = [byte for row in VideoIndex(folder).rows if row.shard == shard for byte in (row.offset - 1, row.offset)]
    for byte in [*range(0, 8), *around, *range(len(whole) - 8, len(whole)), *rng.integers(0, len(whole), 200).tolist()]:
        flip(shard, byte, int(rng.integers(8)))
        assert str(shard) in fault(folder), byte
        shard.write_bytes(whole)
    read_all(folder)


def test_zeroed_exchanged_and_repeated_frames_are_noticed_by_video_and_frame(folder: Path) -> None:
    row = VideoIndex(folder).rows[4]
    size, whole = 16 * 24 * 3, row.shard.read_bytes()
    frames = [row.offset + at * size for at in range(8)]

    def zeroed(content: bytearray) -> None:
        content[frames[2] : frames[3]] = bytes(size)

    def exchanged(content: bytearray) -> None:
        content[frames[2] : frames[4]] = content[frames[3] : frames[4]] + content[frames[2] : frames[3]]

    def repeated(content: bytearray) -> None:
        content[frames[3] : frames[4]] = content[frames[2] : frames[3]]

    for change in (zeroed, exchanged, repeated):
        content = bytearray(whole)
        change(content)
        row.shard.write_bytes(content)
        expected = f"{row.shard} is damaged (video {row.video_id}, frames 2 to 3 have another checksum): {REPAIR}"
        assert fault(folder) == expected


def test_frames_are_checked_when_they_are_first_read_and_then_no_more(folder: Path) -> None:
    index = VideoIndex(folder)
    row = index.rows[0]
    flip(row.shard, row.offset + 5 * 16 * 24 * 3)  # of slot 2 of 4
    for shown in ([0, 1], [2, 3], [7], [6, 7]):
        index.clips([row], [torch.tensor(shown)])
    with pytest.raises(ValueError, match="frames 4 to 5 have another checksum"):
        index.clips([row], [torch.tensor([3, 4])])
    flip(row.shard, row.offset + 5 * 16 * 24 * 3)
    index = VideoIndex(folder)
    before = index.frames(row).clone()
    flip(row.shard, row.offset)
    assert not torch.equal(index.frames(row), before)  # what lies in memory is not looked at again


@pytest.mark.parametrize("prefetch_batches", [0, 2])
@pytest.mark.parametrize("part", ["train", "test"])
def test_no_batch_comes_out_of_damaged_frames(folder: Path, part: str, prefetch_batches: int) -> None:
    for row in VideoIndex(folder).split(part):
        flip(row.shard, row.offset + row.shape[0] * 16 * 24 * 3 // 2)
    views = TestViewsConfig(clips=3, crops=1)
    source = ParquetClips(folder, CLIP, AugmentConfig(), views, prefetch_batches=prefetch_batches)

    def batches() -> list[object]:
        tested = [source.test_batches(2)] if part == "test" else []
        trained = [source.train_batches(epoch, 0, 2) for epoch in range(20)] if part == "train" else []
        return [batch for some in (*tested, *trained) for batch in some]

    with pytest.raises(ValueError, match=rf"frames 4 to 5 have another checksum\): {REPAIR}"):
        batches()


def test_a_foreign_a_missing_and_an_additional_shard_are_noticed(folder: Path, tmp_path: Path) -> None:
    other = write_tiny_dataset(
        tmp_path / "other", 6, 2, frames=8, height=16, width=24, shard_videos=3, frame_labels=True, seed=1
    )
    _, second, third = shards(folder)
    mine, theirs = (pq.read_table(shards(data)[1], columns=["video_id", "shape"]) for data in (folder, other))
    assert mine.equals(theirs)
    whole = second.read_bytes()
    second.write_bytes(shards(other)[1].read_bytes())
    assert f"{second} is damaged" in fault(folder)
    second.unlink()
    assert f"{second} is missing" in fault(folder)
    second.write_bytes(whole)
    shutil.copy(third, third.with_name("00003-0000000000000003.parquet"))
    assert "00003-0000000000000003.parquet does not belong to this data set" in fault(folder)


def test_a_changed_description_is_noticed(folder: Path) -> None:
    path = folder / "dataset.json"
    text = path.read_text()
    fields = json.loads(text)
    changes: dict[str, Any] = {
        "attribute_names": fields["attribute_names"][::-1],
        "action_names": ["down", "sideways"],
        "settings": fields["settings"] | {"stride": 3},
        "counts": fields["counts"] | {"train": 0},
        "fingerprint": "0" * 64,
        "format_version": 2,
        "extra": 1,
    }
    for name, value in changes.items():
        path.write_text(json.dumps(fields | {name: value}))
        assert f"{path} is not as it was written" in fault(folder)
    path.write_text(text)
    listed = folder / "shards.parquet"
    for byte in range(0, listed.stat().st_size, 97):
        flip(listed, byte)
        assert f"{listed} is damaged" in fault(folder)
        flip(listed, byte)
    listed.unlink()
    assert f"{listed} is missing" in fault(folder)


def test_a_data_set_of_the_older_format_is_read_as_before(tmp_path: Path) -> None:
    now, before = (write_tiny_dataset(tmp_path / str(new), 5, 2, frames=8, checksums=new) for new in (True, False))
    assert json.loads((before / "dataset.json").read_text())["format_version"] == 2
    assert "slot_crc32" not in pq.read_schema(shards(before)[0]).names
    assert not (before / "shards.parquet").exists()
    new, old = VideoIndex(now, person_regions=True), VideoIndex(before, person_regions=True)
    assert all(torch.equal(new.frames(a), old.frames(b)) for a, b in zip(new.rows, old.rows, strict=True))
    strip = {"shard": Path(), "offset": 0, "slot_crc32": b""}
    assert [replace(row, **strip) for row in new.rows] == [replace(row, **strip) for row in old.rows]


# Repair


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    raw = tmp_path_factory.mktemp("raw")
    names = [f"{at}.mp4" for at in range(7)]
    for at, name in enumerate(names):
        write_video(raw / name, frames=8, size=(24, 16), seed=at)
    return write_csv(raw, [*names, "gone.mp4", "0.mp4"])


@pytest.fixture(scope="module")
def ingested(ray_cluster: None, manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ingested") / "out"
    ingest(manifest, out, SETTINGS)
    return out


def in_frames(out: Path) -> Path:
    row = VideoIndex(out).rows[4]
    flip(row.shard, row.offset + 100)
    return row.shard


def in_labels(out: Path) -> Path:
    flip(shards(out)[0], 50)
    return shards(out)[0]


def by_exchange(out: Path) -> Path:
    one, other = shards(out)[:2]
    one.write_bytes(other.read_bytes())
    return one


def in_quarantine(out: Path) -> Path:
    path = sorted((out / "quarantine").iterdir())[2]
    flip(path, 40)
    return path


def by_loss(out: Path) -> Path:
    shards(out)[1].unlink()
    return shards(out)[0].with_name(sorted((out / "quarantine").iterdir())[1].name)


@pytest.mark.parametrize("damage", [in_frames, in_labels, by_exchange, in_quarantine, by_loss])
def test_ingest_says_what_is_damaged_and_writes_it_again(
    manifest: Manifest, ingested: Path, tmp_path: Path, damage: Callable[[Path], Path]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(ingested, out)
    path = damage(out)
    untouched = {other: other.stat().st_mtime_ns for other in shards(out) if other.name != path.name}
    if damage is in_frames:
        assert not ingest(manifest, out, SETTINGS).repaired  # reading every frame is for --verify
    ledger = ingest(manifest, out, SETTINGS, verify=damage is in_frames)
    (said,) = ledger.repaired
    assert said.startswith(str(path))
    assert f"  repaired: {said}" in str(ledger).splitlines()
    assert digests(out) == digests(ingested)
    assert {other: other.stat().st_mtime_ns for other in untouched} == untouched
    assert not ingest(manifest, out, SETTINGS, verify=True).repaired


@pytest.mark.parametrize("name", ["dataset.json", "shards.parquet"])
def test_what_vouches_for_the_shards_is_written_again_without_decoding(
    manifest: Manifest, ingested: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    shutil.copytree(ingested, out)
    kept = {path: path.stat().st_ino for path in [*shards(out), *(out / "quarantine").iterdir()]}
    flip(out / name, 20)
    ingest(manifest, out, SETTINGS)
    assert digests(out) == digests(ingested)
    assert {path: path.stat().st_ino for path in kept} == kept


def test_a_damaged_claim_is_one_clear_error(manifest: Manifest, ingested: Path, tmp_path: Path) -> None:
    shutil.copytree(ingested, tmp_path / "out")
    damaged = r"ingest\.json is damaged .*: restore it from a copy, or choose another --out"
    other = r"other settings \(dataset was unset, now .*choose another --out"
    for content, said in ((b"{", damaged), (b"[]", damaged), (b"\xff", damaged), (b'{"format_version": 3}', other)):
        (tmp_path / "out" / "ingest.json").write_bytes(content)
        with pytest.raises(ValueError, match=said):
            ingest(manifest, tmp_path / "out", SETTINGS)


@pytest.mark.usefixtures("ray_cluster")
def test_names_and_frame_labels_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=4, size=(24, 16))
    entry = VideoEntry("a", str(path), ("run",), b"\1", ("train",), None, [[1], [0], [0], [0]])
    several = [
        Manifest("one", ("run",), ("face",), (entry,)),
        Manifest("one", ("run",), ("nudity",), (entry,)),
        Manifest("one", ("run", "walk"), ("face",), (entry,)),
        Manifest("one", ("run",), ("face",), (replace(entry, privacy_frames=[[0], [1], [0], [0]]),)),
    ]
    fingerprints = []
    for number, manifest in enumerate([*several, several[0]]):
        ingest(manifest, tmp_path / str(number), SETTINGS)
        fingerprints.append(read_description(tmp_path / str(number)).fingerprint)
    assert len(set(fingerprints)) == 4
    assert fingerprints[0] == fingerprints[4]
