"""The JSON files of a run folder, which others may have edited, copied or damaged: read with one clear error."""

import json
from pathlib import Path
from typing import Any

from stprivacy.plain import shown

CONFIG, RESULT, CHECKPOINTS = "config.json", "result.json", "checkpoints"
DAMAGED = "restore it from a copy, or delete the run folder and run its job again"


def read_object(path: Path, remedy: str = DAMAGED) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no file.

    Raises: ValueError: it cannot be read, or holds something else; the message ends with `remedy`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): {remedy}") from error
    if not isinstance(content, dict):
        kind = "a list" if isinstance(content, list) else shown(content)
        raise ValueError(f"{path} is damaged (it holds {kind}, not an object): {remedy}")
    return content


def read_result(folder: Path) -> dict[str, float | str]:
    """What result.json of a run folder says: numbers and texts; empty where the run is not finished.

    Raises: ValueError: it is damaged.
    """
    path = folder / RESULT
    result = read_object(path)
    for name, value in result.items():
        if not isinstance(value, (int, float, str)) or isinstance(value, bool):
            raise ValueError(f"{path} is damaged ({name} is {shown(value)}, not a number or a text): {DAMAGED}")
    return result
