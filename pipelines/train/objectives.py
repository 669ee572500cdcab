"""The privacy objective of each learned anonymizer."""

from pipelines.runs import RunConfig
from pipelines.train.start import pretrain
from stprivacy.models.frame_recognizer import FrameRecognizer, frame_clip
from stprivacy.models.pretrained import start_from_pretrained
from stprivacy.models.recognizer import Recognizer
from stprivacy.phases.loop import Training
from stprivacy.phases.objectives.label import LabelObjective
from stprivacy.phases.objectives.protocol import PrivacyObjective
from stprivacy.phases.objectives.spact import FrameProjector, SelfSupervisedObjective
from stprivacy.phases.objectives.vita import FrameEnsembleObjective


def make_objective(run: RunConfig, training: Training) -> PrivacyObjective:
    """What the run's anonymizer is trained against, from new or pretrained weights."""
    if run.anonymizer == "vita":
        return _vita(run, training)
    if run.anonymizer == "spact":
        return _spact(run, training)
    return _stprivacy(run, training)


def _stprivacy(run: RunConfig, training: Training) -> LabelObjective:
    recognizer = Recognizer(run.recognizer, run.model.clip, len(training.data.attribute_names))
    pretrain({"privacy_recognizer": recognizer}, run.recognizer, training)
    return LabelObjective(recognizer, run.losses, training.settings, training.context)


def _vita(run: RunConfig, training: Training) -> FrameEnsembleObjective:
    def make_adversary() -> FrameRecognizer:
        adversary = FrameRecognizer(run.recognizer, run.model.clip, len(training.data.attribute_names))
        # Also where the phase goes on: a restart in mid-phase begins from these weights, and not from random ones.
        if run.recognizer.pretrained:
            start_from_pretrained({"adversary": adversary.recognizer}, run.recognizer)
        return adversary

    return FrameEnsembleObjective(make_adversary, run.vita, training.seed, training.settings, training.context)


def _spact(run: RunConfig, training: Training) -> SelfSupervisedObjective:
    encoder = Recognizer(run.recognizer, frame_clip(run.model.clip), run.recognizer.embed_dim)
    pretrain({"self_supervised": encoder}, run.recognizer, training)
    projector = FrameProjector(encoder, run.spact.projection_dim)
    return SelfSupervisedObjective(projector, run.spact, training.settings, training.context)
