"""The README's section on one's own videos, command by command, over real clips."""

import csv
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_fixtures import Done, run_command
from tests.support.places import ROOT

pytestmark = pytest.mark.slow

CLIPS = ROOT.parent / "shared" / "reference" / "clips"
# file, action, split, attributes face and group; both values of each in both splits
ROWS = [
    ("mmaction2_demo.mp4", "wrestle", "train", 1, 0),
    ("mmaction2_demo_spatiotemporal_det.mp4", "stand", "train", 0, 1),
    ("mmaction2_part_0.mp4", "wrestle", "train", 1, 1),
    ("torchcodec_nasa_13013.mp4", "stand", "train", 0, 0),
    ("mmaction2_test.mp4", "wrestle", "test", 1, 0),
    ("mmaction2_test.avi", "stand", "test", 0, 1),
    ("torchcodec_h265_video.mp4", "stand", "test", 1, 1),
    ("torchcodec_nasa_13013.mp4.audio.mp3", "stand", "test", 0, 0),
]
SHORT = {
    "init": "--workers 1 --train.epochs 5 --train.batch-size 4",  # four clips: five steps
    "adv": "--workers 1 --train.epochs 5 --train.batch-size 4",
    "evaluate": "--workers 1 --train.max-steps 5 --train.batch-size 4 --views.clips 2 --views.crops 1",
    "ingest": "",
}


def readme_commands() -> list[list[str]]:
    section = (ROOT / "README.md").read_text().partition("## Your own videos")[2]
    block = re.search(r"```bash\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return [shlex.split(line) for line in block[1].splitlines() if line.startswith("python jobs/")]


def do(job: str, words: list[str], folder: Path) -> Done | subprocess.CompletedProcess[str]:
    """The first two jobs as they stand there, each with a Ray of its own, the others on the Ray of this process.

    Its workers are in another folder and need whole paths.
    """
    if job in ("jobs/ingest.py", "jobs/init.py"):
        return subprocess.run([sys.executable, str(ROOT / job), *words], cwd=folder, capture_output=True, text=True)
    whole = [str(folder / word) if word.startswith("my-") else word for word in words]
    return run_command(Path(job).stem, *whole, cwd=folder)


@pytest.mark.skipif(not CLIPS.is_dir(), reason=f"the real clips are not at {CLIPS}")
def test_the_readmes_commands_work_on_real_clips(ray_cluster: None, tmp_path: Path) -> None:
    with open(tmp_path / "my.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "action", "split", "privacy_face", "privacy_group"])
        writer.writerows(ROWS)
    (tmp_path / "my-videos").symlink_to(CLIPS)
    commands = readme_commands()
    assert [Path(command[1]).stem for command in commands] == ["ingest", "init", "adv", "evaluate", "evaluate"]
    for _, job, *options in commands:
        done = do(job, [*options, *shlex.split(SHORT[Path(job).stem])], tmp_path)
        assert done.returncode == 0, f"{job}: {done.stderr}"
        if job.endswith("ingest.py"):
            assert "8 videos in = 7 rows" in done.stdout
            assert "no-video-stream" in done.stdout
    for run in ("init", "adv"):
        lines = (tmp_path / "my-runs" / run / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5]
    for run in ("evaluate-raw", "evaluate-stprivacy"):
        result = json.loads((tmp_path / "my-runs" / run / "result.json").read_text())
        assert 0 <= result["action_top1"] <= 100
        assert {"privacy_ap_face", "privacy_ap_group", "floor_privacy_cmap", "deploy_keep_ratio"} <= set(result)
