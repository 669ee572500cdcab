"""The command line of jobs/anonymize.py."""

import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from pipelines.data.index import read_description
from pipelines.locations import LocalFolder, Location
from pipelines.progress import Progress
from pipelines.release.anonymize import anonymize
from pipelines.release.inputs import Inputs, check_apart, check_links_apart, list_inputs
from pipelines.release.keys import KeyFile
from pipelines.release.ledger import ReleaseLedger, write_failures
from pipelines.release.names import PREVIEW_FOLDER, plain_names
from pipelines.release.settings import ReleaseSettings, WorkerOptions
from pipelines.release.work import Outcome
from pipelines.text import printable
from stprivacy.deploy.load import Trained, load_trained
from stprivacy.storage import absolute_location, checked_location, is_remote, location, make_private_folder


def main() -> int:
    """Parse the command line and release. Returns: the exit status, 1 if a file could not be released."""
    return 1 if tyro.cli(anonymize_command).failures else 0


def anonymize_command(
    from_run: Annotated[Location, tyro.conf.arg(name="from")],
    input: Location,
    output: Location,
    settings: tyro.conf.OmitArgPrefixes[ReleaseSettings] = ReleaseSettings(),
    where: tyro.conf.OmitArgPrefixes[WorkerOptions] = WorkerOptions(),
    allow_older_weights: bool = False,
    preview: bool = False,
    keys: LocalFolder | None = None,
    quiet: bool = False,
) -> ReleaseLedger:
    """Anonymise videos with a trained network; run again, finish an interrupted release and redo nothing.

    Args:
        from_run: finished init or adversarial run of STPrivacy
        input: a video, or a folder of videos: every file in it and below counts, whatever it is, and is released or
            named as a failure. Links to files count, linked folders are entered, each folder once, and one that cannot
            be read is a failure. Names that begin with a dot and what operating systems leave (Thumbs.db, desktop.ini,
            lost+found, ...) are passed over and counted
        output: folder for the released videos and, beside each, a JSON file that tells how it was made: settings,
            masks, and digests of network, training data and video, and SHA-256 and size of the source, by which
            whoever has the original recognises it (see --opaque-names). One process at a time writes to it
        settings: how videos are released
        where: what it runs on
        allow_older_weights: release with those of an earlier step where the run's final checkpoint is damaged
        preview: also write raw, sparsified and anonymized side by side to OUTPUT-preview-contains-raw-frames, readable
            by you alone; not of files that were done before
        keys: file for the key to opaque names, by default OUTPUT-keys.json
        quiet: show no progress

    Raises:
        ValueError: a run, input or output that cannot be used, or settings that do not fit the network.
    """
    out = checked_location(output)
    trained = load_trained(checked_location(from_run), allow_older_weights)
    settings = replace(settings, stride=settings.stride or _trained_stride(trained))
    key_file = _key_file(keys, out, settings.opaque_names)
    inputs = _inputs(input, out)
    previews = _previews(out) if preview else None
    return _release(trained, inputs, out, settings, where, previews, quiet, key_file)


def _inputs(given: Path, out: Path) -> Inputs:
    """The files of --input, none of which may be one of --output."""
    # A local path is not resolved: a link is called what its user calls it.
    source = checked_location(given) if is_remote(given) else given.absolute()
    check_apart(source, out)
    inputs = list_inputs(source)
    check_links_apart(inputs, out)
    return inputs


def _key_file(given: Path | None, out: Path, opaque_names: bool) -> KeyFile | None:
    if given and not opaque_names:
        raise ValueError("--keys belongs to --opaque-names")
    if not opaque_names:
        return None
    path = given or _beside(out, "-keys.json")
    if not is_remote(path) and out in path.resolve().parents:
        raise ValueError(f"--keys {printable(str(path))} lies inside of --output, which is handed out: give another")
    return KeyFile(path)


def _report(ledger: ReleaseLedger, failures: Path) -> None:
    print(ledger)
    shown = printable(str(failures))
    try:
        write_failures(failures, ledger.failures)
    except OSError as error:  # the disk may be full, which some of the failures then tell
        reason = error.strerror or error
        raise ValueError(f"{shown} cannot be written: {reason}; the failures are those above") from error
    if ledger.failures:
        print(f"The failures are listed in {shown}")


def _previews(out: Path) -> Path:
    if is_remote(out):
        raise ValueError("--preview writes raw frames to local disks only: leave it out, or give a local --output")
    previews = _beside(out, PREVIEW_FOLDER)
    try:
        make_private_folder(previews)
    except OSError as error:
        raise ValueError(f"{printable(str(previews))} cannot be written: {error.strerror or error}") from error
    return previews


def _release(
    trained: Trained,
    inputs: Inputs,
    out: Path,
    settings: ReleaseSettings,
    where: WorkerOptions,
    previews: Path | None,
    quiet: bool,
    key_file: KeyFile | None,
) -> ReleaseLedger:
    if not where.verbose:
        # Ray complains, at every start of a pool of workers, of how Ray Data starts them.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with Progress(quiet=quiet) as progress, key_file or nullcontext():
        items = key_file.release_items(inputs) if key_file else plain_names(inputs, out)
        task = progress.task("release", total=len(items), unit="files")

        def told(done: int, frames: int) -> None:
            task.update(done, f"{frames} source frames")

        def learned(outcome: Outcome) -> None:
            if key_file and not outcome.error:
                key_file.note(outcome.shown, outcome.source)

        ledger = anonymize(
            trained, items, out, settings, where=where, previews=previews, progress=told, learned=learned
        )
    ledger = replace(ledger, passed_over=inputs.passed_over)
    _report(ledger, _beside(out, "-failures.json"))
    return ledger


def _trained_stride(trained: Trained) -> int:
    """Of the data set that a network was trained on, as long as it is where it was."""
    folder = location(trained.data)
    try:
        description = read_description(folder)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--stride is missing: the data set that the network was trained on is gone from {folder}; give the stride "
            "with which it was ingested"
        ) from error
    return description.stride


def _beside(folder: Path, ending: str) -> Path:
    """A file or folder beside `folder`, its name lengthened; not inside, where it would be handed out."""
    return absolute_location(folder).with_name(f"{folder.name}{ending}")
