import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipelines.data.index import VideoIndex, read_description
from pipelines.data.stored import read_rows
from tests.support.shard_fixtures import seal_dataset, write_shard, write_tiny_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen videos of 2, 6 and 8 frames in several shards."""
    return write_tiny_dataset(tmp_path_factory.mktemp("tiny"), 11, 5, frames=(8, 2, 6), height=18, width=24)


def rewrite_shard(folder: Path, number: int, change: dict[str, Any]) -> None:
    """Write a shard again with its first row changed, as if that was what was ingested."""
    shard = sorted((folder / "videos").glob("*.parquet"))[number]
    rows = pq.read_table(shard).to_pylist()
    rows[0].update(change)
    write_shard(shard, rows)
    seal_dataset(folder)


def test_frames_are_the_stored_bytes_of_each_row(folder: Path) -> None:
    index = VideoIndex(folder)
    stored = pq.read_table(sorted((folder / "videos").glob("*.parquet"))).to_pylist()
    assert [row.video_id for row in index.rows] == [row["video_id"] for row in stored]
    for row, expected in zip(index.rows, stored, strict=True):
        frames = np.frombuffer(expected["frames"], dtype=np.uint8).reshape(expected["shape"])
        assert torch.equal(index.frames(row), torch.tensor(frames))
        assert (list(row.actions), list(row.privacy)) == (expected["actions"], expected["privacy"])
        assert list(row.splits) == expected["splits"]


def test_official_splits_are_told_apart_and_counted_from_one(tmp_path: Path) -> None:
    index = VideoIndex(write_tiny_dataset(tmp_path, 2, 2, second_split=["unused", "test", "train", "test"]))
    first, second = ([index.split(part, number) for part in ("train", "test", "unused")] for number in (1, 2))
    assert [len(rows) for rows in first] == [2, 2, 0]
    assert [[index.rows.index(row) for row in rows] for rows in second] == [[2], [1, 3], [0]]
    for number in (0, 3):
        with pytest.raises(ValueError, match=f"there is no split {number}: the data set tiny has 2 splits"):
            index.split("train", number)


def test_a_multi_label_data_set_gives_each_row_one_or_more_actions(tmp_path: Path) -> None:
    index = VideoIndex(write_tiny_dataset(tmp_path, 3, 1, multi_label=True))
    assert index.description.multi_label
    assert [row.actions for row in index.rows] == [(0, 1), (1,), (0, 1), (1,)]
    rewrite_shard(tmp_path, 0, {"actions": []})
    with pytest.raises(ValueError, match="it has 0 actions; multi_label is True"):
        VideoIndex(tmp_path)


def test_frames_are_views_of_one_map_for_each_shard(folder: Path) -> None:
    index = VideoIndex(folder)
    first, second = index.rows[:2]
    storages = {index.frames(row).untyped_storage().data_ptr() for row in (first, second, first)}
    assert len(storages) == 1


def test_writing_to_frames_leaves_the_shard_alone(folder: Path) -> None:
    index = VideoIndex(folder)
    before = index.rows[0].shard.read_bytes()
    index.frames(index.rows[0]).zero_()
    assert index.rows[0].shard.read_bytes() == before


def test_a_pickled_index_carries_no_frames(folder: Path) -> None:
    index = VideoIndex(folder)
    frames = index.frames(index.rows[3]).clone()
    data = pickle.dumps(index)
    assert len(data) < 10_000
    assert torch.equal(pickle.loads(data).frames(index.rows[3]), frames)


@pytest.mark.parametrize(
    "layout",
    [{"row_group_size": 2}, {"use_dictionary": True}, {"compression": "zstd"}],
    ids=["row_groups", "dictionary", "compressed"],
)
def test_a_shard_of_another_layout_is_refused_by_name(tmp_path: Path, layout: dict[str, Any]) -> None:
    shard = sorted((write_tiny_dataset(tmp_path, checksums=False) / "videos").glob("*.parquet"))[1]
    write_shard(shard, pq.read_table(shard).to_pylist(), checksums=False, **layout)
    with pytest.raises(ValueError, match=rf"{shard.name} is not a shard of this format .*row.*: ingest again"):
        VideoIndex(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [16, 32, 40, 1]}, r"shape \(16, 32, 40, 1\) is not \[T H W 3\]"),
        ({"shape": [14, 32, 40, 3]}, "it has 8 checksums for 7 tubelet slots"),
        ({"frames": bytes(3840), "shape": [1, 32, 40, 3]}, "up/0005.mp4: T = 1 is not a multiple of tubelet_frames 2"),
        ({"actions": [2]}, r"actions \[2\] are not in \[0, 2\)"),
        ({"actions": [-1]}, r"actions \[-1\] are not in \[0, 2\)"),
        ({"actions": [0, 1]}, "it has 2 actions; multi_label is False"),
        ({"actions": []}, "it has 0 actions"),
        ({"splits": ["train", "test"]}, "are not 1"),
        ({"privacy": [0, 1]}, r"privacy \[0, 1\] is not a 0 or 1 for each of 5 attributes"),
        ({"privacy": [0, 1, 0, 1, 2]}, "is not a 0 or 1"),
        ({"privacy": [0, 1, 0, 1, -1]}, "is not a 0 or 1"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    rewrite_shard(write_tiny_dataset(tmp_path), 1, change)
    with pytest.raises(ValueError, match=message):
        VideoIndex(tmp_path)


def test_a_torn_shard_and_one_without_columns_are_refused(tmp_path: Path) -> None:
    shard = sorted((write_tiny_dataset(tmp_path, checksums=False) / "videos").glob("*.parquet"))[0]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=f"{shard.name} is not a shard of this format"):
        VideoIndex(tmp_path)
    shard.write_bytes(b"")
    with pytest.raises(ValueError, match=f"{shard.name} is not a shard of this format"):
        VideoIndex(tmp_path)
    pq.write_table(pa.table({"video_id": ["a"]}), shard)
    with pytest.raises(ValueError, match="no column actions, frames, privacy, shape, splits"):
        VideoIndex(tmp_path)


def test_a_missing_shard_of_the_older_format_is_noticed(tmp_path: Path) -> None:
    sorted((write_tiny_dataset(tmp_path, checksums=False) / "videos").glob("*.parquet"))[2].unlink()
    with pytest.raises(ValueError, match=r"holds 10 videos, but .*dataset\.json counts 12"):
        VideoIndex(tmp_path)


def test_an_unfinished_or_foreign_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset\.json is missing: this is not a finished ingest"):
        VideoIndex(tmp_path)
    description = json.loads((write_tiny_dataset(tmp_path) / "dataset.json").read_text())
    for text, message in [
        ("{", "dataset.json cannot be used"),
        (json.dumps({**description, "format_version": 1}), "format_version is 1, this program reads 3.*ingest again"),
        (json.dumps({"format_version": 2}), "KeyError: 'dataset'"),
        (json.dumps({"format_version": 3}), "is not as it was written: run jobs/ingest.py again with --verify"),
        ("[" * 100_000, "RecursionError"),
        ("[]", "TypeError"),
    ]:
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            VideoIndex(tmp_path)


@pytest.mark.parametrize("nested", [False, True])
def test_a_forged_shard_whose_values_are_pickles_runs_no_code(tmp_path: Path, nested: bool) -> None:
    from ray.data._internal.object_extensions.arrow import ArrowPythonObjectArray

    class Forged:
        def __reduce__(self) -> tuple[Any, tuple[Any]]:
            return Path.touch, (tmp_path / "code-was-run",)

    shard = next((write_tiny_dataset(tmp_path / "data", 3) / "videos").glob("*.parquet"))
    table = pq.read_table(shard)
    forged = ArrowPythonObjectArray.from_objects([Forged()] * len(table))
    if nested:
        forged = pa.ListArray.from_arrays(pa.array(range(len(table) + 1), pa.int32()), forged)
    name = "actions" if nested else "video_id"
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, forged), shard, row_group_size=1)
    with pytest.raises(ValueError, match=r"of type .*, which no shard has"):
        list(read_rows(shard, read_description(tmp_path / "data"), (), None))
    assert not (tmp_path / "code-was-run").exists()
