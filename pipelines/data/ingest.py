"""Videos to Parquet shards through Ray Data: resumable, the same at any parallelism, and every video accounted for."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.data.checksums import DamagedDataError, file_digest
from pipelines.data.inspection import Finished, Found, finished, inspect, inspect_frames
from pipelines.data.ledger import Ledger, make_ledger
from pipelines.data.manifest import Manifest
from pipelines.data.records import (
    QUARANTINE,
    SHARDS_FILE,
    VIDEOS,
    Quarantine,
    quarantine_content,
    quarantine_row,
    read_quarantine,
    shards_content,
)
from pipelines.data.schema import DESCRIPTION_FILE, FORMAT_VERSION, IngestSettings, description_text
from pipelines.data.shards import SHARD_NAME, Shard, plan_shards, shard_name, write_shard
from pipelines.data.tasks import IngestError, run_tasks
from stprivacy.claims import Claim
from stprivacy.output_lock import LOCK_NAME, output_lock
from stprivacy.storage import PARTIAL_SUFFIX, absolute_location, make_folder, remove_partials, write_whole

__all__ = ["IngestError", "Ledger", "ingest"]

_STARTED_FILE = "ingest.json"


def ingest(
    manifest: Manifest,
    out: Path,
    settings: IngestSettings,
    *,
    workers: int | None = None,
    verify: bool = False,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Ledger:
    """Decode a manifest's videos into `out`, or finish what an interrupted call began.

    A finished data set of the same videos, labels and settings is left untouched; shards whose input changed are
    replaced, and those whose files are damaged are decoded again. Needs a connected Ray (pipelines.cluster.start).

    Args:
        manifest: what to ingest
        out: folder, created if needed
        settings: how videos become rows
        workers: tasks at a time, by default as many as Ray has CPUs for; the result does not depend on it
        verify: also read every frame that is there already
        progress: called with the number of videos that are done and their total

    Raises:
        ValueError: `out` holds something else, or was begun with other settings.
        IngestError: what is not a video's fault ended a task; what is done is kept.
        OutputBusyError: another process writes to `out`.
    """
    claim = _claim(manifest.dataset, settings)
    claim.check(out)  # before a file of ours is put into a stranger's folder
    with output_lock(out):
        claim.make(out)
        for folder in (out / VIDEOS, out / QUARANTINE):
            make_folder(folder)
        return _Ingest(manifest, out, settings, workers, progress).run(verify)


def _claim(dataset: str, settings: IngestSettings) -> Claim:
    """What an ingest's folder is for: shards of several settings must not mix."""
    return Claim(
        _STARTED_FILE,
        {"format_version": FORMAT_VERSION, "dataset": dataset, "settings": settings.identity()},
        "an ingested data set",
        defaults={"settings": {"detector": "none", "detector_weights": ""}},
        is_ours=lambda name: name == LOCK_NAME or (name.startswith(".") and name.endswith(PARTIAL_SUFFIX)),
    )


