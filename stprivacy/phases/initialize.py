"""Phase 1, initialization: STPrivacy learns to sparsify and to recognise actions by itself (Eq 12)."""

from torch import Tensor, nn
from torch.autograd import backward

from stprivacy.anonymized import Anonymized
from stprivacy.config import LossConfig, PhaseConfig
from stprivacy.losses import action_loss, initialization_loss, reconstruction_loss, sparsification_loss
from stprivacy.models.anonymizer import STPrivacy
from stprivacy.models.embedding import pixel_mask
from stprivacy.models.recognizer import masked_mean
from stprivacy.noise import ClipNoise, Noise
from stprivacy.phases.context import Batch, PhaseContext
from stprivacy.phases.learner import Learner
from stprivacy.phases.loop import PhaseLoop, Training, mask_statistics, watch_masks


class SelfRecognizer(nn.Module):
    """STPrivacy with a classification head on the masked mean of its last tokens (L'_Action)."""

    def __init__(self, anonymizer: STPrivacy, num_actions: int) -> None:
        super().__init__()
        self.anonymizer = anonymizer
        self.classifier = nn.Linear(anonymizer.config.embed_dim, num_actions)

    def forward(self, video: Tensor, noise: Noise) -> tuple[Anonymized, Tensor]:
        """Video [b 3 t h w] -> the transformed batch and action logits [b c]."""
        anonymized, tokens, keep = self.anonymizer.features(video, noise=noise)
        return anonymized, self.classifier(masked_mean(tokens, keep))


class InitializationPhase:
    """Minimises L_Spars + L'_Action. A reconstruction term, not the paper's, may be added for the output layer."""

    name = "init"

    def __init__(
        self, anonymizer: STPrivacy, num_actions: int, losses: LossConfig, settings: PhaseConfig, context: PhaseContext
    ) -> None:
        # Without a reconstruction term nothing here trains the output layer: it must not wait for a gradient.
        anonymizer.head.requires_grad_(losses.lambda_reconstruction > 0)
        self.losses = losses
        self.clip = anonymizer.config.clip
        self.keep_ratio = anonymizer.config.keep_ratio
        self.learner = Learner("self_recognizer", SelfRecognizer(anonymizer, num_actions), settings, context)
        self.learners = (self.learner,)

    def backward(self, share: Batch, noise: ClipNoise) -> dict[str, Tensor]:
        """One share of a batch: Eq 12."""
        anonymized, logits = self.learner(share.video, noise.scoped("anonymizer"))
        watch_masks(anonymized)
        sparsification = sparsification_loss(anonymized.stage_keeps, self.keep_ratio)
        action = action_loss(logits, share.action)
        loss = initialization_loss(sparsification, action, self.losses)  # Eq 12
        terms = {"loss_sparsification": sparsification, "loss_action": action}
        if self.losses.lambda_reconstruction:
            keep = pixel_mask(anonymized.keep.detach(), share.video, self.clip)
            terms["loss_reconstruction"] = reconstruction_loss(anonymized.video, share.video, keep)
            loss = loss + self.losses.lambda_reconstruction * terms["loss_reconstruction"]
        backward(loss * share.weight)
        return {name: term.detach() for name, term in terms.items()} | mask_statistics(anonymized)


def initialize(anonymizer: STPrivacy, losses: LossConfig, training: Training) -> dict[str, float]:
    """Run phase 1 on `anonymizer` in place; returns the mean loss terms and statistics of the last epoch."""
    num_actions = len(training.data.action_names)
    phase = InitializationPhase(anonymizer, num_actions, losses, training.settings, training.context)
    try:
        return PhaseLoop(phase, training).run()
    finally:
        anonymizer.head.requires_grad_(True)
