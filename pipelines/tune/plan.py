"""In which order a sweep tries what: the same trials however often it was interrupted.

Trial 0, 1, 2, ... of a grid or of random draws are fixed from the start. Optuna proposes from what it was told, so it
is asked for a round of trials at a time, and told their results in the order of their numbers when all of them have
ended: what it proposes does not depend on which trial was the faster one, and a sweep that goes on asks and tells the
same again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from pipelines.tune.space import Parameters, Space, draws, grid, rounded, tune_space

SearchName = Literal["grid", "random", "optuna"]
# What a trial is told by: the key of its result, and whether more or less of it is better.
OBJECTIVES: Mapping[str, Literal["max", "min"]] = {"action_top1": "max", "privacy_cmap": "min", "privacy_f1": "min"}
_ATTEMPTS = 50  # at a combination that was not tried before


@dataclass(frozen=True)
class Planned:
    """One trial of a sweep: its number, from 0, and what it tries."""

    number: int
    parameters: Parameters


class FixedPlan:
    """A plan that does not depend on results."""

    def __init__(self, parameters: list[Parameters]) -> None:
        self._waiting = [Planned(number, values) for number, values in enumerate(parameters)]

    @property
    def ended(self) -> bool:
        """Whether there will be no other trial, whatever is told."""
        return not self._waiting

    def next(self) -> Planned | None:
        """The next trial, or None after the last."""
        return self._waiting.pop(0) if self._waiting else None

    def tell(self, number: int, result: Mapping[str, float] | None) -> None:
        """Nothing depends on it."""


class OptunaPlan:
    """Optuna's multi-objective search (TPE), as Ray Tune wraps it, in rounds."""

    def __init__(self, space: Space, num_trials: int, round_size: int, seed: int) -> None:
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._search = OptunaSearch(
            OptunaSearch.convert_search_space(tune_space(space)),
            metric=list(OBJECTIVES),
            mode=list(OBJECTIVES.values()),
            seed=seed,
        )
        self._num_trials, self._round_size = num_trials, round_size
        self._planned: list[Planned] = []
        self._results: dict[int, Mapping[str, float] | None] = {}
        self._given = 0
        self._exhausted = False
        # Optuna's own names of this round's proposals, and the trials they are told by: the same one twice if it
        # proposed what there is already.
        self._asked: list[tuple[str, int]] = []
        self._asks = 0

    @property
    def ended(self) -> bool:
        """Whether all were given, or optuna proposes nothing new."""
        all_given = self._given == len(self._planned)
        return all_given and (self._exhausted or len(self._planned) == self._num_trials)

    def next(self) -> Planned | None:
        """The next trial of the round; None while others of it are at work."""
        if self._given == len(self._planned) and not self.ended and len(self._results) == len(self._planned):
            self._tell_round()
            self._ask_round()
        if self._given == len(self._planned):
            return None
        self._given += 1
        return self._planned[self._given - 1]

    def tell(self, number: int, result: Mapping[str, float] | None) -> None:
        """Keep what came of a trial until the round is over; None if it failed or was stopped."""
        self._results[number] = result

    def _tell_round(self) -> None:
        for name, number in self._asked:
            result = self._results[number]
            values = {key: result[key] for key in OBJECTIVES} if result else None
            self._search.on_trial_complete(name, values, error=result is None)
        self._asked = []

    def _ask_round(self) -> None:
        wanted = min(len(self._planned) + self._round_size, self._num_trials)
        begun = len(self._planned)
        for _ in range(_ATTEMPTS):
            if len(self._planned) == wanted:
                return
            name = str(self._asks)
            self._asks += 1
            proposed = self._search.suggest(name) or {}
            parameters = {key: rounded(float(value)) for key, value in proposed.items()}
            known = [planned.number for planned in self._planned if planned.parameters == parameters]
            number = known[0] if known else len(self._planned)
            if not known:
                self._planned.append(Planned(number, parameters))
            self._asked.append((name, number))
        self._exhausted = len(self._planned) == begun


Plan = FixedPlan | OptunaPlan  # gives trials and is told their results


def make_plan(search: SearchName, space: Space, num_trials: int, round_size: int, seed: int) -> Plan:
    """The plan of a search. Grid tries all combinations, or the first `num_trials` of them if that is not 0.

    Args: round_size: trials that optuna is asked for before it is told of them.
    Raises: ValueError: a random search or optuna without a number of trials, or a grid with a range.
    """
    if search == "grid":
        return FixedPlan(list(islice(grid(space), num_trials or None)))
    if num_trials < 1:
        raise ValueError(f"--search {search} needs --num-trials")
    if search == "random":
        return FixedPlan(list(islice(draws(space, seed), num_trials)))
    return OptunaPlan(space, num_trials, round_size, seed)