class _Ingest:
    """One call of `ingest`, which holds the folder."""

    def __init__(
        self,
        manifest: Manifest,
        out: Path,
        settings: IngestSettings,
        workers: int | None,
        progress: Callable[[int, int], None],
    ) -> None:
        self._manifest, self._out, self._settings, self._workers = manifest, out, settings, workers
        self._shards = {shard.name: shard for shard in plan_shards(manifest, settings)}
        # The quarantine file of what the manifest rejects, by its name, if it rejects anything.
        rejected = [asdict(rejection) for rejection in manifest.rejected]
        content = quarantine_content([quarantine_row(**row) for row in rejected])
        self._rejected = {shard_name(len(self._shards), rejected): content} if rejected else {}
        self._progress, self._done = progress, 0

    def run(self, verify: bool) -> Ledger:
        """Look at what is there, do what is missing, and write what a reader checks."""
        before = finished(self._out)
        found = inspect(self._out, list(self._shards), before, self._settings)
        self._count(len(self._manifest.rejected))
        self._settle(found, verify)
        missing = [shard for name, shard in self._shards.items() if name not in found.whole]
        if missing:
            (self._out / DESCRIPTION_FILE).unlink(missing_ok=True)
            for name in found.damaged:
                (self._out / VIDEOS / name).unlink(missing_ok=True)
        self._clean()
        for name, content in self._rejected.items():
            path = self._out / QUARANTINE / name
            try:
                read_quarantine(path, file_digest(content))
            except DamagedDataError:
                write_whole(path, content)
        self._decode(missing)
        whole = {name: found.whole.get(name) or read_quarantine(self._out / QUARANTINE / name) for name in self._shards}
        return self._describe(whole, before, sorted(found.damaged.values()))

    def _settle(self, found: Found, verify: bool) -> None:
        """Count what is whole; asked to, find out by every frame."""
        if not verify:
            self._count(sum(len(self._shards[name].entries) for name in found.whole))
            return
        for name, fault in inspect_frames(self._out, found, self._workers):
            if fault:
                found.damaged[name] = fault
                del found.whole[name]
            else:
                self._count(len(self._shards[name].entries))

    def _clean(self) -> None:
        """Remove what killed tasks left half-written, and shards whose input changed.

        Raises: IngestError: a Parquet file that no ingest wrote, with which the data set could not be read.
        """
        keep = {*self._shards, *self._rejected}
        remove_partials(self._out)
        for folder in (self._out / VIDEOS, self._out / QUARANTINE):
            remove_partials(folder)
            for path in [path for path in folder.glob("*.parquet") if path.name not in keep]:
                if not SHARD_NAME.fullmatch(path.name):
                    raise IngestError(f"{path} is not a shard of this data set: remove it and run again")
                path.unlink(missing_ok=True)

    def _decode(self, shards: Sequence[Shard]) -> None:
        """One task a shard; a task that is run again writes the same bytes."""
        work = partial(_write, out=absolute_location(self._out), settings=self._settings)
        try:
            for position, _ in run_tasks(shards, work, self._workers):
                self._count(len(shards[position].entries))
        finally:
            if shards:
                self._clean()  # of what tasks left that died

    def _count(self, videos: int) -> None:
        self._done += videos
        self._progress(self._done, self._manifest.videos_in)

    def _describe(self, whole: Mapping[str, Quarantine], before: Finished | None, repaired: Sequence[str]) -> Ledger:
        """Write what a reader checks, where it is not there already."""
        rejected = [read_quarantine(self._out / QUARANTINE / name) for name in self._rejected]
        ledger = make_ledger(self._manifest.videos_in, self._manifest.splits, [*whole.values(), *rejected], repaired)
        assert ledger.rows + ledger.quarantined == ledger.videos_in, f"videos were lost or doubled: {ledger}"
        seals = {name: (found.record.seal, found.digest) for name, found in whole.items() if found.record}
        if before and list(before.shards.items()) == list(seals.items()):
            digest = before.description.shards_digest
        else:
            content = shards_content(whole)
            digest = file_digest(content)
            write_whole(self._out / SHARDS_FILE, content)
        contents = [found.record.content for found in whole.values() if found.record]
        text = description_text(_description(self._manifest, self._settings, ledger, contents, digest)).encode()
        path = self._out / DESCRIPTION_FILE
        if not path.is_file() or path.read_bytes() != text:
            write_whole(path, text)
        return ledger


def _write(shard: Shard, out: Path, settings: IngestSettings) -> str:
    """The work of a task. Raises: IngestError: the output cannot be written; others: as `write_shard`."""
    try:
        write_shard(shard, out, settings)
    except OSError as error:
        raise IngestError(f"{out / VIDEOS / shard.name} cannot be written: {error.strerror or error}") from error
    return ""


def _description(
    manifest: Manifest, settings: IngestSettings, ledger: Ledger, contents: Sequence[str], shards_digest: str
) -> dict[str, Any]:
    names = {
        "action_names": list(manifest.action_names),
        "attribute_names": list(manifest.attribute_names),
        "multi_label": manifest.multi_label,
        "splits": manifest.splits,
    }
    counts = {"videos_in": ledger.videos_in, "rows": ledger.rows, "quarantined": ledger.quarantined}
    identity = json.dumps([FORMAT_VERSION, settings.identity(), names, list(contents)], sort_keys=True)
    return {
        "format_version": FORMAT_VERSION,
        "dataset": manifest.dataset,
        **names,
        "counts": counts | ledger.splits[0],
        "split_counts": ledger.splits,
        "person_boxes": {"videos": ledger.with_boxes, "without_person": ledger.without_person},
        "settings": {"detector": settings.detector} | settings.identity(),
        "fingerprint": hashlib.sha256(identity.encode()).hexdigest(),
        "shards_digest": shards_digest,
    }
