"""Test clips through the anonymizers of finished evaluations: what the pictures of a report show."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipelines.data.index import read_description
from pipelines.data.reader import ParquetClips
from pipelines.reports.masks import KeepMap, KeepSums
from pipelines.reports.runs import Evaluation
from pipelines.runs.anonymizer import tested_anonymizer
from stprivacy.anonymized import Anonymizer
from stprivacy.anonymizers.as_released import AsReleased
from stprivacy.deploy.load import print_warning
from stprivacy.models.anonymizer import STPrivacy
from stprivacy.plain import listed
from stprivacy.storage import location

_BATCH_CLIPS = 10


@dataclass(frozen=True)
class Material:
    """The centre clips of some test videos: all of them by position, and which are shown.

    raw [b 3 t h w] and persons [b 1 t h w] are those of the shown clips; `without_persons` says why there are none.
    """

    clips: ParquetClips
    counted: Sequence[int]
    shown: Sequence[int]
    raw: Tensor
    persons: Tensor | None
    without_persons: str = ""

    @property
    def titles(self) -> list[str]:
        """The actions of the shown clips."""
        names = [name.replace("_", " ") for name in self.clips.action_names]
        rows = [self.clips.test[i] for i in self.shown]
        return [listed([names[action] for action in row.actions], shown=1) for row in rows]


@dataclass(frozen=True)
class RowPictures:
    """The shown clips of one row: anonymized [b 3 t h w], keep [b l n], and how they are to be shown.

    `stretch`: the output has no natural range. `keep_map` counts the tubelets kept in many clips, if any are abandoned.
    """

    label: str
    keep_ratio: float
    anonymized: Tensor
    keep: Tensor
    stretch: bool
    keep_map: KeepMap | None


def open_material(evaluation: Evaluation, shown: int, counted: int) -> Material:
    """Test videos spread evenly over the split of the data set that an evaluation tested on.

    Raises: ValueError: the data set is gone, or is another one by now.
    """
    run, folder = evaluation.run, location(evaluation.run.data)
    if not (folder / "dataset.json").is_file():
        raise ValueError(f"the data set is gone: {folder} has no dataset.json")
    if read_description(folder).fingerprint != evaluation.result["data_fingerprint"]:
        raise ValueError(f"{folder} holds other data than the evaluation was made on")
    without_persons = ""
    try:
        clips = ParquetClips(folder, run.model.clip, split=run.split, person_regions=True)
    except ValueError as error:
        clips, without_persons = ParquetClips(folder, run.model.clip, split=run.split), str(error)
    chosen = _spread(clips.test_size(), shown)
    persons = None if without_persons else clips.test_persons(chosen)
    return Material(
        clips, _spread(clips.test_size(), counted), chosen, clips.test_clips(chosen), persons, without_persons
    )


@torch.no_grad()
def draw_row(evaluation: Evaluation, material: Material) -> RowPictures:
    """What a row makes of the clips.

    Raises: ValueError: the run that its anonymizer comes from is gone. OSError: it cannot be read.
    """
    run = evaluation.run
    model = tested_anonymizer(run, material.clips.attribute_names, print_warning)
    assert isinstance(model, nn.Module)
    model.eval()
    shown = model(material.raw, keep_ratio=run.deploy_keep_ratio, person=material.persons)
    keep_map = None
    if not bool((shown.keep > 0).all()):
        # The recipient's copy has the same masks, and takes long to encode.
        inner = model.anonymizer if isinstance(model, AsReleased) else model
        keep_map = _keep_map(inner, evaluation, material, shown.keep)
    value_range = model.value_range if isinstance(model, AsReleased) else 1.0
    rewrites = isinstance(model, STPrivacy) and model.rewrites
    return RowPictures(
        evaluation.label, run.deploy_keep_ratio, shown.video / value_range, shown.keep, rewrites, keep_map
    )


def _keep_map(model: Anonymizer, evaluation: Evaluation, material: Material, examples: Tensor) -> KeepMap:
    """How often each place of the grid is kept, in all counted clips."""
    run = evaluation.run
    sums = KeepSums(run.model.clip)
    for first in range(0, len(material.counted), _BATCH_CLIPS):
        videos = material.counted[first : first + _BATCH_CLIPS]
        person = None if material.persons is None else material.clips.test_persons(videos)
        clips = material.clips.test_clips(videos)
        sums.add(model(clips, keep_ratio=run.deploy_keep_ratio, person=person).keep, person)
    return sums.keep_map(evaluation.label, run.deploy_keep_ratio, examples)


def _spread(size: int, count: int) -> list[int]:
    """Up to `count` positions of a list of `size`, evenly spread."""
    count = min(size, count)
    return [i * size // count for i in range(count)]
