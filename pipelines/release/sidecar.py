"""The JSON file beside each released video: enough to audit or reproduce it, and nothing that identifies.

Written after the video, it marks the pair as done.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from pipelines.release.drafts import draft
from pipelines.release.settings import FORMAT_VERSION, Provenance
from stprivacy.storage import is_remote, location

_PACKAGES = ("torch", "av")


def file_digest(path: Path) -> dict[str, Any]:
    """SHA-256 and size of a local file."""
    with open(path, "rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def pack_keep(keep: Tensor) -> list[str]:
    """A keep mask [l n] as a hexadecimal number a slot: the highest bit is the tubelet at the upper left."""
    digits = -(-keep.shape[1] // 4)
    numbers = (int("".join("1" if kept else "0" for kept in slot), 2) for slot in (keep > 0.5).tolist())
    return [f"{number:0{digits}x}" for number in numbers]


def unpack_keep(slots: Sequence[str], tubelets: int) -> list[list[int]]:
    """The keep mask [l n] that `pack_keep` has written, as 0 and 1."""
    return [[int(bit) for bit in f"{int(slot, 16):0{tubelets}b}"] for slot in slots]


def make_sidecar(
    provenance: Provenance,
    keep: Sequence[str],
    video: dict[str, Any],
    source: dict[str, Any],
    output: dict[str, Any],
) -> dict[str, Any]:
    """What is told of a released video.

    Args: keep: a packed mask for each slot; video: its frames and seconds; source and output: `file_digest` of both.
    """
    rows, columns = (provenance.model["clip"][f"{side}_px"] // provenance.model["clip"]["patch_size"]
                     for side in ("height", "width"))  # fmt: skip
    return asdict(provenance) | {
        "software": {name: version(name) for name in _PACKAGES},
        "source": source,
        "output": output,
        **video,
        "keep_rows": rows,
        "keep_columns": columns,
        "keep": list(keep),
    }


def write_sidecar(path: Path, content: dict[str, Any]) -> None:
    """Write it whole, one line a slot."""
    slots = ",\n  ".join(json.dumps(slot) for slot in content["keep"])
    rest = json.dumps({name: value for name, value in content.items() if name != "keep"}, indent=1)
    with draft(path) as local, open(local, "w", encoding="utf-8") as file:
        file.write(f'{rest[:-2]},\n "keep": [\n  {slots}\n ]\n}}\n')
        file.flush()
        os.fsync(file.fileno())


def is_done(source: str, out: Path, name: str) -> bool:
    """Whether the video of that name is there, whole, with its sidecar, and was made from what now lies at `source`.

    Of an object, only the size is compared: to read it takes as long as to release it.
    """
    video, sidecar = out / f"{name}.mp4", out / f"{name}.json"
    try:
        told = json.loads(sidecar.read_text(encoding="utf-8"))
        if told["format_version"] != FORMAT_VERSION or video.stat().st_size != told["output"]["bytes"]:
            return False
        place = location(source)
        if is_remote(place):
            return bool(place.stat().st_size == told["source"]["bytes"])
        return bool(file_digest(place) == told["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def remove_pair(out: Path, name: str) -> None:
    """Remove a released video and its sidecar, which goes first."""
    for suffix in (".json", ".mp4"):
        (out / f"{name}{suffix}").unlink(missing_ok=True)
