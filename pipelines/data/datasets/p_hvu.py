"""P-HVU: the videos of HVU that have an action, an object and a scene; several of each."""

from collections.abc import Iterator, Mapping

from pipelines.data.annotation_files import brief
from pipelines.data.datasets.files import Annotations, VideoFiles, read_table
from pipelines.data.manifest import Manifest, ManifestError, Rejection, Sources, VideoEntry
from pipelines.text import printable

CATEGORIES = "HVU_Tags_Categories_V1.0"
LISTS = {"train": "HVU_Train_V1.0", "test": "HVU_Val_V1.0"}
CATEGORY_COLUMNS = ("Tag", "Category")
LIST_COLUMNS = ("Tags", "youtube_id", "time_start", "time_end")
PRIVATE = ("object", "scene")
KINDS = ("action", *PRIVATE, "event", "attribute", "concept")


def load(sources: Sources) -> Manifest:
    """The rows of HVU with at least one tag of each kind, validation as test, in files anywhere below `videos`.

    Needs below `annotations`, as CSV or zip: HVU_Tags_Categories_V1.0, HVU_Val_V1.0, and to train HVU_Train_V1.0; the
    train part is empty without it. Actions are all action tags, attributes all object and scene tags of the
    categories (739, 1,678 and 248), also those that no video has.

    A clip's file is named as the two public crawlers do: <youtube_id>_<start>_<end>.mp4 (or another video suffix)
    with six digits each, in tenths of a second (MMAction2's) or in whole seconds (ActivityNet's). A file that is named
    <youtube_id> alone is not taken: it does not say which seconds it shows, and one id can have several rows. A clip
    that is listed again, in whichever part, is rejected as a duplicate.
    Raises: ManifestError: a file is missing or malformed, a row has an unknown tag.
    """
    folder, annotation_folder = sources.folders("p-hvu")
    annotations = Annotations(annotation_folder)
    kinds = _read_categories(annotations)
    actions = tuple(tag for tag, kind in kinds.items() if kind == "action")
    private = {tag: column for column, tag in enumerate(t for kind in PRIVATE for t, k in kinds.items() if k == kind)}
    files = VideoFiles(folder, parts=1)
    entries: dict[str, VideoEntry] = {}
    rejected: list[Rejection] = []
    for part, stem in LISTS.items():
        if part == "train" and f"{stem}.csv" not in annotations and f"{stem}.zip" not in annotations:
            continue
        for video_id, in_seconds, tags in _read_list(annotations, stem, kinds):
            path = files.path(video_id + ".mp4", in_seconds + ".mp4")
            if video_id in entries:
                message = f"this clip is already listed above, as {entries[video_id].splits[0]}"
                rejected.append(Rejection(video_id, path, "duplicate", message))
                continue
            own = tuple(tag for tag in tags if kinds[tag] == "action")
            labels = bytearray(len(private))
            for tag in tags.keys() & private.keys():
                labels[private[tag]] = 1
            entries[video_id] = VideoEntry(video_id, path, own, bytes(labels), (part,))
    names = tuple(f"{kinds[tag]}_{tag}" for tag in private)
    return Manifest(
        "p-hvu", actions, names, tuple(entries.values()), tuple(rejected), multi_label=True, notes=files.notes
    )


def _read_categories(annotations: Annotations) -> dict[str, str]:
    """The kind of each tag, in the file's order."""
    kinds: dict[str, str] = {}
    for place, (tag, kind) in read_table(annotations, CATEGORIES, CATEGORY_COLUMNS):
        if tag in kinds:
            raise ManifestError(f"{place}: the tag {tag} is already listed as {kinds[tag]}")
        if kind not in KINDS:
            raise ManifestError(f"{place}: the category of {tag} must be one of {', '.join(KINDS)}, got {brief(kind)}")
        kinds[tag] = kind
    for kind in ("action", *PRIVATE):
        if kind not in kinds.values():
            raise ManifestError(f"{CATEGORIES} must hold tags of the category {kind}, it holds none")
    return kinds


def _read_list(
    annotations: Annotations, stem: str, kinds: Mapping[str, str]
) -> Iterator[tuple[str, str, dict[str, None]]]:
    """Name in tenths of a second, name in seconds, and tags in order of each row of P-HVU."""
    for place, (joined, youtube_id, start, end) in read_table(annotations, stem, LIST_COLUMNS):
        tags = dict.fromkeys(joined.split("|"))
        unknown = [tag for tag in tags if tag not in kinds]
        if unknown:
            raise ManifestError(f"{place}: the tags {printable(', '.join(unknown))[:200]} are not in {CATEGORIES}")
        try:
            names = [f"{youtube_id}_{int(n * float(start)):06d}_{int(n * float(end)):06d}" for n in (10, 1)]
        except (ValueError, OverflowError) as error:
            raise ManifestError(f"{place}: times must be seconds, got {brief(start)} and {brief(end)}") from error
        if {"action", *PRIVATE} <= {kinds[tag] for tag in tags}:
            yield names[0], names[1], tags
