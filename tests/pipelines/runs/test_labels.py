"""Labels that leave nothing to learn or to score are found before Ray starts: refused, or told where it is a limit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.compare.demo import run_all
from pipelines.data.reader import is_for_validation
from pipelines.runs.config import AdversarialRun, EvaluateRun, make_request
from pipelines.runs.labels import check_labels
from tests.support.job_fixtures import StartedError, refusal
from tests.support.launch_fixtures import TINY, later
from tests.support.run_fixtures import do_run
from tests.support.shard_fixtures import write_shard, write_tiny_dataset

NAMES = ("skin_color", "face", "gender")


def write_labels(folder: Path, change: Any, videos: int = 12, test_videos: int = 6, **options: Any) -> Path:
    """A tiny data set with three attributes, each of whose rows `change` may change."""
    write_tiny_dataset(folder, videos, test_videos, attributes=len(NAMES), checksums=False, **options)
    for number, path in enumerate(sorted((folder / "videos").glob("*.parquet"))):
        rows = pq.read_table(path).to_pylist()
        for place, row in enumerate(rows):
            row["privacy"] = [(place + number) % 2, place // 2 % 2, place % 2]
            change(row)
        write_shard(path, rows)
    return folder


def set_label(part: str, attribute: int, label: int) -> Any:
    def change(row: dict[str, Any]) -> None:
        if row["splits"][0] == part:
            row["privacy"][attribute] = label

    return change


def all_alike(part: str) -> Any:
    def change(row: dict[str, Any]) -> None:
        if row["splits"][0] == part:
            row["privacy"] = [1, 0, 1]

    return change


def moved(part: str, other: str) -> Any:
    def change(row: dict[str, Any]) -> None:
        row["splits"] = [other if name == part else name for name in row["splits"]]

    return change


def evaluation(data: Path, **settings: Any) -> EvaluateRun:
    return later(TINY, EvaluateRun, anonymizer="raw", deploy_keep_ratio=1.0, data=str(data), **settings)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            set_label("test", 1, 0),
            "all 6 test videos of split 1 have face = 0: AP and AUC need both labels; add",
        ),
        (moved("test", "unused"), "has no videos in the test split: check the split column"),
        (moved("train", "unused"), "has no videos in the train split: check the split column"),
        (all_alike("train"), "all 12 training videos of split 1 have the same label in each attribute"),
    ],
    ids=["constant in test", "no test", "no train", "constant in train"],
)
def test_an_evaluation_that_cannot_be_scored_is_refused_before_ray_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, complaint: str
) -> None:
    data = write_labels(tmp_path / "data", change)
    said = refusal(monkeypatch, "evaluate", data, tmp_path / "out", "--anonymizer", "raw")
    assert said.startswith(f"{data}")
    assert complaint in said
    assert "\n" not in said
    assert not (tmp_path / "out" / "config.json").exists()


@pytest.mark.parametrize("phase", ["init", "adversarial"])
def test_training_without_videos_to_train_on_is_refused_before_ray_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    data = write_labels(tmp_path / "data", moved("train", "unused"))
    source = []
    if phase == "adversarial":
        before = write_tiny_dataset(tmp_path / "before", videos=8, attributes=len(NAMES))
        do_run(replace(TINY, data=str(before), train=replace(TINY.train, epochs=1, max_steps=1)), tmp_path / "init")
        source = ["--from", str(tmp_path / "init")]
    said = refusal(monkeypatch, phase, data, tmp_path / "out", *source)
    assert f"{data} has no videos in the train split" in said


def test_an_attribute_that_training_videos_do_not_vary_is_told_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_labels(tmp_path / "data", set_label("train", 2, 1))
    with pytest.raises(StartedError):
        refusal(monkeypatch, "evaluate", data, tmp_path / "out", "--anonymizer", "raw")
    assert capsys.readouterr().err == (
        f"warning: {data}: all 12 training videos of split 1 have gender = 1: no recognizer can learn to read it, and "
        "its scores say nothing about privacy\n"
    )


def test_labels_that_vary_are_not_worth_a_word(tmp_path: Path) -> None:
    data = write_labels(tmp_path / "data", lambda row: None)
    adversarial = later(TINY, AdversarialRun, data=str(data))
    check_labels([replace(TINY, data=str(data)), adversarial, evaluation(data)], pytest.fail)


def test_phases_that_read_no_attribute_take_any_labels(tmp_path: Path) -> None:
    data = write_labels(tmp_path / "data", all_alike("train"))
    run = replace(TINY, data=str(data))
    check_labels([run, later(run, AdversarialRun, anonymizer="spact")], pytest.fail)
    with pytest.raises(ValueError, match="nothing private to learn"):
        check_labels([later(run, AdversarialRun)], pytest.fail)


def test_validation_videos_must_differ_in_some_attribute(tmp_path: Path) -> None:
    data = write_labels(tmp_path / "data", lambda row: None, videos=20)
    told: list[str] = []
    check_labels([evaluation(data, validation_share=0.3)] * 2, told.append)
    assert told == []

    def alike(row: dict[str, Any]) -> None:
        if is_for_validation(row["video_id"], 0.3):
            row["privacy"] = [1, 1, 1]

    other = write_labels(tmp_path / "other", alike, videos=20)
    with pytest.raises(ValueError, match=r"validation videos have the same label in each attribute, so no attack"):
        check_labels([evaluation(other, validation_share=0.3)], told.append)


def test_a_single_video_of_a_part_is_told_as_one(tmp_path: Path) -> None:
    data = write_labels(tmp_path / "data", lambda row: None, test_videos=1)
    with pytest.raises(ValueError, match=r"the only test video of split 1 has skin_color = 0, face = 1, gender = 0:"):
        check_labels([evaluation(data)], pytest.fail)


def test_the_demo_refuses_so_few_videos_that_nothing_can_be_scored(tmp_path: Path) -> None:
    data = write_labels(tmp_path / "data", all_alike("test"))
    request = make_request(tmp_path / "evaluate", evaluation(data))
    with pytest.raises(ValueError, match="all 6 test videos of split 1 have skin_c"):
        run_all([request], tmp_path, 1, "demo")
    assert not (tmp_path / "evaluate").exists()


def test_of_many_objects_and_scenes_some_may_be_constant(tmp_path: Path) -> None:
    names = ("object_ball", "object_cup", "scene_street")
    options: dict[str, Any] = {"attribute_names": names, "multi_label": True}
    told: list[str] = []
    some = write_labels(tmp_path / "some", set_label("test", 1, 0), **options)
    check_labels([evaluation(some, protocol="ospar")] * 2, told.append)
    assert told == [f"{some}: 1 of 3 attributes are the same in all 6 test videos: no AP"]
    none = write_labels(tmp_path / "none", set_label("test", 2, 0), **options)
    with pytest.raises(ValueError, match=r"no scene is shown by some of the 6 test videos and not by others"):
        check_labels([evaluation(none, protocol="ospar")], told.append)
