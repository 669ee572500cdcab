"""Data, weights and pretrained files that change under a run: refused before Ray starts, with what differs."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.compare import run_comparison
from pipelines.compare.matrix import Comparison
from pipelines.progress import Progress
from pipelines.recipes.named import RECIPES
from pipelines.runs.claims import check_all, claim
from pipelines.runs.config import AdversarialRun, EvaluateRun, InitRun, RunBase, make_request
from pipelines.runs.folder import RunRequest
from pipelines.train.launch import launch
from pipelines.train.options import LaunchOptions
from pipelines.tune.space import parse_space
from pipelines.tune.sweep import Concurrency, run_sweep
from pipelines.tune.trials import Sweep
from tests.support.job_fixtures import StartedError, forbid_ray, refusal
from tests.support.launch_fixtures import TINY, later
from tests.support.run_fixtures import do_run
from tests.support.shard_fixtures import write_tiny_dataset
from tests.support.tiny import RECOGNIZER

QUICK = replace(TINY, train=replace(TINY.train, epochs=1, max_steps=2))
CHANGED = (
    r"data was tiny in {data}, 60 rows, fingerprint ([0-9a-f]{{12}}), now tiny in {data}, 60 rows, fingerprint "
    r"(?!\1)[0-9a-f]{{12}}\): choose another --out, restore what has changed, or delete that folder to start over$"
)


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_ray(monkeypatch)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_tiny_dataset(tmp_path / "data", videos=48, test_videos=12)


def change(data: Path) -> None:
    """As docs/data.md says: ingest again after fixing videos."""
    write_tiny_dataset(data, videos=48, test_videos=12, seed=1)


def init(data: Path, **settings: Any) -> InitRun:
    return replace(QUICK, data=str(data), **settings)


def claimed(folder: Path, run: RunBase, finished: bool = True) -> RunRequest:
    """A run that was launched, and, as asked, done."""
    request = make_request(folder, run)
    claim(request, "an earlier launch")
    if finished:
        do_run(run, folder)
    return request


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "begun"])
def test_a_run_over_changed_data_is_refused(data: Path, tmp_path: Path, finished: bool) -> None:
    request = claimed(tmp_path / "run", init(data), finished)
    check_all([request])
    change(data)
    word = "made" if finished else "begun"
    expected = rf"^{tmp_path / 'run'} was {word} from other inputs \({CHANGED.format(data=data)}"
    with pytest.raises(ValueError, match=expected):
        check_all([request])
    with Progress(quiet=True) as progress, pytest.raises(ValueError, match=expected):
        launch([request], num_workers=1, progress=progress, executor="nowhere:to_be_found")
    write_tiny_dataset(data, videos=48, test_videos=12)
    check_all([request])


def test_a_finished_run_from_before_inputs_were_noted_counts_over_the_same_data_alone(
    data: Path, tmp_path: Path
) -> None:
    request = claimed(tmp_path / "run", init(data))
    (tmp_path / "run" / "inputs.json").unlink()
    with Progress(quiet=True) as progress:
        (again,) = launch([request], num_workers=1, progress=progress, executor="nowhere:to_be_found")
    assert again == json.loads((tmp_path / "run" / "result.json").read_text())
    change(data)
    with pytest.raises(
        ValueError, match=r"was made from other inputs \(data was tiny in \S+, fingerprint .*, now tiny"
    ):
        check_all([request])


@pytest.mark.parametrize("name", ["exclude", "action_data"])
def test_other_data_sets_of_a_run_are_inputs_too(data: Path, tmp_path: Path, name: str) -> None:
    other = write_tiny_dataset(tmp_path / "other", videos=2)
    run = (
        later(init(data), EvaluateRun, action_data=str(other))
        if name == "action_data"
        else init(data, exclude=str(other))
    )
    request = claimed(tmp_path / "run", run, finished=False)
    write_tiny_dataset(other, videos=2, seed=1)
    with pytest.raises(ValueError, match=rf"\({name} was tiny in {other}, 6 rows, fingerprint"):
        check_all([request])


def test_pretrained_files_are_inputs_too(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "vit.safetensors"
    file.write_bytes(b"weights")
    run = later(init(data), EvaluateRun, recognizer=replace(RECOGNIZER, stem="conv3d", pretrained=str(file)))
    request = claimed(tmp_path / "run", run, finished=False)
    file.write_bytes(b"other weights")
    with pytest.raises(ValueError, match=rf"\(recognizer.pretrained was {file}, fingerprint .*, now {file}, fingerpr"):
        check_all([request])


def test_a_run_made_from_one_that_was_trained_anew_is_refused(data: Path, tmp_path: Path) -> None:
    do_run(init(data), tmp_path / "init")
    request = claimed(tmp_path / "adv", later(init(data), AdversarialRun, from_run=str(tmp_path / "init")))
    shutil.rmtree(tmp_path / "init")
    do_run(init(data), tmp_path / "init")
    check_all([request])  # the same bits
    shutil.rmtree(tmp_path / "init")
    do_run(init(data, seed=8), tmp_path / "init")
    with pytest.raises(ValueError, match=rf"adv was made from other inputs \(from_run was {tmp_path / 'init'}, finger"):
        check_all([request])


@pytest.mark.parametrize("phase", ["adversarial", "evaluate"])
def test_a_phase_from_a_run_over_the_data_as_they_were_is_refused(
    monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path, phase: str
) -> None:
    do_run(init(data), tmp_path / "init")
    source = ("--from", str(tmp_path / "init"))
    with pytest.raises(StartedError):
        refusal(monkeypatch, phase, data, tmp_path / "out", *source)
    change(data)
    said = refusal(monkeypatch, phase, data, tmp_path / "out", *source)
    trained = rf"^{tmp_path / 'init'} was trained on tiny in {data}, fingerprint \w+, which has changed since"
    assert re.match(trained, said), said
    assert said.endswith("restore the data set, or train that run again into another --out")


def test_every_cell_of_a_comparison_is_checked_before_ray_starts(data: Path, tmp_path: Path) -> None:
    comparison = Comparison(data, anonymizers=("raw",), attackers=("standard",))
    raw = replace(
        RECIPES["demo"]().evaluate, data=str(data), anonymizer="raw", label="raw", attackers=("standard",),
        validation_share=0.15, deploy_keep_ratio=1.0,
    )  # fmt: skip
    folder = tmp_path / "compare" / "seed-0" / "raw" / "evaluate-known"
    claim(make_request(folder, raw), "an earlier launch")
    with pytest.raises(StartedError):
        run_comparison(comparison, tmp_path / "compare", LaunchOptions())
    change(data)
    with pytest.raises(ValueError, match=rf"^{folder} was begun from other inputs \({CHANGED.format(data=data)}"):
        run_comparison(comparison, tmp_path / "compare", LaunchOptions())


def test_a_sweep_over_changed_data_is_refused(data: Path, tmp_path: Path) -> None:
    sweep = Sweep(data, RECIPES["demo"](), parse_space({"lambda_privacy": ("0.1", "1")}), attackers=("standard",))
    with pytest.raises(StartedError):
        run_sweep(sweep, tmp_path / "sweep", LaunchOptions(), Concurrency(1))
    change(data)
    with pytest.raises(
        ValueError, match=r"holds a sweep with other settings \(data_fingerprint was \w+…, now \w+…\): re"
    ):
        run_sweep(sweep, tmp_path / "sweep", LaunchOptions(), Concurrency(1))
