"""Data, runs and reports in an object store, a local S3 server: the same as in local folders, and as hard to kill."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import s3fs
import torch
import tyro
from mlflow.tracking import MlflowClient

from pipelines.cli.phases import ingested_folder
from pipelines.cli.report import write_report
from pipelines.data.datasets import load_manifest
from pipelines.data.datasets.files import VideoFiles
from pipelines.data.index import VideoIndex
from pipelines.data.ingest import ingest
from pipelines.data.manifest import Manifest, Sources
from pipelines.data.schema import IngestSettings
from pipelines.locations import Location
from pipelines.progress import Progress
from pipelines.runs.config import EvaluateRun, make_request
from pipelines.runs.folder import read_json
from pipelines.runs.history import read_history
from pipelines.tracking.tracker import Tracker
from pipelines.train.launch import launch
from pipelines.train.options import LaunchOptions, tracking_uri
from stprivacy.checkpoint import Checkpoint, load_latest, save, weights_digest
from stprivacy.deploy.load import load_anonymizer, load_trained
from stprivacy.storage import StorageError, checked_location, location, read_ranges, write_whole
from tests.support.bad_corpus import write_video
from tests.support.launch_fixtures import TINY, later
from tests.support.object_store_fixtures import KILLED_ONCE, contents, served_bucket, upload
from tests.support.report_fixtures import EVALUATION, scores, write_evaluation
from tests.support.run_fixtures import do_run
from tests.support.shard_fixtures import write_tiny_dataset

SETTINGS = IngestSettings(stride=2, short_side_px=32, tubelet_frames=2, shard_videos=3)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with served_bucket() as uri:
        yield uri


# Ingest


def write_videos(folder: Path) -> None:
    """Six videos, of which one was cut, and their list."""
    for at in range(6):
        write_video(folder / f"{at}.mp4", frames=6 + at, size=(64 + 16 * (at % 3), 48), seed=at)
    (folder / "4.mp4").write_bytes((folder / "4.mp4").read_bytes()[:500])
    rows = [f"{at}.mp4,{('run', 'jump')[at % 2]},{('train', 'test')[at % 3 == 2]},{at % 2},1" for at in range(6)]
    (folder / "list.csv").write_text("\n".join(["path,action,split,privacy_face,privacy_skin", *rows]) + "\n")


def manifest_of(folder: Path) -> Manifest:
    return load_manifest("csv", Sources(manifest=folder / "list.csv"))


def test_videos_of_published_data_sets_are_found_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    for name in ("deep/wave/(a)#1.mp4", "clap/a.avi", "clap/notes.txt", "list.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"not opened here")
    files = VideoFiles(upload(tmp_path, f"{bucket}/published"), parts=2)
    assert files.path("wave/(a)#1.avi") == f"{bucket}/published/deep/wave/(a)#1.mp4"
    assert files.path("clap/a.avi") == f"{bucket}/published/clap/a.avi"
    assert files.path("clap/notes.avi") == f"{bucket}/published/clap/notes.avi"
    assert VideoFiles(location(f"{bucket}/none"), parts=2).path("clap/a.avi") == f"{bucket}/none/clap/a.avi"


def stored(folder: Path) -> list[tuple[Any, ...]]:
    """Labels and pixels of every row of an ingested data set."""
    index = VideoIndex(folder)
    labels = [(row.video_id, row.actions, row.privacy, row.splits, row.shape) for row in index.rows]
    return [(*label, index.frames(row).numpy().tobytes()) for label, row in zip(labels, index.rows, strict=True)]


@pytest.fixture(scope="module")
def ingested(bucket: str, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Manifest]:
    """The same videos ingested between local folders, and from the bucket into the bucket; the latter's manifest."""
    folder = tmp_path_factory.mktemp("videos")
    write_videos(folder)
    remote = manifest_of(upload(folder, f"{bucket}/videos"))
    local_out, remote_out = folder / "out", location(f"{bucket}/data")
    ledgers = ingest(manifest_of(folder), local_out, SETTINGS), ingest(remote, remote_out, SETTINGS)
    assert ledgers[0] == ledgers[1]
    assert (ledgers[0].rows, ledgers[0].quarantined) == (5, 1)
    return local_out, remote_out, remote


def test_an_ingest_into_a_bucket_has_the_rows_of_a_local_one(ingested: tuple[Path, Path, Manifest]) -> None:
    local, remote, _ = ingested
    assert stored(local) == stored(remote)
    # Names of shards depend on where the videos lie, and so do digests of their list.
    descriptions = [
        read_json(folder / "dataset.json") | {"shards_digest": "", "digest": ""} for folder in (local, remote)
    ]
    assert descriptions[0] == descriptions[1]


def test_a_finished_ingest_into_a_bucket_is_left_untouched(ingested: tuple[Path, Path, Manifest]) -> None:
    _, remote, manifest = ingested
    before = {path: path.stat().st_mtime for path in remote.rglob("*") if path.is_file()}
    ingest(manifest, remote, SETTINGS)
    assert {path: path.stat().st_mtime for path in remote.rglob("*") if path.is_file()} == before


