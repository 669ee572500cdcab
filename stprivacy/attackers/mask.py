"""An attacker of the keep mask alone: what is told by which tubelets were abandoned."""

from torch import Tensor, nn

from stprivacy.attackers.base import AttackerSettings
from stprivacy.config import ClipConfig
from stprivacy.models.embedding import grid_of
from stprivacy.noise import Noise

_HIDDEN_FACTOR = 4


class MaskReader(nn.Module):
    """A two-layer MLP on the keep mask. It looks at no pixel."""

    def __init__(self, clip: ClipConfig, num_outputs: int, hidden: int) -> None:
        super().__init__()
        self.clip = clip
        slots, rows, columns = clip.grid
        self.hidden = nn.Linear(slots * rows * columns, hidden)
        self.head = nn.Linear(hidden, num_outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, video: Tensor, keep: Tensor, noise: Noise = Noise()) -> Tensor:
        """Keep [b l n] -> logits [b outputs]. Raises: ValueError: a video of another grid than the clip's."""
        if grid_of(video, self.clip) != self.clip.grid:
            raise ValueError(f"the mask attacker reads grids of {self.clip.grid}, got {grid_of(video, self.clip)}")
        logits: Tensor = self.head(nn.functional.gelu(self.hidden(2 * keep.flatten(1) - 1)))
        return logits


def mask(settings: AttackerSettings) -> MaskReader:
    """An MLP on the keep mask alone."""
    return MaskReader(settings.clip, settings.outputs, _HIDDEN_FACTOR * settings.recognizer.embed_dim)
