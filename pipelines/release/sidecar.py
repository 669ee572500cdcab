"""The JSON file beside each released video: enough to audit or reproduce it.

Written after the video, it marks the pair as done. It holds digests of the video, of itself, and of the source, by
which whoever has the source recognises it; where names are opaque, that last one is keyed by a salt, and tells nothing
without the key file.
"""

import errno
import hashlib
import hmac
import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from pipelines.release.names import SIDECAR, VIDEO, ReleaseItem
from pipelines.release.settings import FORMAT_VERSION, Provenance
from stprivacy.storage import is_remote, local_copy, location, object_state, write_whole

_PACKAGES = ("torch", "av")
_OWN_DIGEST = ',\n "sidecar_sha256": '  # of all bytes before this


def file_digest(path: Path) -> dict[str, Any]:
    """SHA-256 and size of a local file. Raises: OSError: it cannot be read, or is no regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would be waited for
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": status.st_size}


def version_of(place: Path) -> dict[str, Any]:
    """What a store says of an object that changes when it is written anew; nothing of a local file."""
    return {"version": object_state(place)[1]} if is_remote(place) else {}


def source_facts(source: Mapping[str, Any], salt: str) -> dict[str, Any]:
    """What is noted of a source: `file_digest` and `version_of`; with a salt (hexadecimal), keyed digests of each."""
    return {"keyed_source": _keyed(source, salt)} if salt else {"source": dict(source)}


def _keyed(facts: Mapping[str, Any], salt: str) -> dict[str, Any]:
    key = bytes.fromhex(salt)
    return {name: hmac.new(key, f"{name}={value}".encode(), "sha256").hexdigest() for name, value in facts.items()}


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
    video: Mapping[str, Any],
    source: Mapping[str, Any],
    output: Mapping[str, Any],
) -> dict[str, Any]:
    """What is recorded of a released video.

    Args: keep: a packed mask for each slot; video: its frames and seconds; source: `source_facts`; output:
        `file_digest` and `version_of` it.
    """
    clip = provenance.model["clip"]
    return asdict(provenance) | {
        "software": {name: version(name) for name in _PACKAGES},
        **source,
        "output": dict(output),
        **video,
        "keep_rows": clip["height_px"] // clip["patch_size"],
        "keep_columns": clip["width_px"] // clip["patch_size"],
        "keep": list(keep),
    }


def write_sidecar(path: Path, content: Mapping[str, Any]) -> None:
    """Write it whole, one line a slot, and its own digest last."""
    slots = ",\n  ".join(json.dumps(slot) for slot in content["keep"])
    rest = json.dumps({name: value for name, value in content.items() if name != "keep"}, indent=1)
    write_whole(path, _with_digest(f'{rest[:-2]},\n "keep": [\n  {slots}\n ]'.encode()))


def _with_digest(content: bytes) -> bytes:
    return content + f'{_OWN_DIGEST}"{hashlib.sha256(content).hexdigest()}"\n}}\n'.encode()


def read_sidecar(path: Path) -> dict[str, Any]:
    """Its content. Raises: ValueError: it is not as it was written. OSError: it cannot be read."""
    content = path.read_bytes()
    if content != _with_digest(content.rpartition(_OWN_DIGEST.encode())[0]):
        raise ValueError(f"{path} is damaged: its digest is not the one that it tells")
    return dict(json.loads(content))


def source_if_done(item: ReleaseItem, out: Path) -> dict[str, Any] | None:
    """Digest and size of a source whose video is there, as it was written and made from it; None if it is not.

    Files are read; so are objects whose store reports another version than the one that was noted. Of others, which are
    not, there is no digest.
    """
    try:
        told = read_sidecar(out / f"{item.name}{SIDECAR}")
        if told["format_version"] != FORMAT_VERSION or not _same(out / f"{item.name}{VIDEO}", told["output"]):
            return None
        return _same(location(item.path), told["keyed_source" if item.salt else "source"], item.salt)
    except Exception:  # each object store has errors of its own; whatever it is, this is no video that is done
        return None


def _same(place: Path, told: Mapping[str, Any], salt: str = "") -> dict[str, Any] | None:
    """What is found out about a file in comparing it with what is recorded of it; None if it differs."""

    def agrees(facts: Mapping[str, Any]) -> bool:
        return (_keyed(facts, salt) if salt else facts).items() <= told.items()

    size, version = object_state(place) if is_remote(place) else (place.stat().st_size, None)
    if not agrees({"bytes": size}):
        return None
    if version is not None and agrees({"version": version}):
        return {"bytes": size, "version": version}
    with local_copy(place) as copy:  # an object may be the same one, uploaded anew
        facts = file_digest(copy)
    return facts if agrees(facts) else None


def remove_pair(out: Path, name: str) -> None:
    """Remove a released video and its sidecar, which goes first."""
    for suffix in (SIDECAR, VIDEO):
        (out / f"{name}{suffix}").unlink(missing_ok=True)
