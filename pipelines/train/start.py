"""Where networks start from."""

from collections.abc import Mapping

from stprivacy.anonymizers import STPrivacy
from stprivacy.config import ModelConfig, RecognizerConfig
from stprivacy.models.pretrained import start_from_pretrained
from stprivacy.models.recognizer import Recognizer
from stprivacy.phases.loop import Training


def pretrain(
    models: Mapping[str, STPrivacy | Recognizer], settings: ModelConfig | RecognizerConfig, training: Training
) -> None:
    """Start the models from the checkpoint that `settings` name, if any, and tell what it gave to each."""
    # A phase that goes on needs no network: its own checkpoint is about to replace all weights.
    if settings.pretrained and training.store.empty:
        for name, report in start_from_pretrained(models, settings).items():
            training.context.tell(f"{name} starts from {settings.pretrained}: {report.summary()}")
