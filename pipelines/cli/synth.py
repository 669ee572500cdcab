"""The command line of jobs/synth.py."""

import tyro

from pipelines.data.datasets.synth.settings import SynthSettings
from pipelines.data.datasets.synth.writer import generate
from pipelines.locations import LocalFolder
from pipelines.progress import Progress


def main() -> None:
    """Parse the command line and generate."""
    tyro.cli(synth_command)


def synth_command(
    out: LocalFolder,
    settings: tyro.conf.OmitArgPrefixes[SynthSettings] = SynthSettings(),
    workers: int | None = None,
    quiet: bool = False,
) -> None:
    """Write a generated data set to a folder, or finish what an interrupted run began.

    Args:
        out: folder to write to
        settings: what to generate
        workers: processes, by default one for each CPU
        quiet: show no progress
    """
    total = settings.train_videos + settings.test_videos
    with Progress(quiet=quiet) as progress:
        task = progress.task("generate", total=total, unit="videos")
        generate(out, settings, lambda done, _: task.update(done), workers)
    print(f"{out}: {settings.train_videos} train and {settings.test_videos} test videos")
