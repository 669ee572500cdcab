"""What a generated data set consists of: its settings, its clips and their labels, all pure functions of the seed."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipelines.data.datasets.synth.actions import ACTION_SETS

LABELS_FILE = "vp-synth_privacy_attribute_label.pickle"
BOXES_FILE = "person_boxes.jsonl"
ATTRIBUTE_NAMES = ("skin_color", "face", "gender", "nudity", "relationship")
# Part of every random draw and of synth.json: raise it whenever a change makes other pixels.
GENERATOR_VERSION = 1
_COMBINATIONS = 2 ** len(ATTRIBUTE_NAMES)


@dataclass(frozen=True)
class SynthSettings:
    """Everything that the content of a generated data set depends on.

    Args:
        actions: action set, "a" (vp-synth) or "b" (vp-synth-b, disjoint from a)
        train_videos: clips in the train split, at least 1
        test_videos: clips in the test split, at least 1
        seed: non-negative
        width_px: even, from height_px to 4096
        height_px: even, at least 64
        crf: quality of libx264, 0 (lossless) to 51

    Raises:
        ValueError: a value is outside of its range.
    """

    actions: str = "a"
    train_videos: int = 2400
    test_videos: int = 600
    seed: int = 0
    width_px: int = 160
    height_px: int = 120
    crf: int = 24

    def __post_init__(self) -> None:
        if self.actions not in ACTION_SETS:
            raise ValueError(f"actions must be one of {', '.join(ACTION_SETS)}, got {self.actions!r}")
        for name, low, high in (
            ("train_videos", 1, 10**6),
            ("test_videos", 1, 10**6),
            ("seed", 0, 2**63 - 1),
            ("height_px", 64, 4096),
            ("width_px", self.height_px, 4096),
            ("crf", 0, 51),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be in {low}..{high}, got {getattr(self, name)}")
        if self.width_px % 2 or self.height_px % 2:
            raise ValueError(f"width_px and height_px must be even, got {self.width_px} x {self.height_px}")

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the actions, sorted."""
        return tuple(sorted(ACTION_SETS[self.actions]))


@dataclass(frozen=True)
class Clip:
    """One video to generate. `index` counts within its split; `privacy` is in the order of ATTRIBUTE_NAMES."""

    split: str
    index: int
    action: str
    privacy: tuple[int, ...]

    @property
    def name(self) -> str:
        """File name. It tells the action and the split, and no attribute."""
        return f"synth_{self.action}_{self.split}_{self.index:05d}.mp4"

    @property
    def video_id(self) -> str:
        """Key of the video in the label file."""
        return f"{self.action}/{self.name}"


def generator(settings: SynthSettings, *parts: int | str) -> np.random.Generator:
    """Random numbers that depend on the seed, the action set and `parts` alone."""
    key = repr((GENERATOR_VERSION, settings.seed, settings.actions, *parts))
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(key.encode(), digest_size=16).digest(), "big"))


def clip_generator(settings: SynthSettings, clip: Clip, purpose: str) -> np.random.Generator:
    """Random numbers for one purpose of one clip: draws for one purpose never shift those for another."""
    return generator(settings, clip.split, clip.index, purpose)


def clips(settings: SynthSettings) -> tuple[Clip, ...]:
    """All clips, train before test. A clip's labels do not depend on how many clips there are."""
    return (*_split(settings, "train", settings.train_videos), *_split(settings, "test", settings.test_videos))


def _split(settings: SynthSettings, split: str, videos: int) -> Iterator[Clip]:
    names = settings.action_names
    for index in range(videos):
        cycle, place = divmod(index, len(names))
        block, position = divmod(cycle, _COMBINATIONS)
        action = names[int(_action_order(settings, split, cycle)[place])]
        combination = int(_combination_order(settings, split, block, action)[position])
        privacy = tuple(combination >> bit & 1 for bit in range(len(ATTRIBUTE_NAMES)))
        yield Clip(split, index, action, privacy)


@lru_cache(maxsize=64)
def _action_order(settings: SynthSettings, split: str, cycle: int) -> NDArray[np.int64]:
    return generator(settings, split, "action", cycle).permutation(len(settings.action_names))


@lru_cache(maxsize=64)
def _combination_order(settings: SynthSettings, split: str, block: int, action: str) -> NDArray[np.int64]:
    # Every action meets every combination of attributes once before any repeats: independent by design, not by luck.
    return generator(settings, split, "privacy", block, action).permutation(_COMBINATIONS)
