import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipelines.progress import Progress
from pipelines.runs.claims import claim
from pipelines.runs.config import AdversarialRun, EvaluateRun, InitLosses, make_request
from pipelines.runs.folder import PhaseError, RunRequest
from pipelines.tracking.tracker import Tracker, default_tracking_uri
from pipelines.train.execute import execute
from pipelines.train.launch import launch
from stprivacy.checkpoint import CheckpointStore
from stprivacy.phases.local import LocalContext
from stprivacy.plain import to_dict
from tests.support.launch_fixtures import TINY, TOY, TOY_CONFIG, attempts, later, plan_fault
from tests.support.shard_fixtures import write_tiny_dataset

NAMES = ("one", "two")


@dataclass(frozen=True)
class TwoLaunches:
    """Two toy runs of one group of workers. Rank 1 stops the second one with an error; a second launch continues it."""

    folder: Path
    stopped: PhaseError
    left_by_the_first: dict[str, str]  # MLflow status by run, and the files of run two
    attempts: tuple[list[int], ...]  # of run two in the first launch, and of both in the end
    results: list[dict[str, Any]]
    screens: tuple[str, str]

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(default_tracking_uri(self.folder))

    def tracked(self) -> dict[str, Run]:
        return tracked(self.folder)


def requests(folder: Path) -> list[RunRequest]:
    return [RunRequest(folder / name, TOY_CONFIG | {"seed": seed}) for seed, name in enumerate(NAMES)]


def do(folder: Path, screen: io.StringIO) -> list[dict[str, Any]]:
    tracker = Tracker(default_tracking_uri(folder))
    with Progress(stream=screen) as progress:
        return launch(requests(folder), num_workers=2, progress=progress, tracker=tracker, parent="toys", executor=TOY)


def tracked(folder: Path) -> dict[str, Run]:
    client = MlflowClient(default_tracking_uri(folder))
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert len({run.info.run_name for run in runs}) == len(runs)
    return {str(run.info.run_name): run for run in runs}


