"""What a run is: its configuration, and the anonymizer that a finished run left in its folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

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
    RecognizerConfig,
    TestViewsConfig,
    check_keep_ratio,
    check_released_quality,
)
from stprivacy.phases.objectives.heads import PAPERS_HEADS, PrivacyHead, check_heads
from stprivacy.phases.objectives.spact import SPActConfig
from stprivacy.phases.objectives.vita import VITAConfig
from stprivacy.plain import from_dict, to_dict
from stprivacy.run_files import CONFIG, DAMAGED, read_object
from stprivacy.storage import location

PhaseName = Literal["init", "adversarial", "evaluate"]
ProtocolName = Literal["known", "unseen", "frame-level", "fapder", "ospar"]
PROTOCOLS: Mapping[ProtocolName, str] = {
    "known": "STPrivacy is trained on the data set that it is tested on (Section 4.4, Table 1)",
    "unseen": "STPrivacy is trained on another data set than the one it is tested on (Section 4.4, Table 2)",
    "frame-level": "the private attributes of single frames, read by a 2D recognizer (Section 4.7, Table 3)",
    "fapder": "expressions as actions against five attributes of appearance (Section 4.8, Table 4)",
    "ospar": "several actions against objects and scenes, cMAP for all three (Section 4.8, Table 5)",
}


@dataclass(frozen=True)
class RunConfig:
    """All that decides the result of one phase; written to RUN/config.json.

    `data` is the ingested data set, `split` the number of its official split, from 1, and `from_run` the run whose
    anonymizer this one starts from or tests. Videos of the data set `exclude`, if any, are not trained on. `protocol`
    is that of an evaluation; frame-level trains its action recognizer on the data set `action_data`. `region` and
    `resize_mode` are options of rivals (see RivalOptions). `privacy_heads` are the adversaries that STPrivacy is
    trained against, or was; all but `standard` depart from the paper. With a `validation_share`, that part of the
    training videos decides which of the `attackers` counts for which attribute. `as_released` evaluates clips that have
    been through H.264 at the constant rate factor `released_quality`. `allow_older_weights` takes those of an earlier
    step of `from_run` where its final ones are damaged.
    """

    phase: PhaseName
    recipe: str
    data: str = ""
    exclude: str = ""
    from_run: str = ""
    allow_older_weights: bool = False
    protocol: ProtocolName = "known"
    action_data: str = ""
    label: str = ""
    seed: int = 0
    split: int = 1
    anonymizer: AnonymizerName = "stprivacy"
    region: Region = "boxes"
    resize_mode: ResizeMode = "bilinear"
    deploy_keep_ratio: float = 0.7
    whitened_components: int = 128
    f1_threshold: float = 0.5
    attackers: tuple[str, ...] = DEFAULT_ATTACKERS
    validation_share: float = 0.0
    as_released: bool = False
    released_quality: int = 23
    model: ModelConfig = field(default_factory=ModelConfig)
    recognizer: RecognizerConfig = field(default_factory=RecognizerConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    privacy_heads: tuple[PrivacyHead, ...] = PAPERS_HEADS
    vita: VITAConfig = field(default_factory=VITAConfig)
    spact: SPActConfig = field(default_factory=SPActConfig)
    train: PhaseConfig = field(default_factory=PhaseConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    views: TestViewsConfig = field(default_factory=TestViewsConfig)
    prefetch_batches: int = 0

    def __post_init__(self) -> None:
        check_anonymizer(self.anonymizer)
        self.rival()  # raises where an option is unknown
        check_keep_ratio(self.deploy_keep_ratio)
        if self.whitened_components < 1:
            raise ValueError(f"whitened_components must be positive, got {self.whitened_components}")
        if not 0 < self.f1_threshold < 1:
            raise ValueError(f"f1_threshold must be a probability in (0, 1), got {self.f1_threshold}")
        attacker_names(self.attackers)
        check_heads(self.privacy_heads)
        if self.phase == "adversarial" and self.anonymizer != "stprivacy" and self.privacy_heads != PAPERS_HEADS:
            raise ValueError(
                f"privacy_heads {', '.join(self.privacy_heads)} are adversaries of stprivacy: {self.anonymizer} has "
                "others, leave them out"
            )
        check_released_quality(self.released_quality)
        if not 0 <= self.validation_share < 1:
            raise ValueError(f"validation_share must be in [0, 1), got {self.validation_share}")
        if self.split < 1:
            raise ValueError(f"split must be 1 or more, got {self.split}")
        if self.prefetch_batches < 0:
            raise ValueError(f"prefetch_batches must not be negative, got {self.prefetch_batches}")

    def rival(self) -> RivalOptions:
        """What an anonymizer that is not trained leaves open."""
        return RivalOptions(self.region, self.resize_mode, self.seed)

    @property
    def needs_person(self) -> bool:
        """Whether the data must tell where persons are."""
        return self.phase == "evaluate" and needs_person(self.anonymizer, self.region)

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
        return (heads if self.defended else {}) | {
            "phase": self.phase,
            "recipe": self.recipe,
            "anonymizer": self.anonymizer,
            "label": self.label or self.row,
            "keep_ratio": self.model.keep_ratio,
            "deploy_keep_ratio": self.deploy_keep_ratio,
            "region": self.region,
            "lambda_action": self.losses.lambda_action,
            "lambda_privacy": self.losses.lambda_privacy,
            "tubelet_frames": self.model.clip.tubelet_frames,
            "seed": self.seed,
            "split": self.split,
        }


def make_request(folder: Path, run: RunConfig, name: str = "") -> RunRequest:
    """The order to do a run in a folder; its name is by default the phase's."""
    defaults = to_dict(RunConfig(run.phase, run.recipe))
    return RunRequest(folder, to_dict(run), name or run.phase, run.train.keep_checkpoints, defaults)


def read_config(folder: Path) -> RunConfig:
    """The configuration of the run in `folder`. Raises: ValueError: there is no run, or its settings are unknown."""
    path = folder / CONFIG
    values = read_object(path)
    if not values:
        raise ValueError(f"{folder} is not a run folder: it has no {CONFIG}. Give the --out of an earlier job")
    try:
        return from_dict(RunConfig, values)
    except ValueError as error:
        raise ValueError(f"{path} cannot be used ({error}): {DAMAGED}") from error


def check_source(run: RunConfig) -> None:
    """See whether the run that `run` starts from or tests has its anonymizer. Raises: ValueError: it has another."""
    if run.from_run:
        trained = read_config(location(run.from_run)).anonymizer
        if trained != run.anonymizer:
            raise ValueError(
                f"--anonymizer {run.anonymizer} does not fit --from {run.from_run}: that run trained {trained}"
            )


def with_anonymizer(run: RunConfig, name: AnonymizerName) -> RunConfig:
    """The run with another anonymizer. All but STPrivacy keep every tubelet and start from random weights."""
    if name == "stprivacy":
        return replace(run, anonymizer=name)
    model = replace(run.model, keep_ratio=1.0, pretrained="")
    return replace(run, anonymizer=name, model=model, deploy_keep_ratio=1.0)


def learned_name(run: RunConfig) -> LearnedName:
    """The anonymizer of a run that trains one. Raises: ValueError: it is one that is not trained."""
    if run.anonymizer in LEARNED:
        return run.anonymizer
    raise ValueError(f"anonymizer {run.anonymizer} is not trained: phases 1 and 2 take {', '.join(LEARNED)}")
