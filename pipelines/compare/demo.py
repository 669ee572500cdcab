"""The whole pipeline on the generated data set: what `make demo` runs, and the trade-off benchmark repeats."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines import cluster
from pipelines.compare.demo_table import save_report
from pipelines.curves import strip_figure
from pipelines.data.datasets import load_manifest
from pipelines.data.datasets.synth import SynthSettings, generate
from pipelines.data.manifest import Sources
from pipelines.data.reader import ParquetClips
from pipelines.data.schema import IngestSettings
from pipelines.progress import Progress
from pipelines.recipes.recipe import Recipe
from pipelines.runs.config import make_request
from pipelines.runs.folder import RunRequest
from pipelines.runs.labels import check_labels_of
from pipelines.tracking.tracker import Tracker
from pipelines.train.launch import launch
from stprivacy.deploy.load import load_anonymizer

RAW, CONTROL, OURS = "raw", "initialised only", "STPrivacy"
LABELS = (RAW, CONTROL, OURS)
STRIP_CLIPS = 4


@dataclass(frozen=True)
class Runs:
    """Run folders of one training seed, below one folder."""

    folder: Path

    @property
    def init(self) -> Path:
        """Phase 1."""
        return self.folder / "init"

    @property
    def adversarial(self) -> Path:
        """Phase 2."""
        return self.folder / "adversarial"

    def evaluation(self, label: str, on: str = "") -> Path:
        """Phase 3 of a table row; `on` names the data set where it is not the one trained on."""
        return self.folder / "-".join(["evaluate", label.replace(" ", "-").lower(), *filter(None, [on])])


def prepare_data(out: Path, settings: SynthSettings, recipe: Recipe, workers: int, progress: Progress) -> Path:
    """Generate vp-synth below `out` and ingest it, or finish what was begun; gives back the ingested data set."""
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


def training_runs(runs: Runs, data: Path, recipe: Recipe, seed: int) -> list[RunRequest]:
    """Phases 1 and 2 on `data`."""
    init = replace(recipe.init, data=str(data), seed=seed)
    adversarial = replace(recipe.adversarial, data=str(data), seed=seed, from_run=str(runs.init))
    return [make_request(runs.init, init), make_request(runs.adversarial, adversarial)]


def evaluation_runs(
    runs: Runs, data: Path, recipe: Recipe, seed: int, labels: Sequence[str] = LABELS, on: str = ""
) -> list[RunRequest]:
    """Phase 3 of the table's rows `labels`: raw, the initialised network without any adversary, and STPrivacy."""
    base = replace(recipe.evaluate, data=str(data), seed=seed, deploy_keep_ratio=recipe.init.model.keep_ratio)
    base = replace(base, protocol="unseen") if on else base
    rows = {
        RAW: replace(base, anonymizer="raw", deploy_keep_ratio=1.0),
        CONTROL: replace(base, from_run=str(runs.init)),
        OURS: replace(base, from_run=str(runs.adversarial)),
    }
    return [
        make_request(runs.evaluation(label, on), replace(run, label=label), f"evaluate {label}{on and ' on '}{on}")
        for label, run in rows.items()
        if label in labels
    ]


def run_all(
    requests: Sequence[RunRequest], tracker: Tracker, workers: int, parent: str, progress: Progress
) -> list[dict[str, Any]]:
    """Do the runs on one group of workers; gives back the results of the evaluations among them.

    Raises: ValueError: so few videos were generated that an attribute is the same in all of a part.
    """
    check_labels_of(requests)
    results = launch(requests, num_workers=workers, tracker=tracker, progress=progress, parent=parent)
    return [result for result in results if result["phase"] == "evaluate"]


def write_report(
    folder: Path, runs: Runs, data: Path, results: Sequence[dict[str, Any]], tracker: Tracker
) -> list[Path]:
    """The table and the strip of raw, sparsified and anonymized frames; gives back the files.

    In MLflow they lie with the evaluation of STPrivacy.
    """
    model = load_anonymizer(runs.adversarial).eval()
    clips = ParquetClips(data, model.config.clip)
    chosen = [i * clips.test_size() // STRIP_CLIPS for i in range(STRIP_CLIPS)]
    raw = clips.test_clips(chosen)
    anonymized = model(raw)
    titles = [clips.action_names[clips.test[i].actions[0]].replace("_", " ") for i in chosen]
    strip = strip_figure(raw, raw, anonymized.video.detach(), anonymized.keep, titles=titles)
    files = save_report(folder, results, strip)
    with tracker.pipeline("demo"), tracker.run(runs.evaluation(OURS), f"evaluate {OURS}", {}) as tracked:
        for file in files:
            tracked.log_file(file, "report")
    return files
