"""Checkpoints that survive a kill at any moment, and fall back to the one before where the newest is damaged.

Layout: FOLDER/NNNNNN/{manifest.json, model.safetensors, state.pt}; NNNNNN is the number of steps done.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stprivacy.checkpoint_files import MODEL, STATE, contents, fault_of, newest_first, number_of, read, write
from stprivacy.storage import local_copy

ABOUT = "about"  # in state: what the weights are for, which must not differ where they are used


class CheckpointError(ValueError):
    """No checkpoint can be used; the message names them and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """What was saved after step `number`: weights by name, and everything else that training needs to resume."""

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
    def newest(self) -> int:
        """Steps done at the newest checkpoint, even if it is damaged by now; 0 where nothing was saved yet."""
        return max(map(number_of, newest_first(self.folder)), default=0)

    @property
    def empty(self) -> bool:
        """Whether nothing was saved yet, not even a checkpoint that is damaged by now."""
        return not newest_first(self.folder)

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
    write(target, contents(number, model, state), keep)
    return target


def load_latest(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest undamaged checkpoint in `folder`, or None where there is none at all.

    Raises: CheckpointError: there are checkpoints, and all of them are damaged.
    """
    checkpoint, damaged = newest_whole(folder)
    if checkpoint:
        for number, reason in damaged.items():
            warn(f"checkpoint {number:06d} is damaged ({reason}), continuing from {checkpoint.number:06d}")
    return checkpoint


def newest_whole(folder: Path) -> tuple[Checkpoint | None, dict[int, str]]:
    """The same, and what is wrong with each newer one, by its number."""
    damaged: dict[int, str] = {}
    for path in newest_first(folder):
        try:
            return _load(path), damaged
        except ValueError as error:
            damaged[number_of(path)] = str(error)
    if damaged:
        listed = "; ".join(f"{number:06d}: {reason}" for number, reason in damaged.items())
        raise CheckpointError(
            f"every checkpoint in {folder} is damaged ({listed}): restore one from a copy, "
            "or delete that folder to start over"
        )
    return None, damaged


def check_about(checkpoint: Checkpoint, expected: Mapping[str, Any]) -> None:
    """Check that a checkpoint is for the data and the model that it is to be used with.

    `expected` are plain values that `state["about"]` should hold, such as the attributes' names in order.
    Raises: CheckpointError: one of them differs.
    """
    about = checkpoint.state.get(ABOUT)
    for name, value in expected.items():
        if not isinstance(about, dict) or name not in about:
            raise CheckpointError(
                f"{checkpoint.path / STATE} does not say for which {name} it was trained: it was not written by this "
                "program; restore it from a copy, or train again into another --out"
            )
        found = about[name]
        if found != value:
            raise CheckpointError(
                f"{checkpoint.path}: it was trained with {name} {_listed(found)}, but here {name} is {_listed(value)}: "
                "give the checkpoint, or the data set, that belongs to the other"
            )


def load_weights(module: nn.Module, checkpoint: Checkpoint, prefix: str) -> None:
    """Load those weights of a checkpoint whose names start with `prefix`.

    Raises: CheckpointError: as `check_weights`.
    """
    check_weights(module, checkpoint, prefix)
    module.load_state_dict(_named(checkpoint, prefix))


def check_weights(module: nn.Module, checkpoint: Checkpoint, prefix: str) -> None:
    """Check that those weights of a checkpoint whose names start with `prefix` fit a module.

    Raises: CheckpointError: they are not.
    """
    weights = _named(checkpoint, prefix)
    own = module.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        has, wanted = (str(list(x[name].shape)) if name in x else "no such weight" for x in (weights, own))
        if has != wanted:
            raise CheckpointError(
                f"{checkpoint.path / MODEL}: {prefix}{name}: {has}, but the model has {wanted}: the checkpoint is of "
                "a model with other settings than config.json says"
            )


def weights_digest(model: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of all tensors: equal only for bit-for-bit equal weights."""
    digest = hashlib.sha256()
    for name in sorted(model):
        tensor = model[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _named(checkpoint: Checkpoint, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): x for name, x in checkpoint.model.items() if name.startswith(prefix)}


def _load(path: Path) -> Checkpoint:
    """One checkpoint. Raises: ValueError: it is damaged; the message says how."""
    with local_copy(path) as files:
        if fault := fault_of(files):
            raise ValueError(fault)
        return Checkpoint(number_of(path), path, *read(files))


def _listed(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
