"""The files of a checkpoint: how they appear whole, which ones there are, and what is wrong with one.

On a disk, a checkpoint is written aside, synced and renamed. An object store renames nothing: there, the manifest is
written last and removed first, and what has none is no checkpoint. Where a checkpoint replaces one of the same number,
the old one stays aside until the new one is in place; as long as its number has no folder, it is that checkpoint.
"""

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from stprivacy.storage import filesystem, is_remote, remove_folder, sync, write_whole

FORMAT_VERSION = 2
MANIFEST, MODEL, STATE = "manifest.json", "model.safetensors", "state.pt"
_ASIDE = ".aside-"  # unfinished and replaced checkpoints
_REPLACED = f"{_ASIDE}old-"


def number_of(path: Path) -> int:
    """The number of the checkpoint in a folder."""
    return int(path.name.removeprefix(_REPLACED))


def newest_first(folder: Path) -> list[Path]:
    """The folders of all checkpoints, whole or not; one that was being replaced counts where its number has none."""
    numbered = {number_of(path): path for path in _folders(folder, "*") if path.name.isdecimal()}
    replaced = [path for path in _folders(folder, f"{_REPLACED}*") if path.name.removeprefix(_REPLACED).isdecimal()]
    found = {number_of(path): path for path in replaced} | numbered
    return [found[number] for number in sorted(found, reverse=True)]


def contents(number: int, model: Mapping[str, Tensor], state: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a checkpoint by name, the manifest last."""
    files = {MODEL: _model_bytes(model)}
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    files[STATE] = buffer.getvalue()
    listed = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    manifest = {"format_version": FORMAT_VERSION, "number": number, "files": listed}
    return files | {MANIFEST: json.dumps(manifest, indent=1).encode()}


def write(target: Path, files: Mapping[str, bytes], keep: int) -> None:
    """Write the files of the checkpoint `target`, replacing an earlier one, and remove all but the newest `keep`."""
    if is_remote(target):
        _write_remote(target, files, keep)
    else:
        _write_local(target, files, keep)


def fault_of(path: Path) -> str:
    """What is wrong with a checkpoint on a local disk, in words; empty where nothing is."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        files = {name: (manifest["files"][name]["bytes"], manifest["files"][name]["sha256"]) for name in (MODEL, STATE)}
        number, version = manifest["number"], manifest["format_version"]
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (ValueError, KeyError, TypeError, RecursionError, IsADirectoryError, NotADirectoryError):
        return f"{MANIFEST} cannot be read"
    if version != FORMAT_VERSION:
        return f"format version {version}, this program reads {FORMAT_VERSION}"
    if number != number_of(path):
        return f"{MANIFEST} is of checkpoint {number}"
    return next(filter(None, (_file_fault(path / name, *expected) for name, expected in files.items())), "")


def recorded_digest(path: Path) -> str:
    """SHA-256 of the weights as the manifest of a checkpoint has it; empty where that cannot be read."""
    try:
        return str(json.loads((path / MANIFEST).read_bytes())["files"][MODEL]["sha256"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and state of a checkpoint on a local disk without a fault. Raises: ValueError: a file cannot be read."""
    name = MODEL
    try:
        model = safetensors.torch.load_file(path / name)
        name = STATE
        state = torch.load(path / name, "cpu", weights_only=True)
    except Exception as error:  # what a file that fits its checksum can do to its reader has no bounds
        raise ValueError(f"{name} cannot be read ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise ValueError(f"{name} holds a {type(state).__name__}, not a dict")
    return model, state


def _folders(folder: Path, pattern: str) -> list[Path]:
    """The checkpoints' folders of a pattern; in a store, those that have a manifest."""
    if is_remote(folder):
        return [path.parent for path in folder.glob(f"{pattern}/{MANIFEST}")]
    return [path for path in folder.glob(pattern) if path.is_dir()]


def _write_local(target: Path, files: Mapping[str, bytes], keep: int) -> None:
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True)
    for path in newest_first(folder):
        if not path.name.isdecimal():  # a kill came between the two renames below
            path.rename(folder / path.name.removeprefix(_REPLACED))
    _remove_leftovers(folder)
    aside = folder / f"{_ASIDE}new-{target.name}"
    aside.mkdir()
    for name, data in files.items():
        (aside / name).write_bytes(data)
        sync(aside / name)
    sync(aside)
    if target.exists():
        target.rename(folder / f"{_REPLACED}{target.name}")
    aside.rename(target)
    sync(folder)
    for path in [path for path in newest_first(folder) if number_of(path) <= number_of(target)][keep:]:
        shutil.rmtree(path)
    _remove_leftovers(folder)


def _remove_leftovers(folder: Path) -> None:
    for path in folder.glob(f"{_ASIDE}*"):
        shutil.rmtree(path)


def _write_remote(target: Path, files: Mapping[str, bytes], keep: int) -> None:
    replaced = target.with_name(f"{_REPLACED}{target.name}")
    if (target / MANIFEST).exists():
        _remove_remote(replaced)
        for name in files:
            store, source = filesystem(target / name)
            if store.exists(source):
                store.copy(source, filesystem(replaced / name)[1])
    (target / MANIFEST).unlink(missing_ok=True)
    for name, data in files.items():
        write_whole(target / name, data)
    # Of those up to this one, the newest are kept; what a kill left without manifest goes, too.
    folder, number = target.parent, number_of(target)
    kept = {path.name for path in [path for path in newest_first(folder) if number_of(path) <= number][:keep]}
    for path in folder.iterdir():
        name = path.name.removeprefix(_REPLACED)
        if name.isdecimal() and int(name) <= number and path.name not in kept:
            _remove_remote(path)


def _remove_remote(path: Path) -> None:
    (path / MANIFEST).unlink(missing_ok=True)
    remove_folder(path)


def _model_bytes(model: Mapping[str, Tensor]) -> bytes:
    # Clones: safetensors refuses tensors that share memory.
    return safetensors.torch.save({name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.items()})


def _file_fault(file: Path, size_bytes: int, sha256: str) -> str:
    if not file.is_file():
        return f"{file.name} is missing"
    if file.stat().st_size != size_bytes:
        return f"{file.name} has {file.stat().st_size} of {size_bytes} bytes"
    with open(file, "rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != sha256:
            return f"{file.name} does not match its checksum"
    return ""
