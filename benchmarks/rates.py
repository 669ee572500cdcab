"""Which learning rate of phase 2 suits each learned anonymizer: the same search for all, on videos of its own.

python -m benchmarks.rates --out DIR: data of another seed than any comparison's, in which the test videos serve as
validation; every anonymizer is trained at every rate (`anonymizer_rate_scale`, a factor on the recognizers' rate), and
that with the largest hypervolume against raw under the strongest attacker wins. Interrupted, the same command goes on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tyro

from benchmarks.machine import machine_line
from pipelines.cli.demo import prepare_data
from pipelines.compare.matrix import Comparison
from pipelines.compare.tables import hypervolumes
from pipelines.data.datasets.synth.settings import SynthSettings
from pipelines.progress import Progress
from pipelines.recipes.named import RECIPES
from pipelines.recipes.recipe import Recipe
from pipelines.runs.config import make_request
from pipelines.runs.folder import RunRequest
from pipelines.train.options import LaunchOptions, launch_runs
from stprivacy.anonymizers import LearnedName

ATTACKERS = ("standard", "whitened", "pooled", "mask", "frame-mean")


def main(
    out: Path,
    anonymizers: tuple[LearnedName, ...] = ("vita", "spact", "stprivacy"),
    scales: tuple[float, ...] = (0.004, 0.02, 0.1, 0.5),
    train_videos: int = 1200,
    test_videos: int = 400,
    data_seed: int = 100,
    parallel: int = 1,
    where: tyro.conf.OmitArgPrefixes[LaunchOptions] = LaunchOptions(),
) -> None:
    """Run the search and print its table.

    Args:
        out: folder for data and runs
        anonymizers: learned ones
        scales: factors on the recognizers' learning rate
        train_videos: generated videos to train on
        test_videos: generated videos to choose by
        data_seed: of the generated videos
        parallel: anonymizers at a time, each on workers of its own
        where: what it runs on
    """
    out, recipe = out.resolve(), RECIPES["demo"]()
    with Progress() as progress:
        settings = SynthSettings("a", train_videos, test_videos, data_seed)
        data = prepare_data(out, settings, recipe, where.workers, progress)
    requests = [_evaluation(recipe, data, out / "raw", "raw")]
    for name in anonymizers:
        requests += _search(recipe, data, out / name, name, scales)
    results = [x for x in launch_runs(requests, out, where, parallel) if x["phase"] == "evaluate"]
    print(machine_line("torch", "ray"))
    print("\n" + table(results))


def _search(
    recipe: Recipe, data: Path, folder: Path, name: LearnedName, scales: Sequence[float]
) -> Iterator[RunRequest]:
    """One initialisation, and training and evaluation at every rate."""
    for scale in scales:
        own = replace(recipe, rate_scales={name: scale}).training(name)
        if scale == scales[0]:
            yield make_request(folder / "init", replace(own.init, data=str(data)), f"init {name}")
        run = replace(own.adversarial, data=str(data), from_run=str(folder / "init"))
        trained = folder / f"rate-{scale:g}"
        yield make_request(trained, run, f"adversarial {name}, rate {scale:g}")
        yield _evaluation(own, data, trained.with_name(f"{trained.name}-evaluate"), f"{name}, {scale:g}", trained)


def _evaluation(recipe: Recipe, data: Path, folder: Path, label: str, trained: Path | None = None) -> RunRequest:
    test = replace(
        recipe.evaluate, data=str(data), label=label, attackers=ATTACKERS, validation_share=Comparison.validation_share
    )
    if trained:
        test = replace(test, from_run=str(trained), deploy_keep_ratio=recipe.init.model.keep_ratio)
    else:
        test = replace(test, anonymizer="raw", deploy_keep_ratio=1.0)
    return make_request(folder, test, f"evaluate {label}")


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """The scores at every rate as Markdown."""
    volumes = hypervolumes(results)
    lines = ["| anonymizer, rate | top-1 % | cMAP % strongest | hypervolume |", "|---|---:|---:|---:|"]
    lines += [
        f"| {x['label']} | {x['action_top1']:.1f} | {x['privacy_cmap']:.1f} | {volumes[x['label']][0]:.3f} |"
        for x in results
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.cli(main)
