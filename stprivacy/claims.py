"""What an output folder was begun for: noted in it once, and compared whenever work in it is to continue."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stprivacy.plain import shown
from stprivacy.run_files import read_object
from stprivacy.storage import make_folder, write_whole

_VERSION = "format_version"


@dataclass(frozen=True)
class Claim:
    """What a folder is begun for.

    Args:
        note: name of the JSON file in the folder that says so
        settings: all that the folder's content depends on
        what: what the folder holds then, in words: "a run"
        option: the option that names the folder
        defaults: values of settings that a note need not name
        obsolete: settings that such a note may name besides
        is_ours: says of the name of a file whether it may lie in a folder without a note; by default any may
    """

    note: str
    settings: Mapping[str, Any]
    what: str
    option: str = "--out"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    obsolete: Collection[str] = ()
    is_ours: Callable[[str], bool] = lambda name: True

    def check(self, folder: Path) -> bool:
        """Check that the folder is free, or was begun for this; returns True if it was begun.

        Raises: ValueError: it holds something else, was begun with other settings, or its note is damaged.
        """
        if not (folder / self.note).is_file():
            if folder.exists() and not (folder.is_dir() and all(self.is_ours(path.name) for path in folder.iterdir())):
                raise ValueError(
                    f"{folder} is not empty and does not hold {self.what}: give a new or empty folder as {self.option}"
                )
            return False
        present = read_object(folder / self.note, f"restore it from a copy, or choose another {self.option}")
        wanted, defaults = json.loads(json.dumps([dict(self.settings), dict(self.defaults)]))
        present = {name: value for name, value in present.items() if name in wanted or name not in self.obsolete}
        version, ours = present.get(_VERSION), wanted.get(_VERSION)
        if version != ours:
            raise ValueError(
                f"{folder} was begun in format {shown(version)}, this program writes {ours}: choose another "
                f"{self.option}"
            )
        if changed := _differences(_filled(present, defaults), _filled(wanted, defaults)):
            raise ValueError(
                f"{folder} holds {self.what} with other settings ({changed}): restore what has changed, choose another "
                f"{self.option}, or delete that folder to start over"
            )
        return True

    def make(self, folder: Path) -> None:
        """Note it in the folder, which is made if needed, unless that is done. Raises: ValueError: as `check`."""
        if self.check(folder):
            return
        try:
            make_folder(folder)
            write_whole(folder / self.note, (json.dumps(dict(self.settings), indent=1) + "\n").encode())
        except OSError as error:
            raise ValueError(f"{folder} cannot be written: {error.strerror or error}") from error


def _filled(present: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, and the defaults of those that are missing."""
    filled = {**defaults, **present}
    for key, value in present.items():
        if isinstance(value, Mapping) and isinstance(defaults.get(key), Mapping):
            filled[key] = _filled(value, defaults[key])
    return filled


def _differences(present: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> str:
    words = []
    for key in sorted({*present, *wanted}):
        old, new = present.get(key, "unset"), wanted.get(key, "unset")
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            words.append(_differences(old, new, f"{prefix}{shown(key)}."))
        elif old != new:
            words.append(f"{prefix}{shown(key)} was {shown(old)}, now {shown(new)}")
    return ", ".join(filter(None, words))
