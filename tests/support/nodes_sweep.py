"""A sweep on simulated nodes, of which one is lost while its trials are at work."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from pipelines.tune.space import parse_space
from pipelines.tune.sweep import run_sweep
from tests.support.sweep_fixtures import TWO, WHERE, tiny_sweep

TRIALS = 3
SPACE = parse_space({"lambda_privacy": ("0.5", "1", "2")})


def sweeps(folder: Path, strike_when: Callable[[Callable[[], int]], Any]) -> dict[str, Any]:
    """The same sweep twice; the second time a worker's node is lost when one trial is done and others are not.

    Args: strike_when: begins a thread that loses the node whose raylet's process id the function gives, once it gives
        one; its `join` waits until that is done.
    """
    sweep = tiny_sweep(folder / "data", SPACE)
    undisturbed, disturbed = folder / "undisturbed", folder / "disturbed"
    before = run_sweep(sweep, undisturbed, WHERE, TWO)
    done: list[int] = []

    def raylet_of_a_worker() -> int:
        worker = worker_of_a_trial() if results(disturbed) else None
        done[:] = [len(results(disturbed))]
        return worker.ppid() if worker else 0

    strike = strike_when(raylet_of_a_worker)
    after = run_sweep(sweep, disturbed, WHERE, TWO)
    strike.join()
    kinds = {name: len(after[name]) for name in ("points", "stopped", "failed")}
    ledger = f"{TRIALS} trials = " + " + ".join(f"{count} {name}" for name, count in kinds.items())
    texts = {(path / "result.json").read_text() for path in (undisturbed, disturbed)}
    return {"ledger": ledger, "equal": before == after and len(texts) == 1, "done_before": done[0]}


def results(out: Path) -> list[Path]:
    """Of trials that have ended."""
    return list((out / "trials").glob("*/evaluate-*/result.json"))


def worker_of_a_trial() -> psutil.Process | None:
    """A process in which Ray Train trains or evaluates."""
    for process in psutil.Process().children(recursive=True):  # another Ray may be at work on the same machine
        with suppress(psutil.NoSuchProcess):
            if any("RayTrainWorker" in part for part in process.cmdline()):
                return process
    return None
