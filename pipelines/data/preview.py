"""What an ingest would find, said without opening a video: counts, absent files, and the floors of each split."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from pipelines.data.manifest import Manifest, listing, split_counts


def preview(manifest: Manifest) -> str:
    """The ledger of a data set that has not been ingested, several lines."""
    labels = "one or more of " if manifest.multi_label else ""
    attributes = len(manifest.attribute_names)
    lines = [
        f"{manifest.dataset}: {manifest.videos_in} videos listed, {len(manifest.entries)} with labels "
        f"({labels}{len(manifest.action_names)} actions, {attributes} attributes)",
        *(f"  {error} {count}" for error, count in Counter(video.error for video in manifest.rejected).items()),
    ]
    for number in range(manifest.splits):
        parts = Counter(entry.splits[number] for entry in manifest.entries)
        tested = [entry.privacy for entry in manifest.entries if entry.splits[number] == "test"]
        lines.append(f"split {number + 1}: {split_counts(parts)}{_floors_of(tested)}")
    absent = [entry.path for entry in manifest.entries if not entry.is_present]
    lines.append(f"on disk: {len(manifest.entries) - len(absent)} present, {len(absent)} absent")
    return "\n".join([*lines, *([listing(absent)] if absent else [])])


def floors(privacy: Sequence[bytes]) -> tuple[float, float]:
    """Macro-F1 of always answering yes, and mean prevalence (%), which is the cMAP of ignorance, of 0/1 labels."""
    prevalence = np.frombuffer(b"".join(privacy), np.uint8).reshape(len(privacy), -1).mean(0)
    return float((2 * prevalence / (1 + prevalence)).mean()), float(100 * prevalence.mean())


def _floors_of(tested: Sequence[bytes]) -> str:
    if not tested:
        return ""
    f1, cmap = floors(tested)
    return f"; floors of its test part: privacy_f1 {f1:.3f} (always yes), privacy_cmap {cmap:.1f} (prevalence)"
