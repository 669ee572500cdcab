"""Runs whose folders were damaged after training: every command that starts from them says so before it starts Ray."""

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.progress import Progress
from pipelines.runs.config import make_request, read_config, run_of
from pipelines.runs.folder import RunRequest
from pipelines.runs.inputs import note_inputs
from pipelines.train.execute import execute
from pipelines.train.launch import launch
from stprivacy.checkpoint import CheckpointError, CheckpointStore, load_latest, save
from stprivacy.deploy.load import load_trained
from stprivacy.phases.local import LocalContext
from stprivacy.plain import to_dict
from tests.support.job_fixtures import StartedError, refusal
from tests.support.json_mutations import complaint_of, mutated
from tests.support.launch_fixtures import TINY
from tests.support.run_fixtures import do_run
from tests.support.shard_fixtures import write_tiny_dataset

JOBS = ("adversarial", "evaluate")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished init run, with checkpoints at steps 1 and 2, and its data set beside it."""
    folder = tmp_path_factory.mktemp("runs")
    data = write_tiny_dataset(folder / "data", videos=12, test_videos=12)
    train = replace(TINY.train, epochs=1, checkpoint_every_steps=1)
    do_run(replace(TINY, data=str(data), train=train), folder / "init")
    return folder / "init"


@pytest.fixture
def data(run: Path) -> Path:
    return run.parent / "data"


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "init"))


@pytest.mark.parametrize("phase", JOBS)
def test_final_weights_that_are_damaged_are_refused_before_ray_starts_unless_older_ones_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, copy: Path, data: Path, tmp_path: Path, phase: str
) -> None:
    (copy / "checkpoints" / "000002" / "state.pt").write_bytes(b"")
    said = refusal(monkeypatch, phase, data, tmp_path / "out", "--from", str(copy))
    assert said.startswith(f"{copy}: its final checkpoint 000002 is damaged (state.pt has 0 of ")
    with pytest.raises(StartedError):
        refusal(monkeypatch, phase, data, tmp_path / "out", "--from", str(copy), "--allow-older-weights")


@pytest.mark.parametrize("phase", JOBS)
def test_a_run_that_is_not_finished_is_refused_before_ray_starts(
    monkeypatch: pytest.MonkeyPatch, copy: Path, data: Path, tmp_path: Path, phase: str
) -> None:
    (copy / "result.json").unlink()
    said = refusal(monkeypatch, phase, data, tmp_path / "out", "--from", str(copy))
    assert said == f"{copy} has no result.json: that run is not finished. Run its job again first"


# Damage to what the files say


def resume(folder: Path) -> None:
    config = run_of(json.loads((folder / "config.json").read_text()))
    store = CheckpointStore(folder / "checkpoints", keep=2, rank=0, warn=lambda message: None)
    execute(to_dict(config), folder, LocalContext(), store)


def ask_again(folder: Path, request: RunRequest) -> None:
    with Progress(quiet=True) as progress:
        launch([request], num_workers=1, progress=progress, executor="nowhere:to_be_found")


def test_mutated_json_of_a_finished_run_is_one_line_that_names_it(copy: Path) -> None:
    config = run_of(json.loads((copy / "config.json").read_text()))
    request = make_request(copy, config)
    note_inputs(request)
    (copy / "progress.json").write_text(json.dumps({"phase": "init", "step": 1, "total_steps": 1, "resumed_at": 0}))
    users: tuple[Callable[[], object], ...] = (
        lambda: load_trained(copy),
        lambda: read_config(copy),
        lambda: ask_again(copy, request),
    )
    draw = random.Random(5)
    refused = 0
    for _ in range(40):
        file = copy / draw.choice(("config.json", "result.json", "inputs.json", "progress.json"))
        before = file.read_bytes()
        file.write_bytes(mutated(before, draw))
        for use in users:
            if file.name == "result.json" and not read_or_empty(file):
                continue  # as if it were not finished: the launch would begin
            said = complaint_of(use)
            refused += said != ""
            assert not said or str(copy) in said, file.read_bytes()[:400]
            assert "\n" not in said
            assert len(said) < 1500
        file.write_bytes(before)
    assert refused > 20


def read_or_empty(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return "damaged"


@pytest.mark.parametrize("name", ["state.pt", "model.safetensors"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"\x80\x02cos\nsystem\nq\x00.",
        b"\xff" * 64,
        b"\x10\x00\x00\x00\x00\x00\x00\x00{broken header}",
    ],
)
def test_a_file_that_fits_its_checksum_and_cannot_be_read_is_damage(copy: Path, name: str, content: bytes) -> None:
    (copy / "result.json").unlink()
    for checkpoint in (copy / "checkpoints").iterdir():
        (checkpoint / name).write_bytes(content)
        manifest = json.loads((checkpoint / "manifest.json").read_text())
        manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    complaint = rf"every checkpoint in {copy}/checkpoints is damaged \(000002: {name} cannot be read \(\w+\); 000001"
    with pytest.raises(CheckpointError, match=complaint):
        resume(copy)


def test_a_state_of_another_program_is_one_line_that_names_it(copy: Path) -> None:
    found = load_latest(copy / "checkpoints", pytest.fail)
    assert found is not None
    for state, complaint in (
        ({}, r"state.pt does not say for which actions it was trained"),
        ({"about": found.state["about"]}, r"state.pt does not hold what this phase needs \(KeyError: 'optimizers'\)"),
    ):
        save(copy / "checkpoints", 2, found.model, state)
        with pytest.raises(CheckpointError, match=complaint):
            resume(copy)


def test_settings_of_another_size_are_refused_before_memory_is_taken_for_them(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    for setting, value, complaint in (
        ("embed_dim", 24 * 10**6, r"000002/model.safetensors: \S+: \[24.*\], but the model has \[24000000"),
        ("stage_depths", [1, 10**9], r"config.json: no network can be made from these settings \(it has more layers"),
    ):
        changed = config | {"model": config["model"] | {setting: value}}
        (copy / "config.json").write_text(json.dumps(changed))
        with pytest.raises(ValueError, match=complaint):
            load_trained(copy)
