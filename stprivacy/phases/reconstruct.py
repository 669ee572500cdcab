"""Phase 1 of the rivals VITA and SPAct: their networks learn to reproduce what they see."""

from torch import Tensor
from torch.autograd import backward

from stprivacy.anonymizers import FrameAnonymizer
from stprivacy.config import PhaseConfig
from stprivacy.losses import reconstruction_loss
from stprivacy.noise import ClipNoise
from stprivacy.phases.context import Batch, PhaseContext
from stprivacy.phases.learner import Learner
from stprivacy.phases.loop import PhaseLoop, Training


class ReconstructionPhase:
    """Minimises the mean squared error to the input, in place of Eq 12: there is no mask and no token to classify."""

    name = "init"

    def __init__(self, anonymizer: FrameAnonymizer, settings: PhaseConfig, context: PhaseContext) -> None:
        self.clip = anonymizer.config.clip
        self.learner = Learner("anonymizer", anonymizer, settings, context)
        self.learners = (self.learner,)

    def backward(self, share: Batch, noise: ClipNoise) -> dict[str, Tensor]:
        """One share of a batch."""
        redrawn = self.learner(share.video).video
        loss = reconstruction_loss(redrawn, share.video, share.video.new_ones(1).expand_as(share.video[:, :1]))
        backward(loss * share.weight)
        return {"loss_reconstruction": loss.detach()}


def reconstruct(anonymizer: FrameAnonymizer, training: Training) -> dict[str, float]:
    """Run phase 1 of a rival in place; returns the mean terms of the last epoch."""
    return PhaseLoop(ReconstructionPhase(anonymizer, training.settings, training.context), training).run()
