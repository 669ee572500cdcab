"""vp-synth as its generator writes it: HMDB51-style split files, a pickle of privacy labels, person boxes."""

import json
from collections.abc import Iterator
from pathlib import Path

from pipelines.data.datasets.synth.actions import ACTION_SETS
from pipelines.data.datasets.synth.settings import ATTRIBUTE_NAMES
from pipelines.data.datasets.synth.writer import BOXES_FILE, LABELS_FILE
from pipelines.data.manifest import (
    Listed,
    Manifest,
    ManifestError,
    PersonBoxes,
    Sources,
    check_listed,
    load_label_pickle,
)

_SPLIT_OF_CODE = {"0": "unused", "1": "train", "2": "test"}
_SPLIT_FILE_END = "_test_split1.txt"


def load(sources: Sources) -> Manifest:
    """All videos that the split files list, action by action; the actions tell vp-synth from vp-synth-b.

    Raises: ManifestError: a folder is not given, or an annotation file is missing or malformed.
    """
    videos, annotations = sources.videos, sources.annotations
    if videos is None or annotations is None:
        raise ManifestError("the data set vp-synth needs --videos DIR and --annotations DIR")
    labels = load_label_pickle(annotations / LABELS_FILE, len(ATTRIBUTE_NAMES))
    boxes = _read_boxes(annotations / BOXES_FILE)
    unlabelled = ("none given",) * len(ATTRIBUTE_NAMES)

    videos_of_splits = tuple(read_splits(annotations / "splits"))
    actions = {action for action, _, _ in videos_of_splits}

    def listed() -> Iterator[Listed]:
        for action, name, split in videos_of_splits:
            video_id = f"{action}/{name}"
            privacy = labels[video_id][0].tolist() if video_id in labels else unlabelled
            yield Listed(video_id, str(videos / action / name), action, privacy, split, boxes.get(video_id))

    return check_listed("vp-synth-b" if actions <= set(ACTION_SETS["b"]) else "vp-synth", ATTRIBUTE_NAMES, listed())


def read_splits(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Action, file name and split of each line of HMDB51's `<action>_test_split1.txt` files, actions sorted.

    Names are matched exactly: they hold blanks' neighbours such as ! ( ) # [ ] & + ; ~ @.
    Raises: ManifestError: no such file, or a line that is not `NAME 0|1|2`.
    """
    files = sorted(folder.glob(f"*{_SPLIT_FILE_END}"))
    if not files:
        raise ManifestError(f"{folder} holds no file named <action>{_SPLIT_FILE_END}")
    for file in files:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip():
                continue
            name, _, code = line.strip().rpartition(" ")
            if not name or code not in _SPLIT_OF_CODE:
                raise ManifestError(f"{file}:{number}: expected `NAME 0`, `NAME 1` or `NAME 2`, got {line!r}")
            yield file.name.removesuffix(_SPLIT_FILE_END), name.rstrip(), _SPLIT_OF_CODE[code]


def _read_boxes(path: Path) -> dict[str, PersonBoxes]:
    """Person boxes by video; none where the data set comes without the file."""
    if not path.is_file():
        return {}
    boxes: dict[str, PersonBoxes] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
            boxes[record["video"]] = record["boxes"]
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestError(f"{path}:{number}: not a line of person boxes ({error!r})") from error
    return boxes
