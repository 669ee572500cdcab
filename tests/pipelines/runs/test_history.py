"""The reports of a run, read while it writes them."""

from pathlib import Path

from pipelines.runs.history import Report, read_history


def test_history_is_read_up_to_the_line_being_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_history(path) == []
    path.write_text('{"phase": "init", "step": 4, "loss": 1, "note": "x", "done": true}\n{"phase": "init", "step": 5')
    assert read_history(path) == [Report("init", 4, {"loss": 1.0})]
    path.write_text('{"phase": "init", "step": 4}\n{"phase": "init", "step": 5}')  # which may go on
    assert read_history(path) == [Report("init", 4, {})]
