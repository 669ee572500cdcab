"""vp-synth as its generator writes it: HMDB51-style split files, a pickle of privacy labels, person boxes."""

from pipelines.data.boxes import read_boxes
from pipelines.data.datasets.files import read_split, split_file_end
from pipelines.data.datasets.synth.actions import ACTION_SETS
from pipelines.data.datasets.synth.settings import ATTRIBUTE_NAMES, BOXES_FILE, LABELS_FILE
from pipelines.data.datasets.vp import load_label_pickle
from pipelines.data.listings import Listed, check_listed
from pipelines.data.manifest import Manifest, ManifestError, Sources


def load(sources: Sources) -> Manifest:
    """All videos that the split files list, action by action; the actions tell vp-synth from vp-synth-b.

    Raises: ManifestError: a folder is not given, or an annotation file is missing or malformed.
    """
    videos, annotations = sources.folders("vp-synth")
    labels = load_label_pickle(annotations / LABELS_FILE, len(ATTRIBUTE_NAMES))
    path = annotations / BOXES_FILE
    boxes = read_boxes(path) if path.is_file() else {}
    unlabelled = ("none given",) * len(ATTRIBUTE_NAMES)

    files = sorted((annotations / "splits").glob(f"*{split_file_end(1)}"))
    if not files:
        raise ManifestError(f"{annotations / 'splits'} holds no file named <action>{split_file_end(1)}")
    videos_of_splits = tuple(read_split(files, 1))
    actions = {action for _, action, _, _ in videos_of_splits}
    listed = []
    for _, action, name, split in videos_of_splits:
        video_id = f"{action}/{name}"
        privacy = labels[video_id][0].tolist() if video_id in labels else unlabelled
        listed.append(Listed(video_id, str(videos / action / name), action, privacy, split, boxes.get(video_id)))
    return check_listed("vp-synth-b" if actions <= set(ACTION_SETS["b"]) else "vp-synth", ATTRIBUTE_NAMES, listed)
