"""What a recipe is."""

from dataclasses import dataclass

from pipelines.runs import PhaseName, RunConfig


@dataclass(frozen=True)
class Recipe:
    """The three phases' configurations, and how the data is meant to be ingested."""

    init: RunConfig
    adversarial: RunConfig
    evaluate: RunConfig
    stride: int
    short_side_px: int

    def of(self, phase: PhaseName) -> RunConfig:
        """The configuration of one phase."""
        return {"init": self.init, "adversarial": self.adversarial, "evaluate": self.evaluate}[phase]
