"""What a worker leaves in its run folder for the tracking."""

import json
from pathlib import Path


def report(folder: Path, phase: str, *steps: int, value: float = 0.0) -> None:
    """Append a metrics line for each step, as a worker does."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.jsonl").open("a") as file:
        for step in steps:
            file.write(json.dumps({"phase": phase, "step": step, "loss": value + step, "grad_norm": 1.0}) + "\n")
