"""A context for one process: notebooks, library use and unit tests."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class LocalContext:
    """One worker without a launcher; keeps what is reported in `reports` as (phase, step, metrics)."""

    rank = 0
    world_size = 1

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.reports: list[tuple[str, int, dict[str, float]]] = []
        self.messages: list[str] = []
        self.steps: dict[str, tuple[int, int]] = {}
        self.clips: dict[str, int] = {}

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module itself, moved to the device."""
        return module.to(self.device)

    def sum(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return values

    def gather(self, rows: Tensor) -> list[Tensor]:
        """The one worker's rows."""
        return [rows]

    def rewind(self, phase: str, step: int) -> None:
        """Forget the phase's reports after `step`."""
        self.reports = [entry for entry in self.reports if entry[0] != phase or entry[1] <= step]

    def progress(self, phase: str, step: int, total_steps: int, clips: int) -> None:
        """Keep (steps done, steps in all) of each phase in `steps`, and the clips it has seen in `clips`."""
        self.steps[phase] = step, total_steps
        self.clips[phase] = self.clips.get(phase, 0) + clips

    def report(self, phase: str, step: int, metrics: Mapping[str, float]) -> None:
        """Keep the metrics in `reports`."""
        self.reports.append((phase, step, dict(metrics)))

    def tell(self, message: str) -> None:
        """Keep the sentence in `messages`."""
        self.messages.append(message)
