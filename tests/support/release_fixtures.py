"""A tiny trained run, and videos released by it without Ray."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av

from pipelines.release.inputs import list_inputs
from pipelines.release.names import ReleaseItem, plain_names
from pipelines.release.settings import ReleaseSettings, provenance_of
from pipelines.release.video import Destination
from pipelines.release.work import Outcome, refusals, release_videos
from pipelines.runs.config import InitRun
from stprivacy.config import PhaseConfig
from stprivacy.deploy.deployed import Deployed
from stprivacy.deploy.load import load_trained
from tests.support.run_fixtures import do_run
from tests.support.shard_fixtures import write_tiny_dataset
from tests.support.tiny import MODEL

STRIDE = 2


def write_run(folder: Path) -> Path:
    """A run of phase 1, and its data set beside it; 4 frames of 32 x 32 pixels, 2 x 4 tubelets."""
    data = write_tiny_dataset(folder / "data", videos=12, test_videos=12, stride=STRIDE)
    train = PhaseConfig(epochs=1, batch_size=4)
    do_run(InitRun(recipe="tiny", data=str(data), model=MODEL, train=train), folder / "run")
    return folder / "run"


def release(run: Path, source: Path, out: Path, previews: Path | None = None, **changes: Any) -> list[Outcome]:
    """Release a file or folder in this process."""
    return release_orders(run, plain_names(list_inputs(source), out), out, previews, **changes)


def release_orders(
    run: Path, items: Sequence[ReleaseItem], out: Path, previews: Path | None = None, **changes: Any
) -> list[Outcome]:
    trained = load_trained(run)
    settings = ReleaseSettings(**{"keep_ratio": 0.7, "stride": STRIDE} | changes)
    destination = Destination(out, provenance_of(trained, settings), settings, previews)
    deployed = Deployed(trained.model, settings.keep_ratio, settings.mask)
    usable = [item for item in items if not item.error]
    return refusals(items) + release_videos(usable, deployed, destination, lambda frames, files: None)


def reasons(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """The error code of each file, empty where it was released."""
    return {outcome.shown: outcome.error for outcome in outcomes}


def files_below(folder: Path) -> set[str]:
    """Every file, hidden ones too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def sidecar(out: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((out / f"{name}.json").read_text()))


def frame_count(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def state(folder: Path) -> dict[str, int]:
    """When each file was last written, in nanoseconds."""
    return {name: (folder / name).stat().st_mtime_ns for name in files_below(folder)}


def flip(path: Path, at: float = 0.5) -> None:
    """Invert the lowest bit of one byte of a file, by default of that in its middle."""
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 1
    path.write_bytes(content)
