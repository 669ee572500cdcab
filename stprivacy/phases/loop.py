"""The loop that all three phases share: epochs, steps, resuming, checkpoints and reports."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from stprivacy.anonymized import Anonymized
from stprivacy.checkpoint import ABOUT, Checkpoint, CheckpointError, CheckpointStore, check_about, load_weights
from stprivacy.checkpoint_files import STATE
from stprivacy.config import ClipConfig, PhaseConfig
from stprivacy.noise import ClipNoise, derived_seed
from stprivacy.phases.context import Batch, ClipSource, PhaseContext
from stprivacy.phases.learner import Learner, check_finite
from stprivacy.plain import to_dict


class Phase(Protocol):
    """One phase of the method: who learns, and from which losses."""

    name: str
    clip: ClipConfig

    @property
    def learners(self) -> Sequence[Learner]:
        """All modules in training, each with its optimizer."""

    def backward(self, share: Batch, noise: ClipNoise) -> dict[str, Tensor]:
        """Forward and backward passes over one share of a batch; returns its loss terms and statistics."""


@dataclass(frozen=True)
class Training:
    """What every phase runs on: data, settings, the launcher's context, checkpoints, and the seed of all randomness."""

    data: ClipSource
    settings: PhaseConfig
    context: PhaseContext
    store: CheckpointStore
    seed: int

    @property
    def head_start_steps(self) -> int:
        """Steps of phase 2 in which the anonymizer does not learn yet."""
        return self.settings.head_start_epochs * self.data.steps_per_epoch(self.settings.batch_size)


def total_steps(settings: PhaseConfig, steps_per_epoch: int, epoch_factor: int = 1) -> int:
    """How long a phase trains; `epoch_factor`: who trains that many times as long."""
    steps = settings.epochs * steps_per_epoch
    return epoch_factor * (min(steps, settings.max_steps) if settings.max_steps else steps)


class PhaseLoop:
    """Runs a phase from wherever its newest checkpoint is to its end."""

    def __init__(self, phase: Phase, training: Training) -> None:
        settings = training.settings
        self.phase, self.settings, self.data = phase, settings, training.data
        self.context, self.store = training.context, training.store
        self.seed = derived_seed(training.seed, phase.name)
        self.steps_per_epoch = self.data.steps_per_epoch(settings.batch_size)
        ends = [learner.total_steps for learner in phase.learners if learner.total_steps]
        self.total_steps = max(ends, default=total_steps(settings, self.steps_per_epoch))
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}  # learners may take turns, so that some terms are not of every step
        self._last_report: dict[str, float] = {}

    def run(self) -> dict[str, float]:
        """Train to the end; returns the mean terms of the last epoch."""
        return self.train(self.resume())

    def train(self, step: int) -> dict[str, float]:
        """The same from `step`, which `resume` has given."""
        while step < self.total_steps:
            epoch, first = divmod(step, self.steps_per_epoch)
            for batch in self.data.train_batches(epoch, first, self.settings.batch_size):
                self._step(batch, epoch, step)
                step += 1
                if step % self.steps_per_epoch == 0 or step == self.total_steps:
                    self._report(step)
                if step % self.settings.checkpoint_every_steps == 0 or step == self.total_steps:
                    weights = collect_weights({learner.name: learner.module for learner in self.phase.learners})
                    self.store.save(step, weights, self._state())
                if step == self.total_steps:
                    break
        return self._last_report

    def _step(self, batch: Batch, epoch: int, step: int) -> None:
        phase = self.phase
        # Before the shares: workers may have different numbers of them, and collectives must keep one order.
        for learner in phase.learners:
            learner.begin(step)
        shares = batch.to(self.context.device).split(self.settings.accumulate_steps)
        weighted: dict[str, Tensor] = {}
        for index, share in enumerate(shares):
            noise = ClipNoise(self.seed, epoch, share.clip_index.tolist())
            with ExitStack() as stack:
                for learner in phase.learners:
                    stack.enter_context(learner.accumulating(more_to_come=index + 1 < len(shares)))
                terms = phase.backward(share, noise)
            for name, value in terms.items():
                weighted[name] = weighted.get(name, torch.zeros_like(value)) + value * share.weight
        means = self.context.sum(torch.stack(list(weighted.values()))) / self.context.world_size
        terms = dict(zip(weighted, means, strict=True))
        # The same numbers on every worker: all of them stop, or none.
        check_finite(phase.name, step, terms)
        # All gradients are checked before the first optimizer moves.
        moving = [learner for learner in phase.learners if not learner.at_rest]
        terms |= {f"gradient_norm_{x.name}": x.clip_gradient(phase.name, step) for x in moving}
        for learner in moving:
            learner.update(step, learner.total_steps or self.total_steps, self.steps_per_epoch)
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.item()
            self._counts[name] = self._counts.get(name, 0) + 1
        self.context.progress(phase.name, step + 1, self.total_steps, self.settings.batch_size)

    def _report(self, step: int) -> None:
        self._last_report = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        self.context.report(self.phase.name, step, self._last_report)

    def resume(self) -> int:
        """Load the newest checkpoint that is whole; returns the step to resume from, 0 if there is none."""
        checkpoint = self.store.latest()
        done = checkpoint.number if checkpoint else 0
        if checkpoint:
            check_about(checkpoint, self._about())
            try:
                self._load(checkpoint)
            except (KeyError, TypeError, AttributeError) as error:
                raise CheckpointError(
                    f"{checkpoint.path / STATE} does not hold what this phase needs ({type(error).__name__}: {error}): "
                    "it was not written by this program; restore it from a copy, or delete that folder to start over"
                ) from error
        # Without a checkpoint too: a launch that was killed before its first one may have reported.
        self.context.rewind(self.phase.name, done)
        return done

    def _load(self, checkpoint: Checkpoint) -> None:
        for learner in self.phase.learners:
            load_weights(learner.module, checkpoint, f"{learner.name}.")
            learner.optimizer.load_state_dict(checkpoint.state["optimizers"][learner.name])
        self._sums, self._counts = dict(checkpoint.state["sums"]), dict(checkpoint.state["counts"])
        self._last_report = dict(checkpoint.state["last_report"])

    def _about(self) -> dict[str, Any]:
        names = {"actions": list(self.data.action_names), "attributes": list(self.data.attribute_names)}
        return names | {"clip": to_dict(self.phase.clip)}

    def _state(self) -> dict[str, Any]:
        return {
            ABOUT: self._about(),
            "optimizers": {learner.name: learner.optimizer.state_dict() for learner in self.phase.learners},
            "sums": self._sums,
            "counts": self._counts,
            "last_report": self._last_report,
        }


def collect_weights(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """State of several modules in one flat dict, each key led by its module's name."""
    return {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}


def watch_masks(anonymized: Anonymized) -> None:
    """Ask autograd to keep the gradients that reach the stage masks; call before the backward pass."""
    for keep in anonymized.stage_keeps:
        if keep.requires_grad:
            keep.retain_grad()


def mask_statistics(anonymized: Anonymized) -> dict[str, Tensor]:
    """Kept fraction of all tokens after each stage, and the norm of the loss's gradient in the masks."""
    statistics = {
        f"kept_stage_{stage}": keep.detach().mean() for stage, keep in enumerate(anonymized.stage_keeps, start=1)
    }
    gradients = [keep.grad for keep in anonymized.stage_keeps if keep.grad is not None]
    if gradients:
        statistics["mask_gradient_norm"] = torch.stack([grad.float().norm() for grad in gradients]).norm()
    return statistics
