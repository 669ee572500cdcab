"""Anonymizers by name: every one maps a video to `Anonymized`."""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

from torch import nn

from stprivacy.anonymized import Anonymized, Anonymizer
from stprivacy.anonymizers.controls import Selection, motion_score, random_score, untrained
from stprivacy.anonymizers.frames import FrameAnonymizer
from stprivacy.anonymizers.identity import Identity
from stprivacy.anonymizers.obscure import (
    CollectiveStyle,
    Downsample,
    Obscure,
    Region,
    ResizeMode,
    RivalOptions,
    black,
    blur,
)
from stprivacy.anonymizers.spact import UNet
from stprivacy.anonymizers.vita import ITNet
from stprivacy.config import ModelConfig
from stprivacy.models.anonymizer import STPrivacy

LearnedName = Literal["stprivacy", "vita", "spact"]
AnonymizerName = Literal[
    "raw",
    "downsample-2x",
    "downsample-4x",
    "blackening",
    "strong-blur",
    "weak-blur",
    "collective-style",
    "vita",
    "spact",
    "stprivacy",
    "untrained",
    "random-selection",
    "motion-selection",
]
Learned = STPrivacy | FrameAnonymizer

LEARNED: dict[LearnedName, Callable[[ModelConfig], Learned]] = {"stprivacy": STPrivacy, "vita": ITNet, "spact": UNet}
ANONYMIZERS: Mapping[AnonymizerName, Callable[[ModelConfig, RivalOptions], nn.Module]] = {
    "raw": lambda config, options: Identity(config.clip),
    "downsample-2x": lambda config, options: Downsample(config.clip, 2, options.resize_mode),
    "downsample-4x": lambda config, options: Downsample(config.clip, 4, options.resize_mode),
    "blackening": lambda config, options: Obscure(config.clip, black, options.region),
    "strong-blur": lambda config, options: Obscure(config.clip, blur(21, sigma=10.0), options.region),
    "weak-blur": lambda config, options: Obscure(config.clip, blur(13, sigma=10.0), options.region),
    "collective-style": lambda config, options: CollectiveStyle(config.clip),
    "vita": lambda config, options: ITNet(config),
    "spact": lambda config, options: UNet(config),
    "stprivacy": lambda config, options: STPrivacy(config),
    "untrained": lambda config, options: untrained(config, options.seed),
    "random-selection": lambda config, options: Selection(config, random_score),
    "motion-selection": lambda config, options: Selection(config, motion_score),
}
PURPOSES: Mapping[AnonymizerName, str] = {
    "raw": "the video as it is",
    "downsample-2x": "half the height and width, and back up",
    "downsample-4x": "a quarter of the height and width, and back up",
    "blackening": "person boxes black; --region frame: everything",
    "strong-blur": "person boxes blurred by 21 x 21 pixels, sigma 10; --region frame: everything",
    "weak-blur": "person boxes blurred by 13 x 13 pixels, sigma 10; --region frame: everything",
    "collective-style": "luma, averaged over 3 frames and a sixteenth of the height; assumed, see its docstring",
    "vita": "each frame redrawn by ITNet, trained against an ensemble that reads frames",
    "spact": "each frame redrawn by a UNet, trained without private labels",
    "stprivacy": "the paper's, of the run that --from names; of an init run: without any adversary",
    "untrained": "control: STPrivacy with random weights",
    "random-selection": "control: as many raw tubelets as STPrivacy keeps, chosen by chance",
    "motion-selection": "control: as many raw tubelets as STPrivacy keeps, those with most temporal difference",
}
_OBSCURING: tuple[AnonymizerName, ...] = ("blackening", "strong-blur", "weak-blur")


def check_anonymizer(name: str) -> None:
    """Raise ValueError, which lists the known ones, where there is no anonymizer of this name."""
    if name not in get_args(AnonymizerName):
        raise ValueError(f"unknown anonymizer {name!r}; known are {', '.join(get_args(AnonymizerName))}")


def make_anonymizer(name: AnonymizerName, config: ModelConfig, options: RivalOptions = RivalOptions()) -> nn.Module:
    """The anonymizer of this name, not trained. Raises: ValueError: unknown."""
    check_anonymizer(name)
    return ANONYMIZERS[name](config, options)


def needs_person(name: AnonymizerName, region: Region) -> bool:
    """Whether an anonymizer needs to know where persons are."""
    return region == "boxes" and name in _OBSCURING


__all__ = [
    "ANONYMIZERS",
    "LEARNED",
    "PURPOSES",
    "Anonymized",
    "Anonymizer",
    "AnonymizerName",
    "FrameAnonymizer",
    "ITNet",
    "Identity",
    "Learned",
    "LearnedName",
    "Region",
    "ResizeMode",
    "RivalOptions",
    "STPrivacy",
    "UNet",
    "check_anonymizer",
    "make_anonymizer",
    "needs_person",
]
