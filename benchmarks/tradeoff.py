"""What the training buys, over several seeds: known actions on vp-synth, unseen ones on vp-synth-b.

python -m benchmarks.tradeoff --out DIR: for each seed the demo's data and runs, then the same evaluations on the
disjoint actions of vp-synth-b (raw and STPrivacy). Interrupted, the same command goes on. The claims are checked on
means over seeds: top-1 within 3 points of raw (6 on unseen actions), and at least half of raw's cMAP lead over
prevalence gone under the standard attacker; the whitened attacker stands beside it.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import tyro

from benchmarks.machine import machine_line
from pipelines.cli.demo import prepare_data
from pipelines.compare import demo
from pipelines.data.datasets.synth.settings import SynthSettings
from pipelines.progress import Progress
from pipelines.recipes.named import RECIPES

LARGEST_LOSS = {"vp-synth": 3.0, "vp-synth-b": 6.0}


def main(out: Path, seeds: int = 2, train_videos: int = 2400, test_videos: int = 600, workers: int = 2) -> None:
    """Run and print the tables.

    Args:
        out: folder for data and runs
        seeds: how many, from 0 on; each makes its own videos and its own training
        train_videos: generated videos to train on, for each action set
        test_videos: generated videos to test on, for each action set
        workers: processes that generate, decode and train
    """
    out, recipe = out.resolve(), RECIPES["demo"]()
    results: list[dict[str, Any]] = []
    for seed in range(seeds):
        folder = out / f"seed-{seed}"
        with Progress() as progress:
            a, b = (
                prepare_data(folder, SynthSettings(actions, train_videos, test_videos, seed), recipe, workers, progress)
                for actions in ("a", "b")
            )
        runs = demo.Runs(folder / "runs")
        requests = demo.training_runs(runs, a, recipe, seed) + demo.evaluation_runs(runs, a, recipe, seed)
        requests += demo.evaluation_runs(runs, b, recipe, seed, (demo.RAW, demo.OURS), on="vp-synth-b")
        results += demo.run_all(requests, out, workers, f"trade-off, seed {seed}")
    print(machine_line("torch", "ray"))
    for dataset in LARGEST_LOSS:
        print("\n" + report(dataset, [row for row in results if row["dataset"] == dataset]))


def report(dataset: str, rows: Sequence[dict[str, Any]]) -> str:
    """The table of one data set, and whether the claims hold."""
    lines = [
        f"{dataset}, {len({row['seed'] for row in rows})} seeds: mean (standard deviation over seeds)\n",
        "| | top-1 % | cMAP % standard | cMAP % whitened | F1 |",
        "|---|---|---|---|---|",
    ]
    keys = ("action_top1", "privacy_cmap_standard", "privacy_cmap_whitened", "privacy_f1")
    for label in [label for label in demo.LABELS if any(row["label"] == label for row in rows)]:
        cells = [_cell([row[key] for row in rows if row["label"] == label], key) for key in keys]
        lines.append("| " + " | ".join([label, *cells]) + " |")
    floors = ("floor_action_top1", "floor_privacy_cmap", "floor_privacy_cmap", "floor_privacy_f1")
    lines.append("| " + " | ".join(["floor", *(_cell([row[key] for row in rows], key) for key in floors)]) + " |")
    return "\n".join([*lines, "", *_claims(dataset, rows)])


def _cell(values: Sequence[float], key: str) -> str:
    digits = 3 if key.endswith("f1") else 1
    spread = f" ({stdev(values):.{digits}f})" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


def _claims(dataset: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    def of(label: str, key: str) -> float:
        return mean(float(row[key]) for row in rows if row["label"] == label)

    loss = of(demo.RAW, "action_top1") - of(demo.OURS, "action_top1")
    floor = mean(row["floor_privacy_cmap"] for row in rows)
    lines = [
        f"top-1 lost: {loss:.1f} points, at most {LARGEST_LOSS[dataset]:g}: {_verdict(loss <= LARGEST_LOSS[dataset])}"
    ]
    for attacker in ("standard", "whitened"):
        lead = of(demo.RAW, f"privacy_cmap_{attacker}") - floor
        taken = 1 - (of(demo.OURS, f"privacy_cmap_{attacker}") - floor) / lead
        line = f"share of raw's cMAP lead taken, {attacker} attacker: {taken:.2f}"
        lines.append(line + (f", at least .5: {_verdict(taken >= 0.5)}" if attacker == "standard" else ""))
    return lines


def _verdict(holds: bool) -> str:
    return "holds" if holds else "does not hold"


if __name__ == "__main__":
    tyro.cli(main)
