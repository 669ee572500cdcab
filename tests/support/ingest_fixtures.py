"""Manifests to ingest, what came of them, and work that fails."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from pipelines.data.datasets import load_manifest
from pipelines.data.manifest import Manifest, Sources


def write_csv(folder: Path, names: list[str]) -> Manifest:
    rows = [
        f"{name},{('run', 'jump')[at % 2]},{('train', 'test')[at % 3 == 2]},{at % 2},1" for at, name in enumerate(names)
    ]
    (folder / "list.csv").write_text("\n".join(["path,action,split,privacy_face,privacy_skin", *rows]) + "\n")
    return load_manifest("csv", Sources(manifest=folder / "list.csv"))


def digests(out: Path) -> dict[str, str]:
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_rows(out: Path, folder: str) -> list[dict[str, object]]:
    return [row for path in sorted((out / folder).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def wait_for(what: str, condition: Callable[[], object], seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"no {what} after {seconds} s"
        time.sleep(0.005)


def writer_of(partial: Path) -> int:
    """A half-written file carries the id of the process that is writing it."""
    return int(partial.name.split(".")[2].partition("-")[0])


def fill_the_disk(item: int) -> str:
    """Work that finds a full disk at its second item."""
    if item == 1:
        with open("/dev/full", "w") as file:
            file.write("x")
    return ""
