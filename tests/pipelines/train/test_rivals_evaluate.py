"""Rivals and controls in an evaluation: all names run, missing persons are counted and told, bad input is refused."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from pipelines.recipes.named import describe_recipes
from pipelines.runs.config import EvaluateRun, run_of
from stprivacy.anonymizers import AnonymizerName
from stprivacy.config import OptimConfig, TestViewsConfig
from stprivacy.phases.local import LocalContext
from stprivacy.plain import to_dict
from tests.support.command_fixtures import run_command
from tests.support.launch_fixtures import TINY, later
from tests.support.run_fixtures import do_run
from tests.support.shard_fixtures import write_tiny_dataset

STEP = later(
    TINY,
    EvaluateRun,
    train=replace(TINY.train, epochs=1, max_steps=1),
    views=TestViewsConfig(clips=2, crops=2),
    whitened_components=8,
)
NOT_TRAINED = [name for name in get_args(AnonymizerName) if name != "stprivacy"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty training and eight test videos, of which two have no boxes at all in any frame."""
    boxes = {20: [[]] * 16, 25: [[]] * 16}
    return write_tiny_dataset(tmp_path_factory.mktemp("data"), 20, 8, person_boxes=boxes)


@pytest.fixture(scope="module")
def boxless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("boxless"), 20, 8, person_boxes=dict.fromkeys(range(28)))


@pytest.mark.parametrize("name", NOT_TRAINED)
def test_every_name_can_be_evaluated(data: Path, tmp_path: Path, name: AnonymizerName) -> None:
    context = LocalContext()
    result = do_run(replace(STEP, data=str(data), anonymizer=name), tmp_path / "run", context)
    assert result["anonymizer"] == name
    assert 0 <= result["privacy_cmap"] <= 100
    if name in ("blackening", "strong-blur", "weak-blur"):
        assert result["clips_without_person"] == 2
        assert context.messages == [
            f"no person was found in 2 of 8 test videos: {name} leaves them as they are (clips_without_person in "
            "result.json). With --region frame it would not"
        ]
    else:
        assert "clips_without_person" not in result
        assert context.messages == []


def test_a_resumed_evaluation_does_not_tell_twice(data: Path, tmp_path: Path) -> None:
    run = replace(STEP, data=str(data), anonymizer="blackening")
    first = do_run(run, tmp_path / "run")
    again = LocalContext()
    assert do_run(run, tmp_path / "run", again) == first
    assert again.messages == []


def test_whole_frames_need_no_boxes(boxless: Path, tmp_path: Path) -> None:
    result = do_run(replace(STEP, data=str(boxless), anonymizer="blackening", region="frame"), tmp_path / "frame")
    assert "clips_without_person" not in result
    assert result["region"] == "frame"
    with pytest.raises(ValueError, match=r"no person boxes for each of its 16 frames. Ingest into another --out"):
        do_run(replace(STEP, data=str(boxless), anonymizer="blackening"), tmp_path / "boxes")


def test_what_a_rival_leaves_is_learned_and_what_it_takes_is_not(data: Path, tmp_path: Path) -> None:
    train = replace(TINY.train, epochs=60, accumulate_steps=1, optim=OptimConfig(learning_rate=0.2))
    base = replace(STEP, data=str(data), train=train, augment=replace(STEP.augment, flip_probability=0.0))
    small = do_run(replace(base, anonymizer="downsample-2x"), tmp_path / "small")
    assert small["action_top1"] >= 75
    assert small["privacy_cmap"] > small["floor_privacy_cmap"] + 10
    black = do_run(replace(base, anonymizer="blackening", region="frame"), tmp_path / "black")
    assert black["action_top1"] == 50
    assert black["privacy_cmap"] == pytest.approx(black["floor_privacy_cmap"], abs=1e-3)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            {"anonymizer": "blackning"},
            "anonymizer must be one of raw, downsample-2x, downsample-4x, .*motion-selection, got blackning",
        ),
        ({"region": "face"}, "region must be one of boxes, frame, got face"),
        ({"resize_mode": "lanczos"}, "resize_mode must be one of bilinear, bicubic, nearest, area, got lanczos"),
    ],
)
def test_a_configuration_with_unknown_names_lists_the_known_ones(setting: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        run_of(to_dict(STEP) | setting)


def test_help_and_list_name_them_all(tmp_path: Path) -> None:
    shown = run_command("evaluate", "--help", cwd=tmp_path).stdout
    for name in get_args(AnonymizerName):
        assert name in shown
        assert f"\n{name}\n    " in describe_recipes().partition("Anonymizers of jobs/evaluate.py:\n")[2]
    assert "--region {boxes,frame}" in shown
    assert "--resize-mode {bilinear,bicubic,nearest,area}" in shown


def test_the_command_refuses_unknown_names_and_data_without_boxes(boxless: Path, tmp_path: Path) -> None:
    where = ("--data", str(boxless), "--out", str(tmp_path / "out"))
    done = run_command("evaluate", *where, "--anonymizer", "blackning", cwd=tmp_path)
    assert done.returncode != 0
    assert "blackning" in done.stderr
    assert "motion-selection" in done.stderr
    done = run_command("evaluate", *where, "--anonymizer", "blackening", cwd=tmp_path)
    assert done.returncode == 1
    assert "--detector hog or --boxes FILE; without any boxes, obscure the whole frame: jobs/evaluate.py --region" in (
        done.stderr
    )
    assert not (tmp_path / "out").exists()
