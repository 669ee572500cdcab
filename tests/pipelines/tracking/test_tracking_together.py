"""Jobs that start at the same moment in a folder without a store."""

import subprocess
import sys
from pathlib import Path

from mlflow.tracking import MlflowClient

from pipelines.tracking.tracker import default_tracking_uri

JOB = """
import sys, time
from pathlib import Path
from pipelines.tracking.tracker import Tracker, default_tracking_uri
import mlflow.tracking  # the slow part; then all begin together
folder, own = Path(sys.argv[1]), sys.argv[2]
(folder / f"ready-{own}").touch()
while len(list(folder.glob("ready-*"))) < 3:
    time.sleep(0.01)
Tracker(default_tracking_uri(folder)).run(folder / own, own, {}, parent="together").finish()
"""


def test_jobs_that_start_together_share_one_store_one_experiment_and_one_parent(tmp_path: Path) -> None:
    jobs = [
        subprocess.Popen([sys.executable, "-c", JOB, str(tmp_path), name], stderr=subprocess.PIPE, text=True)
        for name in "abc"
    ]
    for job in jobs:
        _, said = job.communicate(timeout=120)
        assert job.returncode == 0, said
    client = MlflowClient(default_tracking_uri(tmp_path))
    (experiment,) = [one for one in client.search_experiments() if one.name == "stprivacy"]
    names = sorted(str(run.info.run_name) for run in client.search_runs([experiment.experiment_id]))
    assert names == ["a", "b", "c", "together"]
