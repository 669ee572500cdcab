"""The command lines of the three phases: options from the recipe's configuration, one run, its result printed."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import field, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from pipelines.locations import Location
from pipelines.recipes.named import RECIPES, describe_recipes
from pipelines.runs.config import (
    AdversarialRun,
    EvaluateRun,
    InitRun,
    LaterRun,
    PhaseName,
    RunBase,
    check_source,
    make_request,
    read_config,
    with_anonymizer,
)
from pipelines.runs.plan import testing
from pipelines.runs.protocols import check_protocol
from pipelines.train.options import LaunchOptions, launch_runs
from stprivacy.anonymizers import LEARNED
from stprivacy.attackers import attacker_names
from stprivacy.config import ModelConfig, RecognizerConfig
from stprivacy.storage import location, named_location

Network = TypeVar("Network", ModelConfig, RecognizerConfig)


def phase_command(phase: PhaseName, description: str | None) -> None:
    """Parse the command line of a phase, run it and print its result.

    `--list` prints the recipes instead. Errors are for `pipelines.cli.run` to report.
    """
    if "--list" in sys.argv[1:]:
        print(describe_recipes())
        return
    arguments = _parse(_base(phase), description)
    out = named_location(arguments.out)
    (result,) = launch_runs([make_request(out, _checked(arguments.run))], out.parent, arguments.where)
    print_result(result)
    print(f"\n{arguments.out}: result.json, checkpoints, metrics.jsonl")


def _base(phase: PhaseName) -> RunBase:
    """The recipe's configuration of the phase, with the model of the run that --from names."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--recipe", choices=sorted(RECIPES))
    early.add_argument("--from", dest="from_run")
    known, _ = early.parse_known_args()
    if known.from_run is None:
        return RECIPES[known.recipe or "demo"]().of(phase)
    from_run = named_location(location(known.from_run))
    source = read_config(from_run)
    base = RECIPES[known.recipe or source.recipe]().of(phase)
    base = replace(base, split=source.split)  # another one's training part may hold this one's test videos
    if isinstance(base, EvaluateRun):
        return testing(base, source, from_run)
    base = replace(base, model=source.model, anonymizer=source.anonymizer)
    return replace(base, from_run=str(from_run), exclude=source.exclude) if isinstance(base, LaterRun) else base


def _parse(base: RunBase, description: str | None) -> Any:
    arguments = make_dataclass(
        "Arguments",
        [
            ("out", Annotated[Location, tyro.conf.arg(help="folder of the run; a run that is there is continued")]),
            (
                "recipe",
                Annotated[str, tyro.conf.arg(help="demo, paper, or another; --list prints them all")],
                field(default=base.recipe),
            ),
            ("where", Annotated[LaunchOptions, tyro.conf.arg(name="")], field(default=LaunchOptions())),
            ("run", Annotated[type(base), tyro.conf.arg(name="")], field(default=replace(base, data=tyro.MISSING))),
        ],
    )
    return tyro.cli(arguments, description=description, config=(tyro.conf.SuppressFixed,))


def _checked(run: RunBase) -> RunBase:
    """The run as it is started: whole paths, known names, and nothing that would stop its workers."""
    folders = {name: getattr(run, name, "") for name in ("data", "exclude", "action_data")}
    whole: dict[str, Any] = {name: ingested_folder(location(folder)) for name, folder in folders.items() if folder}
    run = replace(run, **whole)
    run = replace(run, model=absolute_path(run.model))
    if isinstance(run, LaterRun):
        run = replace(run, recognizer=absolute_path(run.recognizer))
    if isinstance(run, AdversarialRun) and not run.from_run:
        raise ValueError("--from is missing: the folder of an init run, from which the anonymizer starts")
    if isinstance(run, InitRun):
        return with_anonymizer(run, run.anonymizer)
    if isinstance(run, EvaluateRun):
        _check_named(run)
        run = replace(run, attackers=attacker_names(run.attackers))
    check_source(run)
    if isinstance(run, EvaluateRun):
        check_protocol(run)
    return run


def _check_named(run: EvaluateRun) -> None:
    if run.anonymizer in LEARNED and not run.from_run:
        raise ValueError(f"--anonymizer {run.anonymizer} needs --from: the folder of its run. No transformation: raw")
    if run.anonymizer not in LEARNED and run.from_run:
        raise ValueError(f"--anonymizer {run.anonymizer} is not trained: leave --from out")


def ingested_folder(folder: Path) -> str:
    """The whole path, or the URI, of an ingested data set. Raises: ValueError: it is none."""
    folder = named_location(folder)
    if not (folder / "dataset.json").is_file():
        raise ValueError(f"{folder} is not an ingested data set: it has no dataset.json. Run jobs/ingest.py first")
    return str(folder)


def absolute_path(config: Network) -> Network:
    """The settings with the whole path of a pretrained file: workers may run in another folder."""
    file = Path(config.pretrained)
    return replace(config, pretrained=str(file.resolve())) if file.is_file() else config


def print_result(result: Mapping[str, Any]) -> None:
    """Print the content of a result.json."""
    for name, value in result.items():
        print(f"{name:<44} {value:.4g}" if isinstance(value, float) else f"{name:<44} {value}")
