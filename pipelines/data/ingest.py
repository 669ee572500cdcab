"""Videos to Parquet shards through Ray Data: resumable, the same at any parallelism, and every video accounted for."""

import hashlib
import json
import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from numpy.typing import NDArray

from pipelines.data.manifest import SPLITS, Manifest, split_counts
from pipelines.data.remote import without_frames
from pipelines.data.schema import FORMAT_VERSION, IngestSettings
from pipelines.data.shards import (
    QUARANTINE,
    SHARD_NAME,
    TEMPORARY_NAME,
    VIDEOS,
    Shard,
    plan_shards,
    quarantine_row,
    shard_name,
    write_quarantine,
    write_shard,
    write_text_atomic,
)
from stprivacy.storage import is_remote, make_folder, whole_location

DESCRIPTION_FILE = "dataset.json"
STARTED_FILE = "ingest.json"
_IDENTITY_COLUMNS = ["video_id", "actions", "privacy", "splits", "checksum", "person_boxes"]


class IngestError(ValueError):
    """An output folder that cannot be used as asked."""


@dataclass(frozen=True)
class Ledger:
    """Where every video went: rows by split, for each official split, and quarantined videos by error code.

    Of the rows `with_boxes` have person boxes, known or looked for; `without_person` of these have none in any frame.
    """

    videos_in: int
    splits: tuple[dict[str, int], ...]
    reasons: dict[str, int] = field(default_factory=dict)
    with_boxes: int = 0
    without_person: int = 0

    @property
    def rows(self) -> int:
        """Videos that became rows."""
        return sum(self.splits[0].values())

    @property
    def quarantined(self) -> int:
        """Videos that did not."""
        return sum(self.reasons.values())

    def __str__(self) -> str:
        lines = [f"{self.videos_in} videos in = {self.rows} rows + {self.quarantined} quarantined"]
        lines += [f"  split {number}: {split_counts(split)}" for number, split in enumerate(self.splits, start=1)]
        if self.with_boxes:
            lines.append(f"  no person found in {self.without_person} of {self.with_boxes} videos")
        if 0 < self.with_boxes < self.rows:
            lines.append(f"  no person boxes are known for {self.rows - self.with_boxes} videos: --detector finds some")
        width = max(map(len, self.reasons), default=0)
        return "\n".join([*lines, *(f"  {reason:{width}}  {count}" for reason, count in self.reasons.items())])


