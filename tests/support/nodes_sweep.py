"""A sweep on simulated nodes, of which one is lost while its trials are at work."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from pipelines.tune.space import parse_space
from pipelines.tune.sweep import Concurrency, run_sweep
from tests.support.sweep_fixtures import WHERE, Swept, do_before, tiny_sweep

SPACE = parse_space({"lambda_privacy": ("0.5", "2")})
ONE = Concurrency(1)


def sweeps(folder: Path, strike_when: Callable[[Callable[[], int]], Any]) -> dict[str, Any]:
    """The same trials twice; the second time a worker's node is lost when one trial is done and another at work.

    Args: strike_when: begins a thread that loses the node whose raylet's process id the function gives, once it gives
        one; its `join` waits until that is done.
    """
    sweep = tiny_sweep(folder / "data", SPACE)
    undisturbed, disturbed = folder / "undisturbed", folder / "disturbed"
    do_before(sweep, undisturbed, {})
    before = run_sweep(sweep, undisturbed, WHERE, ONE)
    Swept(sweep, undisturbed, before).lend(disturbed)
    done: list[int] = []

    def raylet_of_a_worker() -> int:
        ends = [path.stat().st_mtime for path in results(disturbed)]
        worker = worker_of_a_trial(after=max(ends)) if ends else None
        done[:] = [len(results(disturbed))]
        return worker.ppid() if worker else 0

    strike = strike_when(raylet_of_a_worker)
    after = run_sweep(sweep, disturbed, WHERE, ONE)
    strike.join()
    kinds = {name: len(after[name]) for name in ("points", "stopped", "failed")}
    ledger = f"{len(results(disturbed))} trials = " + " + ".join(f"{count} {name}" for name, count in kinds.items())
    texts = {(path / "result.json").read_text() for path in (undisturbed, disturbed)}
    return {"ledger": ledger, "equal": before == after and len(texts) == 1, "done_before": done[0]}


def results(out: Path) -> list[Path]:
    """Of trials that have ended."""
    return list((out / "trials").glob("*/evaluate-*/result.json"))


def worker_of_a_trial(after: float) -> psutil.Process | None:
    """A process in which Ray Train trains or evaluates, and which began after a time, in seconds since the epoch."""
    for process in psutil.Process().children(recursive=True):  # another Ray may be at work on the same machine
        with suppress(psutil.NoSuchProcess):
            if process.create_time() > after and any("RayTrainWorker" in part for part in process.cmdline()):
                return process
    return None
