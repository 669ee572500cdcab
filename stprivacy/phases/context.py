"""What a training phase needs from its launcher, as Protocols: phases know no Ray and no storage format."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

TestPart = Literal["test", "validation"]


@dataclass(frozen=True)
class Batch:
    """The share of one global batch that falls to this worker.

    video [b c t h w] float, normalised; action [b] int64, or [b classes] float in {0, 1} where a video can show
    several; privacy [b p] float in {0, 1}, or [b t p] where every frame has its own labels; clip_index [b] int64, the
    clip's position in its split, which keys its randomness; weight: this share's part of the global mean times the
    world size, so that averaging gradients over workers gives the mean over the global batch (0 where the share was
    empty and another clip stands in: every worker must take part in each reduction); person [b 1 t h w] float in
    {0, 1}: 1 inside of persons, where the data was asked for them.
    """

    video: Tensor
    action: Tensor
    privacy: Tensor
    clip_index: Tensor
    weight: float
    person: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        video, action, privacy = (x.to(device, non_blocking=True) for x in (self.video, self.action, self.privacy))
        person = None if self.person is None else self.person.to(device, non_blocking=True)
        return replace(self, video=video, action=action, privacy=privacy, person=person)

    def split(self, parts: int) -> "list[Batch]":
        """Up to `parts` consecutive pieces whose weights add up to this batch's."""
        count = len(self.action)
        size = math.ceil(count / parts)
        pieces = []
        for first in range(0, count, size):
            part = slice(first, first + size)
            person = None if self.person is None else self.person[part]
            weight = self.weight * min(size, count - first) / count
            rows = self.video[part], self.action[part], self.privacy[part], self.clip_index[part]
            pieces.append(Batch(*rows, weight, person))
        return pieces


@dataclass(frozen=True)
class TestBatch:
    """Test videos as a batch of clips: of each video `views` consecutive rows, which show its frames `frame_index`.

    frame_index [b t] int64 counts the frames of a video from 0; where a clip is longer, the last one is repeated.
    """

    __test__ = False  # not a pytest class

    batch: Batch
    views: int
    frame_index: Tensor


class ClipSource(Protocol):
    """A data set split as training input and as test views."""

    action_names: Sequence[str]
    attribute_names: Sequence[str]
    multi_label: bool

    def steps_per_epoch(self, batch_size: int) -> int:
        """Global batches in an epoch; the last one may be smaller."""

    def train_batches(self, epoch: int, first_step: int, batch_size: int) -> Iterator[Batch]:
        """The worker's shares of the epoch's batches from `first_step` on, augmented."""

    def test_size(self, part: TestPart = "test") -> int:
        """Videos in the test split, or in the validation part: training videos that are not trained on."""

    def test_batches(self, batch_videos: int, part: TestPart = "test") -> Iterator[TestBatch]:
        """The worker's test videos (every world_size-th), or those for validation, `batch_videos` at a time."""


class PhaseContext(Protocol):
    """The worker's place in the group, and its way to report progress."""

    rank: int
    world_size: int
    device: torch.device

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module for forward passes whose gradients are averaged over the workers (DDP)."""

    def sum(self, values: Tensor) -> Tensor:
        """Elementwise sum over the workers."""

    def gather(self, rows: Tensor) -> list[Tensor]:
        """Every worker's tensor in rank order; lengths may differ."""

    def rewind(self, phase: str, step: int) -> None:
        """Forget reports of the phase after `step`, from which it resumes: 0, or that of a checkpoint."""

    def progress(self, phase: str, step: int, total_steps: int, clips: int) -> None:
        """Tell how far the phase is: called after every step; `clips` processed by all workers in it."""

    def report(self, phase: str, step: int, metrics: Mapping[str, float]) -> None:
        """Keep metrics of a step in the run's history; each (phase, step) once, however often it is restarted."""

    def tell(self, message: str) -> None:
        """Tell the user one sentence, once for all workers."""
