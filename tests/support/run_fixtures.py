"""A phase run in this process, without Ray, in a run folder like any other's."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.runs.config import RunBase
from pipelines.runs.folder import CONFIG, RESULT, write_json
from pipelines.train.execute import execute
from stprivacy.checkpoint import CheckpointStore
from stprivacy.phases.local import LocalContext
from stprivacy.plain import to_dict
from stprivacy.storage import make_folder


def do_run(run: RunBase, folder: Path, context: LocalContext | None = None) -> dict[str, Any]:
    """Run it to its end; gives back its result."""
    make_folder(folder)
    write_json(folder / CONFIG, to_dict(run))
    store = CheckpointStore(folder / "checkpoints", keep=run.train.keep_checkpoints, rank=0, warn=pytest.fail)
    result = dict(execute(to_dict(run), folder, context or LocalContext(), store))
    write_json(folder / RESULT, result)
    return result
