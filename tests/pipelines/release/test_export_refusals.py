"""What the exporter refuses, which clips it checks on, and where files may lie."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import tyro
from torch import Tensor

from pipelines.cli.export import export_command
from pipelines.release.export import FixedNetwork, compare, export
from pipelines.release.real_clips import clips_of_data
from pipelines.runs.config import EvaluateRun, with_anonymizer
from stprivacy.anonymized import Anonymized
from stprivacy.models.anonymizer import STPrivacy
from stprivacy.storage import location
from tests.support.bad_corpus import write_video
from tests.support.export_fixtures import METADATA, quick_run, unseen
from tests.support.launch_fixtures import TINY, later
from tests.support.object_store_fixtures import contents, served_bucket, upload
from tests.support.places import CLIPS, ROOT
from tests.support.shard_fixtures import write_tiny_dataset
from tests.support.tiny import CLIP, MODEL

needs_clips = pytest.mark.skipif(not CLIPS.is_dir(), reason=f"the real clips are not at {CLIPS}")
Change = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("data"), videos=8, test_videos=12, seed=1)


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that can be exported, and two that cannot."""
    folder = tmp_path_factory.mktemp("runs")
    trained = quick_run(folder / "stprivacy", data)
    quick_run(folder / "evaluate", data, later(TINY, EvaluateRun, from_run=str(trained)))
    quick_run(folder / "vita", data, with_anonymizer(replace(TINY, model=replace(MODEL, vita_width=0.0625)), "vita"))
    return folder


class Otherwise(STPrivacy):
    """What is translated is the network at the ratio asked for; run by PyTorch itself, it keeps more."""

    def forward(self, video: Tensor, keep_ratio: float | None = None, *args: Any, **kwargs: Any) -> Anonymized:
        return super().forward(video, keep_ratio if torch.compiler.is_compiling() else 0.9)


def test_a_program_that_is_not_the_network_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    said = (
        r"by up to \d.*, where 0\.001 is allowed, .* in [1-9]\d* of 32 entries, where none may\. Nothing was written$"
    )
    with pytest.raises(ValueError, match=said):
        export(FixedNetwork(Otherwise(MODEL), 0.5), tmp_path / "sub" / "network.pt2", "torch-export", unseen(4))
    assert list(tmp_path.iterdir()) == []


def last_clip_brighter(by: float) -> Change:
    return lambda video, keep: (torch.cat([video[:-1], video[-1:] + by]), keep)


@pytest.mark.parametrize(
    ("change", "difference", "entries"),
    [
        (last_clip_brighter(0.0), 0.0, 0),
        (last_clip_brighter(9e-4), 9e-4, 0),
        (last_clip_brighter(1.1e-3), 1.1e-3, 0),
        (last_clip_brighter(float("nan")), float("nan"), 0),
        (lambda video, keep: (video, torch.where(torch.arange(4) == 0, 1 - keep, keep)), 0.0, 4),
    ],
    ids=["nothing", "little", "too much", "no number", "mask"],
)
def test_a_fault_in_the_last_batch_alone_counts(change: Change, difference: float, entries: int) -> None:
    network = FixedNetwork(STPrivacy(MODEL), 0.5)

    def program(clip: Tensor) -> tuple[Tensor, Tensor]:
        return change(*network(clip)) if len(clip) == 2 else network(clip)

    parity = compare(network, program, unseen(11))
    assert parity.batch_sizes == (1, 8, 2)
    assert parity.difference == pytest.approx(difference, rel=1e-2, nan_ok=True)
    assert (parity.mask_differences, parity.mask_entries) == (entries, 88)
    assert parity.holds == (difference < 1e-3 and entries == 0)


@pytest.mark.parametrize(
    ("run", "options", "said"),
    [
        ("none", {}, r"none is not a run folder: it has no config\.json"),
        ("evaluate", {}, "is an evaluate run: it holds no anonymizer. Give an init or adversarial run"),
        ("vita", {}, "trained vita, which cannot be deployed: give a run of stprivacy"),
        ("stprivacy", {"keep_ratio": 0.0}, r"keep_ratio must be in \(0, 1\], got 0"),
        ("stprivacy", {"clips": 2}, "--clips must be 3 or more"),
        ("stprivacy", {"stride": 2}, "--stride belongs to --videos"),
        ("stprivacy", {"videos": Path("nowhere")}, "nowhere is no video and holds none"),
        ("stprivacy", {"videos": Path("a.mp4"), "stride": 0}, "--stride 1 or more, got 16 and 0"),
    ],
)
def test_bad_input_is_one_clear_line_and_writes_nothing(
    runs: Path, tmp_path: Path, run: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        export_command(runs / run, tmp_path / "out", "torch-export", **options)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_is_left_as_it_is(runs: Path, tmp_path: Path) -> None:
    file = tmp_path / "network"
    file.write_text("mine")
    for out in (file, tmp_path):
        with pytest.raises(ValueError, match="exists already: give another --out, or remove it first"):
            export_command(runs / "stprivacy", out, "torch-export")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_missing_packages_are_named_with_the_command_that_installs_them(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=r"not installed: pip install onnxscript onnxruntime$"):
        export_command(runs / "stprivacy", tmp_path / "network", "onnx")


# Clips


def orphan(runs: Path, folder: Path) -> Path:
    """The run of a data set that is gone."""
    shutil.copytree(runs / "stprivacy", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"data": str(folder / "gone")}))
    return folder


