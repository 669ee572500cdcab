"""VITA's privacy objective: an ensemble of frame-level adversaries with restarts (Wu et al., TPAMI 2020)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from stprivacy.anonymized import Anonymized
from stprivacy.config import PhaseConfig
from stprivacy.losses import labels_for, privacy_loss, uniform_loss
from stprivacy.noise import ClipNoise, derived_seed
from stprivacy.phases.context import Batch, PhaseContext
from stprivacy.phases.learner import Learner


@dataclass(frozen=True)
class VITAConfig:
    """The budget of VITA. Its gamma is LossConfig.lambda_privacy, .5 as in its paper."""

    adversaries: int = 4  # frame-level recognizers in the ensemble, 1 to 4
    restart_steps: int = 100  # steps after which the next adversary in turn begins anew; 0: none. Chosen here

    def __post_init__(self) -> None:
        if not 1 <= self.adversaries <= 4:
            raise ValueError(f"vita.adversaries must be 1 to 4, got {self.adversaries}")
        if self.restart_steps < 0:
            raise ValueError(f"vita.restart_steps must not be negative, got {self.restart_steps}")


class RestartedLearner(Learner):
    """A learner that begins anew, weights and optimizer, at steps which `restarts` tells.

    The new weights are a function of (seed, name, step) alone: a resumed run restarts like the undisturbed one.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], nn.Module],
        restarts: Callable[[int], bool],
        seed: int,
        settings: PhaseConfig,
        context: PhaseContext,
    ) -> None:
        self._make, self._restarts, self._seed = make, restarts, seed
        super().__init__(name, make(), settings, context)

    def begin(self, step: int) -> None:
        """Prepare for `step`, and begin anew if it is its turn."""
        if self._restarts(step):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(derived_seed(self._seed, self.name, "restart", step))
                self.module.load_state_dict(self._make().state_dict())
            self.optimizer.state.clear()
        super().begin(step)


class FrameEnsembleObjective:
    """The anonymizer pushes the worst adversary to the uniform prediction; each of them learns the attributes.

    The worst is the most confident one: that with the highest cross-entropy with the uniform prediction over a
    worker's share of the batch. The labels of a video are those of all its frames. An adversary fresh from a restart
    knows nothing, so that it is not the one pushed before it has learned.
    """

    takes_turns = False

    def __init__(
        self,
        make_adversary: Callable[[], nn.Module],
        vita: VITAConfig,
        seed: int,
        settings: PhaseConfig,
        context: PhaseContext,
        head_start_steps: int = 0,
    ) -> None:
        """`make_adversary` draws a new frame-level recognizer: (video, keep, noise) -> logits [b t attributes].

        Restarts are counted from the end of the head start.
        """
        self._vita, self._head_start_steps = vita, head_start_steps
        self.learners = [
            RestartedLearner(
                f"privacy_recognizer_{i}", make_adversary, partial(self._restarts, i), seed, settings, context
            )
            for i in range(vita.adversaries)
        ]

    def _restarts(self, place: int, step: int) -> bool:
        every, done = self._vita.restart_steps, step - self._head_start_steps
        return every > 0 and done > 0 and done % every == 0 and (done // every - 1) % self._vita.adversaries == place

    def gain(self, anonymized: Anonymized, share: Batch, noise: ClipNoise) -> Tensor:
        """Minus the worst adversary's cross-entropy with the uniform prediction; the others get no gradient."""
        confidence = [uniform_loss(self._read(learner.frozen, learner, anonymized, noise)) for learner in self.learners]
        worst = int(torch.stack([value.detach() for value in confidence]).argmax())
        return -confidence[worst]

    def losses(self, anonymized: Anonymized, share: Batch, noise: ClipNoise) -> Sequence[Tensor]:
        """Every adversary's own L_Privacy, frame by frame."""
        return [
            privacy_loss(logits, labels_for(logits, share.privacy))
            for logits in (self._read(learner, learner, anonymized, noise) for learner in self.learners)
        ]

    def _read(
        self, forward: Callable[..., Tensor], learner: Learner, anonymized: Anonymized, noise: ClipNoise
    ) -> Tensor:
        return forward(anonymized.video, anonymized.keep, noise.scoped(learner.name))