@pytest.fixture(scope="module")
def launches(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> TwoLaunches:
    folder = tmp_path_factory.mktemp("runs")
    plan_fault(folder / "two", "raise", rank=1, step=5)
    screens = io.StringIO(), io.StringIO()
    with pytest.raises(PhaseError) as stopped:
        do(folder, screens[0])
    left = {name: run.info.status for name, run in tracked(folder).items()}
    left["files"] = " ".join(path.name for path in (folder / "two").iterdir())
    begun = attempts(folder / "two")
    results = do(folder, screens[1])
    counts = begun, attempts(folder / "one"), attempts(folder / "two")
    return TwoLaunches(folder, stopped.value, left, counts, results, (screens[0].getvalue(), screens[1].getvalue()))


@pytest.mark.slow
def test_gives_back_each_result_in_order(launches: TwoLaunches) -> None:
    one, two = launches.results
    assert one["digest"] != two["digest"]
    for name, result in zip(NAMES, launches.results, strict=True):
        assert json.loads((launches.folder / name / "result.json").read_text()) == result
    assert one["threads"] == 1


@pytest.mark.slow
def test_an_error_of_one_rank_stops_the_launch_and_is_not_tried_again(launches: TwoLaunches) -> None:
    assert str(launches.stopped).startswith("two stopped: the loss is not finite at step 5 (run folder ")
    assert launches.attempts[0] == [0, 1]
    assert "result.json" not in launches.left_by_the_first["files"]
    assert "a worker was lost" not in "".join(launches.screens)


@pytest.mark.slow
def test_the_next_launch_does_what_is_left_and_no_more(launches: TwoLaunches) -> None:
    assert launches.attempts[1:] == ([0, 1], [0, 0, 1, 1])
    assert "one, toy" not in launches.screens[1]


@pytest.mark.slow
def test_history_has_each_step_once(launches: TwoLaunches) -> None:
    for name in NAMES:
        lines = [json.loads(line) for line in (launches.folder / name / "metrics.jsonl").read_text().splitlines()]
        assert [(line["phase"], line["step"]) for line in lines] == [("toy", step) for step in range(1, 11)]


@pytest.mark.slow
def test_tells_what_is_going_on(launches: TwoLaunches) -> None:
    assert "one: starting 2 workers" in launches.screens[0]
    assert "one, toy: 10/10 steps" in launches.screens[0]
    assert "two: starting 2 workers" in launches.screens[1]
    assert "two, toy: 10/10 steps" in launches.screens[1]


@pytest.mark.slow
def test_each_run_is_one_mlflow_run_under_the_parent_with_every_step_once(launches: TwoLaunches) -> None:
    runs = launches.tracked()
    assert set(runs) == {"toys", *NAMES}
    for name in NAMES:
        assert runs[name].data.tags["mlflow.parentRunId"] == runs["toys"].info.run_id
        logged = launches.client.get_metric_history(runs[name].info.run_id, "toy/loss")
        assert [metric.step for metric in logged] == list(range(1, 11))
    digests = [runs[name].data.params["digest"] for name in NAMES]
    assert digests == [result["digest"] for result in launches.results]


@pytest.mark.slow
def test_mlflow_shows_how_each_run_ended(launches: TwoLaunches) -> None:
    assert {name: launches.left_by_the_first[name] for name in NAMES} == {"one": "FINISHED", "two": "FAILED"}
    assert {run.info.status for run in launches.tracked().values()} == {"FINISHED"}


@pytest.mark.slow
def test_configuration_and_curves_are_kept_in_mlflow(launches: TwoLaunches) -> None:
    for name in NAMES:
        run_id = launches.tracked()[name].info.run_id
        kept = {file.path for folder in ("", "figures") for file in launches.client.list_artifacts(run_id, folder)}
        assert kept == {"config.json", "environment.txt", "figures", "figures/curves.png"}


@pytest.mark.slow
def test_leaves_nothing_of_ray_behind(launches: TwoLaunches) -> None:
    for name in NAMES:
        assert not (launches.folder / name / ".ray").exists()
        kept = sorted(path.name for path in (launches.folder / name / "checkpoints").iterdir())
        assert kept == ["000009", "000010"]


@pytest.mark.slow
def test_finished_runs_are_not_done_again(launches: TwoLaunches) -> None:
    request = requests(launches.folder)[1]
    with Progress(quiet=True) as progress:
        again = launch([request], num_workers=2, progress=progress, tracker=None, executor="nowhere:to_be_found")
    assert again == launches.results[1:]


@pytest.mark.slow
def test_another_configuration_in_a_used_folder_is_refused(launches: TwoLaunches) -> None:
    changed = TOY_CONFIG | {"seed": 0, "data": {"clips": 25, "values": 7}}
    request = RunRequest(launches.folder / "one", changed)
    with (
        Progress(quiet=True) as progress,
        pytest.raises(ValueError, match=r"data.clips was 24, now 25.*choose another"),
    ):
        launch([request], num_workers=2, progress=progress, tracker=None, executor=TOY)


def test_a_run_from_before_a_setting_came_in_goes_on_and_only_with_its_default(tmp_path: Path) -> None:
    run = later(TINY, AdversarialRun, data="data", privacy_heads=("standard", "pooled"))
    old = to_dict(run) | {"train": to_dict(TINY.train), "protocol": "known", "views": {"clips": 5, "crops": 3}}
    del old["privacy_heads"], old["train"]["head_start_epochs"]
    request = make_request(tmp_path, replace(run, privacy_heads=("standard",)))
    (tmp_path / "config.json").write_text(json.dumps(old))
    claim(request, "a launch")
    with pytest.raises(ValueError, match=r"privacy_heads was \['standard'\], now \['standard', 'pooled'\]"):
        claim(make_request(tmp_path, run), "another")
    late = replace(run, privacy_heads=("standard",), train=replace(TINY.train, head_start_epochs=1))
    with pytest.raises(ValueError, match=r"\(train.head_start_epochs was 0, now 1\)"):
        claim(make_request(tmp_path, late), "another")


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    request = RunRequest(tmp_path / "run", TOY_CONFIG)
    with Progress(quiet=True) as progress, pytest.raises(ValueError, match="folder of its own"):
        launch([request, request], num_workers=2, progress=progress, tracker=None, executor=TOY)


@pytest.mark.slow
def test_three_workers_compute_what_one_does(ray_cluster: None, tmp_path: Path) -> None:
    data = write_tiny_dataset(tmp_path / "data", videos=20)  # batches of 6, 6, 6 and 2: one worker stands by
    # Without reconstruction the output's scale, which follows the clips of one worker, decides nothing.
    init = replace(TINY, data=str(data), losses=InitLosses(), train=replace(TINY.train, epochs=1))
    runs = {"init": init, "evaluate": later(init, EvaluateRun, anonymizer="raw")}
    requests = [RunRequest(tmp_path / phase, to_dict(run), phase) for phase, run in runs.items()]
    with Progress(quiet=True) as progress:
        together = launch(requests, num_workers=3, progress=progress)
    for (phase, run), result in zip(runs.items(), together, strict=True):
        store = CheckpointStore(tmp_path / f"{phase}-alone", keep=2, rank=0, warn=pytest.fail)
        alone = execute(to_dict(run), tmp_path, LocalContext(), store)
        assert (result.pop("world_size"), alone.pop("world_size")) == (3, 1)
        assert set(result) == set(alone)
        for key, value in alone.items():
            if isinstance(value, str):
                assert result[key] == value
            elif not key.startswith("mask_gradient_norm"):  # the norm within one worker's share
                assert result[key] == pytest.approx(value, rel=1e-3), key