def test_where_the_data_set_is_gone_videos_of_ones_own_take_its_place(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = orphan(runs, tmp_path / "run"), tmp_path / "network"
    film = write_video(tmp_path / "films" / "sub" / "a.MP4", frames=24)
    with pytest.raises(ValueError, match=r"gone.* is missing.*: give --videos FILE_OR_DIR and --stride N"):
        export_command(run, out, "torch-export")
    with pytest.raises(ValueError, match=r"gone.* is missing.*: give --stride N"):
        export_command(run, out, "torch-export", videos=film)
    export_command(run, out, "torch-export", videos=tmp_path / "films", stride=2, clips=3)
    assert "3, in batches of 1, 2" in capsys.readouterr().out
    (tmp_path / "films" / "b.mp4").write_bytes(film.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"b\.mp4: .*not copied whole"):
        export_command(run, tmp_path / "other", "torch-export", videos=tmp_path / "films", stride=2)


def test_clips_are_spread_over_the_test_videos_and_over_each_of_them(data: Path) -> None:
    three, ten = (clips_of_data(data, 1, CLIP, count) for count in (3, 10))
    assert three.shape == (3, 3, 4, 32, 32)
    assert len({clip.numpy().tobytes() for clip in ten}) == 10
    assert -1 <= ten.min() < -0.5 < 0.5 < ten.max() <= 1


@needs_clips
def test_the_check_runs_on_real_clips(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export_command(runs / "stprivacy", tmp_path / "network", "torch-export", videos=CLIPS, stride=8, clips=7)
    assert "7, in batches of 1, 6" in capsys.readouterr().out


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with served_bucket() as uri:
        yield uri


def test_run_data_and_file_may_lie_in_a_bucket(bucket: str, runs: Path, data: Path) -> None:
    run = upload(runs / "stprivacy", f"{bucket}/run")
    config = json.loads((run / "config.json").read_text())
    stored = upload(data, f"{bucket}/data")
    (run / "config.json").write_text(json.dumps(config | {"data": str(stored)}))
    out = location(f"{bucket}/out/network.pt2")
    export_command(run, out, "torch-export", clips=3)
    assert list(contents(location(f"{bucket}/out"))) == ["network.pt2"]
    told = dict.fromkeys(METADATA, "")
    program = torch.export.load(io.BytesIO(out.read_bytes()), extra_files=told).module()
    assert program(unseen(2))[0].shape == (2, 3, 4, 32, 32)
    assert json.loads(told["keep_ratio"]) == MODEL.keep_ratio


@pytest.mark.slow
def test_the_job_prints_its_figures_and_nothing_else(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "network.onnx"
    words = ("--from", runs / "stprivacy", "--out", out, "--format", "onnx", "--keep-ratio", ".5")
    job = [sys.executable, str(ROOT / "jobs" / "export.py"), *map(str, words)]
    done = subprocess.run(job, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    figures = {line[:22].strip(): line[23:] for line in lines[:-1]}
    assert lines[-1] == str(out)
    assert list(figures) == ["keep ratio", "clips", "max abs difference", "differing mask entries", "file size"]
    assert (figures["keep ratio"], figures["clips"]) == ("0.5", "16, in batches of 1, 8, 7")
    assert float(figures["max abs difference"].split()[0]) < 1e-4
    assert figures["differing mask entries"] == "0 of 128"
    assert figures["file size"] == f"{out.stat().st_size / 1e6:.2f} MB"


def test_other_formats_are_refused(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--from", str(runs / "stprivacy"), "--out", str(tmp_path / "network"), "--format", "caffe"]
    with pytest.raises(SystemExit):
        tyro.cli(export_command, args=words)
    said = capsys.readouterr().err
    assert all(name in said for name in ("onnx", "torch-export"))
    assert list(tmp_path.iterdir()) == []
