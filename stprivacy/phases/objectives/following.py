"""Adversaries that are set from the output they read, and follow it while the anonymizer learns."""

import torch
from torch import Tensor, nn

from stprivacy.attackers.pooled import Pooled
from stprivacy.attackers.transformer import Whitened
from stprivacy.config import PhaseConfig
from stprivacy.models.whitening import Statistics
from stprivacy.noise import Noise
from stprivacy.phases.context import PhaseContext
from stprivacy.phases.learner import Learner

REFIT_STEPS = 20  # at demo size a whitening takes half a second of one core
_MEMORY = 0.5  # weight of all that went before at each refit


class Following(nn.Module):
    """A reader that is set from clips, beside the running sums that it was set from."""

    def __init__(self, reader: Pooled | Whitened) -> None:
        super().__init__()
        self.reader = reader
        for name, part in reader.statistics(torch.device("cpu")).sums.items():
            self.register_buffer(f"running_{name}", part)

    def forward(self, video: Tensor, keep: Tensor, noise: Noise = Noise()) -> Tensor:
        """Video [b 3 t h w], keep [b l n] -> logits [b outputs]. Sets nothing, so that it can be run more than once."""
        logits: Tensor = self.reader(video, keep, noise)
        return logits

    @torch.no_grad()
    def refit(self, fresh: Statistics) -> None:
        """Take in the sums over new clips, and set the reader anew."""
        for name, part in fresh.sums.items():
            fresh.sums[name] = self.get_buffer(f"running_{name}").mul_(_MEMORY).add_(part)
        self.reader.fit(fresh)


class FollowingLearner(Learner):
    """A learner that sets its reader anew in every REFIT_STEPS-th step, from that step's clips on all workers.

    That is done when the step is over: a checkpoint finds all of it in the module's buffers, none in a worker alone.
    """

    module: Following

    def __init__(self, name: str, reader: Pooled | Whitened, settings: PhaseConfig, context: PhaseContext) -> None:
        super().__init__(name, Following(reader), settings, context)
        self._fresh = self._nothing()

    def _nothing(self) -> Statistics:
        return self.module.reader.statistics(self._context.device)

    def take_in(self, video: Tensor, keep: Tensor) -> None:
        """See the clips of one share of a batch: video [b 3 t h w], keep [b l n], both detached."""
        if self.step % REFIT_STEPS == 0:
            self._fresh.add(video, keep)

    def update(self, step: int, total_steps: int, steps_per_epoch: int) -> None:
        """One optimizer step at the rate of `step`, and the new settings if it is their turn."""
        super().update(step, total_steps, steps_per_epoch)
        if step % REFIT_STEPS == 0:
            self._fresh.reduce(self._context.sum)
            self.module.refit(self._fresh)
            self._fresh = self._nothing()
            super().share_buffers()  # machines may round differently

    def share_buffers(self) -> None:
        """Nothing: no forward pass moves them, and the sums are megabytes."""
