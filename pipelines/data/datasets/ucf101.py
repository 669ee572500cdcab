"""UCF101 with the privacy labels of VP-UCF101: 101 actions, three official splits."""

from pipelines.data.annotation_files import brief, read_lines
from pipelines.data.datasets.files import Annotations, VideoFiles
from pipelines.data.datasets.vp import VPLabels, labelled_entries
from pipelines.data.manifest import VP_LABEL_ORDER, Manifest, ManifestError, Sources

LABELS_FILE = "ucf101_privacy_attribute_label.pickle"
INDEX_FILE = "classInd.txt"
SPLIT_NUMBERS = (1, 2, 3)


def load(sources: Sources) -> Manifest:
    """The videos that the three splits list, at `videos`/<Action>/NAME.avi (or another video suffix).

    Needs below `annotations`: classInd.txt, trainlist0{1,2,3}.txt, testlist0{1,2,3}.txt and the VP label file. Names
    are matched whatever their case: HandstandPushups holds v_HandStandPushups_*, and copies fix one or the other.
    Raises: ManifestError: a file is missing or malformed, a list names an unknown action, a split lacks a video.
    """
    folder, annotation_folder = sources.folders("ucf101")
    annotations = Annotations(annotation_folder)
    index = _read_index(annotations)
    splits = [_read_split(annotations, number, index) for number in SPLIT_NUMBERS]
    video_ids = sorted({video_id for split in splits for video_id in split})
    for number, split in zip(SPLIT_NUMBERS, splits, strict=True):
        for video_id in video_ids:
            if video_id not in split:
                raise ManifestError(f"neither trainlist0{number}.txt nor testlist0{number}.txt lists {video_id}")
    labels = VPLabels(annotations.file(LABELS_FILE), sources.label_order, ignore_case=True)
    files = VideoFiles(folder, parts=2, ignore_case=True)
    entries = labelled_entries(video_ids, files, labels, splits)
    return Manifest("ucf101", tuple(index), VP_LABEL_ORDER, entries, notes=files.notes)


def _read_index(annotations: Annotations) -> dict[str, str]:
    """The number, from 1, of each action."""
    index: dict[str, str] = {}
    for place, line in read_lines(annotations.file(INDEX_FILE)):
        number, _, action = line.partition(" ")
        if number != str(len(index) + 1) or not action or action in index:
            raise ManifestError(f"{place}: expected `{len(index) + 1} NewAction`, got {brief(line)}")
        index[action] = number
    return index


def _read_split(annotations: Annotations, number: int, index: dict[str, str]) -> dict[str, str]:
    """Split of each `Action/NAME.avi`."""
    split: dict[str, str] = {}
    for part in ("train", "test"):
        for place, line in read_lines(annotations.file(f"{part}list0{number}.txt")):
            video_id, _, label = line.partition(" ")
            action, _, name = video_id.partition("/")
            if not name:
                raise ManifestError(
                    f"{place}: expected `Action/NAME.avi` and in train lists a label, got {brief(line)}"
                )
            if action not in index:
                raise ManifestError(f"{place}: {action} is none of the {len(index)} actions in {INDEX_FILE}")
            if label.strip() not in ({index[action]} if part == "train" else {index[action], ""}):
                raise ManifestError(f"{place}: expected label {index[action]} ({action}), got {brief(label.strip())}")
            if video_id in split:
                raise ManifestError(f"{place}: {video_id} is already listed as {split[video_id]}")
            split[video_id] = part
    return split
