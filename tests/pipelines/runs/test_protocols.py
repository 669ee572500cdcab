"""The five protocols: what each trains and scores, and the data and anonymizers that it refuses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.data.datasets.celebv_hq import ATTRIBUTE_NAMES
from pipelines.runs.config import AdversarialRun, EvaluateRun, ProtocolName, RunBase
from pipelines.runs.protocols import check_protocol
from stprivacy.checkpoint import CheckpointError
from stprivacy.config import AugmentConfig, OptimConfig, TestViewsConfig
from stprivacy.deploy.load import load_anonymizer
from stprivacy.phases.local import LocalContext
from tests.support.launch_fixtures import TINY, later
from tests.support.run_fixtures import do_run
from tests.support.shard_fixtures import write_tiny_dataset

OSPAR = ("object_ball", "object_cup", "object_car", "scene_street", "scene_room")
VIEWS = TestViewsConfig(clips=2, crops=2)
STEP = replace(TINY, train=replace(TINY.train, epochs=1, max_steps=1))
LONG = replace(
    TINY,
    train=replace(TINY.train, epochs=60, accumulate_steps=1, optim=OptimConfig(learning_rate=0.2)),
    augment=AugmentConfig(flip_probability=0.0),
)


def evaluation(data: Path, protocol: ProtocolName, base: RunBase = STEP, **settings: Any) -> EvaluateRun:
    chosen: dict[str, Any] = {"anonymizer": "raw", "deploy_keep_ratio": 1.0, "views": VIEWS} | settings
    return later(base, EvaluateRun, data=str(data), protocol=protocol, **chosen)


def train(data: Path, folder: Path, exclude: str = "") -> Path:
    """One step of phases 1 and 2; gives back the adversarial run."""
    base = replace(STEP, data=str(data), exclude=exclude)
    do_run(base, folder / "init")
    do_run(later(base, AdversarialRun, from_run=str(folder / "init")), folder / "adversarial")
    return folder / "adversarial"


def of_run(data: Path, protocol: ProtocolName, source: Path, **settings: Any) -> EvaluateRun:
    return evaluation(data, protocol, anonymizer="stprivacy", deploy_keep_ratio=0.7, from_run=str(source), **settings)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("known"), videos=12, test_videos=8)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other actions, other videos."""
    return write_tiny_dataset(tmp_path_factory.mktemp("other"), 12, 8, actions=("left", "right"), seed=1)


@pytest.fixture(scope="module")
def framed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos whose attributes change in the middle, with a label for each frame; some of `large`'s ids."""
    return write_tiny_dataset(tmp_path_factory.mktemp("framed"), 20, 8, frame_labels=True, frames=(16, 10), seed=2)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("large"), videos=60, test_videos=4, seed=3)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(data, tmp_path_factory.mktemp("runs"))


def test_known_and_unseen_follow_from_what_the_anonymizer_was_trained_on(
    data: Path, other: Path, trained: Path, tmp_path: Path
) -> None:
    assert do_run(of_run(data, "known", trained), tmp_path / "known")["protocol"] == "known"
    unseen = do_run(of_run(other, "unseen", trained), tmp_path / "unseen")
    assert unseen["protocol"] == "unseen"
    with pytest.raises(ValueError, match=rf"known tests .* but {trained} was trained on {data}, and this is {other}"):
        check_protocol(of_run(other, "known", trained))
    with pytest.raises(ValueError, match=rf"unseen tests .* but {trained} was trained on this one, {data}"):
        check_protocol(of_run(data, "unseen", trained))


