"""The command line of jobs/demo.py."""

from pathlib import Path

import tyro

from pipelines import cluster
from pipelines.compare import demo
from pipelines.compare.tables import print_tables
from pipelines.data.datasets import load_manifest
from pipelines.data.datasets.synth.settings import SynthSettings
from pipelines.data.datasets.synth.writer import generate
from pipelines.data.manifest import Sources
from pipelines.data.schema import IngestSettings
from pipelines.locations import LocalFolder
from pipelines.progress import Progress
from pipelines.recipes.named import RECIPES
from pipelines.recipes.recipe import Recipe
from pipelines.tracking.tracker import Tracker, default_tracking_uri
from stprivacy.storage import named_location


def prepare_data(out: Path, settings: SynthSettings, recipe: Recipe, workers: int, progress: Progress) -> Path:
    """Generate vp-synth below `out` and ingest it, or finish what was begun; returns the ingested data set."""
    name = "vp-synth" if settings.actions == "a" else "vp-synth-b"
    raw, data = out / name, out / f"{name}-ingested"
    total = settings.train_videos + settings.test_videos
    task = progress.task(f"generate {name}", total=total, unit="videos")
    generate(raw, settings, lambda done, _: task.update(done), workers)
    task.finish()
    cluster.start()
    from pipelines.data.ingest import ingest  # imports Ray, which the cluster must configure first

    manifest = load_manifest("vp-synth", Sources(raw / "videos", raw / "annotations"))
    task = progress.task(f"ingest {name}", total=manifest.videos_in, unit="videos")
    how = IngestSettings(stride=recipe.stride, short_side_px=recipe.short_side_px)
    ledger = ingest(manifest, data, how, workers=workers, progress=lambda done, _: task.update(done))
    task.finish()
    progress.say(str(ledger))
    return data


def main() -> None:
    """Parse the command line and run the demo."""
    tyro.cli(demo_command)


def demo_command(
    out: LocalFolder = Path("demo"), train_videos: int = 2000, test_videos: int = 600, workers: int = 2
) -> None:
    """Run the demo, or finish one that was interrupted.

    Args:
        out: folder for data, runs and report
        train_videos: generated videos to train on
        test_videos: generated videos to test on
        workers: processes that generate, decode and train
    """
    out = named_location(out)
    store, recipe = default_tracking_uri(out), RECIPES["demo"]()
    settings, runs = SynthSettings("a", train_videos, test_videos), demo.Runs(out / "runs")
    with Progress() as progress:
        data = prepare_data(out, settings, recipe, workers, progress)
    requests = demo.training_runs(runs, data, recipe, 0) + demo.evaluation_runs(runs, data, recipe, 0)
    results = demo.run_all(requests, out, workers, "demo")
    files = demo.write_report(out / "report", runs, data, results)
    tracker, name = Tracker(store), f"evaluate {demo.OURS}"
    with tracker.pipeline("demo"), tracker.run(runs.evaluation(demo.OURS), name, {}) as tracked:
        for file in files:
            tracked.log_file(file, "report")
    print_tables(results)
    print("", *files, f"MLflow: mlflow server --backend-store-uri {store} --host 127.0.0.1", sep="\n")
