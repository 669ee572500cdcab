"""The GPU benchmark at toy size on the CPU: every table is there, and its numbers hang together."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT

# What the machine that it is meant for does not have.
ABSENT = ["ray", "av", "mlflow", "tyro", "rich", "pyarrow", "torchmetrics", "pymoo", "cv2", "pandas", "matplotlib"]
WITHOUT_RAY = f"import sys; sys.modules.update(dict.fromkeys({ABSENT}));"


@pytest.mark.slow
def test_prints_every_table_and_writes_them_as_json(tmp_path: Path) -> None:
    target = tmp_path / "gpu.json"
    arguments = ["--device", "cpu", "--recipe", "demo", "--batches", "2", "--repeats", "1", "--largest", "4"]
    run = f"import runpy; sys.argv = ['gpu.py', *{[*arguments, '--json', str(target)]!r}]; "
    run += "runpy.run_path('benchmarks/gpu.py', run_name='__main__')"
    # What is compiled computes the same (tests/stprivacy/test_speed_settings.py); four networks of it take minutes.
    eager = os.environ | {"TORCH_COMPILE_DISABLE": "1"}
    command = [sys.executable, "-c", WITHOUT_RAY + run]
    done = subprocess.run(command, cwd=ROOT, env=eager, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads(target.read_text())
    for title in ("adversarial step", "attention", "anonymize", "losses beside float32", "largest batch"):
        assert results[title]
        assert f"| {title} |" in done.stdout
    assert [row["keep ratio"] for row in results["anonymize"]] == [1.0, 0.9, 0.7, 0.5]
    for row in results["adversarial step"]:
        assert 0 < row["utilisation"] < 1
        assert row["clips/s"] * row["ms"] / 1e3 == pytest.approx(row["clips"])
    for row in results["losses beside float32"]:
        assert max(row["L_Action"], row["L_Privacy"]) < 0.05
    assert results["largest batch"] == [{"variant": "bfloat16", "clips": 4, "stopped at": "the size asked for"}]


def test_says_what_to_do_without_a_gpu() -> None:
    command = [sys.executable, "benchmarks/gpu.py"]
    done = subprocess.run(command, cwd=ROOT, env={"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True)
    assert done.returncode == 2
    assert "sees no CUDA GPU" in done.stderr
    assert "--device cpu" in done.stderr
