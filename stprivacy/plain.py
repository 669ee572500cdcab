"""Configurations as plain values, and back: what a JSON file says is checked against the settings' types."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Config = TypeVar("Config")
_PLAIN_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
_TOO_LARGE = 2**63
_SHOWN_CHARACTERS = 60


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain dicts, lists and numbers, ready for JSON."""
    return dataclasses.asdict(config)


def leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as pairs of a flat `outer.inner` key and a value."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def from_dict(cls: type[Config], values: Any, where: str = "") -> Config:
    """Build the configuration class `cls` from plain values, as `to_dict` gives them.

    Raises: ValueError: a key that `cls` does not have (the message lists those it has), a value of another type than
        the setting's, or a bad value; the message names the setting.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where.rstrip('.') or cls.__name__} must be an object, got {shown(values)}")
    hints = get_type_hints(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    known = [f.name for f in fields]
    required = [f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    for key in values:
        if key not in known:
            raise ValueError(f"unknown setting {where}{shown(key)}; {cls.__name__} has: {', '.join(known)}")
    if missing := [name for name in required if name not in values]:
        raise ValueError(f"setting {where}{missing[0]} is missing")
    return cls(**{key: _build(hints[key], value, f"{where}{key}") for key, value in values.items()})


def _build(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, f"{where}.")  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        return _build_tuple(get_args(hint), value, where)
    if get_origin(hint) is Literal:
        fits = isinstance(value, str) and value in get_args(hint)
        wanted = f"one of {', '.join(map(str, get_args(hint)))}"
    else:
        fits, wanted = _is_plain(hint, value), _PLAIN_NAMES[hint]
    if not fits:
        raise ValueError(f"{where} must be {wanted}, got {shown(value)}")
    return value


def _build_tuple(items: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{where} must be a list, got {shown(value)}")
    of_any_length = len(items) == 2 and items[1] is Ellipsis
    if not of_any_length and len(value) != len(items):
        raise ValueError(f"{where} must be a list of {len(items)}, got {shown(value)}")
    hints = [items[0]] * len(value) if of_any_length else items
    return tuple(_build(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(zip(hints, value, strict=True)))


def _is_plain(hint: Any, value: Any) -> bool:
    """Whether a value is a bool, a whole number, a finite number or a text, as the hint has it."""
    if hint is float and isinstance(value, float):
        return math.isfinite(value)
    if hint in (int, float):
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _TOO_LARGE
    return isinstance(value, hint)


def shown(value: Any) -> str:
    """A value of a configuration as messages quote it: cut where it is long."""
    text = value if isinstance(value, str) and value.isprintable() and value else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def listed(names: Sequence[str], shown: int = 8) -> str:
    """The names in a line, of those after the first ones only how many there are."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
