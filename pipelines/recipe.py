"""What a recipe is."""

from dataclasses import dataclass

from pipelines.runs import PhaseName, RunConfig


@dataclass(frozen=True)
class Recipe:
    """The three phases' configurations, and how the data is meant to be ingested.

    A row of the paper's tables also names its data sets: the one that it is tested on, and the other one, if any, that
    is trained on.
    """

    init: RunConfig
    adversarial: RunConfig
    evaluate: RunConfig
    stride: int
    short_side_px: int
    dataset: str = ""
    train_dataset: str = ""

    def of(self, phase: PhaseName) -> RunConfig:
        """The configuration of one phase."""
        return {"init": self.init, "adversarial": self.adversarial, "evaluate": self.evaluate}[phase]
