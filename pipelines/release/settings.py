"""What decides how videos are released, and the note of it in the folder that they are released to."""

import math
import os
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch

from stprivacy.claims import Claim
from stprivacy.config import check_keep_ratio, check_released_quality
from stprivacy.deploy.deployed import MaskName
from stprivacy.deploy.load import Trained
from stprivacy.output_lock import LOCK_NAME
from stprivacy.plain import to_dict
from stprivacy.storage import PARTIAL_SUFFIX
from stprivacy.video.decoding import VideoLimits

FORMAT_VERSION = 2
CLAIM = ".release.json"  # hidden: no video can have a sidecar of that name
_PARTIAL = re.compile(rf"\.[0-9a-f]{{16}}\.\d+-[0-9a-f]{{8}}{re.escape(PARTIAL_SUFFIX)}")
SizeName = Literal["network", "source"]


@dataclass(frozen=True)
class ReleaseSettings:
    """How videos are released.

    Args:
        keep_ratio: share of tubelets that each stage keeps, in (0, 1]; by default the trained one
        mask: steady averages the scores over time, so that no seam shows between clips; clip is the network's own
            choice for each clip, as in evaluation
        stride: every stride-th frame is released; by default that of the data set that the network was trained on
        size: frames have the network's height and width, shown at the source's aspect, or are enlarged to the source's
        quality: constant rate factor of H.264, 0 (best) to 51
        keep_audio: keep the sound, encoded anew, as long as there is a picture; sound beyond its end is dropped. Voices
            and what they say are not anonymised
        opaque_names: random names, with the key to them in OUTPUT-keys.json, beside the folder, readable by you alone:
            also what the JSON files tell of a source otherwise, its SHA-256 and size, by which whoever has the original
            recognises it. What a video shows of its source it shows under any name: its length, and when frames change
        max_pixels: a video with larger frames is refused
        max_streams: a file with more streams (video, sound, subtitles) is refused
    """

    keep_ratio: float | None = None
    mask: MaskName = "steady"
    stride: int | None = None
    size: SizeName = "network"
    quality: int = 23
    keep_audio: bool = False
    opaque_names: bool = False
    max_pixels: int = VideoLimits.max_pixels
    max_streams: int = VideoLimits.max_streams

    def __post_init__(self) -> None:
        if self.keep_ratio is not None:
            check_keep_ratio(self.keep_ratio)
        check_released_quality(self.quality)
        for name, literal in (("mask", MaskName), ("size", SizeName)):
            if getattr(self, name) not in get_args(literal):
                raise ValueError(f"{name} must be one of {', '.join(get_args(literal))}, got {getattr(self, name)!r}")
        for name in ("stride", "max_pixels", "max_streams"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    @property
    def limits(self) -> VideoLimits:
        """What a file may ask for: any length."""
        return VideoLimits(self.max_pixels, math.inf, self.max_streams)


@dataclass(frozen=True)
class WorkerOptions:
    """What a release runs on."""

    workers: int | None = None  # processes, each with the network, by default one a CPU or GPU
    use_gpu: bool = False  # one GPU for each worker
    verbose: bool = False  # show Ray's own messages

    def __post_init__(self) -> None:
        if self.use_gpu and not os.environ.get("RAY_ADDRESS") and not torch.cuda.is_available():
            raise ValueError("--use-gpu: no GPU can be used here; leave it out to run on CPUs")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be positive, got {self.workers}")


@dataclass(frozen=True)
class Provenance:
    """What all videos of a release have in common: the network, what it was trained on, and how it is used.

    Nothing in it tells a place, a person or a time.
    """

    weights_sha256: str
    phase: str
    dataset: str
    data_fingerprint: str
    model: dict[str, Any]
    settings: dict[str, Any]
    format_version: int = FORMAT_VERSION


def provenance_of(trained: Trained, settings: ReleaseSettings) -> Provenance:
    """The note for a network and settings whose defaults have been filled in."""
    model = to_dict(trained.model.config)
    model.pop("pretrained")  # may be a path
    named = {name: value for name, value in asdict(settings).items() if name not in ("max_pixels", "max_streams")}
    return Provenance(trained.digest, trained.phase, trained.dataset, trained.data_fingerprint, model, named)


def release_claim(provenance: Provenance) -> Claim:
    """What a release's folder is for: videos of several networks or settings must not mix."""
    return Claim(CLAIM, asdict(provenance), "a release", option="--output", is_ours=_is_ours)


def _is_ours(name: str) -> bool:
    """Whether this process's lock has that name, or what another one has left that was killed writing the note."""
    return name == LOCK_NAME or bool(_PARTIAL.fullmatch(name))
