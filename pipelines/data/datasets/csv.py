"""A user's own videos: a CSV file with columns path, action, split, and a 0/1 column for each private attribute."""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.data.manifest import Listed, Manifest, ManifestError, Sources, check_listed
from stprivacy.storage import is_uri

PREFIX = "privacy_"
_REQUIRED = ("path", "action", "split")
_KNOWN = f"known columns are path, action, split and {PREFIX}<attribute>"


def load(sources: Sources) -> Manifest:
    """The videos that `manifest` lists; relative paths start at `videos`, or else at the manifest's folder.

    Raises: ManifestError: no manifest, unreadable, an unknown, missing or repeated column, or no rows.
    """
    manifest = sources.manifest
    if manifest is None:
        raise ManifestError(f"the data set csv needs --manifest FILE; {_KNOWN}")
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{manifest} cannot be read as CSV in UTF-8: {error}") from error
    header = [name.strip() for name in rows[0]] if rows else []
    _check_header(manifest, header)
    names = tuple(name.removeprefix(PREFIX) for name in header if name.startswith(PREFIX))
    return check_listed("csv", names, _listed(header, rows[1:], sources.videos or manifest.parent))


def _check_header(manifest: Path, header: Sequence[str]) -> None:
    attributes = [name for name in header if name.startswith(PREFIX) and name != PREFIX]
    unknown = [name for name in header if name not in _REQUIRED and name not in attributes]
    missing = [name for name in _REQUIRED if name not in header]
    repeated = sorted({name for name in header if header.count(name) > 1})
    if not attributes:
        missing.append(f"{PREFIX}<attribute> (at least one)")
    for fault, columns in (("unknown", unknown), ("missing", missing), ("repeated", repeated)):
        if columns:
            raise ManifestError(f"{manifest}: {fault} column {', '.join(columns)}; {_KNOWN}")


def _listed(header: Sequence[str], rows: Sequence[Sequence[str]], folder: Path) -> Iterator[Listed]:
    attributes = [name for name in header if name.startswith(PREFIX)]
    for row in rows:
        if not row:
            continue
        # Short rows lack labels, and that is what is said of them; cells without a column carry nothing.
        cells = dict.fromkeys(header, "") | {name: cell.strip() for name, cell in zip(header, row, strict=False)}
        yield Listed(
            video_id=cells["path"],
            path=_place(folder, cells["path"]),
            action=cells["action"],
            privacy=[cells[name] for name in attributes],
            split=cells["split"],
        )


def _place(folder: Path, cell: str) -> str:
    """A listed file, which may say itself where it is."""
    return cell if is_uri(cell) or os.path.isabs(cell) else str(folder / cell)
