"""HMDB51 with the privacy labels of VP-HMDB51: 51 actions, three official splits."""

from pipelines.data.datasets.files import Annotations, VideoFiles, read_split, split_file_end
from pipelines.data.datasets.vp import VPLabels, labelled_entries
from pipelines.data.manifest import VP_LABEL_ORDER, Manifest, ManifestError, Sources

LABELS_FILE = "hmdb51_privacy_attribute_label.pickle"
SPLIT_NUMBERS = (1, 2, 3)


def load(sources: Sources) -> Manifest:
    """The videos that all three splits list, at `videos`/<action>/NAME.avi (or another video suffix).

    Needs below `annotations`: <action>_test_split{1,2,3}.txt and the VP label file.
    Raises: ManifestError: a file is missing or malformed, a split lacks a video, a video lacks labels.
    """
    folder, annotation_folder = sources.folders("hmdb51")
    annotations = Annotations(annotation_folder)
    splits = [_read_split(annotations, number) for number in SPLIT_NUMBERS]
    for number, split in zip(SPLIT_NUMBERS, splits, strict=True):
        for video_id in sorted(split.keys() ^ splits[0].keys()):
            action, _, name = video_id.partition("/")
            lists, lacks = map(split_file_end, (number, 1) if video_id in split else (1, number))
            raise ManifestError(f"{action}{lacks} does not list {name}, as {action}{lists} does")
    labels = VPLabels(annotations.file(LABELS_FILE), sources.label_order)
    files = VideoFiles(folder, parts=2)
    entries = labelled_entries(splits[0], files, labels, splits)
    actions = tuple(sorted({entry.actions[0] for entry in entries}))
    return Manifest("hmdb51", actions, VP_LABEL_ORDER, entries, notes=files.notes)


def _read_split(annotations: Annotations, number: int) -> dict[str, str]:
    """Split of each `action/NAME.avi`; the files of split 1 say which actions there are."""
    first, end = split_file_end(SPLIT_NUMBERS[0]), split_file_end(number)
    wanted = [file.name.removesuffix(first) + end for file in annotations.ending(first)]
    for file in annotations.ending(end):
        if file.name not in wanted:
            action = file.name.removesuffix(end)
            raise ManifestError(f"{file}: {action} is none of the {len(wanted)} actions that have a *{first}")
    split: dict[str, str] = {}
    for place, action, name, part in read_split([annotations.file(name) for name in wanted], number):
        if f"{action}/{name}" in split:
            raise ManifestError(f"{place}: {name} is listed twice")
        split[f"{action}/{name}"] = part
    return split
