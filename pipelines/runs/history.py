"""The history of a run: RUN/metrics.jsonl, one line a report, the source of truth for tracking and figures."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """The numbers that a phase reported at one step."""

    phase: str
    step: int
    metrics: Mapping[str, float]


def read_history(metrics_jsonl: Path) -> list[Report]:
    """The reports in a metrics.jsonl, in file order; none where there is no file yet.

    A last line without its newline is still being written and is left out. A damaged line is left out with a
    warning that names it. Entries that are no numbers are left out of `metrics`.
    """
    if not metrics_jsonl.exists():
        return []
    complete, _, _ = metrics_jsonl.read_bytes().rpartition(b"\n")
    reports = []
    for number, line in enumerate(complete.splitlines(), start=1):
        try:
            entry = dict(json.loads(line))
            phase, step = str(entry.pop("phase")), int(entry.pop("step"))
            metrics = {name: float(value) for name, value in entry.items() if is_number(value)}
            reports.append(Report(phase, step, metrics))
        except (ValueError, KeyError, TypeError):
            _log.warning("%s line %d is no report and was left out: %.80r", metrics_jsonl, number, line)
    return reports


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a metric: a number, and not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)
