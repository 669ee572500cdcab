"""The one place that says how runs follow each other: phase 1, phase 2 from it, evaluations of what they trained."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.runs.config import AdversarialRun, EvaluateRun, InitRun, LaterRun, RunBase, make_request
from pipelines.runs.folder import RunRequest
from stprivacy.config import LossConfig
from stprivacy.plain import from_dict, to_dict


def training(
    init: InitRun,
    adversarial: AdversarialRun,
    start: Path,
    folder: Path,
    titles: tuple[str, str] = ("", ""),
    **both: Any,
) -> tuple[RunRequest, RunRequest]:
    """Phase 1 in the folder `start`, and phase 2 from it in `folder`; `both` are settings of both, such as the data."""
    return (
        make_request(start, replace(init, **both), titles[0]),
        make_request(folder, replace(adversarial, from_run=str(start), **both), titles[1]),
    )


def testing(test: EvaluateRun, source: RunBase, folder: Path) -> EvaluateRun:
    """The evaluation of what the run `source` leaves in `folder`, at the keep ratio that it is trained for."""
    return replace(
        test,
        from_run=str(folder),
        anonymizer=source.anonymizer,
        model=source.model,
        losses=from_dict(LossConfig, to_dict(source.losses)),
        privacy_heads=source.privacy_heads if isinstance(source, LaterRun) else test.privacy_heads,
        deploy_keep_ratio=source.model.keep_ratio,
    )


def deployed_ratios(own: float, others: Sequence[float]) -> tuple[float, ...]:
    """The keep ratios that an anonymizer is tested at: its own first; none else where it abandons nothing."""
    return tuple(dict.fromkeys([own, *(others if own < 1 else ())]))
