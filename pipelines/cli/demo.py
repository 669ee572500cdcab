"""The command line of jobs/demo.py."""

from pathlib import Path

from pipelines.compare import demo
from pipelines.compare.demo_table import print_results
from pipelines.data.datasets.synth import SynthSettings
from pipelines.locations import LocalFolder
from pipelines.progress import Progress
from pipelines.recipes.named import RECIPES
from pipelines.tracking.tracker import Tracker, default_tracking_uri
from stprivacy.storage import named_location


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
    settings, runs, tracker = SynthSettings("a", train_videos, test_videos), demo.Runs(out / "runs"), Tracker(store)
    with Progress() as progress:
        data = demo.prepare_data(out, settings, recipe, workers, progress)
        requests = demo.training_runs(runs, data, recipe, 0) + demo.evaluation_runs(runs, data, recipe, 0)
        results = demo.run_all(requests, tracker, workers, "demo", progress)
        files = demo.write_report(out / "report", runs, data, results, tracker)
    print_results(results)
    print("", *files, f"MLflow: mlflow server --backend-store-uri {store} --host 127.0.0.1", sep="\n")
