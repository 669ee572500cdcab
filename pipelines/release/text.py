"""Names of files, which are bytes that may be anything, as text for people and in JSON."""

import hashlib
import json
import sys
from typing import Any


def printable(text: str) -> str:
    r"""The text on one line, for a terminal: what it would not show, or obey, is escaped.

    A byte that is not UTF-8 becomes \xe9, a backslash two, other characters that are not printable \n, \x1b, \u202e.
    """
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python names a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    if character.isprintable() and character != "\\":
        return character
    if "\x80" <= character <= "\xff":
        return f"\\u{ord(character):04x}"  # not to be taken for a byte
    return character.encode("unicode_escape").decode("ascii")


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
