"""`--stop-at`: ends trials that fall behind in both, the action and privacy; never by the action alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from pipelines.tune.trainable import NUMBER, epochs_of
from pipelines.tune.trials import STOPPED, Trial, record

_FEWEST_PEERS = 3


@dataclass(frozen=True)
class Standing:
    """Where a trial stands after an epoch: the losses of the action recognizer and of the adversary."""

    loss_action: float
    loss_privacy: float

    def behind(self, other: "Standing") -> bool:
        """Whether the other trial's actions are read better, and its private attributes worse."""
        return other.loss_action < self.loss_action and other.loss_privacy > self.loss_privacy


def fallen_behind(own: Standing, peers: Sequence[Standing]) -> bool:
    """Whether at least half of the peers, of which there must be three, are ahead in both."""
    return len(peers) >= _FEWEST_PEERS and 2 * sum(map(own.behind, peers)) >= len(peers)


class StopBehind(FIFOScheduler):
    """Tune's scheduler: trials start in order, and at the epochs `stop_at` those that have fallen behind end.

    A trial is compared with all that have reached that epoch, ended ones too. Which these are depends on how fast each
    was: an interrupted sweep may stop others than an undisturbed one.

    Args: stop_at: epochs of phase 2; trials: gives the trials that have begun, by number.
    """

    def __init__(self, stop_at: Sequence[int], trials: Callable[[], Mapping[int, Trial]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stop_at, self._trials = stop_at, trials

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        """Stop or go on."""
        epoch = int(result.get("epoch", 0))
        if epoch not in self._stop_at:
            return str(TrialScheduler.CONTINUE)
        trials = self._trials()
        own = trials[trial.config[NUMBER]]
        peers = [standing for other in trials.values() if other is not own for standing in _standing(other, epoch)]
        if not fallen_behind(_standing(own, epoch)[0], peers):
            return str(TrialScheduler.CONTINUE)
        ahead = f"of {len(peers)} trials that reached it, at least half had both lower action loss and more privacy"
        record(own, STOPPED, {"epoch": epoch, "reason": ahead})
        return str(TrialScheduler.STOP)


def _standing(trial: Trial, epoch: int) -> list[Standing]:
    """Of the epoch, if the trial has reached it."""
    return [
        Standing(report.metrics["loss_action"], report.metrics["loss_privacy"])
        for report in epochs_of(trial)[epoch - 1 : epoch]
    ]
