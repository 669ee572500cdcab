"""A row of the paper's tables as one command: every phase that it needs, from ingested data to its scores."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from pipelines.cli.phases import Network, absolute_path, ingested_folder, print_result
from pipelines.data.index import read_description
from pipelines.locations import Location
from pipelines.recipes.named import RECIPES, describe_recipes
from pipelines.recipes.paper_tables import STRIDES, TABLE_ROWS
from pipelines.recipes.recipe import Recipe
from pipelines.runs.config import AnyRun, LaterRun, make_request, run_of
from pipelines.runs.folder import RunRequest
from pipelines.runs.plan import testing, training
from pipelines.runs.protocols import check_data
from pipelines.train.options import LaunchOptions, launch_runs
from stprivacy.anonymizers import LEARNED
from stprivacy.config import PhaseConfig, PixelScale
from stprivacy.storage import location, named_location


@dataclass(frozen=True)
class PaperOptions:
    """What a row leaves open; the rest is the paper's."""

    batch_size: int = 64  # clips in a step, over all workers
    accumulate_steps: int = 1  # parts that a worker's share of a batch is computed in, to save memory
    amp: bool = True  # bfloat16 autocast; slow on CPUs
    compile: bool = False  # torch.compile of the Transformer layers
    max_steps: int = 0  # end each phase after so many steps; 0: after the paper's epochs
    pretrained: str = "deit_small_patch16_224"  # ViT to start from: a timm name, a .safetensors file, '' for none
    pretrained_pixels: PixelScale = "imagenet"  # a file's mean and std: ImageNet's, as DeiT's, or .5 and .5
    seed: int = 0  # of weights, order of the clips, augmentation and mask noise
    split: int = 1  # official split of the data set, from 1

    def of(self, run: AnyRun) -> AnyRun:
        """A phase of the paper with these settings."""
        own = ("batch_size", "accumulate_steps", "amp", "compile", "max_steps")
        train: PhaseConfig = replace(run.train, **{name: getattr(self, name) for name in own})
        run = replace(run, train=train, seed=self.seed, split=self.split)
        if run.model.pretrained:  # rivals' networks start from nothing
            run = replace(run, model=self._started(run.model))
        return replace(run, recognizer=self._started(run.recognizer)) if isinstance(run, LaterRun) else run

    def _started(self, network: Network) -> Network:
        start = replace(network, pretrained=self.pretrained, pretrained_pixels=self.pretrained_pixels)
        return absolute_path(start)


def main() -> None:
    """Parse the command line, run the row's phases and print its scores."""
    if "--list" in sys.argv[1:]:
        print(describe_recipes())
        return
    print_result(tyro.cli(_run_row, description=__doc__))


def _run_row(
    row: Annotated[str, tyro.conf.Positional],
    data: Location,
    out: Location,
    train_data: Location | None = None,
    options: tyro.conf.OmitArgPrefixes[PaperOptions] = PaperOptions(),
    where: tyro.conf.OmitArgPrefixes[LaunchOptions] = LaunchOptions(),
) -> dict[str, Any]:
    """Run a row of the paper's tables; an interrupted one resumes.

    Args:
        row: its name; --list prints them all, with the exact command and the paper's values
        data: ingested data set that it is tested on
        out: folder of all rows: those that train alike share the runs
        train_data: ingested data set that the anonymizer, and in Table 3 the action recognizer, is trained on
        options: what a row leaves open
        where: what it runs on
    """
    out = named_location(out)
    return launch_runs(paper_runs(row, data, train_data, out, options), out, where)[-1]


def paper_runs(row: str, data: Path, train_data: Path | None, out: Path, options: PaperOptions) -> list[RunRequest]:
    """The runs of a row, the evaluation last.

    Raises: ValueError: no such row, or data that are not those of the row.
    """
    if row not in TABLE_ROWS:
        raise ValueError(f"there is no row {row!r}; there are: {', '.join(TABLE_ROWS)}")
    recipe = RECIPES[row]()
    tested = _check("--data", data, recipe.dataset, row)
    if recipe.train_dataset and train_data is None:
        raise ValueError(f"{row} needs --train-data: {recipe.train_dataset}, ingested")
    if train_data and not recipe.train_dataset:
        raise ValueError(f"{row} trains on --data alone: leave --train-data out")
    trained = _check("--train-data", train_data, recipe.train_dataset, row) if train_data else tested
    by_frames = recipe.evaluate.protocol == "frame-level"
    test = replace(options.of(recipe.evaluate), data=tested, action_data=trained if by_frames else "")
    check_data(test)
    learned = test.anonymizer in LEARNED
    before = _training(recipe, trained, tested if by_frames else "", out, options) if learned else []
    if before:
        test = testing(test, run_of(before[-1].config), before[-1].folder)
    return [*before, make_request(out / row, test, f"evaluate {row}")]


def _training(recipe: Recipe, data: str, exclude: str, out: Path, options: PaperOptions) -> list[RunRequest]:
    """Phases 1 and 2, the same for all rows that train on the same videos."""
    folder = out / "-".join(
        [recipe.init.anonymizer, Path(data).name, *(["without", Path(exclude).name] if exclude else [])]
    )
    runs = options.of(recipe.init), options.of(recipe.adversarial)
    return [*training(*runs, folder / "init", folder / "adversarial", recipe="paper", data=data, exclude=exclude)]


def _check(option: str, folder: Path, dataset: str, row: str) -> str:
    """The whole path of an ingested data set that is the row's."""
    path, stride = ingested_folder(folder), STRIDES[dataset]
    found = read_description(location(path))
    if (found.dataset, found.stride) != (dataset, stride):
        raise ValueError(
            f"{row} takes {dataset} ingested with --stride {stride} as {option}; {path} is {found.dataset}, stride "
            f"{found.stride}"
        )
    return path
