"""Anonymizers by name: every one maps a video to `Anonymized`."""

from collections.abc import Callable
from typing import Literal

from torch import nn

from stprivacy.anonymized import Anonymized, Anonymizer
from stprivacy.anonymizers.identity import Identity
from stprivacy.config import ModelConfig
from stprivacy.models.anonymizer import STPrivacy

AnonymizerName = Literal["raw", "stprivacy"]

ANONYMIZERS: dict[AnonymizerName, Callable[[ModelConfig], nn.Module]] = {
    "raw": lambda config: Identity(config.clip),
    "stprivacy": STPrivacy,
}

__all__ = ["ANONYMIZERS", "Anonymized", "Anonymizer", "AnonymizerName", "Identity", "STPrivacy"]
