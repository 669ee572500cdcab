import io
import json
from pathlib import Path

import pytest
from launch_fixtures import TOY, TOY_CONFIG

from pipelines.progress import Progress
from pipelines.train.launch import launch
from pipelines.train.runs import RunRequest


@pytest.fixture(scope="module")
def two_runs(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, object]], str]:
    """Two runs done by one group of two workers: their parent folder, results and what the user saw."""
    folder = tmp_path_factory.mktemp("runs")
    screen = io.StringIO()
    with Progress(stream=screen) as progress:
        requests = [RunRequest(folder / name, TOY_CONFIG | {"seed": seed}) for seed, name in enumerate(("one", "two"))]
        results = launch(requests, num_workers=2, progress=progress, tracker=None, executor=TOY)
    return folder, results, screen.getvalue()


def test_gives_back_each_result_in_order(two_runs: tuple[Path, list[dict[str, object]], str]) -> None:
    folder, results, _ = two_runs
    assert results[0]["digest"] != results[1]["digest"]
    for name, result in zip(("one", "two"), results, strict=True):
        assert json.loads((folder / name / "result.json").read_text()) == result
    assert results[0]["threads"] == 1


def test_history_has_each_step_once(two_runs: tuple[Path, list[dict[str, object]], str]) -> None:
    folder, _, _ = two_runs
    lines = [json.loads(line) for line in (folder / "one" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["phase"], line["step"]) for line in lines] == [("toy", step) for step in range(1, 11)]


def test_tells_what_is_going_on(two_runs: tuple[Path, list[dict[str, object]], str]) -> None:
    _, _, screen = two_runs
    assert "one: starting 2 workers" in screen
    assert "one toy: 10/10 steps" in screen
    assert "two toy: 10/10 steps" in screen


def test_leaves_nothing_of_ray_behind(two_runs: tuple[Path, list[dict[str, object]], str]) -> None:
    folder, _, _ = two_runs
    assert not (folder / "one" / ".ray").exists()
    assert sorted(path.name for path in (folder / "one" / "checkpoints").iterdir()) == ["000006", "000009"]


def test_finished_runs_are_not_done_again(two_runs: tuple[Path, list[dict[str, object]], str]) -> None:
    folder, results, _ = two_runs
    request = RunRequest(folder / "two", TOY_CONFIG | {"seed": 1})
    with Progress(quiet=True) as progress:
        again = launch([request], num_workers=2, progress=progress, tracker=None, executor="nowhere:to_be_found")
    assert again == results[1:]


def test_another_configuration_in_a_used_folder_is_refused(
    two_runs: tuple[Path, list[dict[str, object]], str],
) -> None:
    folder, _, _ = two_runs
    changed = TOY_CONFIG | {"seed": 0, "data": {"clips": 25, "values": 7}}
    with (
        Progress(quiet=True) as progress,
        pytest.raises(ValueError, match=r"data.clips was 24, now 25.*choose another"),
    ):
        launch([RunRequest(folder / "one", changed)], num_workers=2, progress=progress, tracker=None, executor=TOY)


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    request = RunRequest(tmp_path / "run", TOY_CONFIG)
    with Progress(quiet=True) as progress, pytest.raises(ValueError, match="folder of its own"):
        launch([request, request], num_workers=2, progress=progress, tracker=None, executor=TOY)
