"""Phase 2, adversarial learning (Eq 13): an anonymizer against an action recognizer and a privacy objective."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.autograd import backward

from stprivacy.anonymized import Anonymized
from stprivacy.anonymizers import Learned
from stprivacy.config import LossConfig, PhaseConfig
from stprivacy.losses import action_loss, adversarial_loss, sparsification_loss
from stprivacy.noise import ClipNoise
from stprivacy.phases.context import Batch, PhaseContext
from stprivacy.phases.learner import Learner
from stprivacy.phases.loop import PhaseLoop, Training, mask_statistics, watch_masks
from stprivacy.phases.objectives.protocol import PrivacyObjective


class AdversarialPhase:
    """Updates the anonymizer by Eq 13 and, in the same step or in turns, its opponents by their own losses.

    With a head start, the opponents first learn alone, for whole epochs, on the output of phase 1.
    The opponents are the action recognizer and the adversaries of the privacy objective. Each player sees the others'
    weights from before the step: the opponents learn on detached output, the anonymizer from opponents held fixed.
    """

    name = "adversarial"

    def __init__(
        self,
        anonymizer: Learned,
        action_recognizer: nn.Module,
        objective: PrivacyObjective,
        losses: LossConfig,
        settings: PhaseConfig,
        context: PhaseContext,
        head_start_steps: int = 0,
    ) -> None:
        self.losses = losses
        self._head_start_steps = head_start_steps
        self.clip = anonymizer.config.clip
        self.keep_ratio = anonymizer.config.keep_ratio
        optim = replace(settings.optim, learning_rate=settings.optim.learning_rate * settings.anonymizer_rate_scale)
        self.anonymizer = Learner("anonymizer", anonymizer, replace(settings, optim=optim), context)
        self.action_recognizer = Learner("action_recognizer", action_recognizer, settings, context)
        self.objective = objective
        self.learners = (self.anonymizer, self.action_recognizer, *objective.learners)
        self.anonymizer.waiting_epochs = settings.head_start_epochs
        for opponent in self.learners[1:]:
            opponent.held_epochs = settings.head_start_epochs

    def backward(self, share: Batch, noise: ClipNoise) -> dict[str, Tensor]:
        """One share of a batch: the losses and gradients of those whose turn it is."""
        waiting = self.anonymizer.step < self._head_start_steps
        even = (self.anonymizer.step - self._head_start_steps) % 2 == 0
        anonymizer_moves = not waiting and (even or not self.objective.takes_turns)
        opponents_move = waiting or not even or not self.objective.takes_turns
        with torch.set_grad_enabled(anonymizer_moves):
            anonymized = self.anonymizer(share.video, noise=noise.scoped("anonymizer"))
        watch_masks(anonymized)
        terms: dict[str, Tensor] = {}
        if anonymizer_moves:
            terms |= self._move_anonymizer(anonymized, share, noise)
        if opponents_move:
            terms |= self._move_opponents(anonymized, share, noise)
        return terms | mask_statistics(anonymized)

    def _move_anonymizer(self, anonymized: Anonymized, share: Batch, noise: ClipNoise) -> dict[str, Tensor]:
        """Against opponents held fixed: L = L_Spars + lambda_A L_Action - lambda_P L_Privacy (Eq 13)."""
        action_noise = noise.scoped("action_recognizer")
        sparsification = sparsification_loss(anonymized.stage_keeps, self.keep_ratio)  # Eq 7
        logits = self.action_recognizer.frozen(anonymized.video, anonymized.keep, action_noise)
        action = action_loss(logits, share.action)
        privacy = self.objective.gain(anonymized, share, noise)
        loss = adversarial_loss(sparsification, action, privacy, self.losses)
        backward(loss * share.weight)
        return {"loss": loss.detach(), "loss_sparsification": sparsification.detach()}

    def _move_opponents(self, anonymized: Anonymized, share: Batch, noise: ClipNoise) -> dict[str, Tensor]:
        """Each by its own loss, on the detached output."""
        seen = anonymized.detach()
        logits = self.action_recognizer(seen.video, seen.keep, noise.scoped("action_recognizer"))
        action = action_loss(logits, share.action)
        backward(action * share.weight)
        losses = self.objective.losses(seen, share, noise)
        for loss in losses:
            backward(loss * share.weight)
        return {"loss_action": action.detach(), "loss_privacy": torch.stack([x.detach() for x in losses]).mean()}


def adversarial(
    anonymizer: Learned,
    action_recognizer: nn.Module,
    objective: PrivacyObjective,
    losses: LossConfig,
    training: Training,
) -> dict[str, float]:
    """Run phase 2 on all players in place; returns the mean terms and statistics of the last epoch."""
    players = anonymizer, action_recognizer, objective
    head_start_steps = training.head_start_steps
    phase = AdversarialPhase(*players, losses, training.settings, training.context, head_start_steps)
    loop = PhaseLoop(phase, training)
    if loop.total_steps <= head_start_steps:
        training.context.tell(
            f"the head start of {head_start_steps} steps lasts to the end, step {loop.total_steps}: the anonymizer "
            "stays as phase 1 left it"
        )
    return loop.run()
