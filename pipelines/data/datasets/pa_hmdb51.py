"""PA-HMDB51: 515 videos of HMDB51 whose five private attributes are labelled frame by frame."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.data.annotation_files import brief, read_json_object
from pipelines.data.datasets.files import Annotations, VideoFiles, random_split
from pipelines.data.manifest import VP_LABEL_ORDER, Manifest, ManifestError, Sources, VideoEntry
from pipelines.text import printable

FOLDER = "PrivacyAttributes"
# The values that the annotation allows run from 0 (nothing to be seen) to these.
HIGHEST = {"skin_color": 4, "face": 2, "gender": 3, "nudity": 2, "relationship": 1}
# An attribute shows from this value on.
SHOWS_FROM = {"skin_color": 1, "face": 2, "gender": 1, "nudity": 1, "relationship": 1}

# An interval that ends later is an error: labels are unrolled frame by frame, and HMDB51's longest video has 1,062.
MOST_FRAMES = 10_000

# Of one attribute: first and last frame, both counted, and the values seen in them.
Interval = tuple[int, int, frozenset[int]]
Annotation = Mapping[str, Sequence[Interval]]


def load(sources: Sources) -> Manifest:
    """The videos of PrivacyAttributes/<action>.json, at `videos`/<action>/NAME.avi (or another video suffix).

    An attribute of a video is 1 if it shows in any frame, and of a frame if it shows there, by SHOWS_FROM: a tone of
    skin, a complete face, a gender, at least partial nudity, a relationship can be told. Those are the questions that
    the VP labels answer. Positive are, of 515 videos: skin_color .967, face .540 (.812 with partial faces, which also
    puts the floor of cMAP, 70.5, above rows of the paper's Table 3), gender .983, nudity .594, relationship .171.
    Frames that no interval covers show nothing.

    The one split is 60/40 by `split_seed`: the paper's own is unpublished. The data set's authors only test on it,
    and train on HMDB51 without these videos.
    Raises: ManifestError: no such files, a video that lacks an attribute, a value or an interval outside its range.
    """
    folder, annotation_folder = sources.folders("pa-hmdb51")
    annotated = dict(read_annotations(annotation_folder))
    split = random_split(list(annotated), sources.split_seed)
    files = VideoFiles(folder, parts=2)
    entries: list[VideoEntry] = []
    for video_id, annotation in annotated.items():
        action, frames = video_id.partition("/")[0], privacy_frames(annotation)
        labels = bytes(max(column) for column in zip(*frames, strict=True))
        part = (split[video_id],)
        entries.append(VideoEntry(video_id, files.path(video_id), (action,), labels, part, privacy_frames=frames))
    actions = tuple(sorted({entry.actions[0] for entry in entries}))
    return Manifest("pa-hmdb51", actions, VP_LABEL_ORDER, tuple(entries), notes=files.notes)


def privacy_frames(annotation: Annotation) -> list[list[int]]:
    """0 or 1 for each frame up to the last that an interval covers, and each attribute."""
    count = 1 + max(last for intervals in annotation.values() for _, last, _ in intervals)
    frames = [[0] * len(VP_LABEL_ORDER) for _ in range(count)]
    for column, name in enumerate(VP_LABEL_ORDER):
        for first, last, values in annotation[name]:
            for frame in frames[first : last + 1]:
                frame[column] |= max(values) >= SHOWS_FROM[name]
    return frames


def read_annotations(folder: Path) -> Iterator[tuple[str, Annotation]]:
    """`action/NAME.avi` and its intervals by attribute, actions sorted; files are named after their action."""
    for path in Annotations(folder).inside(FOLDER, ".json"):
        for name, record in read_json_object(path).items():
            place = printable(f"{path}, {name}")
            given = record if isinstance(record, dict) else {}
            missing = [key for key in VP_LABEL_ORDER if not isinstance(given.get(key), list) or not given[key]]
            if missing:
                raise ManifestError(f"{place}: no intervals for {', '.join(missing)}")
            yield (
                f"{path.stem}/{name}",
                {key: [_interval(item, key, place) for item in given[key]] for key in VP_LABEL_ORDER},
            )


def _interval(item: Any, attribute: str, place: str) -> Interval:
    highest = HIGHEST[attribute]
    try:
        first, last, value = item
        values = frozenset(value if isinstance(value, list) else [value])
        frames_are_numbered = type(first) is int and type(last) is int and 0 <= first <= last < MOST_FRAMES
        sound = frames_are_numbered and values and values <= set(range(highest + 1))
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise ManifestError(
            f"{place}: {attribute} must be [first frame, last frame (below {MOST_FRAMES}), value or values in "
            f"0..{highest}], got {brief(item)}"
        )
    return first, last, values
