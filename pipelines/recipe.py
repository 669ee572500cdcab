"""What a recipe is."""

from dataclasses import dataclass, replace
from typing import Self

from pipelines.runs import PhaseName, RunConfig, with_anonymizer
from stprivacy.anonymizers import LearnedName


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

    def training(self, anonymizer: LearnedName) -> Self:
        """The same for another anonymizer that is trained."""
        return replace(
            self,
            init=with_anonymizer(self.init, anonymizer),
            adversarial=with_anonymizer(self.adversarial, anonymizer),
            evaluate=with_anonymizer(self.evaluate, anonymizer),
        )
