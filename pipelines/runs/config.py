"""What a run is: the configuration of each phase."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pipelines.locations import Fixed, arg
from pipelines.runs.folder import RunRequest
from stprivacy.anonymizers import (
    LEARNED,
    AnonymizerName,
    LearnedName,
    Region,
    ResizeMode,
    RivalOptions,
    check_anonymizer,
    needs_person,
)
from stprivacy.attackers import DEFAULT_ATTACKERS, attacker_names
from stprivacy.config import (
    AugmentConfig,
    LossConfig,
    ModelConfig,
    PhaseConfig,
    PrivacyLossForm,
    RecognizerConfig,
    TestViewsConfig,
    check_keep_ratio,
    check_released_quality,
)
from stprivacy.phases.objectives.heads import PAPERS_HEADS, PrivacyHead, check_heads
from stprivacy.phases.objectives.spact import SPActConfig
from stprivacy.phases.objectives.vita import VITAConfig
from stprivacy.plain import from_dict, shown, to_dict
from stprivacy.run_files import CONFIG, DAMAGED, read_object
from stprivacy.storage import location

Folder = Annotated[str, arg(metavar="PATH|URI")]  # or the URI of an object store
PhaseName = Literal["init", "adversarial", "evaluate"]
Run = TypeVar("Run", bound="RunBase")
AnyRun = TypeVar("AnyRun", bound="RunBase")
ProtocolName = Literal["known", "unseen", "frame-level", "fapder", "ospar"]


@dataclass(frozen=True)
class InitLosses(LossConfig):
    """Those of phase 1, which knows neither Eq 12 nor Eq 13."""

    lambda_action: Fixed[float] = 0.5
    lambda_privacy: Fixed[float] = 0.5
    privacy_objective: Fixed[PrivacyLossForm] = "linear"


@dataclass(frozen=True)
class AdversarialLosses(LossConfig):
    """Those of phase 2, which reconstructs nothing."""

    lambda_reconstruction: Fixed[float] = 0.0


@dataclass(frozen=True, kw_only=True)
class RunBase:
    """What decides the result of any phase; written to RUN/config.json.

    Each setting is declared once, here or in the phase that it belongs to, and command lines are read from these
    classes: the comment behind a setting is its help, and what a phase takes over from elsewhere is `Fixed`.
    """

    phase: Fixed[PhaseName]
    recipe: Fixed[str]
    data: Folder = ""  # ingested data set
    seed: int = 0  # of the weights, the order of the clips, their augmentation and the noise of masks
    split: int = 1  # official split of the data set, from 1
    exclude: Folder = ""  # ingested data set whose videos are not trained on, for protocol frame-level; by default none
    anonymizer: AnonymizerName = "stprivacy"  # --list explains
    model: ModelConfig = field(default_factory=ModelConfig)
    losses: Annotated[LossConfig, arg(name="")] = field(default_factory=LossConfig)
    train: PhaseConfig = field(default_factory=PhaseConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    prefetch_batches: int = 0  # batches read ahead by one thread

    def __post_init__(self) -> None:
        check_anonymizer(self.anonymizer)
        if self.split < 1:
            raise ValueError(f"split must be 1 or more, got {self.split}")
        if self.prefetch_batches < 0:
            raise ValueError(f"prefetch_batches must not be negative, got {self.prefetch_batches}")

    @property
    def row(self) -> str:
        """What tables call the anonymizer where nothing else was said."""
        return self.anonymizer

    def to(self, phase: type[Run], **settings: Any) -> Run:
        """A run of another phase with the settings that both have, and those given."""
        own = {f.name for f in fields(phase)} - {"phase"}
        shared = {name: value for name, value in to_dict(self).items() if name in own}
        return replace(from_dict(phase, shared), **settings)

    def parameters(self) -> dict[str, str | float]:
        """The flat parameters that MLflow and result.json show."""
        return {
            "phase": self.phase,
            "recipe": self.recipe,
            "anonymizer": self.anonymizer,
            "label": self.row,
            "keep_ratio": self.model.keep_ratio,
            "deploy_keep_ratio": self.model.keep_ratio,
            "lambda_action": self.losses.lambda_action,
            "lambda_privacy": self.losses.lambda_privacy,
            "tubelet_frames": self.model.clip.tubelet_frames,
            "seed": self.seed,
            "split": self.split,
        }


def _check_learned(anonymizer: str) -> None:
    if anonymizer not in LEARNED:
        raise ValueError(f"anonymizer {anonymizer} is not trained: phases 1 and 2 take {', '.join(LEARNED)}")


@dataclass(frozen=True, kw_only=True)
class InitRun(RunBase):
    """Phase 1: an initialised network. VITA and SPAct keep every tubelet, and learn reconstruction here."""

    phase: Fixed[Literal["init"]] = "init"
    anonymizer: LearnedName = "stprivacy"
    losses: Annotated[InitLosses, arg(name="")] = field(default_factory=InitLosses)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_learned(self.anonymizer)


@dataclass(frozen=True, kw_only=True)
class LaterRun(RunBase):
    """A phase that starts from the network of another run, whose settings `model` are, and trains recognizers."""

    from_run: Annotated[Folder, arg(name="from")] = ""  # run whose anonymizer to start from or to test
    allow_older_weights: bool = False  # of the --from run, where its final checkpoint is damaged, an earlier one not
    model: Fixed[ModelConfig] = field(default_factory=ModelConfig)
    recognizer: RecognizerConfig = field(default_factory=RecognizerConfig)
    privacy_heads: tuple[PrivacyHead, ...] = PAPERS_HEADS  # adversaries of STPrivacy; --list explains each
    whitened_components: int = 128  # principal components that the whitened attacker and adversary see

    def __post_init__(self) -> None:
        super().__post_init__()
        check_heads(self.privacy_heads)
        if self.whitened_components < 1:
            raise ValueError(f"whitened_components must be positive, got {self.whitened_components}")

    @property
    def defended(self) -> bool:
        """Whether STPrivacy is trained, or was, against other adversaries than the paper's."""
        return self.anonymizer == "stprivacy" and self.privacy_heads != PAPERS_HEADS

    @property
    def row(self) -> str:
        """What tables call the anonymizer where nothing else was said."""
        return f"{self.anonymizer}-defended" if self.defended else self.anonymizer

    def parameters(self) -> dict[str, str | float]:
        """The flat parameters that MLflow and result.json show."""
        heads: dict[str, str | float] = {"privacy_heads": ", ".join(self.privacy_heads)}
        return super().parameters() | (heads if self.defended else {})


