"""The 2D recognizer of frame-level privacy (Section 4.7)."""

from dataclasses import replace

from einops import rearrange, repeat
from torch import Tensor, nn

from stprivacy.config import ClipConfig, RecognizerConfig
from stprivacy.models.recognizer import Recognizer
from stprivacy.noise import Noise


class FrameRecognizer(nn.Module):
    """A 2D ViT that reads every frame by itself: a `Recognizer` of clips of one frame in tubelets of one frame.

    A frame keeps the patches of the temporal slot that it lies in.
    """

    def __init__(
        self, config: RecognizerConfig, clip: ClipConfig, num_outputs: int, embedding: nn.Module | None = None
    ) -> None:
        """`embedding`, if given, takes the place of the configured stem; it is one of `frame_clip(clip)`."""
        super().__init__()
        self.recognizer = Recognizer(config, frame_clip(clip), num_outputs, embedding)
        self.clip = clip

    def inputs(self, video: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Video [b 3 t h w], keep [b l n] -> its frames [(b t) 3 1 h w] and the patches that each keeps [(b t) 1 n]."""
        frames = rearrange(video, "b c t h w -> (b t) c 1 h w")
        return frames, repeat(keep, "b l n -> (b l p) 1 n", p=self.clip.tubelet_frames)

    def forward(self, video: Tensor, keep: Tensor, noise: Noise = Noise()) -> Tensor:
        """Video [b 3 t h w] normalised, keep [b l n] in {0, 1} -> logits of each frame [b t outputs]."""
        logits: Tensor = self.recognizer(*self.inputs(video, keep), noise.for_frames(video.shape[2]))
        return rearrange(logits, "(b t) p -> b t p", b=len(video))


def frame_clip(clip: ClipConfig) -> ClipConfig:
    """The geometry of one frame of a clip: tubelets become patches."""
    return replace(clip, frames=1, tubelet_frames=1)
