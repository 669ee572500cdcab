"""Finished evaluations below a folder, and which of them may stand in one chart."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from pipelines.compare.matrix import ROWS
from pipelines.compare.tables import needed_keys
from pipelines.runs.config import EvaluateRun, PhaseName, run_of
from pipelines.runs.folder import CONFIG, LAUNCH, RESULT, read_json
from pipelines.runs.protocols import PROTOCOLS
from stprivacy.plain import leaves, to_dict
from stprivacy.run_files import read_result

# Settings of an evaluation without which two results say nothing about each other ...
_SHARED = (
    "protocol", "split", "exclude", "attackers", "validation_share", "whitened_components", "f1_threshold",
    "recognizer", "train", "augment", "views",
)  # fmt: skip
# ... but for those that change how a result is reached, and not which.
_NEUTRAL = (
    "train.accumulate_steps", "train.checkpoint_every_steps", "train.keep_checkpoints", "train.recompute_activations",
    "train.compile", "train.anonymizer_rate_scale",
)  # fmt: skip
_OF_THE_DATA = ("protocol", "data set", "data fingerprint", "data set of actions")


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation: its settings, what result.json holds, and the name of its row."""

    folder: Path
    run: EvaluateRun
    result: Mapping[str, Any]
    label: str


@dataclass(frozen=True)
class LeftOut:
    """A run that is not in the report, and why."""

    folder: Path
    why: str


@dataclass(frozen=True)
class Section:
    """Evaluations that may be compared: the settings that all of them share, and a title that no other section has."""

    title: str
    settings: Mapping[str, str]
    evaluations: tuple[Evaluation, ...]

    @property
    def cells(self) -> list[dict[str, Any]]:
        """The results as the tables of a comparison take them."""
        return [{**x.result, "label": x.label, "protocol": x.run.protocol} for x in self.evaluations]

    @property
    def labels(self) -> list[str]:
        """The names of the rows, in order."""
        return list(dict.fromkeys(evaluation.label for evaluation in self.evaluations))

    @property
    def seeds(self) -> list[int]:
        """All seeds of its runs."""
        return sorted({evaluation.run.seed for evaluation in self.evaluations})

    @property
    def recipes(self) -> list[str]:
        """The recipes that its runs name."""
        return sorted({evaluation.run.recipe for evaluation in self.evaluations})

    def shown(self) -> list[Evaluation]:
        """One evaluation of each row, for pictures: of the first seed, at the keep ratio nearest to its own."""
        first: dict[str, Evaluation] = {}
        nearest_first = sorted(
            self.evaluations, key=lambda x: (x.run.seed, abs(x.run.deploy_keep_ratio - x.run.model.keep_ratio))
        )
        for evaluation in nearest_first:
            first.setdefault(evaluation.label, evaluation)
        return [first[label] for label in self.labels]

    def same_rows_elsewhere(self, other: "Section") -> bool:
        """Whether `other` tests the same rows under the same settings on other data."""
        mine, others = ({k: v for k, v in x.settings.items() if k not in _OF_THE_DATA} for x in (self, other))
        return mine == others and set(self.labels) <= set(other.labels)


