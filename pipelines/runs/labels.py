"""Whether the labels of a data set let a run learn and score what it is for: found out before anything starts."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipelines.data.index import VideoIndex, VideoRow
from pipelines.data.reader import ParquetClips, is_for_validation
from pipelines.runs.config import AdversarialRun, EvaluateRun, InitRun, RunBase, run_of
from pipelines.runs.folder import RunRequest
from pipelines.runs.protocols import attribute_groups
from stprivacy.config import ClipConfig
from stprivacy.deploy.load import print_warning
from stprivacy.plain import listed
from stprivacy.storage import location

Labels = NDArray[np.uint8]


def check_labels(runs: Sequence[RunBase], tell: Callable[[str], None]) -> None:
    """Check that each run has videos to train on and to test on, with labels that differ.

    `tell` gets a sentence, once, for each attribute that limits a run without making it pointless.
    Raises: ValueError: a part that a run needs is empty, or has nothing to learn or to score in it.
    """
    told: set[str] = set()
    opened = lru_cache(maxsize=None)(_open)  # comparisons have dozens of runs over the same data
    for run in runs:
        if isinstance(run, EvaluateRun):
            frames = run.protocol == "frame-level"
            clips = opened(run.data, "", run.split, run.validation_share, frames, run.needs_person)
            if frames:
                opened(run.action_data, run.data, run.split, run.validation_share, False, run.needs_person)
        else:
            clips = opened(run.data, run.exclude, run.split, 0.0, False, False)
        for note in dict.fromkeys(_notes(run, clips)):
            if note not in told:
                told.add(note)
                tell(note)


def check_labels_of(requests: Sequence[RunRequest]) -> None:
    """The same of runs that are not finished; warnings go to standard error. Raises: ValueError: as that does."""
    check_labels([run_of(request.config) for request in requests if not request.finished], print_warning)


def _open(data: str, exclude: str, split: int, share: float, frames: bool, persons: bool) -> ParquetClips:
    """A data set as a worker opens it. Raises: ValueError: it has no video to train on, or for validation."""
    left_out = frozenset(row.video_id for row in VideoIndex(location(exclude)).rows) if exclude else frozenset[str]()
    return ParquetClips(
        location(data), ClipConfig(), split=split, left_out=left_out, validation_share=share,
        frame_labels=frames, person_regions=persons,
    )  # fmt: skip


def _notes(run: RunBase, clips: ParquetClips) -> Iterator[str]:
    if isinstance(run, InitRun) or (isinstance(run, AdversarialRun) and run.anonymizer == "spact"):
        return  # reads no attribute
    names = clips.attribute_names
    constant, training = _constant(clips.train, names), _every(len(clips.train), "training", run.split)
    if len(constant) == len(names):
        raise ValueError(
            f"{run.data}: {training} the same label in each attribute, so there is nothing private to "
            "learn: add videos with other labels to the train split"
        )
    if constant:
        yield (
            f"{run.data}: {training} {_listed(constant)}: no recognizer can "
            "learn to read it, and its scores say nothing about privacy"
        )
    if isinstance(run, EvaluateRun):
        yield from _notes_of_test(run, clips)
        yield from _notes_of_validation(run, clips)


def _notes_of_test(run: EvaluateRun, clips: ParquetClips) -> Iterator[str]:
    if not clips.test:
        raise ValueError(f"{run.data} has no videos in the test split: check the split column of what was ingested")
    names, videos = clips.attribute_names, len(clips.test)
    constant = _constant(clips.test, names)
    if run.protocol != "ospar" and constant:
        raise ValueError(
            f"{run.data}: {_every(videos, 'test', run.split)} {_listed(constant)}: AP and AUC need both labels; "
            "add videos of the other one to the test split, or ingest without that attribute"
        )
    for group, members in attribute_groups(run).items():
        if all(names[i] in constant for i in members):
            raise ValueError(f"{run.data}: no {group} is shown by some of the {videos} test videos and not by others")
    if constant:
        yield f"{run.data}: {len(constant)} of {len(names)} attributes are the same in all {videos} test videos: no AP"


def _notes_of_validation(run: EvaluateRun, clips: ParquetClips) -> Iterator[str]:
    if not run.validation_share:
        return
    trained = {row.video_id for row in clips.train}
    rows = [
        row
        for row in clips.index.split("train", run.split)
        if row.video_id not in trained and is_for_validation(row.video_id, run.validation_share)
    ]
    constant = _constant(rows, clips.attribute_names)
    if len(constant) == len(clips.attribute_names):
        raise ValueError(
            f"{run.data}: {_every(len(rows), 'validation')} the same label in each attribute, so no attacker can "
            "be chosen: set --validation-share higher"
        )
    if constant:
        yield (
            f"{run.data}: {_every(len(rows), 'validation')} {_listed(constant)}: the attacker that is best on the "
            "other attributes is taken for it"
        )


def _constant(rows: Sequence[VideoRow], names: Sequence[str]) -> dict[str, int]:
    """The attributes whose label is the same in all videos, or in all labelled frames, and that label."""
    labels: Labels = np.frombuffer(b"".join(row.privacy_frames or row.privacy for row in rows), np.uint8)
    table = labels.reshape(-1, len(names))
    low, high = table.min(0), table.max(0)
    return {name: int(low[i]) for i, name in enumerate(names) if low[i] == high[i]}


def _every(videos: int, part: str, split: int = 0) -> str:
    """Begins a sentence about all videos of a part."""
    of = f" of split {split}" if split else ""
    return f"the only {part} video{of} has" if videos == 1 else f"all {videos} {part} videos{of} have"


def _listed(constant: dict[str, int]) -> str:
    return listed([f"{name} = {label}" for name, label in constant.items()])
