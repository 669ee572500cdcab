"""Randomness that depends on (seed, epoch, clip) alone, so that a resumed run draws what the killed one would have."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed that is a pure function of its parts, the same on every machine and Python."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Noise:
    """Uniform draws for the forward pass of a batch, taken from one generator: for use outside of training runs."""

    def __init__(self, generator: torch.Generator = torch.default_generator) -> None:
        self._generator = generator

    def uniform(self, purpose: str, batch_size: int, *shape: int) -> Tensor:
        """Numbers in [0, 1) of shape [batch_size, *shape], on the CPU. `purpose` names the use."""
        return torch.rand(batch_size, *shape, generator=self._generator)

    def scoped(self, name: str) -> "Noise":
        """Draws for the module `name`, so that two modules with the same purpose do not draw the same numbers."""
        return self

    def for_frames(self, frames: int) -> "Noise":
        """Draws for a batch in which every clip is `frames` consecutive rows."""
        return self


class ClipNoise(Noise):
    """Draws for a batch whose every row depends on (seed, epoch, clip, purpose) and not on rank or batch."""

    def __init__(self, seed: int, epoch: int, clip_index: Sequence[int], scope: str = "", rows: int = 1) -> None:
        self._seed, self._epoch, self._clips, self._scope = seed, epoch, [int(clip) for clip in clip_index], scope
        self._rows = rows  # of each clip

    def scoped(self, name: str) -> "ClipNoise":
        """The same clips' draws for the module `name`."""
        return ClipNoise(self._seed, self._epoch, self._clips, f"{self._scope}/{name}", self._rows)

    def for_frames(self, frames: int) -> "ClipNoise":
        """Draws for a batch in which every clip is `frames` consecutive rows."""
        return ClipNoise(self._seed, self._epoch, self._clips, self._scope, frames)

    def generators(self, purpose: str) -> list[torch.Generator]:
        """One fresh generator for each clip of the batch."""
        return [
            torch.Generator().manual_seed(derived_seed(self._seed, self._epoch, clip, self._scope, purpose))
            for clip in self._clips
        ]

    def uniform(self, purpose: str, batch_size: int, *shape: int) -> Tensor:
        """Numbers in [0, 1) of shape [batch_size, *shape]. Raises: ValueError: another number of rows."""
        rows = self._rows * len(self._clips)
        if batch_size != rows:
            raise ValueError(f"batch_size is {batch_size}, but the noise is for {rows} rows")
        return torch.cat([torch.rand(self._rows, *shape, generator=one) for one in self.generators(purpose)])
