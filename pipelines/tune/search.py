"""A plan as Ray Tune's searcher."""

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from pipelines.tune.plan import OBJECTIVES, Plan, Planned
from pipelines.tune.trainable import NUMBER
from pipelines.tune.trials import Trial


class PlannedSearch(Searcher):
    """Gives Tune the trials of a plan that are not there yet. After a trial that Tune gave up, no other is begun.

    Args: make: the trial of what was planned. `trials` are those that were given, finished ones too, by number.
    """

    def __init__(self, plan: Plan, make: Callable[[Planned], Trial]) -> None:
        super().__init__()
        self._plan, self._make = plan, make
        self._running: dict[str, Trial] = {}
        self._broken = False
        self._trials: dict[int, Trial] = {}

    @property
    def trials(self) -> dict[int, Trial]:
        """A copy, for other threads."""
        return dict(self._trials)

    def end(self) -> None:
        """Begin no other trial."""
        self._broken = True

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial that has not ended."""
        while not self._broken and (planned := self._plan.next()):
            trial = self._make(planned)
            self._trials[planned.number] = trial
            if not trial.ended:
                self._running[trial_id] = trial
                return {NUMBER: planned.number, **planned.parameters}
            self._tell(trial)
        over: Any = Searcher.FINISHED  # a word in place of a configuration
        return over if self._broken or self._plan.ended else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the plan what came of it, as its folder has it."""
        trial = self._running.pop(trial_id)
        if trial.ended:
            self._tell(trial)
        else:
            self.end()

    def save(self, checkpoint_path: str) -> None:
        """Nothing: folders of trials hold all that the plan needs."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, likewise."""

    def _tell(self, trial: Trial) -> None:
        results = trial.results()
        scores = {key: float(results[0][key]) for key in OBJECTIVES} if results else None
        self._plan.tell(trial.planned.number, scores)
