"""CelebV-HQ: expressions as actions against five attributes of appearance."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.data.annotation_files import brief, read_json_object
from pipelines.data.datasets.files import Annotations, VideoFiles, random_split
from pipelines.data.manifest import Manifest, ManifestError, Sources, VideoEntry
from pipelines.text import printable

INFO_FILE = "celebvhq_info.json"
ATTRIBUTE_NAMES = ("young", "pointy_nose", "male", "rosy_cheeks", "brown_hair")


def load(sources: Sources) -> Manifest:
    """The clips of celebvhq_info.json, in files ID.mp4 (or another video suffix) anywhere below `videos`.

    The action is the clip's expression; of several, the one that is shown longest, and of equals the first. The one
    split is 60/40 by `split_seed`: the paper's own is unpublished.
    Raises: ManifestError: no such file, an attribute that its mapping lacks, a clip without expression or labels.
    """
    folder, annotation_folder = sources.folders("celebv-hq")
    clips = list(_read_clips(Annotations(annotation_folder).file(INFO_FILE)))
    split = random_split([clip for clip, _, _ in clips], sources.split_seed)
    files = VideoFiles(folder, parts=1)
    entries = tuple(
        VideoEntry(clip, files.path(f"{clip}.mp4"), (expression,), privacy, (split[clip],))
        for clip, expression, privacy in clips
    )
    actions = tuple(sorted({entry.actions[0] for entry in entries}))
    return Manifest("celebv-hq", actions, ATTRIBUTE_NAMES, entries, notes=files.notes)


def _read_clips(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Id, expression and labels of each clip."""
    info = read_json_object(path)
    try:
        mapping = [str(name) for name in info["meta_info"]["appearance_mapping"]]
        clips: Mapping[str, Any] = info["clips"]
        if not isinstance(clips, dict):
            raise TypeError(f"clips is {brief(clips)}")
    except (KeyError, TypeError) as error:
        raise ManifestError(f"{path}: expected meta_info.appearance_mapping and clips ({brief(error)})") from error
    columns = [_column(path, mapping, name) for name in ATTRIBUTE_NAMES]
    for clip, record in clips.items():
        place = printable(f"{path}, {clip}")
        try:
            attributes = record["attributes"]
            appearance, emotion = attributes["appearance"], attributes["emotion"]
            expression = _longest(emotion["labels"]) if emotion["sep_flag"] else emotion["labels"]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ManifestError(f"{place}: no attributes.appearance or attributes.emotion ({brief(error)})") from error
        if not isinstance(appearance, list) or [value in (0, 1) for value in appearance] != [True] * len(mapping):
            raise ManifestError(
                f"{place}: appearance must be 0 or 1 for each of {len(mapping)}, got {brief(appearance)}"
            )
        if not isinstance(expression, str) or not expression:
            raise ManifestError(f"{place}: expected the name of an expression, got {brief(expression)}")
        yield clip, expression, bytes(int(appearance[column]) for column in columns)


def _column(path: Path, mapping: Sequence[str], attribute: str) -> int:
    found = [column for column, name in enumerate(mapping) if _plain(name) == _plain(attribute)]
    if len(found) != 1:
        raise ManifestError(f"{path}: appearance_mapping must hold {attribute} once, it holds {brief(mapping)}")
    return found[0]


def _plain(name: str) -> str:
    """Names differ in case, blanks and underscores between copies."""
    return name.replace(" ", "").replace("_", "").casefold()


def _longest(shown: Sequence[Mapping[str, Any]]) -> str:
    """The expression with most seconds in all. Raises: ValueError: there is none."""
    seconds: dict[str, float] = {}
    for span in shown:
        seconds[span["emotion"]] = seconds.get(span["emotion"], 0.0) + span["end_sec"] - span["start_sec"]
    return max(seconds, key=lambda expression: seconds[expression])