@dataclass(frozen=True, kw_only=True)
class AdversarialRun(LaterRun):
    """Phase 2: an anonymizer, trained against recognizers (Eqs 12 and 13) from where its --from run left it."""

    phase: Fixed[Literal["adversarial"]] = "adversarial"
    anonymizer: Fixed[LearnedName] = "stprivacy"
    losses: Annotated[AdversarialLosses, arg(name="")] = field(default_factory=AdversarialLosses)
    vita: VITAConfig = field(default_factory=VITAConfig)
    spact: SPActConfig = field(default_factory=SPActConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_learned(self.anonymizer)
        if self.anonymizer != "stprivacy" and self.privacy_heads != PAPERS_HEADS:
            raise ValueError(
                f"privacy_heads {', '.join(self.privacy_heads)} are adversaries of stprivacy: {self.anonymizer} has "
                "others, leave them out"
            )


@dataclass(frozen=True, kw_only=True)
class EvaluateRun(LaterRun):
    """Phase 3: recognizers trained from scratch on transformed clips, and what they read from those of test videos.

    What the tested anonymizer was trained with, `losses` and `privacy_heads`, stands beside its scores.
    """

    phase: Fixed[Literal["evaluate"]] = "evaluate"
    exclude: Fixed[str] = ""
    losses: Fixed[LossConfig] = field(default_factory=LossConfig)
    privacy_heads: Fixed[tuple[PrivacyHead, ...]] = PAPERS_HEADS
    region: Region = "boxes"  # what blackening and blurs obscure: person boxes, which the data must have, or the frame
    resize_mode: ResizeMode = "bilinear"  # of downsampling, down and back up
    protocol: ProtocolName = "known"  # --list explains what each takes
    action_data: Folder = ""  # frame-level: ingested data set that the action recognizer is trained on (HMDB51)
    deploy_keep_ratio: float = 0.7  # tubelets kept by each stage at deployment; by default as in training
    views: TestViewsConfig = field(default_factory=TestViewsConfig)
    f1_threshold: float = 0.5  # probability from which an attribute counts as read; public code's raw .5 is .622
    attackers: tuple[str, ...] = DEFAULT_ATTACKERS  # recognizers of private attributes; all for every one --list names
    validation_share: float = 0.0  # part of the training videos that chooses each attribute's attacker; 0: best cMAP
    as_released: bool = False  # evaluate 8-bit frames that have been through H.264, not the network's own output
    released_quality: int = 23  # constant rate factor of that H.264, 0 (best) to 51
    label: str = ""  # name of the row in tables; by default the anonymizer's, with -defended after other privacy heads

    def __post_init__(self) -> None:
        super().__post_init__()
        self.rival()  # raises where an option is unknown
        check_keep_ratio(self.deploy_keep_ratio)
        if not 0 < self.f1_threshold < 1:
            raise ValueError(f"f1_threshold must be a probability in (0, 1), got {self.f1_threshold}")
        attacker_names(self.attackers)
        check_released_quality(self.released_quality)
        if not 0 <= self.validation_share < 1:
            raise ValueError(f"validation_share must be in [0, 1), got {self.validation_share}")

    def rival(self) -> RivalOptions:
        """What an anonymizer that is not trained leaves open."""
        return RivalOptions(self.region, self.resize_mode, self.seed)

    @property
    def needs_person(self) -> bool:
        """Whether the data must tell where persons are."""
        return needs_person(self.anonymizer, self.region)

    def parameters(self) -> dict[str, str | float]:
        """The flat parameters that MLflow and result.json show."""
        label = self.label or self.row
        return super().parameters() | {
            "label": label, "deploy_keep_ratio": self.deploy_keep_ratio, "region": self.region
        }  # fmt: skip


PHASES: Mapping[PhaseName, type[RunBase]] = {"init": InitRun, "adversarial": AdversarialRun, "evaluate": EvaluateRun}
SETTINGS = frozenset(f.name for phase in PHASES.values() for f in fields(phase))


def run_of(values: Mapping[str, Any]) -> RunBase:
    """The run that a config.json describes. Raises: ValueError: an unknown phase or setting, or a bad value.

    Files of earlier versions hold the settings of all phases: those of others are left out.
    """
    cls = PHASES.get(values.get("phase", ""))
    if cls is None:
        raise ValueError(f"phase must be one of {', '.join(PHASES)}, got {shown(values.get('phase'))}")
    own = {f.name for f in fields(cls)}
    return from_dict(cls, {name: value for name, value in values.items() if name in own or name not in SETTINGS})


def make_request(folder: Path, run: RunBase, name: str = "") -> RunRequest:
    """The order to do a run in a folder; its name is by default the phase's."""
    defaults = to_dict(type(run)(phase=run.phase, recipe=run.recipe))
    return RunRequest(folder, to_dict(run), name or run.phase, run.train.keep_checkpoints, defaults)


def read_config(folder: Path) -> RunBase:
    """The configuration of the run in `folder`. Raises: ValueError: there is no run, or its settings are unknown."""
    path = folder / CONFIG
    values = read_object(path)
    if not values:
        raise ValueError(f"{folder} is not a run folder: it has no {CONFIG}. Give the --out of an earlier job")
    try:
        return run_of(values)
    except ValueError as error:
        raise ValueError(f"{path} cannot be used ({error}): {DAMAGED}") from error


def check_source(run: RunBase) -> None:
    """Check that the run which `run` starts from or tests has its anonymizer. Raises: ValueError: it has another."""
    if isinstance(run, LaterRun) and run.from_run:
        trained = read_config(location(run.from_run)).anonymizer
        if trained != run.anonymizer:
            raise ValueError(
                f"--anonymizer {run.anonymizer} does not fit --from {run.from_run}: that run trained {trained}"
            )


def with_anonymizer(run: AnyRun, name: AnonymizerName) -> AnyRun:
    """The run with another anonymizer. All but STPrivacy keep every tubelet and start from random weights."""
    if name == "stprivacy":
        return replace(run, anonymizer=name)
    changed = replace(run, anonymizer=name, model=replace(run.model, keep_ratio=1.0, pretrained=""))
    return replace(changed, deploy_keep_ratio=1.0) if isinstance(changed, EvaluateRun) else changed
