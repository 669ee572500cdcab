"""Phase 2, adversarial learning: STPrivacy against an action and a video-level privacy recognizer (Eq 13)."""

from dataclasses import replace

from torch import Tensor, nn
from torch.autograd import backward

from stprivacy.config import LossConfig, PhaseConfig
from stprivacy.losses import action_loss, adversarial_loss, privacy_loss, sparsification_loss
from stprivacy.models.anonymizer import STPrivacy
from stprivacy.noise import ClipNoise
from stprivacy.phases.context import Batch, PhaseContext
from stprivacy.phases.learner import Learner
from stprivacy.phases.loop import PhaseLoop, Training
from stprivacy.phases.statistics import mask_statistics, watch_masks


class AdversarialPhase:
    """Updates STPrivacy by Eq 13 and, in the same step, the two recognizers by their own losses.

    Each sees the others' weights from before the step: the recognizers learn on detached output, STPrivacy from
    recognizers held fixed.
    """

    name = "adversarial"

    def __init__(
        self,
        anonymizer: STPrivacy,
        action_recognizer: nn.Module,
        privacy_recognizer: nn.Module,
        losses: LossConfig,
        settings: PhaseConfig,
        context: PhaseContext,
    ) -> None:
        self.losses = losses
        self.clip = anonymizer.config.clip
        self.keep_ratio = anonymizer.config.keep_ratio
        optim = replace(settings.optim, learning_rate=settings.optim.learning_rate * settings.anonymizer_rate_scale)
        self.anonymizer = Learner("anonymizer", anonymizer, replace(settings, optim=optim), context)
        self.action_recognizer = Learner("action_recognizer", action_recognizer, settings, context)
        self.privacy_recognizer = Learner("privacy_recognizer", privacy_recognizer, settings, context)
        self.learners = (self.anonymizer, self.action_recognizer, self.privacy_recognizer)

    def backward(self, share: Batch, noise: ClipNoise) -> dict[str, Tensor]:
        """One share of a batch: the three players' losses and gradients."""
        action_noise, privacy_noise = noise.scoped("action_recognizer"), noise.scoped("privacy_recognizer")
        anonymized = self.anonymizer(share.video, noise=noise.scoped("anonymizer"))
        watch_masks(anonymized)

        # STPrivacy, against recognizers held fixed: L = L_Spars + lambda_A L_Action - lambda_P L_Privacy (Eq 13).
        video, keep = anonymized.video, anonymized.keep
        sparsification = sparsification_loss(anonymized.stage_keeps, self.keep_ratio)  # Eq 7
        action = action_loss(self.action_recognizer.frozen(video, keep, action_noise), share.action)
        logits = self.privacy_recognizer.frozen(video, keep, privacy_noise)
        privacy = privacy_loss(logits, share.privacy, self.losses.privacy_objective)
        loss = adversarial_loss(sparsification, action, privacy, self.losses)
        backward(loss * share.weight)

        # The recognizers, each by its own loss, on the detached output.
        video, keep = video.detach(), keep.detach()
        read_action = action_loss(self.action_recognizer(video, keep, action_noise), share.action)
        backward(read_action * share.weight)
        read_privacy = privacy_loss(self.privacy_recognizer(video, keep, privacy_noise), share.privacy)
        backward(read_privacy * share.weight)

        return {
            "loss": loss.detach(),
            "loss_sparsification": sparsification.detach(),
            "loss_action": read_action.detach(),
            "loss_privacy": read_privacy.detach(),
        } | mask_statistics(anonymized)


def adversarial(
    anonymizer: STPrivacy,
    action_recognizer: nn.Module,
    privacy_recognizer: nn.Module,
    losses: LossConfig,
    training: Training,
) -> dict[str, float]:
    """Run phase 2 on the three modules in place; gives back the mean terms and statistics of the last epoch."""
    players = anonymizer, action_recognizer, privacy_recognizer
    return PhaseLoop(AdversarialPhase(*players, losses, training.settings, training.context), training).run()
