"""Reading files that others wrote: bounded in size, and whatever is wrong with one is a single line that names it."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from reprlib import Repr
from typing import Any

from pipelines.data.manifest import ManifestError
from pipelines.text import printable

# The largest published annotation file is HVU's training list, of about 90 MB.
LARGEST_BYTES = 256 << 20
_BRIEF = Repr()
_BRIEF.maxlevel, _BRIEF.maxstring, _BRIEF.maxother = 2, 80, 80
_MESSAGE_CHARACTERS = 300
_BYTE_ORDER_MARKS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_MAGIC = {
    b"PK\3\4": "it is a zip file, as Excel workbooks are: export the sheet as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "it is an Excel workbook: export the sheet as CSV UTF-8",
    b"\x1f\x8b": "it is compressed: unpack it",
    b"PAR1": "it is a Parquet file: write it as CSV",
}


def brief(value: object) -> str:
    """A value as messages quote it: short however large or deep it is."""
    return _BRIEF.repr(value)


def reason(error: BaseException) -> str:
    """An error in one short line."""
    text = " ".join(printable(str(error)).split())
    if not text or not isinstance(error, OSError | ValueError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= _MESSAGE_CHARACTERS else text[:_MESSAGE_CHARACTERS] + "..."


@contextmanager
def faults_named(path: object, kind: str) -> Iterator[None]:
    """Inside it, whatever reading fails with becomes a ManifestError that names the file.

    A damaged file can raise anything: MemoryError, RecursionError and OverflowError as well as ValueError.
    """
    try:
        yield
    except ManifestError:
        raise
    except Exception as error:
        raise ManifestError(f"{printable(str(path))} cannot be read as {kind}: {reason(error)}") from error


def read_bounded(path: Path, kind: str, limit: int = LARGEST_BYTES) -> bytes:
    """The content of a file. Raises: ManifestError: it cannot be read, or holds more than `limit` bytes."""
    with faults_named(path, kind):
        is_large = path.stat().st_size > limit
        if not is_large:
            with path.open("rb") as file:
                content: bytes = file.read(limit + 1)
            is_large = len(content) > limit  # a device or a pipe says that its size is 0
        if is_large:
            raise ManifestError(f"{printable(str(path))} is larger than {limit >> 20} MiB, the limit for {kind}")
    return content


def decoded(path: object, content: bytes) -> str:
    """Text in UTF-8, with or without a byte order mark.

    Raises: ManifestError: in another encoding, or no text; the message says which, where, and what to do.
    """
    fault = _binary_fault(content)
    if not fault:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            byte = content[error.start : error.start + 1]
            fault = (
                f"line {_line_of(content, error.start)} holds the byte 0x{byte.hex()}, "
                f"{byte.decode('cp1252', 'replace')} in Latin-1 and Windows-1252. "
                "Save it as UTF-8 (in spreadsheets: CSV UTF-8), or: iconv -f WINDOWS-1252 -t UTF-8"
            )
    raise ManifestError(f"{printable(str(path))} is not text in UTF-8: {fault}")


def _binary_fault(content: bytes) -> str:
    """What tells that these bytes are no text of one byte a character or more; empty where nothing does."""
    magic = next((told for mark, told in _MAGIC.items() if content.startswith(mark)), "")
    if magic:
        return magic
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if content.startswith(mark)), "")
    encoding = encoding or _unmarked_utf16(content[:4096])
    if encoding:
        return f"it is {encoding}. Save it as UTF-8 (in spreadsheets: CSV UTF-8), or: iconv -f {encoding} -t UTF-8"
    if b"\0" in content:
        return f"line {_line_of(content, content.index(0))} holds NUL bytes: it is binary or damaged"
    return ""


def _unmarked_utf16(sample: bytes) -> str:
    """The kind of UTF-16 in which every other byte is 0, as it is of Latin letters; empty where that is not so."""
    for first, name in ((0, "UTF-16BE"), (1, "UTF-16LE")):
        upper, lower = sample[first::2], sample[1 - first :: 2]
        if upper.count(0) > 0.7 * len(upper) and lower.count(0) < 0.1 * len(lower):
            return name
    return ""


def _line_of(content: bytes, position: int) -> int:
    before = content[:position].replace(b"\r\n", b"\n")
    return 1 + before.count(b"\n") + before.count(b"\r")


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a text file that are not blank, without blanks around them, each after its place `path:number`.

    Raises: ManifestError: it cannot be read, or is not text in UTF-8.
    """
    text = decoded(path, read_bounded(path, "a list"))
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if line.strip():
            yield f"{path}:{number}", line.strip()


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object. Raises: ManifestError: it does not."""
    text = decoded(path, read_bounded(path, "JSON"))
    try:
        content = parse_json(text)
    except Exception as error:  # RecursionError and MemoryError as well as ValueError
        raise ManifestError(f"{path} is not JSON that can be used: {reason(error)}") from error
    if not isinstance(content, dict):
        raise ManifestError(f"{path} holds a {type(content).__name__}, not an object")
    return content


def parse_json(text: str) -> Any:
    """JSON as its standard has it: no name twice in an object, no NaN or Infinity, no half of a surrogate pair.

    Raises: ValueError, RecursionError, MemoryError: it is not.
    """
    content = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    if re.search(r"\\u[dD][89a-fA-F]", text):
        json.dumps(content, ensure_ascii=False).encode()
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f"{brief(counts.most_common(1)[0][0])} is there twice in one object")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def read_csv_rows(label: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV, each after the number of its first line.

    Raises: ManifestError: a quote that is not closed, a stray one, or a field that is too long.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    begin = 1
    try:
        for row in reader:
            yield begin, row
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ManifestError(
            f"{label}:{begin}: the row that begins here cannot be read as CSV ({error}): a quote in it is not closed, "
            'or not doubled ("") inside a quoted field'
        ) from error
