import json
from pathlib import Path

import pytest
import torch

from pipelines.runs.claims import claim
from pipelines.runs.folder import PhaseError, RunRequest, read_json
from pipelines.train.context import RayTrainContext


@pytest.fixture
def context(tmp_path: Path) -> RayTrainContext:
    """The only worker of a launch that has claimed its folder."""
    claim(RunRequest(tmp_path, {}), "launch")
    return RayTrainContext(tmp_path, "launch", 0, 1, torch.device("cpu"))


def lines(context: RayTrainContext) -> list[str]:
    return (context.folder / "metrics.jsonl").read_text().splitlines()


def places(context: RayTrainContext) -> list[tuple[str, int]]:
    return [(entry["phase"], entry["step"]) for entry in map(json.loads, lines(context))]


def test_rewinding_keeps_what_was_reported_up_to_the_step_and_other_phases(context: RayTrainContext) -> None:
    for phase, step in (("a", 1), ("a", 2), ("b", 3), ("a", 3)):
        context.report(phase, step, {"loss": 0.1 + step})
    before = lines(context)
    context.rewind("a", 2)
    assert lines(context) == before[:3]
    context.rewind("a", 0)
    assert places(context) == [("b", 3)]


def test_a_line_that_a_kill_cut_off_is_dropped(context: RayTrainContext) -> None:
    context.report("a", 1, {"loss": 1.0})
    with open(context.folder / "metrics.jsonl", "a") as file:
        file.write('{"phase": "a", "step": 2')
    context.rewind("a", 2)
    context.report("a", 3, {"loss": 1.0})
    assert places(context) == [("a", 1), ("a", 3)]
    assert not (context.folder / "messages.log").exists()


@pytest.mark.parametrize(
    "damage", ['{"phase": "a", "st{"phase"', '"text"', '{"step": 2}', "\0\0\0", '{"phase": "a", "step": null}']
)
def test_a_damaged_line_is_dropped_and_named(context: RayTrainContext, damage: str) -> None:
    context.report("a", 1, {"loss": 1.0})
    with open(context.folder / "metrics.jsonl", "a") as file:
        file.write(f"{damage}\n")
    context.report("a", 3, {"loss": 1.0})
    context.rewind("a", 5)
    assert places(context) == [("a", 1), ("a", 3)]
    (message,) = (context.folder / "messages.log").read_text().splitlines()
    assert message.endswith("metrics.jsonl line 2 is damaged and was left out")


def test_heartbeat_tells_the_last_step_at_once(context: RayTrainContext) -> None:
    for step in (1, 2, 3):
        context.progress("a", step, 3, 6)
    heartbeat = read_json(context.folder / "progress.json")
    assert (heartbeat["phase"], heartbeat["step"], heartbeat["total_steps"]) == ("a", 3, 3)


def test_heartbeat_tells_how_much_an_earlier_launch_has_done(context: RayTrainContext) -> None:
    context.rewind("a", 2)
    for phase, expected in (("a", 2), ("test", 0)):
        context.progress(phase, 3, 3, 6)
        assert read_json(context.folder / "progress.json")["resumed_at"] == expected


def test_a_worker_that_outlived_its_launch_stops(context: RayTrainContext) -> None:
    context.progress("a", 1, 2, 6)
    claim(RunRequest(context.folder, {}), "a later launch")
    with pytest.raises(PhaseError, match="taken over by a later launch"):
        context.progress("a", 2, 2, 6)


def test_heartbeat_tells_the_rate_of_the_last_half_minute_of_its_own_phase(
    context: RayTrainContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [50.0]
    monkeypatch.setattr("pipelines.train.context.time.monotonic", lambda: now[0])

    def rate(phase: str, seconds: float, clips: int, steps: int) -> float:
        """After that many steps, each of so many clips and seconds."""
        for step in range(1, steps + 1):
            now[0] += seconds
            context.progress(phase, step, steps, clips)
        return float(read_json(context.folder / "progress.json")["clips_per_second"])

    assert rate("a", 1.0, 6, 1) == 0.0  # not known yet
    assert rate("a", 2.0, 6, 100) == pytest.approx(3.0)
    assert rate("a", 0.5, 6, 100) == pytest.approx(12.0)  # the slow steps are more than half a minute ago
    assert rate("b", 1.0, 2, 10) == pytest.approx(2.0)  # and those of another phase do not count