def test_a_data_set_that_was_moved_is_still_the_known_one(data: Path, trained: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.symlink_to(data)
    config = json.loads((trained / "config.json").read_text())
    copy = tmp_path / "run"
    copy.mkdir()
    (copy / "config.json").write_text(json.dumps(config | {"data": "/gone"}))
    (copy / "result.json").write_text((trained / "result.json").read_text())
    check_protocol(of_run(moved, "known", copy))


def test_a_frame_recognizer_learns_what_only_single_frames_tell(framed: Path, large: Path, tmp_path: Path) -> None:
    run = evaluation(framed, "frame-level", LONG, action_data=str(large))
    scores = do_run(run, tmp_path / "evaluate")
    assert (scores["protocol"], scores["dataset"], scores["action_dataset"]) == ("frame-level", "tiny", "tiny")
    # The video's own label holds for both halves of it: who reads only that confuses them.
    assert scores["privacy_cmap"] > scores["floor_privacy_cmap"] + 25
    assert scores["action_top1"] >= 75
    parts = {path.name for path in (tmp_path / "evaluate/checkpoints").iterdir()}
    assert "action" in parts
    assert do_run(run, tmp_path / "evaluate") == scores  # both parts resume from their checkpoints


def test_frame_level_floors_are_the_prevalence_over_frames(framed: Path, large: Path, tmp_path: Path) -> None:
    from pipelines.data.reader import ParquetClips

    scores = do_run(evaluation(framed, "frame-level", action_data=str(large)), tmp_path / "evaluate")
    rows = ParquetClips(framed, STEP.model.clip, frame_labels=True).test
    # 2 clips of 4 frames: the first and the last four of each video, wherever it changes.
    labels = [row.privacy_frames[5 * t : 5 * t + 5] for row in rows for t in (0, 1, 2, 3, -4, -3, -2, -1) if t >= 0]
    labels += [row.privacy_frames[5 * t : 5 * t + 5] for row in rows for t in range(row.shape[0] - 4, row.shape[0])]
    prevalence = [sum(label[i] for label in labels) / len(labels) for i in range(5)]
    assert scores["floor_privacy_cmap"] == pytest.approx(100 * sum(prevalence) / 5)


def test_frame_level_takes_stprivacy_that_was_not_trained_on_the_tested_videos(
    framed: Path, large: Path, tmp_path: Path
) -> None:
    careless = train(large, tmp_path / "careless")
    with pytest.raises(
        ValueError, match=rf"may have been trained on its test videos, in {large}: .* --exclude {framed}"
    ):
        check_protocol(of_run(framed, "frame-level", careless, action_data=str(large)))
    careful = train(large, tmp_path / "careful", exclude=str(framed))
    scores = do_run(of_run(framed, "frame-level", careful, action_data=str(large)), tmp_path / "evaluate")
    assert scores["anonymizer"] == "stprivacy"


def test_excluded_videos_are_not_trained_on(large: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no videos in the train split: .* all of them are left out"):
        do_run(replace(STEP, data=str(large), exclude=str(large)), tmp_path)


def test_the_action_recognizer_never_trains_on_the_tested_videos(framed: Path, tmp_path: Path) -> None:
    same = write_tiny_dataset(tmp_path / "same", videos=10, test_videos=2)  # 10 ids that `framed` has, too
    with pytest.raises(ValueError, match=rf"{same} has no videos in the train split"):
        do_run(evaluation(framed, "frame-level", action_data=str(same)), tmp_path / "evaluate")


def test_frame_level_refuses_data_without_labels_of_frames(data: Path, large: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"parquet, video down/0000.mp4: it has no labels for each of its 16 frames"):
        do_run(evaluation(data, "frame-level", action_data=str(large)), tmp_path)


def test_frame_level_refuses_actions_that_the_action_data_lack(framed: Path, other: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has actions that the other data set lacks: down, up"):
        do_run(evaluation(framed, "frame-level", action_data=str(other)), tmp_path)


@pytest.mark.parametrize(("protocol", "action_data"), [("frame-level", ""), ("known", "somewhere")])
def test_action_data_belong_to_frame_level_alone(data: Path, protocol: ProtocolName, action_data: str) -> None:
    with pytest.raises(ValueError, match="protocol frame-level, and no other, takes --action-data"):
        check_protocol(evaluation(data, protocol, action_data=action_data))


def test_the_f1_threshold_is_a_setting(data: Path, tmp_path: Path) -> None:
    """After one step all probabilities lie near a half."""
    always, never = (do_run(evaluation(data, "known", f1_threshold=x), tmp_path / str(x)) for x in (0.001, 0.999))
    assert always["privacy_f1"] == pytest.approx(always["floor_privacy_f1"])
    assert never["privacy_f1"] == 0
    assert never["privacy_cmap"] == pytest.approx(always["privacy_cmap"])


def test_fapder_takes_the_five_attributes_of_appearance(data: Path, tmp_path: Path) -> None:
    faces = write_tiny_dataset(tmp_path / "faces", 12, 8, attribute_names=ATTRIBUTE_NAMES)
    scores = do_run(evaluation(faces, "fapder"), tmp_path / "evaluate")
    assert {f"privacy_ap_{name}" for name in ATTRIBUTE_NAMES} <= set(scores)
    expected = (
        "takes the attributes young, pointy_nose, male, rosy_cheeks, brown_hair; the data set has skin_color, face"
    )
    with pytest.raises(ValueError, match=expected):
        check_protocol(evaluation(data, "fapder"))


def test_ospar_scores_actions_objects_and_scenes_by_their_cmap(tmp_path: Path) -> None:
    data = write_tiny_dataset(tmp_path / "data", 20, 8, multi_label=True, attribute_names=OSPAR)
    context = LocalContext()
    scores = do_run(evaluation(data, "ospar", LONG), tmp_path / "evaluate", context)
    for name in ("object_cmap", "scene_cmap"):
        assert scores[f"floor_{name}"] + 5 < scores[name] <= scores[f"{name}_high"]
        assert scores[name] == scores[f"{name}_{scores['attacker']}"]
    assert (scores["object_classes"], scores["scene_classes"]) == (3, 2)
    # Every second video shows both actions, the others the second one: only the first can be told.
    assert (scores["action_classes"], scores["floor_action_cmap"]) == (1, 50.0)
    assert scores["action_cmap"] > 75
    assert "action_top1" not in scores
    assert context.messages == [
        "action scores are means over 1 of 2 classes: the others are shown by no test video, or by all of them"
    ]


def test_ospar_trains_stprivacy_on_several_actions_a_video(tmp_path: Path) -> None:
    data = write_tiny_dataset(tmp_path / "data", 12, 8, multi_label=True, attribute_names=OSPAR)
    scores = do_run(of_run(data, "ospar", train(data, tmp_path)), tmp_path / "evaluate")
    assert 0 <= scores["action_cmap"] <= 100


def test_ospar_takes_objects_and_scenes_alone(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"protocol ospar takes a data set with several actions .* skin_color, face"):
        check_protocol(evaluation(data, "ospar"))
    several = write_tiny_dataset(tmp_path, 4, 4, multi_label=True)
    with pytest.raises(ValueError, match=r"protocol known takes one action for each video, .* that is protocol ospar"):
        check_protocol(evaluation(several, "known"))


def test_a_run_against_other_attributes_is_refused(trained: Path, tmp_path: Path) -> None:
    names = ("face", "skin_color", "gender", "nudity", "relationship")  # another order is another meaning
    data = write_tiny_dataset(tmp_path / "data", 12, 8, attribute_names=names, seed=9)
    with pytest.raises(CheckpointError) as refused:
        do_run(of_run(data, "unseen", trained), tmp_path / "evaluate")
    assert str(refused.value) == (
        f"{trained / 'checkpoints/000001'}: it was trained with attributes skin_color, face, gender, nudity, "
        "relationship, but here attributes is face, skin_color, gender, nudity, relationship: give the checkpoint, or "
        "the data set, that belongs to the other"
    )


def test_a_run_that_goes_on_with_other_labels_is_refused(tmp_path: Path) -> None:
    run = replace(STEP, data=str(tmp_path / "data"))
    write_tiny_dataset(tmp_path / "data", 12, 8)
    do_run(run, tmp_path / "init")
    write_tiny_dataset(tmp_path / "data", 12, 8, actions=("left", "right"))
    with pytest.raises(
        CheckpointError, match=r"init/checkpoints/000001: it was trained with actions down, up, but here"
    ):
        do_run(run, tmp_path / "init")


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        (
            {"height_px": 64, "width_px": 16},
            "frames 4, height_px 32, width_px 32, .*, but here clip is frames 4, height_px 64, width_px 16",
        ),
        ({"tubelet_frames": 4}, "frames 4, .*tubelet_frames 2, .*, but here clip is .*tubelet_frames 4"),
    ],
)
def test_a_checkpoint_of_another_grid_is_refused(
    trained: Path, tmp_path: Path, clip: dict[str, int], said: str
) -> None:
    config = json.loads((trained / "config.json").read_text())
    config["model"]["clip"] |= clip
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in ("result.json", "checkpoints"):
        (tmp_path / name).symlink_to(trained / name)
    with pytest.raises(CheckpointError, match=rf"{tmp_path}/checkpoints/000001: it was trained with clip {said}"):
        load_anonymizer(tmp_path)


def test_a_checkpoint_of_another_size_is_refused(trained: Path, tmp_path: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    config["model"]["embed_dim"] = 48
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in ("result.json", "checkpoints"):
        (tmp_path / name).symlink_to(trained / name)
    with pytest.raises(CheckpointError, match=r"model.safetensors: anonymizer.\S+: \[24.*\], but the model has \[48"):
        load_anonymizer(tmp_path)