def ingest(
    manifest: Manifest,
    out: Path,
    settings: IngestSettings,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Ledger:
    """Decode a manifest's videos into `out`, or finish what an interrupted call began.

    A finished data set of the same videos, labels and settings is left untouched; shards whose input changed are
    replaced. Needs a connected Ray (pipelines.cluster.start).

    Args:
        manifest: what to ingest
        out: folder, created if needed
        settings: how videos become rows
        workers: tasks at a time, by default as many as Ray has CPUs for; the result does not depend on it
        progress: called with the number of videos that are done and their total

    Raises:
        IngestError: `out` holds something else, or was begun with other settings.
        ray.exceptions.RayError: a task died more often than Ray retries.
    """
    _claim(out, manifest.dataset, settings)
    shards = plan_shards(manifest, settings)
    rejected_name = _rejected_name(manifest, len(shards))
    missing = [shard for shard in shards if not _is_done(out, shard.name)]
    if not missing and _is_finished(out, shards, rejected_name, manifest):
        progress(manifest.videos_in, manifest.videos_in)
        return _ledger(out, manifest)
    (out / DESCRIPTION_FILE).unlink(missing_ok=True)
    keep = {*(shard.name for shard in shards), *([rejected_name] if manifest.rejected else [])}
    _clean(out, keep)
    _write_rejected(out, rejected_name, manifest)
    _decode(missing, out, settings, workers, _counted(progress, manifest, missing))
    _clean(out, keep)  # of what tasks left that died
    ledger = _ledger(out, manifest)
    write_text_atomic(out / DESCRIPTION_FILE, _json(_description(out, manifest, settings, ledger)))
    return ledger


def _claim(out: Path, dataset: str, settings: IngestSettings) -> None:
    """Make the folders, and note what they are for: shards of several settings must not mix."""
    claim = {"format_version": FORMAT_VERSION, "dataset": dataset, "settings": settings.identity()}
    path = out / STARTED_FILE
    if path.is_file():
        _check_claim(out, json.loads(path.read_text(encoding="utf-8")), claim)
        return
    if out.is_dir() and any(not TEMPORARY_NAME.fullmatch(found.name) for found in out.iterdir()):
        raise IngestError(f"{out} is not empty and not an ingested data set: give a new or empty folder as --out")
    make_folder(out)
    write_text_atomic(path, _json(claim))


def _check_claim(out: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    if before["format_version"] != FORMAT_VERSION:
        raise IngestError(
            f"{out} was begun in format {before['format_version']}, this program writes {FORMAT_VERSION}: "
            "ingest into another --out"
        )
    old, new = ({**claim, **claim["settings"]} for claim in (before, now))
    old, new = ({"detector": "none", "detector_weights": ""} | claim for claim in (old, new))
    changed = [f"{name} {old.get(name)} → {new[name]}" for name in new if name != "settings" and old[name] != new[name]]
    if changed:
        raise IngestError(
            f"{out} was begun with other settings ({', '.join(changed)}): use the old ones, or another --out"
        )


def _rejected_name(manifest: Manifest, number: int) -> str:
    return shard_name(number, [asdict(rejection) for rejection in manifest.rejected])


def _is_done(out: Path, name: str) -> bool:
    return (out / VIDEOS / name).is_file() and (out / QUARANTINE / name).is_file()


def _is_finished(out: Path, shards: Sequence[Shard], rejected_name: str, manifest: Manifest) -> bool:
    names = {shard.name for shard in shards}
    quarantine = names | ({rejected_name} if manifest.rejected else set())
    as_planned = _files(out / VIDEOS) == names and _files(out / QUARANTINE) == quarantine
    return as_planned and (out / DESCRIPTION_FILE).is_file()


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _clean(out: Path, keep: set[str]) -> None:
    """Remove what killed tasks left half-written, and shards whose input changed."""
    for folder in (out, out / VIDEOS, out / QUARANTINE):
        make_folder(folder)
        for path in folder.iterdir() if folder.is_dir() else ():
            stale = SHARD_NAME.fullmatch(path.name) and path.name not in keep
            if stale or TEMPORARY_NAME.fullmatch(path.name):
                path.unlink()


def _write_rejected(out: Path, name: str, manifest: Manifest) -> None:
    path = out / QUARANTINE / name
    if manifest.rejected and not path.is_file():
        write_quarantine(path, [quarantine_row(**asdict(rejection)) for rejection in manifest.rejected])


def _counted(
    progress: Callable[[int, int], None], manifest: Manifest, missing: Sequence[Shard]
) -> Callable[[int], None]:
    done = manifest.videos_in - sum(len(shard.entries) for shard in missing)
    progress(done, manifest.videos_in)

    def add(videos: int) -> None:
        nonlocal done
        done += videos
        progress(done, manifest.videos_in)

    return add


def _decode(
    shards: Sequence[Shard], out: Path, settings: IngestSettings, workers: int | None, add: Callable[[int], None]
) -> None:
    """One Ray Data task a shard. A task that dies is run again and writes the same bytes."""
    if not shards:
        return
    items = [{"shard": pickle.dumps(shard)} for shard in shards]
    dataset = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        partial(_write_batch, out=whole_location(out), settings=settings),
        batch_size=None,
        num_cpus=1,
        concurrency=workers,
    )
    for row in dataset.iter_rows():
        add(int(row["videos"]))


def _write_batch(batch: dict[str, NDArray[Any]], out: Path, settings: IngestSettings) -> dict[str, NDArray[Any]]:
    shards = [pickle.loads(content) for content in batch["shard"]]
    for shard in shards:
        write_shard(shard, out, settings)
    return {"videos": np.array([len(shard.entries) for shard in shards])}


def _ledger(out: Path, manifest: Manifest) -> Ledger:
    splits = zip(*_column(out / VIDEOS, "splits"), strict=True)
    counts = tuple(Counter(split) for split in splits) or (Counter(),) * manifest.splits
    persons = _person_counts(out)
    reasons = Counter(_column(out / QUARANTINE, "error"))
    ledger = Ledger(
        manifest.videos_in,
        tuple({name: count[name] for name in SPLITS} for count in counts),
        dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        len(persons),
        persons.count(0),
    )
    assert ledger.rows + ledger.quarantined == ledger.videos_in, f"videos were lost or doubled: {ledger}"
    return ledger


def _person_counts(out: Path) -> list[int]:
    """Person boxes in all frames of each video together, of the videos whose boxes are known."""
    counts: list[int] = []
    for table in _tables(out / VIDEOS, ["person_boxes"]):
        known = table.column("person_boxes").drop_null().combine_chunks()
        boxes = known.values.offsets.take(known.offsets).to_pylist()  # boxes before each video's first frame
        counts += [last - first for first, last in pairwise(boxes)]
    return counts


def _column(folder: Path, name: str) -> list[Any]:
    return [value for table in _tables(folder, [name]) for value in table.column(name).to_pylist()]


def _tables(folder: Path, columns: list[str]) -> list[pa.Table]:
    return [_table(path, columns) for path in sorted(folder.glob("*.parquet"))]


def _table(path: Path, columns: list[str]) -> pa.Table:
    with without_frames(path) if is_remote(path) else nullcontext(path) as local:
        # pre_buffer would plan reads of each of the many row groups before the first.
        return pq.ParquetFile(local, pre_buffer=False).read(columns=columns)


def _description(out: Path, manifest: Manifest, settings: IngestSettings, ledger: Ledger) -> dict[str, Any]:
    content = hashlib.sha256(json.dumps([FORMAT_VERSION, settings.identity()], sort_keys=True).encode())
    for table in _tables(out / VIDEOS, _IDENTITY_COLUMNS):
        content.update(json.dumps(table.to_pylist(), sort_keys=True).encode())
    counts = {"videos_in": ledger.videos_in, "rows": ledger.rows, "quarantined": ledger.quarantined}
    return {
        "format_version": FORMAT_VERSION,
        "dataset": manifest.dataset,
        "action_names": list(manifest.action_names),
        "attribute_names": list(manifest.attribute_names),
        "multi_label": manifest.multi_label,
        "splits": manifest.splits,
        "counts": counts | ledger.splits[0],
        "split_counts": ledger.splits,
        "person_boxes": {"videos": ledger.with_boxes, "without_person": ledger.without_person},
        "settings": {"detector": settings.detector} | settings.identity(),
        "fingerprint": content.hexdigest(),
    }


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"
