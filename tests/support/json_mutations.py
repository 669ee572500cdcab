"""Seeded damage to JSON files: of their bytes, and of what they say."""

import json
import random
from collections.abc import Callable
from typing import Any

_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**30, 1e308, -0.5, "", "x", [], {}, [[]], {"a": 1}, ["stprivacy"], [1] * 40,
)  # fmt: skip


def mutated(content: bytes, draw: random.Random) -> bytes:
    """The file with one fault in it; in one of two cases, it is still JSON."""
    return draw.choice(_OF_BYTES)(content, draw) if draw.random() < 0.5 else _of_content(json.loads(content), draw)


def complaint_of(use: Callable[[], object]) -> str:
    """What a ValueError says, if there is one; nothing else may be raised."""
    try:
        use()
    except ValueError as error:
        return str(error)
    return ""


def _flipped(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :]


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def _without_some(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content))
    return content[:at] + content[at + draw.randrange(1, 20) :]


def _with_more(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content))
    return content[:at] + draw.choice((b"9", b"}", b"[", b'"', b"\\", b"\xff", b"[" * 100_000)) + content[at:]


_OF_BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (_flipped, _cut, _without_some, _with_more)


def _of_content(values: Any, draw: random.Random) -> bytes:
    """A value replaced, or a key lost or misspelt, somewhere in the tree; now and then the whole of it."""
    places = list(_places(values))
    if not places or draw.random() < 0.02:
        return json.dumps(draw.choice(_VALUES)).encode()
    owner, key = draw.choice(places)
    kind = draw.randrange(3)
    if kind == 0 or isinstance(owner, list):
        owner[key] = draw.choice(_VALUES)
    elif kind == 1:
        del owner[key]
    else:
        owner[f"{key}x"] = owner.pop(key)
    return json.dumps(values).encode()


def _places(values: Any) -> Any:
    for key in list(values) if isinstance(values, dict) else range(len(values)) if isinstance(values, list) else ():
        yield values, key
        yield from _places(values[key])
