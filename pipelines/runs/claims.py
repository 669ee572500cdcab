"""Whose a run folder is: the run's settings and inputs, and the launch that works in it."""

import uuid
from collections.abc import Sequence
from pathlib import Path

from pipelines.runs.config import SETTINGS
from pipelines.runs.folder import CONFIG, DESCRIPTION, FAILURE, LAUNCH, PROGRESS, RunRequest, write_json
from pipelines.runs.inputs import check_inputs, check_unchanged, note_inputs
from stprivacy.claims import Claim
from stprivacy.deploy.load import check_trained
from stprivacy.storage import absolute_location, location, make_folder, remove_partials


def check_all(runs: Sequence[RunRequest]) -> None:
    """Find out, before anything starts, what would keep runs from being done or from being taken for done.

    Raises: ValueError: a folder holds a run with another configuration or of other data, two runs have the same
        folder, or a run starts from one that is not finished, or is damaged.
    """
    folders = [absolute_location(run.folder) for run in runs]
    for folder in folders:
        if folders.count(folder) > 1:
            raise ValueError(f"each run needs a folder of its own, but two are to go to {folder}")
    for run in runs:
        check(run)
    for run in runs:
        if not run.finished and (source := run.config.get("from_run")):
            _check_source(run, absolute_location(location(source)), folders)


def claim_all(runs: Sequence[RunRequest]) -> str:
    """Make the folders of those that are not finished the ones of a new launch, whose identity is returned.

    Raises: ValueError: as `check_all`.
    """
    check_all(runs)
    identity = uuid.uuid4().hex[:12]
    for run in runs:
        if not run.finished:
            claim(run, identity)
    return identity


def check(run: RunRequest) -> None:
    """Check that the folder is this run's, or free.

    Raises: ValueError: the folder holds a run with another configuration, or of other data.
    """
    _claim(run).check(run.folder)
    check_inputs(run)


def claim(run: RunRequest, launch: str) -> None:
    """Make the folder this launch's: from now on, workers of any other launch stop when they touch it.

    Raises: ValueError: as `check`.
    """
    check(run)
    make_folder(run.folder)
    remove_partials(run.folder)
    _claim(run).make(run.folder)
    note_inputs(run)
    for name in (FAILURE, PROGRESS):
        (run.folder / name).unlink(missing_ok=True)
    write_json(run.folder / LAUNCH, {"launch": launch})


def _claim(run: RunRequest) -> Claim:
    # Files of earlier versions hold the settings of all phases.
    return Claim(CONFIG, run.config, "a run", defaults=run.defaults, obsolete=SETTINGS)


def _check_source(run: RunRequest, source: Path, folders: Sequence[Path]) -> None:
    """The run that another starts from; one of `folders` is done before."""
    if source not in folders:
        check_trained(source, bool(run.config.get("allow_older_weights")))
    data = run.config.get("data")
    if isinstance(data, str) and (location(data) / DESCRIPTION).is_file():
        check_unchanged(source, data)
