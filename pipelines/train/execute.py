"""One run on one worker: from its configuration to its result."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pipelines.data.index import VideoIndex
from pipelines.data.reader import ParquetClips
from pipelines.protocols import attribute_groups, check_protocol
from pipelines.runs import PhaseName, RunConfig, check_source, learned_name, load_anonymizer
from pipelines.train.objectives import make_objective
from pipelines.train.start import pretrain
from stprivacy.anonymizers import ANONYMIZERS, LEARNED, Anonymizer, FrameAnonymizer
from stprivacy.checkpoint import CheckpointStore
from stprivacy.config import from_dict
from stprivacy.models.frame_recognizer import FrameRecognizer, frame_clip
from stprivacy.models.recognizer import Recognizer
from stprivacy.models.whitening import WhitenedEmbedding
from stprivacy.noise import derived_seed
from stprivacy.phases.adversarial import adversarial
from stprivacy.phases.context import PhaseContext
from stprivacy.phases.evaluate import evaluate, evaluate_apart
from stprivacy.phases.initialize import initialize
from stprivacy.phases.loop import Training
from stprivacy.phases.predictions import Scoring
from stprivacy.phases.reconstruct import reconstruct

Result = dict[str, float | str]


def execute(config: dict[str, Any], folder: Path, context: PhaseContext, store: CheckpointStore) -> Result:
    """Run the phase that `config` describes; gives back what belongs into result.json, the same on every worker."""
    run = from_dict(RunConfig, config)
    check_source(run)
    data = _open(run, Path(run.data), context)
    # New weights are drawn from torch's own generator: the same ones on every worker and on every restart.
    torch.manual_seed(derived_seed(run.seed, run.phase, "weights"))
    scores = _PHASES[run.phase](run, Training(data, run.train, context, store, run.seed))
    about = {"dataset": data.index.description.dataset, "data_fingerprint": data.fingerprint}
    return run.parameters() | about | {"world_size": context.world_size} | scores


def _open(run: RunConfig, folder: Path, context: PhaseContext, **options: Any) -> ParquetClips:
    """A data set as the run reads it on this worker."""
    if run.exclude:
        options["left_out"] = _video_ids(Path(run.exclude))
    return ParquetClips(
        folder,
        run.model.clip,
        run.augment,
        run.views,
        seed=run.seed,
        rank=context.rank,
        world_size=context.world_size,
        prefetch_batches=run.prefetch_batches,
        split=run.split,
        **options,
    )


def _video_ids(folder: Path) -> frozenset[str]:
    return frozenset(row.video_id for row in VideoIndex(folder).rows)


def _initialize(run: RunConfig, training: Training) -> Result:
    model = LEARNED[learned_name(run)](run.model)
    if isinstance(model, FrameAnonymizer):
        return dict(reconstruct(model, training))
    pretrain({"anonymizer": model}, run.model, training)
    return dict(initialize(model, run.losses, training))


def _adversarial(run: RunConfig, training: Training) -> Result:
    model = load_anonymizer(Path(run.from_run))
    action = Recognizer(run.recognizer, run.model.clip, len(training.data.action_names))
    pretrain({"action_recognizer": action}, run.recognizer, training)
    return dict(adversarial(model, action, make_objective(run, training), run.losses, training))


def _evaluate(run: RunConfig, training: Training) -> Result:
    check_protocol(run)
    if run.protocol == "frame-level":
        return _evaluate_frames(run, training)
    attributes = training.data.attribute_names
    model = _tested(run, attributes)
    action = Recognizer(run.recognizer, run.model.clip, len(training.data.action_names))
    attackers = make_attackers(run, len(attributes))
    pretrain({"action": action, **attackers}, run.recognizer, training)
    scoring = Scoring(attribute_groups(run), run.f1_threshold)
    scores = evaluate(model, run.deploy_keep_ratio, action, attackers, training, scoring)
    _tell_left_out(scores, training)
    return {"protocol": run.protocol} | scores


def _evaluate_frames(run: RunConfig, training: Training) -> Result:
    """Section 4.7: private attributes frame by frame, actions learned on a data set of their own."""
    context = training.context
    # Videos in both data sets have the same ids: what is tested on must not be trained on.
    left_out = _video_ids(Path(run.data))
    actions = _open(replace(run, exclude=""), Path(run.action_data), context, left_out=left_out)
    data = _open(run, Path(run.data), context, frame_labels=True, action_names=actions.action_names)
    model = _tested(run, data.attribute_names)
    clip, config = run.model.clip, run.recognizer
    action = Recognizer(config, clip, len(actions.action_names))
    whitened = WhitenedEmbedding(frame_clip(clip), run.whitened_components, config.embed_dim)
    attackers = {
        "standard": FrameRecognizer(config, clip, len(data.attribute_names)),
        "whitened": FrameRecognizer(config, clip, len(data.attribute_names), whitened),
    }
    readers = {name: attacker.recognizer for name, attacker in attackers.items()}
    pretrain({"action": action, **readers}, config, training)
    own = replace(training, data=data)
    apart = replace(training, data=actions, store=training.store.part("action"))
    scoring = Scoring(f1_threshold=run.f1_threshold)
    scores = evaluate_apart(model, run.deploy_keep_ratio, action, attackers, own, apart, scoring)
    return {"protocol": run.protocol, "action_dataset": actions.index.description.dataset} | scores


def _tested(run: RunConfig, attribute_names: Sequence[str]) -> Anonymizer:
    """The anonymizer that is tested."""
    if run.from_run:
        return load_anonymizer(Path(run.from_run), attribute_names)
    return ANONYMIZERS[run.anonymizer](run.model)


def _tell_left_out(scores: Result, training: Training) -> None:
    """Say how many classes have no AP, as their test videos all have the same label."""
    totals = {"action": len(training.data.action_names), "privacy": len(training.data.attribute_names)}
    for name, total in totals.items():
        scored = scores.get(f"{name}_classes", total)
        if scored != total:
            training.context.tell(
                f"{name} scores are means over {scored:.0f} of {total} classes: the others are shown by no test video, "
                "or by all of them"
            )


def make_attackers(run: RunConfig, attributes: int) -> dict[str, Recognizer]:
    """The privacy attackers of an evaluation: the protocol's own recognizer, and the same on whitened tubelets."""
    clip, config = run.model.clip, run.recognizer
    whitened = WhitenedEmbedding(clip, run.whitened_components, config.embed_dim)
    return {
        "standard": Recognizer(config, clip, attributes),
        "whitened": Recognizer(config, clip, attributes, whitened),
    }


_PHASES: dict[PhaseName, Callable[[RunConfig, Training], Result]] = {
    "init": _initialize,
    "adversarial": _adversarial,
    "evaluate": _evaluate,
}
