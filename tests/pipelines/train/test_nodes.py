"""Four simulated nodes, of which one each is killed in mid-ingest, mid-phase and mid-sweep: nothing is lost."""

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.support.places import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the driver saw; it runs in a process of its own, as this one may be connected to another Ray."""
    folder = tmp_path_factory.mktemp("nodes")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    token = folder / "token"
    token.write_text("a" * 64)
    environment = kept | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    with open(folder / "driver.log", "w+") as log:
        driver = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "support" / "nodes_driver.py"), str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = driver.communicate(timeout=1800)
        finally:
            end(driver)
        log.seek(0)
        assert driver.returncode == 0, output + log.read()[-5000:]
    *lines, last = output.splitlines()
    print("\n".join(lines[lines.index("whole:") :]))  # what comes before is Ray's, on the nodes that it lost
    values: dict[str, Any] = json.loads(last)
    return values


def end(leader: "subprocess.Popen[str]") -> None:
    """The driver and what it started."""
    try:
        os.killpg(leader.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        leader.wait()


def test_ingest_that_loses_a_node_loses_no_video(found: dict[str, Any]) -> None:
    whole, disturbed = found["whole"], found["ingest"]
    assert 3 <= disturbed["done_before"] < 12  # of as many shards
    assert disturbed["nodes_left"] == 3
    assert whole["ledger"].splitlines()[0] == "24 videos in = 23 rows + 1 quarantined"
    assert disturbed["ledger"] == whole["ledger"]
    assert disturbed["fingerprint"] == whole["fingerprint"]
    assert disturbed["left_over"] == []


def test_phase_that_loses_a_node_ends_bit_for_bit_like_the_undisturbed_one(found: dict[str, Any]) -> None:
    undisturbed, disturbed = found["phases"]["undisturbed"], found["phases"]["disturbed"]
    for name in ("digest", "history", "result"):
        assert disturbed[name] == undisturbed[name]
    reports = [json.loads(line)["step"] for line in disturbed["history"].splitlines()]
    assert (disturbed["steps"], reports) == (12, [4, 8, 12])


def test_each_worker_has_a_node_of_its_own_and_all_begin_again_once(found: dict[str, Any]) -> None:
    undisturbed, disturbed = found["phases"]["undisturbed"], found["phases"]["disturbed"]
    assert undisturbed["nodes"] == disturbed["nodes"] == 4
    assert undisturbed["result"]["world_size"] == 4
    assert undisturbed["attempts"] == [0, 1, 2, 3]
    assert disturbed["attempts"] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_sweep_that_loses_a_node_loses_no_trial_and_finds_the_same_front(found: dict[str, Any]) -> None:
    sweep = found["sweep"]
    assert sweep["done_before"] == 1
    assert sweep["ledger"] == "2 trials = 2 points + 0 stopped + 0 failed"
    assert sweep["equal"]
