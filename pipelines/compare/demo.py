"""The whole pipeline on the generated data set: what `make demo` runs, and the trade-off benchmark repeats."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.compare.strip import strip_figure
from pipelines.compare.tables import read_scores, write_tables
from pipelines.curves import save_figure
from pipelines.data.reader import ParquetClips
from pipelines.recipes.recipe import Recipe
from pipelines.runs.config import make_request
from pipelines.runs.folder import RunRequest
from pipelines.runs.plan import testing, training
from pipelines.train.options import LaunchOptions, launch_runs
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


def training_runs(runs: Runs, data: Path, recipe: Recipe, seed: int) -> list[RunRequest]:
    """Phases 1 and 2 on `data`."""
    return [*training(recipe.init, recipe.adversarial, runs.init, runs.adversarial, data=str(data), seed=seed)]


def evaluation_runs(
    runs: Runs, data: Path, recipe: Recipe, seed: int, labels: Sequence[str] = LABELS, on: str = ""
) -> list[RunRequest]:
    """Phase 3 of the table's rows `labels`: raw, the initialised network without any adversary, and STPrivacy."""
    base = replace(recipe.evaluate, data=str(data), seed=seed, protocol="unseen" if on else recipe.evaluate.protocol)
    rows = {
        RAW: replace(base, anonymizer="raw", deploy_keep_ratio=1.0),
        CONTROL: testing(base, recipe.init, runs.init),
        OURS: testing(base, recipe.adversarial, runs.adversarial),
    }
    return [
        make_request(runs.evaluation(label, on), replace(run, label=label), f"evaluate {label}{on and ' on '}{on}")
        for label, run in rows.items()
        if label in labels
    ]


def run_all(requests: Sequence[RunRequest], out: Path, workers: int, group: str) -> list[dict[str, Any]]:
    """Do the runs, tracked in `out`; returns the results of the evaluations among them."""
    launch_runs(requests, out, LaunchOptions(workers=workers, group=group))
    return [read_scores(request.folder) for request in requests if request.config["phase"] == "evaluate"]


def write_report(folder: Path, runs: Runs, data: Path, results: Sequence[dict[str, Any]]) -> list[Path]:
    """Write the tables and the strip of raw, sparsified and anonymized frames; returns the files."""
    model = load_anonymizer(runs.adversarial).eval()
    clips = ParquetClips(data, model.config.clip)
    chosen = [i * clips.test_size() // STRIP_CLIPS for i in range(STRIP_CLIPS)]
    raw = clips.test_clips(chosen)
    anonymized = model(raw)
    titles = [clips.action_names[clips.test[i].actions[0]].replace("_", " ") for i in chosen]
    strip = strip_figure(raw, raw, anonymized.video.detach(), anonymized.keep, titles=titles)
    files = write_tables(folder, results)
    save_figure(strip, folder / "strip.png", dpi=150)
    return [*files, folder / "strip.png"]
