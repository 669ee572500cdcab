"""Anonymizers by name: every one maps a video to `Anonymized`."""

from collections.abc import Callable
from typing import Literal

from torch import nn

from stprivacy.anonymized import Anonymized, Anonymizer
from stprivacy.anonymizers.frames import FrameAnonymizer
from stprivacy.anonymizers.identity import Identity
from stprivacy.anonymizers.spact import UNet
from stprivacy.anonymizers.vita import ITNet
from stprivacy.config import ModelConfig
from stprivacy.models.anonymizer import STPrivacy

LearnedName = Literal["stprivacy", "vita", "spact"]
AnonymizerName = Literal["raw", "stprivacy", "vita", "spact"]
Learned = STPrivacy | FrameAnonymizer

LEARNED: dict[LearnedName, Callable[[ModelConfig], Learned]] = {"stprivacy": STPrivacy, "vita": ITNet, "spact": UNet}

ANONYMIZERS: dict[AnonymizerName, Callable[[ModelConfig], nn.Module]] = {
    "raw": lambda config: Identity(config.clip),
    "stprivacy": STPrivacy,
    "vita": ITNet,
    "spact": UNet,
}

__all__ = [
    "ANONYMIZERS",
    "LEARNED",
    "Anonymized",
    "Anonymizer",
    "AnonymizerName",
    "FrameAnonymizer",
    "ITNet",
    "Identity",
    "Learned",
    "LearnedName",
    "STPrivacy",
    "UNet",
]
