"""A sweep of twelve trials with a worker and the driver killed: how long, and the same front as without that or not.

python -m benchmarks.sweep --data DIR --out DIR: three keep ratios by four weights of L_Privacy, two trials at a time.
The disturbed sweep loses a worker (kill -9) after its first trial and its driver after half of them, and is started
again by the same command. Then the same is done without disturbance; --no-compare leaves that out. Target: the
disturbed one takes 60 minutes at most on 2 cores, and its result.json equals the undisturbed one's, to the byte.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import tyro

from benchmarks.machine import machine_line
from pipelines.cluster import ROOT
from pipelines.tune.sweep import FRONT_PICTURE

TRIALS, TARGET_MINUTES = 12, 60
SPACE = ("--keep-ratio", "0.5", "0.7", "0.9", "--lambda-privacy", "0.25", "0.5", "1", "2")
DISTURBED, UNDISTURBED = "disturbed", "undisturbed"
POLL_SECONDS = 0.2


def main(
    data: Path, out: Path, deploy_keep_ratios: tuple[float, ...] = (0.6,), recipe: str = "demo", compare: bool = True
) -> None:
    """Run them and print the table.

    Args:
        data: ingested data set
        out: folder for the sweeps; what is there is taken as done
        deploy_keep_ratios: tested without training anew
        recipe: sizes and schedule
        compare: do the undisturbed one, too
    """
    ratios = [f"{ratio:g}" for ratio in deploy_keep_ratios]
    options = ["--data", str(data.resolve()), "--recipe", recipe, *SPACE, "--deploy-keep-ratios", *ratios]
    names = (DISTURBED, UNDISTURBED) if compare else (DISTURBED,)
    folders = {name: out.resolve() / name for name in names}
    minutes = {name: _minutes_of([*options, "--out", str(folder)], folder) for name, folder in folders.items()}
    print(f"\n| sweep of {TRIALS} trials | minutes | target |\n|---|---|---|")
    print(f"| a worker and the driver killed | {minutes[DISTURBED]:.1f} | {TARGET_MINUTES} |")
    if compare:
        print(f"| undisturbed | {minutes[UNDISTURBED]:.1f} | |")
    results = {(folder / "result.json").read_bytes() for folder in folders.values()}
    if compare:
        print(f"\nresult.json {'is the same' if len(results) == 1 else 'DIFFERS'}")
    print(f"pictures: {folders[DISTURBED] / FRONT_PICTURE}\n{machine_line('torch', 'ray')}")
    if len(results) > 1:
        sys.exit("error: the fronts differ")


def _minutes_of(options: list[str], folder: Path) -> float:
    """Run the sweep to its end; the one in the folder "disturbed" is disturbed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(ROOT / "jobs" / "sweep.py"), *options]
    start = time.perf_counter()
    if folder.name == DISTURBED:
        disturb(command, folder)
    subprocess.run(command, cwd=ROOT, check=True)
    return (time.perf_counter() - start) / 60


def disturb(command: list[str], folder: Path) -> None:
    """Start the sweep, kill a worker after the first trial, and the driver after half of them."""
    with subprocess.Popen(command, cwd=ROOT) as driver:
        wait_for(driver, lambda: finished_trials(folder) >= 1)
        worker = wait_for(driver, lambda: worker_of(driver))
        print(f"kill -9 {worker.pid}: a worker", file=sys.stderr)
        worker.kill()
        wait_for(driver, lambda: finished_trials(folder) >= TRIALS // 2)
        print(f"kill -9 {driver.pid}: the driver", file=sys.stderr)
        driver.kill()


def wait_for(driver: "subprocess.Popen[bytes]", condition: Callable[[], Any]) -> Any:
    """What the condition gives as soon as that is something. Raises: RuntimeError: the driver has ended."""
    while not (found := condition()):
        if driver.poll() is not None:
            raise RuntimeError(f"the sweep ended with status {driver.returncode} before it could be disturbed")
        time.sleep(POLL_SECONDS)
    return found


def finished_trials(folder: Path) -> int:
    """How many have all their results."""
    trials = [list(trial.glob("evaluate-*")) for trial in (folder / "trials").glob("*")]
    return sum(bool(runs) and all((run / "result.json").exists() for run in runs) for runs in trials)


def worker_of(driver: "subprocess.Popen[bytes]") -> psutil.Process | None:
    """One of the processes in which the driver's Ray trains or evaluates."""
    for process in psutil.Process(driver.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any("RayTrainWorker" in part for part in process.cmdline()):
                return process
    return None


if __name__ == "__main__":
    tyro.cli(main)
