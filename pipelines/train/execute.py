"""One run on one worker: from its configuration to its result."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from pipelines.data.reader import ParquetClips
from pipelines.runs import PhaseName, RunConfig, load_anonymizer, read_config
from stprivacy.anonymizers import ANONYMIZERS, STPrivacy
from stprivacy.checkpoint import CheckpointStore
from stprivacy.config import ModelConfig, RecognizerConfig, from_dict
from stprivacy.models.pretrained import start_from_pretrained
from stprivacy.models.recognizer import Recognizer
from stprivacy.models.whitening import WhitenedEmbedding
from stprivacy.noise import derived_seed
from stprivacy.phases.adversarial import adversarial
from stprivacy.phases.context import PhaseContext
from stprivacy.phases.evaluate import evaluate
from stprivacy.phases.initialize import initialize
from stprivacy.phases.loop import Training

Result = dict[str, float | str]


def execute(config: dict[str, Any], folder: Path, context: PhaseContext, store: CheckpointStore) -> Result:
    """Run the phase that `config` describes; gives back what belongs into result.json, the same on every worker."""
    run = from_dict(RunConfig, config)
    data = ParquetClips(
        Path(run.data),
        run.model.clip,
        run.augment,
        run.views,
        seed=run.seed,
        rank=context.rank,
        world_size=context.world_size,
        prefetch_batches=run.prefetch_batches,
        split=run.split,
    )
    # New weights are drawn from torch's own generator: the same ones on every worker and on every restart.
    torch.manual_seed(derived_seed(run.seed, run.phase, "weights"))
    scores = _PHASES[run.phase](run, Training(data, run.train, context, store, run.seed))
    about = {"dataset": data.index.description.dataset, "data_fingerprint": data.fingerprint}
    return run.parameters() | about | {"world_size": context.world_size} | scores


def _initialize(run: RunConfig, training: Training) -> Result:
    model = STPrivacy(run.model)
    _pretrain({"anonymizer": model}, run.model, training)
    return dict(initialize(model, run.losses, training))


def _adversarial(run: RunConfig, training: Training) -> Result:
    model = load_anonymizer(Path(run.from_run))
    action = Recognizer(run.recognizer, run.model.clip, len(training.data.action_names))
    privacy = Recognizer(run.recognizer, run.model.clip, len(training.data.attribute_names))
    _pretrain({"action_recognizer": action, "privacy_recognizer": privacy}, run.recognizer, training)
    return dict(adversarial(model, action, privacy, run.losses, training))


def _evaluate(run: RunConfig, training: Training) -> Result:
    model = load_anonymizer(Path(run.from_run)) if run.from_run else ANONYMIZERS[run.anonymizer](run.model)
    action = Recognizer(run.recognizer, run.model.clip, len(training.data.action_names))
    attackers = make_attackers(run, len(training.data.attribute_names))
    _pretrain({"action": action, **attackers}, run.recognizer, training)
    scores = evaluate(model, run.deploy_keep_ratio, action, attackers, training)
    # Unseen actions: the anonymizer was trained on another data set than it is tested on.
    known = not run.from_run or read_config(Path(run.from_run)).data == run.data
    return {"protocol": "known" if known else "unseen"} | scores


def _pretrain(
    models: Mapping[str, STPrivacy | Recognizer], settings: ModelConfig | RecognizerConfig, training: Training
) -> None:
    """Start the models from the checkpoint that `settings` name, if any, and tell what it gave to each."""
    # A phase that goes on needs no network: its own checkpoint is about to replace all weights.
    if settings.pretrained and training.store.empty:
        for name, report in start_from_pretrained(models, settings).items():
            training.context.tell(f"{name} starts from {settings.pretrained}: {report.summary()}")


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
