"""The row "collective-style": a fixed transformation that integrates each pixel with those around it."""

import torch.nn.functional as F
from torch import Tensor, nn

from stprivacy.anonymized import Anonymized
from stprivacy.anonymizers.identity import whole
from stprivacy.config import ClipConfig
from stprivacy.noise import Noise

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_WINDOWS_PER_SIDE = 16
_WINDOW_FRAMES = 3


class CollectiveStyle(nn.Module):
    """In the style of "Collective Protection" (ICDM 2019), which has no public code or full definition.

    Assumed, none of it taken from its authors: the transformation is fixed and learns nothing, neither from the data
    nor against an adversary; "integrative" means that what several measurements say together stays while none of them
    stays by itself. So the three colour channels become their luma, and every pixel becomes the mean over a box of 3
    frames and of a sixteenth of the frame's shorter side, rounded up to an odd number of at least 3 pixels (7 at
    112 x 112, 5 at 64 x 64); at the borders the outermost pixels and frames are repeated. All persons and backgrounds
    are treated alike: no boxes are needed.
    """

    def __init__(self, clip: ClipConfig) -> None:
        super().__init__()
        self.clip = clip

    def forward(
        self, video: Tensor, keep_ratio: float | None = None, noise: Noise = Noise(), person: Tensor | None = None
    ) -> Anonymized:
        """Video [b 3 t h w] -> the same size, every tubelet kept; the other arguments change nothing."""
        luma = (video * video.new_tensor(_LUMA).reshape(1, 3, 1, 1, 1)).sum(1, keepdim=True)
        side = max(min(video.shape[-2:]) // _WINDOWS_PER_SIDE, 2) // 2 * 2 + 1
        around, frames = side // 2, _WINDOW_FRAMES // 2
        padded = F.pad(luma, [around] * 4 + [frames] * 2, mode="replicate")
        mean = F.avg_pool3d(padded, (_WINDOW_FRAMES, side, side), stride=1)
        return whole(mean.expand_as(video).contiguous(), self.clip)
