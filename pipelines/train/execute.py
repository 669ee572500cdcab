"""One run on one worker: from its configuration to its result."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipelines.data.index import VideoIndex
from pipelines.data.reader import ParquetClips
from pipelines.runs.anonymizer import tested_anonymizer
from pipelines.runs.config import AdversarialRun, EvaluateRun, InitRun, RunBase, check_source, run_of
from pipelines.runs.protocols import attribute_groups, check_protocol
from pipelines.train.objectives import make_objective, pretrain, startable
from stprivacy.anonymizers import LEARNED, FrameAnonymizer
from stprivacy.attackers import ATTACKERS, AttackerSettings, WhitenedFrames, attacker_names
from stprivacy.checkpoint import CheckpointStore
from stprivacy.deploy.load import FINAL, load_anonymizer
from stprivacy.models.frame_recognizer import FrameRecognizer
from stprivacy.models.recognizer import Recognizer
from stprivacy.noise import derived_seed
from stprivacy.phases.adversarial import adversarial
from stprivacy.phases.context import PhaseContext
from stprivacy.phases.evaluate import evaluate, evaluate_apart
from stprivacy.phases.evaluation.predictions import Scoring
from stprivacy.phases.initialize import initialize
from stprivacy.phases.loop import Training
from stprivacy.phases.reconstruct import reconstruct
from stprivacy.storage import location

Result = dict[str, float | str]


def execute(config: dict[str, Any], folder: Path, context: PhaseContext, store: CheckpointStore) -> Result:
    """Run the phase that `config` describes; returns what belongs into result.json, the same on every worker."""
    run = run_of(config)
    check_source(run)
    data = _open(run, location(run.data), context)
    # New weights are drawn from torch's own generator: the same ones on every worker and on every restart.
    torch.manual_seed(derived_seed(run.seed, run.phase, "weights"))
    training = Training(data, run.train, context, store, run.seed)
    if isinstance(run, InitRun):
        scores = _initialize(run, training)
    elif isinstance(run, AdversarialRun):
        scores = _adversarial(run, training)
    else:
        assert isinstance(run, EvaluateRun)
        missed = _without_person(run, data, training) if run.needs_person else {}
        scores = missed | _evaluate(run, training)
    about = {"dataset": data.index.description.dataset, "data_fingerprint": data.fingerprint}
    about |= {FINAL: f"{store.newest:06d}"}
    return run.parameters() | about | {"world_size": context.world_size} | scores


def _open(run: RunBase, folder: Path, context: PhaseContext, **options: Any) -> ParquetClips:
    """A data set as the run reads it on this worker."""
    if run.exclude:
        options["left_out"] = _video_ids(location(run.exclude))
    if isinstance(run, EvaluateRun):
        options |= {"views": run.views, "person_regions": run.needs_person, "validation_share": run.validation_share}
    return ParquetClips(
        folder,
        run.model.clip,
        run.augment,
        seed=run.seed,
        rank=context.rank,
        world_size=context.world_size,
        prefetch_batches=run.prefetch_batches,
        split=run.split,
        **options,
    )


def _without_person(run: EvaluateRun, data: ParquetClips, training: Training) -> Result:
    """Count, and tell, the test videos that the anonymizer leaves as they are, as no person was found in them."""
    missed = data.test_videos_without_person()
    if missed and training.store.empty:  # a resumed run has already said so
        training.context.tell(
            f"no person was found in {missed} of {data.test_size()} test videos: {run.anonymizer} leaves them as they "
            "are (clips_without_person in result.json). With --region frame it would not"
        )
    return {"clips_without_person": float(missed)}


def _video_ids(folder: Path) -> frozenset[str]:
    return frozenset(row.video_id for row in VideoIndex(folder).rows)


def _initialize(run: InitRun, training: Training) -> Result:
    model = LEARNED[run.anonymizer](run.model)
    if isinstance(model, FrameAnonymizer):
        return dict(reconstruct(model, training))
    pretrain({"anonymizer": model}, run.model, training)
    return dict(initialize(model, run.losses, training))


def _adversarial(run: AdversarialRun, training: Training) -> Result:
    model = load_anonymizer(location(run.from_run), (), run.allow_older_weights, training.context.tell)
    action = Recognizer(run.recognizer, run.model.clip, len(training.data.action_names))
    pretrain({"action_recognizer": action}, run.recognizer, training)
    return dict(adversarial(model, action, make_objective(run, training), run.losses, training))


def _evaluate(run: EvaluateRun, training: Training) -> Result:
    check_protocol(run)
    if run.protocol == "frame-level":
        return _evaluate_frames(run, training)
    attributes = training.data.attribute_names
    model = tested_anonymizer(run, attributes, training.context.tell)
    action = Recognizer(run.recognizer, run.model.clip, len(training.data.action_names))
    attackers = make_attackers(run, len(attributes))
    pretrain({"action": action, **startable(attackers)}, run.recognizer, training)
    scoring = Scoring(attribute_groups(run), run.f1_threshold)
    scores = evaluate(model, run.deploy_keep_ratio, action, attackers, training, scoring)
    _tell_left_out(scores, training)
    return _protocol(run) | scores


def _evaluate_frames(run: EvaluateRun, training: Training) -> Result:
    """Section 4.7: private attributes frame by frame, actions learned on a data set of their own."""
    context = training.context
    # Videos in both data sets have the same ids: what is tested on must not be trained on.
    left_out = _video_ids(location(run.data))
    actions = _open(run, location(run.action_data), context, left_out=left_out)
    data = _open(run, location(run.data), context, frame_labels=True, action_names=actions.action_names)
    model = tested_anonymizer(run, data.attribute_names, context.tell)
    clip, config = run.model.clip, run.recognizer
    action = Recognizer(config, clip, len(actions.action_names))
    attackers = {
        "standard": FrameRecognizer(config, clip, len(data.attribute_names)),
        "whitened": WhitenedFrames(config, clip, len(data.attribute_names), run.whitened_components),
    }
    readers = {name: attacker.recognizer for name, attacker in attackers.items()}
    pretrain({"action": action, **readers}, config, training)
    own = replace(training, data=data)
    apart = replace(training, data=actions, store=training.store.part("action"))
    scoring = Scoring(f1_threshold=run.f1_threshold)
    scores = evaluate_apart(model, run.deploy_keep_ratio, action, attackers, own, apart, scoring)
    return _protocol(run) | {"action_dataset": actions.index.description.dataset} | scores


def _protocol(run: EvaluateRun) -> Result:
    """The protocol, and how the tested clips were released, in words."""
    return {"protocol": run.protocol, "as_released": f"h264 crf {run.released_quality}" if run.as_released else "no"}


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


def make_attackers(run: EvaluateRun, attributes: int) -> dict[str, nn.Module]:
    """The privacy attackers of an evaluation. The weights of each do not depend on which others there are."""
    settings = AttackerSettings(run.recognizer, run.model.clip, attributes, run.whitened_components)
    attackers = {}
    for name in attacker_names(run.attackers):
        torch.manual_seed(derived_seed(run.seed, run.phase, "weights", name))
        attackers[name] = ATTACKERS[name](settings)
    return attackers
