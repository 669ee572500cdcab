"""The orchestration benchmark: the loop under plain torchrun, and the table."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.orchestration import HEAD, check_same, table, under_torchrun
from pipelines.runs.config import AdversarialRun, make_request
from tests.support.launch_fixtures import TINY, later
from tests.support.shard_fixtures import write_tiny_dataset


@pytest.mark.slow
def test_the_phases_run_under_plain_torchrun(tmp_path: Path) -> None:
    data = write_tiny_dataset(tmp_path / "data", videos=12)
    init = replace(TINY, data=str(data), train=replace(TINY.train, max_steps=3))
    adversarial = later(init, AdversarialRun, from_run=str(tmp_path / "init"))
    runs = [make_request(tmp_path / run.phase, run) for run in (init, adversarial)]
    results = under_torchrun(runs, workers=2)
    assert [(result["phase"], result["world_size"]) for result in results] == [("init", 2), ("adversarial", 2)]
    assert all(result["steps_per_second"] > 0 for result in results)
    check_same([runs, runs])
    with pytest.raises(RuntimeError, match="end with different weights"):
        check_same([runs, runs[::-1]])


def test_the_table_takes_the_median_of_the_ratios_within_turns() -> None:
    rates = [((10.0, 4.0), (9.0, 4.0)), ((20.0, 4.0), (10.0, 3.0)), ((10.0, 4.0), (10.0, 2.0))]
    turns = [[[{"steps_per_second": rate} for rate in launcher] for launcher in turn] for turn in rates]
    assert table(turns).splitlines() == [
        HEAD,
        "|---|---|---|---|---|",
        "| init | 10 | 10 | 0.90 (0.50 to 1.00) | ≥ 0.95 |",
        "| adversarial | 4 | 3 | 0.75 (0.50 to 1.00) | ≥ 0.95 |",
    ]