def test_an_interrupted_ingest_into_a_bucket_continues_with_what_is_missing(
    ingested: tuple[Path, Path, Manifest],
) -> None:
    _, remote, manifest = ingested
    before = contents(remote)
    first, second = sorted((remote / "videos").glob("*.parquet"))
    kept = first.stat().st_mtime
    for lost in (second, remote / "dataset.json"):
        lost.unlink()
    with pytest.raises(ValueError, match=r"dataset\.json"):
        ingested_folder(remote)
    ingest(manifest, remote, SETTINGS)
    assert contents(remote) == before
    assert first.stat().st_mtime == kept


# Training


@pytest.fixture(scope="module")
def data(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny data set in a local folder and in the bucket; its videos are longer than a clip."""
    folder = write_tiny_dataset(tmp_path_factory.mktemp("tiny") / "data", videos=21)
    return folder, upload(folder, f"{bucket}/tiny")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each request to the store has asked for."""
    sizes: list[int] = []

    def counting(paths: list[Path], starts: list[int], ends: list[int]) -> list[bytes]:
        sizes.extend(end - start for start, end in zip(starts, ends, strict=True))
        return read_ranges(paths, starts, ends)

    monkeypatch.setattr("pipelines.data.remote.read_ranges", counting)
    return sizes


def test_a_clip_is_read_without_the_rest_of_its_video(data: tuple[Path, Path], read: list[int]) -> None:
    local, remote = (VideoIndex(folder) for folder in data)
    read.clear()
    shown = [torch.arange(4, 8), torch.arange(0, 4)]
    clips = remote.clips(remote.rows[:2], shown)
    assert read == [4 * 32 * 40 * 3] * 2
    for clip, row, frames in zip(clips, local.rows, shown, strict=False):
        assert torch.equal(clip[frames], local.frames(row)[frames])


def test_an_index_is_built_without_reading_frames(
    data: tuple[Path, Path], read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.data.remote._TAIL_BYTES", 1000)  # so that footers are longer
    local, remote = (VideoIndex(folder) for folder in data)
    assert [replace(row, shard=Path("any")) for row in remote.rows] == [
        replace(row, shard=Path("any")) for row in local.rows
    ]
    assert sum(read) < 0.1 * sum(path.stat().st_size for path in (data[0] / "videos").iterdir())


def test_phases_with_data_and_runs_in_a_bucket_end_with_the_weights_and_scores_of_local_ones(
    bucket: str, data: tuple[Path, Path], tmp_path: Path
) -> None:
    outcomes = []
    for root, folder in ((tmp_path, data[0]), (location(f"{bucket}/phases"), data[1])):
        init = replace(TINY, data=str(folder), train=replace(TINY.train, epochs=1))
        results = [do_run(init, root / "init")]
        test = later(init, EvaluateRun, from_run=str(root / "init"))
        results.append(do_run(test, root / "evaluate"))
        found = load_latest(root / "init" / "checkpoints", pytest.fail)
        assert found is not None
        load_anonymizer(root / "init")
        outcomes.append((results, weights_digest(found.model)))
    assert outcomes[0] == outcomes[1]


@dataclass(frozen=True)
class Trained:
    """A phase on two workers: undisturbed in a local folder, and in the bucket, where a worker was killed."""

    local: Path
    remote: Path
    results: list[dict[str, Any]]
    client: MlflowClient


@pytest.fixture(scope="module")
def trained(
    bucket: str, data: tuple[Path, Path], ray_cluster: None, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    local, remote = folder / "run", location(f"{bucket}/runs/init")
    (folder / "killed").touch()  # the local run's mark: it is not killed
    (folder / "mark").mkdir()
    runs = [
        make_request(remote, replace(TINY, data=str(data[1]), recipe=str(folder / "mark")), "init remote"),
        make_request(local, replace(TINY, data=str(data[0]), recipe=str(folder)), "init local"),
    ]
    store = f"sqlite:///{folder / 'mlflow.db'}"
    with Progress(quiet=True) as progress:
        results = launch(runs, num_workers=2, progress=progress, tracker=Tracker(store), executor=KILLED_ONCE)
    assert (folder / "mark" / "killed").exists()
    return Trained(local, remote, results, MlflowClient(store))


def newest(folder: Path, warnings: list[str]) -> Checkpoint:
    found = load_latest(folder / "checkpoints", warnings.append)
    assert found is not None
    return found


@pytest.mark.slow
def test_a_run_in_a_bucket_whose_worker_was_killed_ends_as_an_undisturbed_local_one(trained: Trained) -> None:
    local, remote = (newest(folder, []) for folder in (trained.local, trained.remote))
    assert (local.number, remote.number) == (12, 12)
    assert weights_digest(local.model) == weights_digest(remote.model)
    assert (trained.local / "metrics.jsonl").read_text() == (trained.remote / "metrics.jsonl").read_text()
    assert "a worker was lost" in (trained.remote / "messages.log").read_text()
    scores = [{k: v for k, v in result.items() if k != "recipe"} for result in trained.results]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_a_run_in_a_bucket_leaves_what_a_local_one_does(trained: Trained) -> None:
    own = {"messages.log"}  # the local run had nothing to tell
    assert set(contents(trained.remote)) - own == set(contents(trained.local)) - own
    assert sorted(path.name for path in (trained.remote / "checkpoints").iterdir()) == ["000009", "000012"]


@pytest.mark.slow
def test_a_run_in_a_bucket_is_tracked_with_every_step_once(trained: Trained) -> None:
    run_id = (trained.remote / "mlflow_run_id").read_text().strip()
    reports = read_history(trained.remote / "metrics.jsonl")
    logged = trained.client.get_metric_history(run_id, "loss_action")
    assert [metric.step for metric in logged] == [report.step for report in reports if "loss_action" in report.metrics]
    assert logged
    assert {file.path for file in trained.client.list_artifacts(run_id)} == {
        "config.json",
        "environment.txt",
        "figures",
    }
    models = trained.client.search_logged_models([trained.client.get_run(run_id).info.experiment_id])
    files = {Path(model.artifact_location.removeprefix("file://"), "data/run") for model in models}
    local, remote = (load_trained(file).digest for file in files)
    assert local == remote


# Checkpoints


def save_some(folder: Path) -> None:
    for number in (3, 6, 9):
        save(folder, number, {"weight": torch.full((4,), float(number))}, {"step": number})


def test_a_damaged_newest_checkpoint_in_a_bucket_falls_back_to_the_one_before(bucket: str) -> None:
    folder = location(f"{bucket}/damaged")
    save_some(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["000006", "000009"]
    model = folder / "000009" / "model.safetensors"
    write_whole(model, model.read_bytes()[:-1])
    warnings: list[str] = []
    found = load_latest(folder, warnings.append)
    assert found is not None
    assert (found.number, found.state, found.model["weight"].tolist()) == (6, {"step": 6}, [6.0] * 4)
    assert warnings == ["checkpoint 000009 is damaged (model.safetensors has 87 of 88 bytes), continuing from 000006"]


def test_a_checkpoint_without_manifest_does_not_exist_and_the_next_save_removes_it(bucket: str) -> None:
    folder = location(f"{bucket}/unfinished")
    save_some(folder)
    (folder / "000009" / "manifest.json").unlink()
    found = load_latest(folder, pytest.fail)
    assert found is not None
    assert found.number == 6
    save(folder, 12, {"weight": torch.zeros(4)}, {"step": 12})
    assert sorted(path.name for path in folder.iterdir()) == ["000006", "000012"]


# Reports


def test_a_report_reads_runs_from_a_bucket_and_is_written_there(bucket: str, tmp_path: Path) -> None:
    for row, cmap in (("raw", 70.0), ("stprivacy", 55.0)):
        run = replace(EVALUATION, anonymizer=row, data="gone", deploy_keep_ratio=1.0)
        write_evaluation(tmp_path / "runs" / row, run, run.parameters() | scores(60.0, cmap))
    upload(tmp_path / "runs", f"{bucket}/evaluations")
    write_report(tmp_path / "runs", tmp_path / "report")
    files = write_report(location(f"{bucket}/evaluations"), location(f"{bucket}/report"))
    assert all(path.is_file() for path in files)
    local, remote = contents(tmp_path / "report"), contents(location(f"{bucket}/report"))
    assert set(local) == set(remote)
    assert {name for name in local if name.endswith(".png") and local[name] != remote[name]} == set()


# What the user is told


def parsed(*words: str) -> Path:
    def job(data: Location) -> Path:
        return data

    return tyro.cli(job, args=list(words))


def test_the_command_line_takes_a_uri_as_it_is() -> None:
    assert str(parsed("--data", "s3://bucket/a/b")) == "s3://bucket/a/b"
    assert parsed("--data", "a/b") == Path("a/b")


def test_places_that_cannot_be_used_are_one_clear_error(bucket: str) -> None:
    with pytest.raises(StorageError, match=r"s3://no-such-bucket/data: there is no bucket no-such-bucket"):
        checked_location(location("s3://no-such-bucket/data"))
    with pytest.raises(StorageError, match="unknown scheme ftp://: give"):
        location("ftp://host/data")
    with pytest.raises(StorageError, match="names no bucket"):
        location("s3://")
    with pytest.raises(ValueError, match=rf"{bucket}/nothing is not an ingested data set"):
        ingested_folder(location(f"{bucket}/nothing"))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(StorageError, match=r"gs://bucket/data needs a package .* pip install gcsfs"):
        location("gs://bucket/data")


def test_missing_credentials_are_one_clear_error(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StorageError, match=r"no credentials were found: set AWS_ACCESS_KEY_ID"):
        checked_location(location(f"{bucket}/data"))
    s3fs.S3FileSystem.clear_instance_cache()


def test_runs_in_a_bucket_need_a_tracking_store_of_their_own(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = location(f"{bucket}/runs")
    with pytest.raises(StorageError, match=r"cannot hold MLflow's database: give --tracking-uri"):
        tracking_uri(LaunchOptions(), folder)
    assert tracking_uri(LaunchOptions(tracking_uri="http://host:5000"), folder) == "http://host:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other:5000")
    assert tracking_uri(LaunchOptions(), folder) == "http://other:5000"
