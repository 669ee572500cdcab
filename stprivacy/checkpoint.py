"""Checkpoints that survive a kill at any moment: written aside, synced, renamed, checksummed.

Layout: FOLDER/NNNNNN/{manifest.json, model.safetensors, state.pt}; NNNNNN is the number of steps done. An object store
renames nothing: there, the manifest is written last and removed first, and what has none is no checkpoint.
"""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from stprivacy.durable import sync_folder
from stprivacy.storage import is_remote, local_copy, remove_folder, write_whole

FORMAT_VERSION = 2
ABOUT = "about"  # in state: what the weights are for, which must not differ where they are used
MANIFEST, MODEL, STATE = "manifest.json", "model.safetensors", "state.pt"
_ASIDE = ".aside-"  # unfinished and replaced checkpoints, which the next save removes


class CheckpointError(ValueError):
    """No checkpoint can be used; the message names them and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """What was saved after step `number`: weights by name, and everything else that training needs to go on."""

    number: int
    path: Path
    model: dict[str, Tensor]
    state: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one run as one worker sees them: every rank reads, rank 0 writes.

    `keep` checkpoints are kept; `warn` gets a sentence for each damaged one that was passed over.
    """

    def __init__(self, folder: Path, keep: int, rank: int, warn: Callable[[str], None]) -> None:
        self.folder, self.keep, self.rank = folder, keep, rank
        self._warn = warn

    @property
    def empty(self) -> bool:
        """Whether nothing was saved yet, not even a checkpoint that is damaged by now."""
        return not _newest_first(self.folder)

    def part(self, name: str) -> "CheckpointStore":
        """The checkpoints of a part of the run that is trained by itself, in a folder of their own below this one."""
        return CheckpointStore(self.folder / name, self.keep, self.rank, self._warn)

    def latest(self) -> Checkpoint | None:
        """The newest undamaged checkpoint, None where none was saved yet. Raises: CheckpointError: see load_latest."""
        return load_latest(self.folder, self._warn)

    def save(self, number: int, model: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Save after step `number`; call it on every rank."""
        if self.rank == 0:
            save(self.folder, number, model, state, self.keep)


def save(folder: Path, number: int, model: Mapping[str, Tensor], state: Mapping[str, Any], keep: int = 2) -> Path:
    """Write one checkpoint, replacing an earlier one of that number, and remove all but the newest `keep`.

    Args:
        folder: RUN/checkpoints; has one writer at a time.
        number: steps done.
        model: weights by name, on any device.
        state: what `torch.load(weights_only=True)` can read: tensors, numbers, text, and dicts and lists of them.
    """
    if keep < 1:
        raise ValueError(f"keep must be 1 or more, got {keep}")
    target = folder / f"{number:06d}"
    files = {MODEL: _model_bytes(model), STATE: _state_bytes(state)}
    files[MANIFEST] = _manifest(number, files)
    if is_remote(folder):
        _put(target, files)
        _remove_older(folder, number, keep)
        return target
    folder.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    aside = folder / f"{_ASIDE}new-{target.name}"
    aside.mkdir()
    _write_files(aside, files)
    if target.exists():
        target.rename(folder / f"{_ASIDE}old-{target.name}")
    aside.rename(target)
    sync_folder(folder)
    for path in [path for path in _newest_first(folder) if int(path.name) <= number][keep:]:
        shutil.rmtree(path)
    _remove_leftovers(folder)
    return target


def load_latest(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest undamaged checkpoint in `folder`, or None where there is none at all.

    Raises: CheckpointError: there are checkpoints, and all of them are damaged.
    """
    damaged: list[tuple[str, str]] = []
    for path in _newest_first(folder):
        with local_copy(path) as files:
            fault = _fault(files)
            if not fault:
                for name, reason in damaged:
                    warn(f"checkpoint {name} is damaged ({reason}), continuing from {path.name}")
                model = safetensors.torch.load_file(files / MODEL)
                return Checkpoint(int(path.name), path, model, torch.load(files / STATE, "cpu", weights_only=True))
        damaged.append((path.name, fault))
    if damaged:
        listed = "; ".join(f"{name}: {reason}" for name, reason in damaged)
        raise CheckpointError(
            f"every checkpoint in {folder} is damaged ({listed}): restore one from a copy, "
            "or delete that folder to start over"
        )
    return None


def check_about(checkpoint: Checkpoint, expected: Mapping[str, Any]) -> None:
    """See whether a checkpoint is for the data and the model that it is to be used with.

    `expected` are plain values that `state["about"]` should hold, such as the attributes' names in order.
    Raises: CheckpointError: one of them differs.
    """
    for name, value in expected.items():
        found = checkpoint.state[ABOUT][name]
        if found != value:
            raise CheckpointError(
                f"{checkpoint.path}: it was trained with {name} {_listed(found)}, but here {name} is {_listed(value)}: "
                "give the checkpoint, or the data set, that belongs to the other"
            )


def load_weights(module: nn.Module, checkpoint: Checkpoint, prefix: str) -> None:
    """Load those weights of a checkpoint whose names start with `prefix`.

    Raises: CheckpointError: they are not those of the module.
    """
    weights = {name.removeprefix(prefix): x for name, x in checkpoint.model.items() if name.startswith(prefix)}
    own = module.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        has, wanted = (str(list(x[name].shape)) if name in x else "no such weight" for x in (weights, own))
        if has != wanted:
            raise CheckpointError(
                f"{checkpoint.path / MODEL}: {prefix}{name}: {has}, but the model has {wanted}: the checkpoint is of "
                "a model with other settings than config.json says"
            )
    module.load_state_dict(weights)


def _listed(value: Any) -> str:
    parts = [f"{name} {part}" for name, part in value.items()] if isinstance(value, dict) else map(str, value)
    return ", ".join(parts)


def weights_digest(model: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of all tensors: equal only for bit-for-bit equal weights."""
    digest = hashlib.sha256()
    for name in sorted(model):
        tensor = model[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _newest_first(folder: Path) -> list[Path]:
    found = (path.parent for path in folder.glob(f"*/{MANIFEST}")) if is_remote(folder) else folder.glob("*")
    numbered = [path for path in found if path.name.isdecimal() and path.is_dir()]
    return sorted(numbered, key=lambda path: int(path.name), reverse=True)


def _put(target: Path, files: Mapping[str, bytes]) -> None:
    """Write a checkpoint to an object store, the manifest last."""
    (target / MANIFEST).unlink(missing_ok=True)
    for name, data in files.items():
        write_whole(target / name, data)


def _remove_older(folder: Path, number: int, keep: int) -> None:
    """Of those in an object store up to `number`, keep the newest, and remove what a kill left without manifest."""
    kept = {path.name for path in [path for path in _newest_first(folder) if int(path.name) <= number][:keep]}
    for path in folder.iterdir():
        if path.name.isdecimal() and int(path.name) <= number and path.name not in kept:
            (path / MANIFEST).unlink(missing_ok=True)
            remove_folder(path)


def _remove_leftovers(folder: Path) -> None:
    for path in folder.glob(f"{_ASIDE}*"):
        shutil.rmtree(path)


def _model_bytes(model: Mapping[str, Tensor]) -> bytes:
    # Clones: safetensors refuses tensors that share memory.
    return safetensors.torch.save({name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.items()})


def _state_bytes(state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def _manifest(number: int, contents: Mapping[str, bytes]) -> bytes:
    files = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in contents.items()}
    return json.dumps({"format_version": FORMAT_VERSION, "number": number, "files": files}, indent=1).encode()


def _write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    for name, data in contents.items():
        with open(folder / name, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder)


def _fault(path: Path) -> str:
    """What is wrong with a checkpoint, in words; empty where nothing is."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        files = {name: (manifest["files"][name]["bytes"], manifest["files"][name]["sha256"]) for name in (MODEL, STATE)}
        number, version = manifest["number"], manifest["format_version"]
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (ValueError, KeyError, TypeError):
        return f"{MANIFEST} cannot be read"
    if version != FORMAT_VERSION:
        return f"format version {version}, this program reads {FORMAT_VERSION}"
    if number != int(path.name):
        return f"{MANIFEST} is of checkpoint {number}"
    return next(filter(None, (_file_fault(path / name, *expected) for name, expected in files.items())), "")


def _file_fault(file: Path, size_bytes: int, sha256: str) -> str:
    if not file.exists():
        return f"{file.name} is missing"
    if file.stat().st_size != size_bytes:
        return f"{file.name} has {file.stat().st_size} of {size_bytes} bytes"
    with open(file, "rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != sha256:
            return f"{file.name} does not match its checksum"
    return ""
