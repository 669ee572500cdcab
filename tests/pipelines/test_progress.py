import io

import pytest

from pipelines.progress import Progress
from pipelines.text import duration


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, as a list of one that a test may change."""
    now = [100.0]
    monkeypatch.setattr("pipelines.progress.time.monotonic", lambda: now[0])
    return now


def test_plain_output_has_start_end_and_a_line_every_ten_seconds(clock: list[float]) -> None:
    screen = io.StringIO()
    with Progress(stream=screen) as shown:
        task = shown.task("ingest", total=60, unit="videos")
        for done in range(1, 61):
            clock[0] += 0.5
            task.update(done)
        task.finish()
    lines = screen.getvalue().splitlines()
    assert lines[0] == "ingest: 60 videos"
    assert lines[1] == "ingest: 20/60 videos, 2 videos/s, 20 s left"
    assert lines[-1] == "ingest: 60/60 videos, 2 videos/s, took 30 s"
    assert len(lines) == 5


def test_falling_back_starts_the_rate_afresh(clock: list[float]) -> None:
    with Progress(quiet=True) as shown:
        task = shown.task("init", total=100, unit="steps")
        clock[0] += 1
        task.update(50)
        clock[0] += 10
        task.update(20)
        clock[0] += 1
        task.update(21)
        assert task.rate() == pytest.approx(1.0)


def test_work_done_before_counts_as_done_but_not_as_speed(clock: list[float]) -> None:
    with Progress(quiet=True) as shown:
        task = shown.task("ingest", total=100, unit="videos", done=90)
        clock[0] += 5
        task.update(95)
        assert task.describe() == "95/100 videos, 1 videos/s, 5 s left"
        task.finish()
        assert task.describe() == "95/100 videos, 1 videos/s, took 5 s"


def test_the_rate_is_that_of_the_last_minute_and_in_the_end_that_of_the_whole_work(clock: list[float]) -> None:
    with Progress(quiet=True) as shown:
        task = shown.task("ingest", total=1000, unit="videos")
        for second in range(1, 301):
            clock[0] += 1
            task.update(second if second <= 200 else 200 + 5 * (second - 200))  # five times as fast at the end
        assert task.rate() == pytest.approx(5.0)
        task.finish()
        assert task.rate() == pytest.approx(700 / 300)


def test_quiet_shows_nothing() -> None:
    screen = io.StringIO()
    with Progress(quiet=True, stream=screen) as shown:
        shown.task("ingest", total=1, unit="videos").finish()
        shown.say("hello")
    assert screen.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "words"), [(42.2, "42 s"), (185, "3 min 05 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (-1, "0 s")]
)
def test_duration_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
