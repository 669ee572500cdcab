"""What an ingest would find, said without opening a video: counts, absent files, floors, labels that teach nothing."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from pipelines.data.manifest import Manifest, listing, split_counts
from pipelines.text import printable

_NAMED = 10  # attributes in one message


def preview(manifest: Manifest) -> str:
    """The ledger of a data set that has not been ingested, several lines."""
    labels = "one or more of " if manifest.multi_label else ""
    attributes = len(manifest.attribute_names)
    lines = [
        f"{manifest.dataset}: {manifest.videos_in} videos listed, {len(manifest.entries)} with labels "
        f"({labels}{len(manifest.action_names)} actions, {attributes} attributes)",
    ]
    for error, count in Counter(video.error for video in manifest.rejected).items():
        first = next(video for video in manifest.rejected if video.error == error)
        others = "" if count == 1 else f", and {count - 1} more"
        lines.append(f"  {error} {count}: {printable(first.video_id)} ({printable(first.message)}){others}")
    for number in range(manifest.splits):
        parts = Counter(entry.splits[number] for entry in manifest.entries)
        lines.append(f"split {number + 1}: {split_counts(parts)}")
        tested = [entry.privacy for entry in manifest.entries if entry.splits[number] == "test"]
        if tested:
            f1, cmap = floors(tested)
            lines[-1] += (
                f"; floors of its test part: privacy_f1 {f1:.3f} (always yes), privacy_cmap {cmap:.1f} (prevalence)"
            )
    absent = [entry.path for entry in manifest.entries if not entry.is_present]
    lines.append(f"on disk: {len(manifest.entries) - len(absent)} present, {len(absent)} absent")
    return "\n".join([*lines, *([listing(absent)] if absent else [])])


def warnings(manifest: Manifest) -> list[str]:
    """What the user should know before a long job starts, a line each.

    The reader's notes, splits without a training or a test part, and attributes with one label in all training videos.
    """
    lines = list(manifest.notes)
    for number in range(manifest.splits):
        name = f"split {number + 1} of {manifest.dataset}"
        parts = Counter(entry.splits[number] for entry in manifest.entries)
        lines += [f"{name} has no {part} videos" for part in ("train", "test") if manifest.entries and not parts[part]]
        constant = _constant_attributes(manifest, number)
        if constant:
            listed = ", ".join(constant[:_NAMED]) + (f" and {len(constant) - _NAMED} more" if constant[_NAMED:] else "")
            lines.append(f"{name}: nothing can be learned of attributes with one label in all train videos: {listed}")
    return lines


def _constant_attributes(manifest: Manifest, number: int) -> list[str]:
    """Attributes with one label in the training part of a split, each with that label."""
    trained = [entry.privacy for entry in manifest.entries if entry.splits[number] == "train"]
    if not trained:
        return []
    labels = np.frombuffer(b"".join(trained), np.uint8).reshape(len(trained), -1)
    lowest, highest = labels.min(0), labels.max(0)
    return [
        f"{printable(name)} ({low})"
        for name, low, high in zip(manifest.attribute_names, lowest, highest, strict=True)
        if low == high
    ]


def floors(privacy: Sequence[bytes]) -> tuple[float, float]:
    """Macro-F1 of always answering yes, and mean prevalence (%), which is the cMAP of ignorance, of 0/1 labels."""
    prevalence = np.frombuffer(b"".join(privacy), np.uint8).reshape(len(privacy), -1).mean(0)
    return float((2 * prevalence / (1 + prevalence)).mean()), float(100 * prevalence.mean())
