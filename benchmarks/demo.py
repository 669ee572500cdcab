"""Wall time of `make demo` after installation, by phase.

python -m benchmarks.demo --out DIR: runs `jobs/demo.py` and reads off its progress lines when each phase ended.
Target: 10 minutes on 2 cores.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

import tyro

from benchmarks.machine import machine_line
from pipelines.cluster import ROOT

ENDED = re.compile(r"^(?P<what>[^:]+): .*\btook (?P<seconds>.+?)(?:,|$)")


def main(out: Path, train_videos: int = 2000, test_videos: int = 600) -> None:
    """Run the demo and print a table.

    Args:
        out: folder for the demo; a new one, or what is there would not be done again
        train_videos: as the demo's
        test_videos: as the demo's
    """
    if out.exists():
        sys.exit(f"error: {out} exists: the demo would go on from what is there; name a new folder")
    sizes = ["--train-videos", str(train_videos), "--test-videos", str(test_videos)]
    start = time.perf_counter()
    phases = _phases([sys.executable, str(ROOT / "jobs" / "demo.py"), "--out", str(out), *sizes], start)
    total = time.perf_counter() - start
    print(machine_line("torch", "ray"))
    print("\n| phase | its own clock | ended after (s) |\n|---|---|---|")
    for what, seconds, ended in phases:
        print(f"| {what} | {seconds} | {ended:.0f} |")
    print(f"| **all** | | **{total:.0f}** |")


def _phases(command: list[str], start: float) -> list[tuple[str, str, float]]:
    phases = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
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
