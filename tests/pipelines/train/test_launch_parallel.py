"""Several groups of workers at a time: what may run beside what, and what one group's failure means for the others."""

from pathlib import Path

import pytest

from pipelines.progress import Progress
from pipelines.runs.folder import PhaseError, RunRequest
from pipelines.train.launch import independent_runs, launch
from tests.support.launch_fixtures import MEETING, TOY_CONFIG, attempts, plan_fault


def request(folder: Path, name: str, source: str = "", other: str = "") -> RunRequest:
    config = {**TOY_CONFIG, "from_run": str(folder / source) if source else ""}
    return RunRequest(folder / name, config | ({"other": str(folder / other)} if other else {}), name)


def test_a_run_stays_with_the_one_that_it_starts_from(tmp_path: Path) -> None:
    runs = [
        request(tmp_path, "init"),
        request(tmp_path, "raw"),
        request(tmp_path, "adversarial", "init"),
        request(tmp_path, "control", "init"),
        request(tmp_path, "test", "adversarial"),
        request(tmp_path, "later", "finished-before"),
    ]
    parts = [[run.name for run in part] for part in independent_runs(runs)]
    assert parts == [["init", "adversarial", "control", "test"], ["raw"], ["later"]]


def test_runs_that_start_from_the_same_finished_one_may_run_side_by_side(tmp_path: Path) -> None:
    runs = [request(tmp_path, "known", "finished"), request(tmp_path, "unseen", "finished")]
    assert [len(part) for part in independent_runs(runs)] == [1, 1]


@pytest.mark.slow
def test_groups_run_at_the_same_time_and_a_failing_one_leaves_the_others_to_their_ends(
    ray_cluster: None, tmp_path: Path
) -> None:
    runs = [
        # Each waits until the other one has begun: one after the other, they would never end.
        request(tmp_path, "one", other="two"),
        request(tmp_path, "after-one", "one"),
        request(tmp_path, "two", other="one"),
        request(tmp_path, "three"),
    ]
    plan_fault(runs[0].folder, "raise", rank=0, step=2)
    with Progress(quiet=True) as progress:
        with pytest.raises(PhaseError, match=r"one stopped: the loss is not finite at step 2"):
            launch(runs, num_workers=1, progress=progress, parallel=2, executor=MEETING)
        assert [run.finished for run in runs] == [False, False, True, True]
        results = launch(runs, num_workers=1, progress=progress, parallel=2, executor=MEETING)
    assert len({result["digest"] for result in results}) == 1  # one seed
    assert [attempts(run.folder) for run in runs] == [[0, 0], [0], [0], [0]]
    assert not list(tmp_path.glob("*/.ray"))
