"""The command line of jobs/export.py."""

from pathlib import Path
from typing import Annotated

import tyro
from torch import Tensor

from pipelines.data.index import read_description
from pipelines.locations import Location
from pipelines.release.export import FEWEST_CLIPS, ExportFormat, FixedNetwork, check_packages, export
from pipelines.release.real_clips import clips_of_data, clips_of_files
from pipelines.runs.config import RunBase, read_config
from stprivacy.deploy.load import load_trained
from stprivacy.storage import checked_location, location


def main() -> None:
    """Parse the command line and write the file."""
    tyro.cli(export_command)


def export_command(
    run: Annotated[Location, tyro.conf.arg(name="from", help="folder of an init or adversarial run of STPrivacy")],
    out: Location,
    file_format: Annotated[ExportFormat, tyro.conf.arg(name="format", help="what other runtimes read")],
    keep_ratio: float | None = None,
    videos: Location | None = None,
    stride: int | None = None,
    clips: int = 16,
    allow_older_weights: bool = False,
) -> None:
    """Write a trained network as one file: clip [b 3 t h w] in [-1, 1] to video [b 3 t h w] and keep mask [b l n].

    The file appears only after its program has computed the same as the network on real clips.

    Args:
        out: file to write, which must not exist yet; PyTorch expects the suffix .pt2 of its own
        keep_ratio: share of the tubelets that each stage keeps, fixed in the file; by default the trained one
        videos: video file, or folder of such, to check on; by default the test videos of the run's own data set
        stride: every stride-th frame of --videos is taken; by default that of the run's data set
        clips: clips to check on
        allow_older_weights: take those of an earlier step where the run's final checkpoint is damaged

    Raises:
        ValueError: no such run, clips that cannot be had, an --out that exists, or a program that computes something
            else than the network.
    """
    if clips < FEWEST_CLIPS or (stride is not None and stride < 1):
        raise ValueError(f"--clips must be {FEWEST_CLIPS} or more and --stride 1 or more, got {clips} and {stride}")
    check_packages(file_format)
    run, out = checked_location(run), checked_location(out)
    network, config = load_trained(run, allow_older_weights).model, read_config(run)
    fixed = FixedNetwork(network, config.model.keep_ratio if keep_ratio is None else keep_ratio)
    parity = export(fixed, out, file_format, _real_clips(config, videos, stride, clips))
    print(f"{'keep ratio':<22} {fixed.keep_ratio:g}", parity, sep="\n")
    print(f"{'file size':<22} {out.stat().st_size / 1e6:.2f} MB", out, sep="\n")


def _real_clips(config: RunBase, videos: Path | None, stride: int | None, count: int) -> Tensor:
    clip = config.model.clip
    if videos is None and stride is not None:
        raise ValueError("--stride belongs to --videos: an ingested data set has its own")
    if videos is None or stride is None:
        try:
            data = checked_location(location(config.data))
            if videos is None:
                return clips_of_data(data, config.split, clip, count)
            stride = read_description(data).stride
        except (ValueError, OSError) as error:
            needed = "--stride N" if videos else "--videos FILE_OR_DIR and --stride N"
            raise ValueError(f"the run's own data set cannot be used ({error}): give {needed}") from error
    return clips_of_files(checked_location(videos), stride, clip, count)
