"""Names of files, which are bytes that may be anything, as text for people and in JSON."""

import hashlib
import json
import re
import sys
from typing import Any

# Control characters, line and paragraph ends, marks that turn the direction of text, and halves of surrogate pairs.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""The text on one line, for a terminal and for files in UTF-8: what these would not show, or obey, is escaped.

    A byte of a file's name that is not UTF-8 becomes \xe9, control characters and the like \n, \x1b, \u202e.
    """
    return _UNPRINTABLE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    is_byte = 0xDC80 <= code <= 0xDCFF  # how Python stands for a byte that is not UTF-8 (surrogateescape)
    return f"\\x{code - 0xDC00:02x}" if is_byte else found[0].encode("unicode_escape").decode("ascii")


def say(text: str) -> None:
    """Print, whatever the encoding of standard output lacks."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def json_bytes(value: Any) -> bytes:
    r"""JSON for people to read; a byte of a name that is not UTF-8 becomes \udce9, which Python reads as it was."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def name_digest(name: str) -> str:
    """16 hexadecimal digits for a name of any bytes, the same on every machine."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
