"""The command lines of the three phases: options from the recipe's configuration, one run, its result printed."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from pipelines.locations import Location
from pipelines.recipes.named import RECIPES, describe_recipes
from pipelines.runs.config import (
    PhaseName,
    ProtocolName,
    RunConfig,
    check_source,
    make_request,
    read_config,
    with_anonymizer,
)
from pipelines.runs.protocols import check_protocol
from pipelines.train.options import LaunchOptions, launch_runs
from stprivacy.anonymizers import LEARNED, AnonymizerName, LearnedName, Region, ResizeMode
from stprivacy.attackers import attacker_names
from stprivacy.config import (
    AugmentConfig,
    LossConfig,
    ModelConfig,
    PhaseConfig,
    PrivacyLossForm,
    RecognizerConfig,
    TestViewsConfig,
)
from stprivacy.phases.objectives.heads import PrivacyHead
from stprivacy.phases.objectives.spact import SPActConfig
from stprivacy.phases.objectives.vita import VITAConfig
from stprivacy.storage import location, named_location


@dataclass(frozen=True)
class InitOptions:
    """What decides an initialised network. VITA and SPAct keep every tubelet, and learn reconstruction here."""

    anonymizer: LearnedName
    model: ModelConfig
    train: PhaseConfig
    augment: AugmentConfig
    lambda_sparsification: float  # weight of L_Spars; the paper's is 1
    lambda_reconstruction: float  # weight of a masked reconstruction; the paper has none
    seed: int  # of the weights, the order of the clips, their augmentation and the mask noise
    split: int  # official split of the data set, from 1
    exclude: str  # ingested data set whose videos are not trained on, for protocol frame-level; by default none
    prefetch_batches: int  # batches read ahead by one thread


@dataclass(frozen=True)
class AdversarialOptions:
    """What decides an anonymizer, besides the network it starts from, whose --from run also names it."""

    vita: VITAConfig
    spact: SPActConfig
    recognizer: RecognizerConfig
    train: PhaseConfig
    augment: AugmentConfig
    lambda_sparsification: float  # weight of L_Spars; the paper's is 1
    lambda_action: float  # weight of L_Action in Eq 13
    lambda_privacy: float  # weight of L_Privacy in Eq 13; VITA's gamma
    privacy_objective: PrivacyLossForm  # linear is the paper's; bounded caps each term at log 2
    privacy_heads: tuple[PrivacyHead, ...]  # STPrivacy's adversaries; the paper has standard alone; --list explains
    seed: int  # of the recognizers' weights, the order of the clips, their augmentation and the mask noise
    split: int  # official split of the data set, from 1
    exclude: str  # ingested data set whose videos are not trained on; by default that of the init run
    allow_older_weights: bool  # of the --from run, where its final checkpoint is damaged and an earlier one is not
    prefetch_batches: int  # batches read ahead by one thread


@dataclass(frozen=True)
class EvaluateOptions:
    """What decides an evaluation, besides the anonymizer."""

    anonymizer: AnonymizerName  # --list tells what each does; by default that of the --from run
    region: Region  # what blackening and blurs obscure: person boxes, which the data set must have, or the whole frame
    resize_mode: ResizeMode  # of downsampling, down and back up
    protocol: ProtocolName  # --list tells what each takes
    action_data: str  # frame-level: ingested data set that the action recognizer is trained on (HMDB51)
    recognizer: RecognizerConfig
    train: PhaseConfig
    augment: AugmentConfig
    views: TestViewsConfig
    deploy_keep_ratio: float  # share of tubelets kept by each stage at deployment; by default the trained one
    allow_older_weights: bool  # of the --from run, where its final checkpoint is damaged and an earlier one is not
    whitened_components: int  # principal components that the whitened attacker sees
    f1_threshold: float  # probability from which an attribute counts as read; public code's raw logit of .5 is .622
    attackers: tuple[str, ...]  # recognizers of private attributes, side by side; all for every one --list names
    validation_share: float  # part of the training videos that chooses the attacker of each attribute; 0: highest cMAP
    as_released: bool  # evaluate 8-bit frames that have been through H.264, not the network's own output
    released_quality: int  # constant rate factor of that H.264, 0 (best) to 51
    label: str  # name of the row in tables; by default the anonymizer's, with -defended after other privacy heads
    seed: int  # of the recognizers' weights, the order of the clips and their augmentation
    split: int  # official split of the data set, from 1
    prefetch_batches: int  # batches read ahead by one thread


OPTIONS: dict[PhaseName, Any] = {
    "init": InitOptions,
    "adversarial": AdversarialOptions,
    "evaluate": EvaluateOptions,
}
Network = TypeVar("Network", ModelConfig, RecognizerConfig)
_LOSS_FIELDS = {f.name for f in fields(LossConfig)}


def phase_command(phase: PhaseName, description: str | None) -> None:
    """Parse the command line of a phase, run it and print its result.

    `--list` prints the recipes instead. Errors are for `pipelines.cli.run` to report.
    """
    if "--list" in sys.argv[1:]:
        print(describe_recipes())
        return
    base = _base(phase)
    arguments = _parse(phase, base, description)
    out = named_location(arguments.out)
    (result,) = launch_runs([make_request(out, _configured(base, arguments))], out.parent, arguments.where)
    print_result(result)
    print(f"\n{arguments.out}: result.json, checkpoints, metrics.jsonl")


def _base(phase: PhaseName) -> RunConfig:
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
    return replace(
        base,
        from_run=str(from_run),
        split=source.split,  # another one's training part may hold this one's test videos
        exclude=source.exclude if phase == "adversarial" else "",
        model=source.model,
        anonymizer=source.anonymizer,
        losses=source.losses if phase == "evaluate" else base.losses,
        privacy_heads=source.privacy_heads if phase == "evaluate" else base.privacy_heads,
        deploy_keep_ratio=source.model.keep_ratio,
    )


def _parse(phase: PhaseName, base: RunConfig, description: str | None) -> Any:
    values = {**{f.name: getattr(base, f.name) for f in fields(base)}, **vars(base.losses)}
    options = OPTIONS[phase](**{f.name: values[f.name] for f in fields(OPTIONS[phase])})
    source: Any = Annotated[
        Location | None, tyro.conf.arg(name="from", help="folder of the run whose anonymizer to start from or to test")
    ]
    arguments = make_dataclass(
        "Arguments",
        [
            ("data", Annotated[Location, tyro.conf.arg(help="ingested data set")]),
            ("out", Annotated[Location, tyro.conf.arg(help="folder of the run; a run that is there is continued")]),
            *([] if phase == "init" else [("from_run", source, field(default=None))]),
            (
                "recipe",
                Annotated[str, tyro.conf.arg(help="demo, paper, or another; --list prints them all")],
                field(default=base.recipe),
            ),
            ("where", Annotated[LaunchOptions, tyro.conf.arg(name="")], field(default=LaunchOptions())),
            ("options", Annotated[OPTIONS[phase], tyro.conf.arg(name="")], field(default=options)),
        ],
    )
    return tyro.cli(arguments, description=description)


def _configured(base: RunConfig, arguments: Any) -> RunConfig:
    data = ingested_folder(arguments.data)
    if base.phase == "adversarial" and not base.from_run:
        raise ValueError("--from is missing: the folder of an init run, from which the anonymizer starts")
    chosen = {f.name: getattr(arguments.options, f.name) for f in fields(arguments.options)}
    losses = replace(base.losses, **{name: chosen.pop(name) for name in _LOSS_FIELDS & set(chosen)})
    others = {name: ingested_folder(location(chosen[name])) for name in ("exclude", "action_data") if chosen.get(name)}
    if "attackers" in chosen:
        chosen["attackers"] = attacker_names(chosen["attackers"])
    run = replace(base, data=data, losses=losses, **(chosen | others))
    run = replace(run, model=absolute_path(run.model), recognizer=absolute_path(run.recognizer))
    if run.phase == "init":
        return with_anonymizer(run, run.anonymizer)
    if run.anonymizer in LEARNED and not run.from_run:
        raise ValueError(f"--anonymizer {run.anonymizer} needs --from: the folder of its run. No transformation: raw")
    if run.anonymizer not in LEARNED and run.from_run:
        raise ValueError(f"--anonymizer {run.anonymizer} is not trained: leave --from out")
    _check(run)
    return run


def _check(run: RunConfig) -> None:
    """Find out before workers start what would stop them. Raises: ValueError: something would."""
    check_source(run)
    if run.phase == "evaluate":
        check_protocol(run)


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