def find_runs(folder: Path) -> tuple[list[Section], list[LeftOut]]:
    """What may be compared, section by section, and every run that is left out.

    Raises: ValueError: there is no such folder, or no finished evaluation below it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: give --runs the --out of jobs/compare.py or jobs/evaluate.py")
    found = [_read(path.parent) for path in sorted(folder.rglob(CONFIG))]
    left_out = [one for one in found if isinstance(one, LeftOut)]
    evaluations = [one for one in found if isinstance(one, Evaluation)]
    if not evaluations:
        reasons = "".join(f"; {one.folder}: {one.why}" for one in left_out[:3])
        raise ValueError(
            f"{folder} holds no finished evaluation: no folder below it has a {RESULT} beside a {CONFIG} of phase "
            f"evaluate ({len(left_out)} unfinished or unusable runs{reasons}). Run jobs/compare.py --data DIR --out "
            f"{folder}, or jobs/evaluate.py, to its end first"
        )
    return _titled(_separated(evaluations)), left_out


def _read(folder: Path) -> Evaluation | LeftOut | None:
    """The run in a folder; None for what is no run, or a finished one that is no evaluation."""
    try:
        settings = read_json(folder / CONFIG)
        if settings.get("phase") not in get_args(PhaseName):
            return None
        run, result = run_of(settings), read_result(folder)
    except (ValueError, OSError) as error:
        is_run = (folder / RESULT).exists() or (folder / LAUNCH).exists()
        return LeftOut(folder, f"unreadable: {error}") if is_run else None
    if not result:
        # Copies of config.json, such as those in MLflow's store, were never launched.
        return LeftOut(folder, f"{run.phase}, not finished") if (folder / LAUNCH).exists() else None
    if not isinstance(run, EvaluateRun):
        return None
    needed = (*needed_keys(), "dataset", "data_fingerprint", "attacker")
    missing = [key for key in needed if key not in result]
    if missing:
        return LeftOut(folder, f"protocol {run.protocol}: its result has no {missing[0]}, which the charts show")
    return Evaluation(folder, run, result, run.label or run.anonymizer)


def _separated(evaluations: Sequence[Evaluation]) -> list[list[Evaluation]]:
    """Groups of equal settings. Where a group has two results for one point, its folders become groups of their own."""
    groups: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        groups.setdefault(json.dumps(_settings(evaluation)), []).append(evaluation)
    parts: list[list[Evaluation]] = []
    for group in groups.values():
        roots: dict[Path, list[Evaluation]] = {}
        ambiguous = len({_point(evaluation) for evaluation in group}) < len(group)
        for evaluation in group if ambiguous else []:
            roots.setdefault(_root(evaluation), []).append(evaluation)
        parts += [_renamed(part) for part in roots.values()] or [group]
    return [_ordered(part) for part in parts]


def _settings(evaluation: Evaluation) -> dict[str, str]:
    """All that results must share to be compared, flat and readable."""
    run, result = evaluation.run, evaluation.result
    own = to_dict(run)
    about = {
        "data set": result["dataset"],
        "data fingerprint": result["data_fingerprint"],
        "data set of actions": result.get("action_dataset", "the same"),
        "as released": result.get("as_released", "no"),
        "clip": own["model"]["clip"],
    }
    return {
        name: ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        for name, value in leaves(about | {name: own[name] for name in _SHARED})
        if name not in _NEUTRAL
    }


def _point(evaluation: Evaluation) -> tuple[str, int, float]:
    return evaluation.label, evaluation.run.seed, evaluation.run.deploy_keep_ratio


def _root(evaluation: Evaluation) -> Path:
    """The folder of the comparison, or of the single jobs, that an evaluation belongs to."""
    row, seed = evaluation.folder.parent, evaluation.folder.parent.parent
    return seed.parent if (row.name, seed.name) == (evaluation.label, f"seed-{evaluation.run.seed}") else row


def _renamed(group: Sequence[Evaluation]) -> list[Evaluation]:
    """A second result for a point is a row of its own, named after its folder too."""
    seen: set[tuple[str, int, float]] = set()
    named = []
    for evaluation in group:
        again = _point(evaluation) in seen
        seen.add(_point(evaluation))
        label = f"{evaluation.label} ({evaluation.folder.name})" if again else evaluation.label
        named.append(replace(evaluation, label=label))
    return named


def _ordered(group: Sequence[Evaluation]) -> list[Evaluation]:
    """Rows in the order of a comparison, each from its largest keep ratio down."""
    order = {name: number for number, name in enumerate(ROWS)}
    return sorted(group, key=lambda x: (
        order.get(x.label, order[x.run.anonymizer]), x.label != x.run.anonymizer, x.label,
        -x.run.deploy_keep_ratio, x.run.seed,
    ))  # fmt: skip


def _titled(groups: Sequence[Sequence[Evaluation]]) -> list[Section]:
    """Sections with titles: the protocol and the data set, and what else tells two of them apart."""
    order = list(PROTOCOLS)
    groups = sorted(groups, key=lambda group: order.index(group[0].run.protocol))
    settings = [_settings(group[0]) for group in groups]
    sections: list[Section] = []
    for group, own in zip(groups, settings, strict=True):
        alike = [other for other in settings if _plain_title(other) == _plain_title(own)]
        apart = [name for name in own if len({other[name] for other in alike}) > 1]
        words = [_plain_title(own), *(f"{name.replace('_', ' ')} {own[name][:60]}" for name in apart)]
        if settings.count(own) > 1:
            words.append(f"in {_root(group[0])}")
        sections.append(Section("; ".join(words), own, tuple(group)))
    return sections


def _plain_title(settings: Mapping[str, str]) -> str:
    protocol = settings["protocol"]
    words = f"{protocol.capitalize()} actions" if protocol in ("known", "unseen") else f"Protocol {protocol}"
    released = "" if settings["as released"] == "no" else f", as released ({settings['as released']})"
    return f"{words}, {settings['data set']}{released}"
