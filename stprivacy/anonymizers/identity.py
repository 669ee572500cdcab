"""The row "raw": the video as it is."""

from torch import Tensor, nn

from stprivacy.anonymized import Anonymized
from stprivacy.config import ClipConfig
from stprivacy.models.embedding import grid_of
from stprivacy.noise import Noise


def whole(video: Tensor, clip: ClipConfig) -> Anonymized:
    """A transformed video [b c t h w] of which every tubelet is kept."""
    slots, rows, columns = grid_of(video, clip)
    keep = video.new_ones(video.shape[0], slots, rows * columns)
    return Anonymized(video, keep, (keep,))


class Identity(nn.Module):
    """Returns the video, every tubelet kept. Rows that show something else in its place replace `shown`."""

    def __init__(self, clip: ClipConfig) -> None:
        super().__init__()
        self.clip = clip

    def forward(
        self, video: Tensor, keep_ratio: float | None = None, noise: Noise = Noise(), person: Tensor | None = None
    ) -> Anonymized:
        """Video [b c t h w] -> the same size, every tubelet kept; of the other arguments only person may count."""
        return whole(self.shown(video, person), self.clip)

    def shown(self, video: Tensor, person: Tensor | None) -> Tensor:
        """What is shown of video [b c t h w]; person [b 1 t h w] is 1 where persons are. Here: the video itself."""
        return video
