"""Data sets by the name that `jobs/ingest.py` takes, each as the function that lists its videos."""

from collections.abc import Callable, Mapping

from pipelines.data.annotation_files import reason
from pipelines.data.boxes import with_boxes
from pipelines.data.datasets import celebv_hq, csv, hmdb51, p_hvu, pa_hmdb51, ucf101, vp_synth
from pipelines.data.manifest import Manifest, ManifestError, Sources
from stprivacy.storage import StorageError

LOADERS: Mapping[str, Callable[[Sources], Manifest]] = {
    "csv": csv.load,
    "vp-synth": vp_synth.load,
    "hmdb51": hmdb51.load,
    "ucf101": ucf101.load,
    "pa-hmdb51": pa_hmdb51.load,
    "celebv-hq": celebv_hq.load,
    "p-hvu": p_hvu.load,
}


def load_manifest(dataset: str, sources: Sources) -> Manifest:
    """The videos of a data set with labels, splits and, where they are known, person boxes.

    Raises: ManifestError: unknown name, unusable annotations or boxes.
    """
    if dataset not in LOADERS:
        raise ManifestError(f"unknown data set {dataset!r}; known are {', '.join(LOADERS)}")
    try:
        manifest = LOADERS[dataset](sources)
        return with_boxes(manifest, sources.boxes) if sources.boxes else manifest
    except (ManifestError, StorageError):
        raise
    except Exception as error:  # no check of what others wrote is whole; the user gets a line, not a traceback
        raise ManifestError(f"the list of {dataset} cannot be used ({reason(error)})") from error
