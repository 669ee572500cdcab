"""SPAct's privacy objective: no labels, two frames of each video find together (Dave et al., CVPR 2022)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from stprivacy.anonymized import Anonymized
from stprivacy.config import PhaseConfig
from stprivacy.losses import nt_xent
from stprivacy.models.recognizer import Recognizer
from stprivacy.noise import ClipNoise, Noise
from stprivacy.phases.context import Batch, PhaseContext
from stprivacy.phases.learner import Learner


@dataclass(frozen=True)
class SPActConfig:
    """The label-free objective of SPAct. Its weight is LossConfig.lambda_privacy."""

    temperature: float = 0.1  # tau of NT-Xent
    projection_dim: int = 128  # of what NT-Xent compares

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"spact.temperature must be positive, got {self.temperature}")
        if self.projection_dim < 1:
            raise ValueError(f"spact.projection_dim must be positive, got {self.projection_dim}")


class FrameProjector(nn.Module):
    """A 2D encoder of single frames and a two-layer projection, as NT-Xent has it."""

    def __init__(self, encoder: Recognizer, projection_dim: int) -> None:
        """`encoder` is one of `frame_clip(clip)`; its outputs are the hidden layer of the projection."""
        super().__init__()
        self.encoder = encoder
        nn.init.xavier_uniform_(encoder.head.weight)  # from zero, all frames would have the same projection
        self.projection = nn.Sequential(nn.GELU(), nn.Linear(encoder.num_outputs, projection_dim))

    def forward(self, frames: Tensor, noise: Noise = Noise()) -> Tensor:
        """Frames [b 3 1 h w] -> projections [b d]."""
        projections: Tensor = self.projection(self.encoder(frames, None, noise))
        return projections


class SelfSupervisedObjective:
    """The anonymizer maximises the NT-Xent that the network minimises: two frames of a video shall not find together.

    The other videos are those of a worker's share of the batch. They take turns by batch, as in the paper.
    """

    takes_turns = True

    def __init__(self, projector: nn.Module, spact: SPActConfig, settings: PhaseConfig, context: PhaseContext) -> None:
        self._temperature = spact.temperature
        self._projector = Learner("self_supervised", projector, settings, context)
        self.learners = (self._projector,)

    def gain(self, anonymized: Anonymized, share: Batch, noise: ClipNoise) -> Tensor:
        """NT-Xent, with the network held fixed."""
        return self._compare(self._projector.frozen, anonymized.video, noise)

    def losses(self, anonymized: Anonymized, share: Batch, noise: ClipNoise) -> Sequence[Tensor]:
        """The network's NT-Xent."""
        return [self._compare(self._projector, anonymized.video, noise)]

    def _compare(self, forward: Callable[..., Tensor], video: Tensor, noise: ClipNoise) -> Tensor:
        own = noise.scoped(self._projector.name)
        frames = two_frames(video, own.uniform("frames", len(video), 2))
        projections = forward(rearrange(frames, "b two c h w -> (b two) c 1 h w"), own.for_frames(2))
        return nt_xent(projections[0::2], projections[1::2], self._temperature)


def two_frames(video: Tensor, uniform: Tensor) -> Tensor:
    """Two different frames of each video [b c t h w], by draws [b 2] in [0, 1): [b 2 c h w].

    Raises: ValueError: the video has one frame only.
    """
    count = video.shape[2]
    if count < 2:
        raise ValueError("SPAct compares two frames of a video, and this one has 1")
    first = (uniform[:, 0] * count).long()
    second = (first + 1 + (uniform[:, 1] * (count - 1)).long()) % count
    places = torch.stack([first, second], dim=1).to(video.device)  # b 2
    rows = torch.arange(len(video), device=video.device).unsqueeze(1)
    return rearrange(video, "b c t h w -> b t c h w")[rows, places]
