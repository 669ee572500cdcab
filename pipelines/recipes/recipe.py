"""What a recipe is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from pipelines.runs.config import AdversarialRun, EvaluateRun, InitRun, PhaseName, RunBase, with_anonymizer
from stprivacy.anonymizers import LearnedName


@dataclass(frozen=True)
class Recipe:
    """The three phases' configurations, and how the data is meant to be ingested.

    A row of the paper's tables also names its data sets: the one that it is tested on, and the other one, if any, that
    is trained on. Other anonymizers than STPrivacy may have epochs of their own in phase 1, where VITA and SPAct learn
    reconstruction, and a rate of their own in phase 2 (`anonymizer_rate_scale`), by name; so may the departure
    "defended".
    """

    init: InitRun
    adversarial: AdversarialRun
    evaluate: EvaluateRun
    stride: int
    short_side_px: int
    dataset: str = ""
    train_dataset: str = ""
    init_epochs: Mapping[str, int] = field(default_factory=dict)
    rate_scales: Mapping[str, float] = field(default_factory=dict)

    def of(self, phase: PhaseName) -> RunBase:
        """The configuration of one phase."""
        return {"init": self.init, "adversarial": self.adversarial, "evaluate": self.evaluate}[phase]

    def in_all_phases(self, **settings: Any) -> Self:
        """The same with these settings in each phase."""
        return replace(
            self,
            init=replace(self.init, **settings),
            adversarial=replace(self.adversarial, **settings),
            evaluate=replace(self.evaluate, **settings),
        )

    def training(self, anonymizer: LearnedName) -> Self:
        """The same for another anonymizer that is trained."""
        init, adversarial = self.init.train, self.adversarial.train
        init = replace(init, epochs=self.init_epochs.get(anonymizer, init.epochs))
        scale = self.rate_scales.get(anonymizer, adversarial.anonymizer_rate_scale)
        adversarial = replace(adversarial, anonymizer_rate_scale=scale)
        return replace(
            self,
            init=with_anonymizer(replace(self.init, train=init), anonymizer),
            adversarial=with_anonymizer(replace(self.adversarial, train=adversarial), anonymizer),
            evaluate=with_anonymizer(self.evaluate, anonymizer),
        )
