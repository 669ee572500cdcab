"""Run folders as they were written in November 2026, when one class held the settings of all phases."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from pipelines.reports.runs import find_runs
from pipelines.runs.claims import check_all
from pipelines.runs.config import AdversarialRun, EvaluateRun, InitRun, make_request, read_config
from stprivacy.deploy.load import load_anonymizer
from tests.support.places import ROOT
from tests.support.run_fixtures import do_run
from tests.support.shard_fixtures import write_tiny_dataset

PHASES = {"init": InitRun, "adversarial": AdversarialRun, "evaluate": EvaluateRun}
KEPT = (ROOT / "tests" / "support" / "run_2026_11.json").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phase 1, phase 2 against two heads and its evaluation; the weights are drawn anew, under the names of then."""
    folder = tmp_path_factory.mktemp("old")
    write_tiny_dataset(folder / "data", videos=12, test_videos=8)
    text = KEPT.replace("@", str(folder))
    for phase in ("init", "adversarial"):
        about = json.loads(text)[phase]
        text = text.replace(about["sha256"], write_checkpoint(folder / phase / "checkpoints" / "000001", about))
    for phase, files in json.loads(text).items():
        (folder / phase).mkdir(exist_ok=True)
        (folder / phase / "launch.json").write_text('{"launch": "abc"}')
        for name in ("config.json", "result.json", "inputs.json"):
            (folder / phase / name).write_text(json.dumps(files[name], indent=1))
    return folder


def write_checkpoint(folder: Path, kept: dict[str, Any]) -> str:
    """A checkpoint in format 2; returns the digest of its weights."""
    folder.mkdir(parents=True)
    safetensors.torch.save_file(drawn(kept["weights"]), folder / "model.safetensors")
    torch.save({"about": kept["about"], "optimizers": {}, "sums": {}, "counts": {}}, folder / "state.pt")
    files = {name: (folder / name).read_bytes() for name in ("model.safetensors", "state.pt")}
    listed = {name: {"bytes": len(data), "sha256": sha256(data).hexdigest()} for name, data in files.items()}
    (folder / "manifest.json").write_text(json.dumps({"format_version": 2, "number": 1, "files": listed}))
    return listed["model.safetensors"]["sha256"]


def drawn(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.mark.parametrize("phase", PHASES)
def test_the_settings_of_a_phase_are_read_and_those_of_others_passed_over(folder: Path, phase: str) -> None:
    run, then = read_config(folder / phase), json.loads((folder / phase / "config.json").read_text())
    assert type(run) is PHASES[phase]
    now = json.loads(json.dumps(make_request(folder, run).config))
    assert set(now) < set(then)
    assert now == {name: then[name] for name in now}


@pytest.mark.parametrize("phase", PHASES)
def test_a_finished_run_is_not_done_again_and_an_unknown_setting_is_still_an_error(
    folder: Path, tmp_path: Path, phase: str
) -> None:
    run = read_config(folder / phase)
    request = make_request(folder / phase, run)
    check_all([request])
    assert request.finished
    with pytest.raises(ValueError, match=r"holds a run with other settings \(train\.epochs was 1, now 2\)"):
        check_all([make_request(folder / phase, replace(run, train=replace(run.train, epochs=2)))])
    config = json.loads((folder / phase / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"no_such_setting": 1}))
    with pytest.raises(ValueError, match="unknown setting no_such_setting"):
        read_config(tmp_path)


@pytest.mark.parametrize(("phase", "prefix"), [("init", "self_recognizer.anonymizer."), ("adversarial", "anonymizer.")])
def test_weights_are_loaded_under_their_names(folder: Path, phase: str, prefix: str) -> None:
    saved = drawn(json.loads(KEPT)[phase]["weights"])
    for name, tensor in load_anonymizer(folder / phase).state_dict().items():
        assert torch.equal(tensor, saved[prefix + name])


def test_later_phases_start_from_old_runs(folder: Path, tmp_path: Path) -> None:
    for phase in ("adversarial", "evaluate"):
        old = json.loads((folder / phase / "result.json").read_text())
        result = do_run(read_config(folder / phase), tmp_path / phase)
        assert set(old) - set(result) <= {"region"}


def test_an_old_evaluation_is_in_a_report(folder: Path) -> None:
    (section,), left_out = find_runs(folder)
    assert [evaluation.folder.name for evaluation in section.evaluations] == ["evaluate"]
    assert all(run.why.startswith(("init", "adversarial")) for run in left_out)
