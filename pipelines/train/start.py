"""Where networks start from."""

from collections.abc import Mapping

from torch import nn

from stprivacy.anonymizers import STPrivacy
from stprivacy.config import ModelConfig, RecognizerConfig
from stprivacy.models.pretrained import start_from_pretrained
from stprivacy.models.recognizer import Recognizer
from stprivacy.phases.loop import Training


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
