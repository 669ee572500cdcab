"""The privacy objective of each learned anonymizer, and what networks start from."""

from collections.abc import Mapping

import torch
from torch import nn

from pipelines.runs.config import AdversarialRun
from stprivacy.anonymizers import STPrivacy
from stprivacy.attackers import AttackerSettings
from stprivacy.config import ModelConfig, RecognizerConfig
from stprivacy.models.frame_recognizer import FrameRecognizer, frame_clip
from stprivacy.models.pretrained import start_from_pretrained
from stprivacy.models.recognizer import Recognizer
from stprivacy.noise import derived_seed
from stprivacy.phases.loop import Training
from stprivacy.phases.objectives.heads import Head, PrivacyHead, make_head
from stprivacy.phases.objectives.label import LabelObjective, learner_name
from stprivacy.phases.objectives.protocol import PrivacyObjective
from stprivacy.phases.objectives.spact import FrameProjector, SelfSupervisedObjective
from stprivacy.phases.objectives.vita import FrameEnsembleObjective


def make_objective(run: AdversarialRun, training: Training) -> PrivacyObjective:
    """What the run's anonymizer is trained against, from new or pretrained weights."""
    if run.anonymizer == "vita":
        return _vita(run, training)
    if run.anonymizer == "spact":
        return _spact(run, training)
    return _stprivacy(run, training)


def _stprivacy(run: AdversarialRun, training: Training) -> LabelObjective:
    attributes = len(training.data.attribute_names)
    settings = AttackerSettings(run.recognizer, run.model.clip, attributes, run.whitened_components)
    heads = {name: _head(name, run, settings) for name in run.privacy_heads}
    networks = {learner_name(name): head.network for name, head in heads.items()}
    pretrain(startable(networks), run.recognizer, training)
    return LabelObjective(heads, run.losses, training.settings, training.context)


def _head(name: PrivacyHead, run: AdversarialRun, settings: AttackerSettings) -> Head:
    """A privacy head. Its weights do not depend on which others there are."""
    if name == "standard":
        return make_head(name, settings, run.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(run.seed, run.phase, "weights", name))
        return make_head(name, settings, run.model)


def _vita(run: AdversarialRun, training: Training) -> FrameEnsembleObjective:
    def make_adversary() -> FrameRecognizer:
        adversary = FrameRecognizer(run.recognizer, run.model.clip, len(training.data.attribute_names))
        # Also where the phase resumes: a restart in mid-phase begins from these weights, and not from random ones.
        if run.recognizer.pretrained:
            start_from_pretrained({"adversary": adversary.recognizer}, run.recognizer)
        return adversary

    settings, first = training.settings, training.head_start_steps
    return FrameEnsembleObjective(make_adversary, run.vita, training.seed, settings, training.context, first)


def _spact(run: AdversarialRun, training: Training) -> SelfSupervisedObjective:
    encoder = Recognizer(run.recognizer, frame_clip(run.model.clip), run.recognizer.embed_dim)
    pretrain({"self_supervised": encoder}, run.recognizer, training)
    projector = FrameProjector(encoder, run.spact.projection_dim)
    return SelfSupervisedObjective(projector, run.spact, training.settings, training.context)


def pretrain(
    models: Mapping[str, STPrivacy | Recognizer], settings: ModelConfig | RecognizerConfig, training: Training
) -> None:
    """Start the models from the checkpoint that `settings` name, if any, and tell what it gave to each."""
    # A resumed phase needs no network: its own checkpoint is about to replace all weights.
    if settings.pretrained and training.store.empty:
        for name, report in start_from_pretrained(models, settings).items():
            training.context.tell(f"{name} starts from {settings.pretrained}: {report.summary()}")


def startable(networks: Mapping[str, nn.Module]) -> dict[str, Recognizer]:
    """The recognizers among and in the networks that have the size of the pretrained one, if there is one."""
    parts = {name: getattr(network, "recognizer", network) for name, network in networks.items()}
    return {name: part for name, part in parts.items() if isinstance(part, Recognizer) and part.config.pretrained}
