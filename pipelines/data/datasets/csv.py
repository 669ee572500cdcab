"""A user's own videos: a CSV file with columns path, action, split, and a 0/1 column for each private attribute."""

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.data.annotation_files import brief, decoded, read_bounded, read_csv_rows
from pipelines.data.listings import Listed, check_listed
from pipelines.data.manifest import SPLITS, Manifest, ManifestError, Sources
from pipelines.text import printable
from stprivacy.storage import SCHEMES, is_uri

PREFIX = "privacy_"
_REQUIRED = ("path", "action", "split")
_KNOWN = f"known columns are path, action, split and {PREFIX}<attribute>"
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_INVISIBLE = "\ufeff\u200b"  # a second byte order mark, a blank of no width
_UNNAMED = re.compile(r"(unnamed: \d+)?")  # also what pandas calls an index column that it has read
_LABEL = re.compile(r"([01])(\.0*)?(e[+-]?0+)?|(true)|(false)")
_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")
Rows = Sequence[tuple[int, Sequence[str]]]


def load(sources: Sources) -> Manifest:
    """The videos that `manifest` lists; relative paths start at `videos`, or else at the manifest's folder.

    Taken as it is meant: blank rows, names of columns and splits in another case, 1.0 and True as labels, a trailing
    comma, and the index that pandas writes; notes tell of the last two.
    Raises: ManifestError: no manifest, unreadable, an unknown, missing, repeated or nameless column, or no rows.
    """
    manifest = sources.manifest
    if manifest is None:
        raise ManifestError(f"the data set csv needs --manifest FILE; {_KNOWN}")
    text = decoded(manifest, read_bounded(manifest, "a CSV manifest"))
    if text.casefold().startswith("sep="):  # Excel's own first line; blank, so that the others keep their numbers
        text = text[re.match(r"[^\r\n]*", text).end() :]  # type: ignore[union-attr]
    _check_separator(manifest, text)
    rows = [(line, row) for line, row in read_csv_rows(str(manifest), text) if any(map(str.strip, row))]
    header = [_column(name) for name in rows[0][1]] if rows else []
    notes = _check_header(manifest, header, rows[1:])
    names = tuple(name.removeprefix(PREFIX) for name in header if name.startswith(PREFIX))
    return check_listed("csv", names, _listed(header, rows[1:], str(sources.videos or manifest.parent)), notes)


def _check_separator(manifest: Path, text: str) -> None:
    first = next((line for line in text.splitlines() if line.strip()), "")
    for separator, name in _SEPARATORS.items():
        cells = {cell.strip(' "').casefold() for cell in first.split(separator)}
        if len(cells.intersection(_REQUIRED)) > 1:
            raise ManifestError(
                f"{manifest}: its columns are separated by {name}, not commas: export it from the spreadsheet with the "
                "comma as field delimiter, or from pandas with to_csv(..., sep=',', index=False)"
            )


def _column(cell: str) -> str:
    """The column that a cell of the header names; empty where it names none."""
    name = cell.strip().strip(_INVISIBLE).strip()
    plain = name.casefold()
    if plain.startswith(PREFIX):
        return PREFIX + name[len(PREFIX) :].strip()
    return "" if _UNNAMED.fullmatch(plain) else plain if plain in _REQUIRED else name


def _check_header(manifest: Path, header: Sequence[str], rows: Rows) -> list[str]:
    """What is to be said of columns that are ignored. Raises: ManifestError: a column cannot be used, or lacks."""
    attributes = [name for name in header if name.startswith(PREFIX) and name != PREFIX]
    unknown = [name for name in header if name and name not in _REQUIRED and name not in attributes]
    missing = [name for name in _REQUIRED if name not in header]
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if not attributes:
        missing.append(f"{PREFIX}<attribute> (at least one)")
    for fault, columns in (("unknown", unknown), ("missing", missing), ("repeated", repeated)):
        if columns:
            raise ManifestError(f"{manifest}: {fault} column {printable(', '.join(columns))[:200]}; {_KNOWN}")
    return [_nameless(manifest, at, header, rows) for at, name in enumerate(header) if not name]


def _nameless(manifest: Path, at: int, header: Sequence[str], rows: Rows) -> str:
    """What a column without a name is. Raises: ManifestError: it may carry what the user wants."""
    place = f"{manifest}: column {at + 1} has"
    cells = [(line, row[at].strip()) for line, row in rows if at < len(row) and row[at].strip()]
    if not cells:
        return f"{place} neither a name nor content, as a trailing comma makes it: it is ignored"
    numbers = {cell for _, cell in cells if cell.isdecimal()}
    if not any(header[:at]) and len(numbers) == len(rows):
        return (
            f"{place} no name and numbers the rows, as the index of pandas does: it is ignored, and to_csv(..., "
            "index=False) leaves it out"
        )
    line, cell = cells[0]
    raise ManifestError(f"{place} no name, and line {line} holds {brief(cell)} in it: name it, or remove it")


def _listed(header: Sequence[str], rows: Rows, folder: str) -> Iterator[Listed]:
    attributes = [name for name in header if name.startswith(PREFIX)]
    for line, row in rows:
        # Short rows lack labels, and that is what is said of them.
        cells = dict.fromkeys(header, "") | {name: cell.strip() for name, cell in zip(header, row, strict=False)}
        path, fault = _located(folder, cells["path"])
        if any(map(str.strip, row[len(header) :])):
            counts = f"{len(row)} cells for {len(header)} columns"
            fault = "bad-row", f"line {line} has {counts}: a path or an action with a comma needs quotes around it"
        split = cells["split"].casefold()
        yield Listed(
            video_id=cells["path"] or f"line {line}",
            path=path,
            action=cells["action"],
            privacy=[_label(cells[name]) for name in attributes],
            split=split if split in SPLITS else cells["split"],
            fault=fault,
        )


def _label(cell: str) -> str:
    """0 or 1, also as spreadsheets and pandas write them (1.0, TRUE); anything else as it stands."""
    found = _LABEL.fullmatch(cell.lower())
    if found is None:
        return cell
    return found[1] or ("1" if found[4] else "0")


def _located(folder: str, cell: str) -> tuple[str, tuple[str, str] | None]:
    """A listed file, which may say itself where it is; and why it can be nowhere, if so."""
    if not cell:
        return "", ("bad-path", "no path is given")
    if is_uri(cell):
        scheme, _, rest = cell.partition("://")
        bucket, _, key = rest.partition("/")
        if scheme in SCHEMES and bucket and key:
            return cell, None
        objects = ", ".join(f"{known}://BUCKET/KEY" for known in SCHEMES)
        return cell, ("bad-path", f"neither a path nor an object ({objects})")
    found = path = _joined(folder, cell)
    # Most names have one spelling, and are not looked for here.
    if (not cell.isascii() or "\\" in cell) and not is_uri(path) and not os.path.exists(path):
        spellings = (cell.replace("\\", "/"), *(unicodedata.normalize(form, cell) for form in ("NFC", "NFD")))
        found = next(filter(os.path.exists, (_joined(folder, spelling) for spelling in spellings)), path)
    if found == path and _WINDOWS_PATH.match(cell) and not os.path.exists(path):
        return path, ("bad-path", "a path of Windows, which leads nowhere here: list it relative to --videos")
    return found, None


def _joined(folder: str, cell: str) -> str:
    if cell.startswith("~/"):
        cell = os.path.expanduser(cell)
    return os.path.join(folder, cell.removeprefix("./"))
