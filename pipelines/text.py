"""Text for people and in JSON: names of any bytes, errors on one line, no passwords, durations."""

import hashlib
import json
import os
import re
import sys
from typing import Any

# Control characters, line and paragraph ends, marks that turn the direction of text, and halves of surrogate pairs.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

HIDDEN = "***"
# Up to the last @: an unescaped password may hold slashes and @s itself. A port with a path that holds an @ is none.
_USER_INFO = re.compile(r"(?<=://)(?:[^\s/?#@:\[]*:(?!\d*(?:[/?#\s]|$))\S*@|[^\s/?#]*@)")
_SECRET = r"[\w.\-]*(?:token|passw|pwd|secret|key|sig|credential|auth)[\w.\-]*|x-amz-[\w\-]+"
_PARAMETER = re.compile(rf"([?&;#](?:{_SECRET})=)[^\s&;#'\"]*", re.IGNORECASE)
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_NEXT_TRACEBACK = re.compile(r"\n\s*\n(?:The above exception|During handling)")


def printable(text: str) -> str:
    r"""The text on one line, for a terminal and for files in UTF-8: what these would not show, or obey, is escaped.

    A byte of a file's name that is not UTF-8 becomes \xe9, control characters and the like \n, \x1b, \u202e.
    """
    return _UNPRINTABLE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    is_byte = 0xDC80 <= code <= 0xDCFF  # how Python stands for a byte that is not UTF-8 (surrogateescape)
    return f"\\x{code - 0xDC00:02x}" if is_byte else found[0].encode("unicode_escape").decode("ascii")


def json_bytes(value: Any) -> bytes:
    r"""JSON for people to read; a byte of a name that is not UTF-8 becomes \udce9, which Python reads as it was."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def name_digest(name: str) -> str:
    """16 hexadecimal digits for a name of any bytes, the same on every machine."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def redacted(text: str) -> str:
    """The text; in its URIs `***` stands for user names, passwords, and the query's tokens, keys and signatures."""
    return _PARAMETER.sub(rf"\1{HIDDEN}", _USER_INFO.sub(f"{HIDDEN}@", text))


def one_line(error: BaseException) -> str:
    """What an exception says, on one line and without passwords.

    Of an error of the system, the file and the reason; of a failed Ray task, what was raised in it; of an exception
    that says nothing, its class.
    """
    error = cause_of(error)
    if isinstance(error, MemoryError):
        text = "out of memory: rerun the command with fewer workers or smaller batches to resume"
    elif isinstance(error, OSError) and error.strerror:
        names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
        text = ": ".join(filter(None, (" -> ".join(names), error.strerror)))
    elif _is_of_ray(error):
        # Of a remote traceback the last line of its first part: what was raised first.
        lines = _NEXT_TRACEBACK.split(_COLOUR.sub("", str(error)).strip())[0].splitlines() or [""]
        text = lines[-1] if any(line.startswith("  File ") for line in lines) else " ".join(lines)
    else:
        text = str(error)
    return redacted(printable(" ".join(text.split())) or type(error).__name__)


def cause_of(error: BaseException) -> BaseException:
    """What was raised inside a Ray task, as far as it came back whole; of anything else the exception itself."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) and not _is_of_ray(cause) and _is_of_ray(error) else error


def _is_of_ray(error: BaseException) -> bool:
    ray = sys.modules.get("ray.exceptions")
    return ray is not None and isinstance(error, ray.RayError)


def duration(seconds: float) -> str:
    """Seconds in words that fit a line: `42 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
