"""Wall time of `make demo` after installation, by phase.

python -m benchmarks.demo: runs `jobs/demo.py` in an empty folder and reads off its progress lines when each phase
ended. Target: 10 minutes on 2 cores.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tyro

from benchmarks.machine import machine_line

ROOT = Path(__file__).resolve().parents[1]
ENDED = re.compile(r"^(?P<what>[^:]+): .*\btook (?P<seconds>.+?)(?:,|$)")


def main(train_videos: int = 2400, test_videos: int = 600) -> None:
    """Run the demo and print a table.

    Args:
        train_videos: as the demo's
        test_videos: as the demo's
    """
    print(machine_line("torch", "ray"))
    with tempfile.TemporaryDirectory() as folder:
        sizes = ["--train-videos", str(train_videos), "--test-videos", str(test_videos)]
        command = [sys.executable, str(ROOT / "jobs" / "demo.py"), "--out", f"{folder}/demo", *sizes]
        start = time.perf_counter()
        phases = _phases(command, start)
        total = time.perf_counter() - start
    print("\n| phase | its own clock | ended after (s) |\n|---|---|---|")
    for what, seconds, ended in phases:
        print(f"| {what} | {seconds} | {ended:.0f} |")
    print(f"| **all** | | **{total:.0f}** |")


def _phases(command: list[str], start: float) -> list[tuple[str, str, float]]:
    phases = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            print(line, end="", file=sys.stderr)
            if match := ENDED.match(line):
                phases.append((match["what"], match["seconds"], time.perf_counter() - start))
    if process.returncode:
        sys.exit(f"the demo failed with status {process.returncode}")
    return phases


if __name__ == "__main__":
    tyro.cli(main)
