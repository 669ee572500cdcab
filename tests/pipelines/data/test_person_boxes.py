"""Person boxes at ingest: the user's own, those of a detector, and what is said where there are none."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pipelines.data.datasets import load_manifest
from pipelines.data.detectors import make_detector
from pipelines.data.index import VideoIndex
from pipelines.data.ingest import ingest
from pipelines.data.manifest import Manifest, ManifestError, Sources
from pipelines.data.schema import IngestSettings
from stprivacy.video.sampled import read_video
from tests.support.bad_corpus import write_video
from tests.support.command_fixtures import run_command
from tests.support.places import CLIPS

SETTINGS = IngestSettings(stride=2, short_side_px=32, shard_videos=2)
NAMES = ["a.mp4", "b.mp4", "c.mp4"]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of 6 frames, without any person, and their list."""
    folder = tmp_path_factory.mktemp("raw")
    for at, name in enumerate(NAMES):
        write_video(folder / name, frames=6, seed=at)
    rows = [f"{name},run,{('train', 'test')[at % 2]},{at % 2}" for at, name in enumerate(NAMES)]
    (folder / "list.csv").write_text("\n".join(["path,action,split,privacy_face", *rows, "gone.mp4,,train,0"]) + "\n")
    return folder


def listed(raw: Path, *lines: str, tmp_path: Path | None = None) -> Manifest:
    """The list, with these lines as its file of boxes."""
    boxes = tmp_path / "boxes.jsonl" if tmp_path else None
    if boxes:
        boxes.write_text("\n".join(lines) + "\n")
    return load_manifest("csv", Sources(manifest=raw / "list.csv", boxes=boxes))


def line(video: str, boxes: Any) -> str:
    return json.dumps({"video": video, "boxes": boxes})


def stored(out: Path) -> dict[str, Any]:
    tables = [pq.read_table(path, columns=["video_id", "person_boxes"]) for path in sorted((out / "videos").iterdir())]
    return {row["video_id"]: row["person_boxes"] for table in tables for row in table.to_pylist()}


def description(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "dataset.json").read_text())
    return content


@pytest.mark.usefixtures("ray_cluster")
def test_the_users_boxes_are_stored_for_the_sampled_frames_and_counted(raw: Path, tmp_path: Path) -> None:
    frames = [[[0.0, 0.25, 0.5, 1.0]], [], [[0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.25, 0.25]], [], [], []]
    manifest = listed(raw, line("a.mp4", frames), "", line("b.mp4", [[]] * 6), tmp_path=tmp_path)
    ledger = ingest(manifest, tmp_path / "out", SETTINGS)
    assert stored(tmp_path / "out") == {"a.mp4": [frames[0], frames[2], [], []], "b.mp4": [[]] * 4, "c.mp4": None}
    assert "  no person found in 1 of 2 videos" in str(ledger).splitlines()
    assert "  no person boxes are known for 1 videos: --detector finds some" in str(ledger).splitlines()
    assert description(tmp_path / "out")["person_boxes"] == {"videos": 2, "without_person": 1}
    with pytest.raises(ValueError, match=r"video c.mp4: it has no person boxes for each of its 4 frames"):
        VideoIndex(tmp_path / "out", person_regions=True)


@pytest.mark.usefixtures("ray_cluster")
def test_other_boxes_are_ingested_anew_and_are_another_data_set(raw: Path, tmp_path: Path) -> None:
    fingerprints = []
    for x in (0.25, 0.5, 0.25):
        frames = [[[0.0, 0.0, x, 1.0]]] * 6
        manifest = listed(raw, *(line(name, frames) for name in NAMES), tmp_path=tmp_path)
        ingest(manifest, tmp_path / "out", SETTINGS)
        assert stored(tmp_path / "out")["c.mp4"] == [frames[0]] * 4
        fingerprints.append(description(tmp_path / "out")["fingerprint"])
    assert fingerprints[0] == fingerprints[2] != fingerprints[1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (line("d.mp4", [[]]), "the data set csv lists no video 'd.mp4'"),
        (line("a.mp4", [[]]), r"video 'a.mp4' has boxes in line 1 already"),
        ("{", r"not a line of person boxes \(JSONDecodeError.*expected \{\"video\": ..., \"boxes\""),
        ('{"video": "b.mp4"}', r"not a line of person boxes \(KeyError\('boxes'\)\)"),
        ("[]", r"not a line of person boxes \(TypeError"),
        (line("b.mp4", 3), r"boxes is 3; expected"),
        (line("b.mp4", {}), r"boxes is \{\}; expected"),
        (line("b.mp4", [[], ""]), r"frame 1 is ''; expected"),
        (line("b.mp4", [[[False, 0, 1, True]]]), r"frame 0 has the box \[False, 0, 1, True\]"),
        ('{"video": "b.mp4", "video": "c.mp4", "boxes": []}', r"not a line of person boxes .*'video' is there twice"),
        ("[" * 100_000, r"not a line of person boxes \(RecursionError"),
        ('{"video": "b.mp4", "boxes": [[[0, 0, 1e999, 1]]]}', r"frame 0 has the box \[0, 0, inf, 1\]"),
        ('{"video": "b.mp4", "boxes": [[[0, 0, ' + "9" * 5000 + ", 1]]]}", r"not a line of person boxes \(ValueError"),
        ('{"video": "b\\ud800.mp4", "boxes": []}', r"not a line of person boxes \(UnicodeEncodeError"),
        (line("b.mp4", [[], [[0, 0, 1]]]), r"frame 1 has the box \[0, 0, 1\]; expected"),
        (line("b.mp4", [[[0, 0, 64, 48]]]), r"frame 0 has the box \[0, 0, 64, 48\]; expected .* fractions"),
        (line("b.mp4", [[[0.5, 0, 0.25, 1]]]), r"frame 0 has the box \[0.5, 0, 0.25, 1\]"),
        (line("b.mp4", [[[0, 0, "1", 1]]]), r"frame 0 has the box \[0, 0, '1', 1\]"),
        (line("b.mp4", [["abcd"]]), r"frame 0 has the box 'abcd'"),
        (
            '{"video": "b.mp4", "boxes": [[[0, 0, NaN, 1]]]}',
            r"not a line of person boxes .*NaN is not a number",
        ),
        (line(7, [[]]), r"video is 7"),  # type: ignore[arg-type]
    ],
)
def test_a_line_that_cannot_be_used_is_one_error_with_its_place(
    raw: Path, tmp_path: Path, wrong: str, said: str
) -> None:
    with pytest.raises(ManifestError, match=rf"^{tmp_path}/boxes.jsonl:2: {said}"):
        listed(raw, line("a.mp4", [[]]), wrong, tmp_path=tmp_path)


def test_boxes_of_videos_that_the_list_rejects_are_no_error(raw: Path, tmp_path: Path) -> None:
    assert [entry.person_boxes for entry in listed(raw, line("gone.mp4", [[]]), tmp_path=tmp_path).entries] == [
        None
    ] * 3


def test_a_file_of_boxes_that_is_not_there_is_named(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=rf"{tmp_path}/no.jsonl cannot be read as person boxes: .*No such file"):
        load_manifest("csv", Sources(manifest=raw / "list.csv", boxes=tmp_path / "no.jsonl"))


@pytest.mark.usefixtures("ray_cluster")
def test_a_detector_fills_in_what_is_missing_and_nothing_else(raw: Path, tmp_path: Path) -> None:
    known = [[[0.0, 0.0, 0.5, 1.0]]] * 6
    manifest = listed(raw, line("b.mp4", known), tmp_path=tmp_path)
    ledger = ingest(manifest, tmp_path / "out", replace(SETTINGS, detector="hog"))
    assert stored(tmp_path / "out") == {"a.mp4": [[]] * 4, "b.mp4": known[:4], "c.mp4": [[]] * 4}
    assert "  no person found in 2 of 3 videos" in str(ledger).splitlines()
    assert description(tmp_path / "out")["settings"]["detector"] == "hog"
    assert len(VideoIndex(tmp_path / "out", person_regions=True).rows) == 3


@pytest.mark.usefixtures("ray_cluster")
def test_a_finished_ingest_with_another_detector_is_not_taken_for_this_one(raw: Path, tmp_path: Path) -> None:
    for first, then in (("none", "hog"), ("hog", "none")):
        out = tmp_path / first
        ingest(listed(raw), out, replace(SETTINGS, detector=first))
        before = description(out)
        with pytest.raises(ValueError, match=rf"\(settings.detector was {first}, now {then}\): restore what has"):
            ingest(listed(raw), out, replace(SETTINGS, detector=then))
        assert description(out) == before
    assert description(tmp_path / "none")["fingerprint"] != description(tmp_path / "hog")["fingerprint"]


def test_settings_without_a_detector_are_those_of_before_there_were_any() -> None:
    assert set(SETTINGS.identity()) == {
        *("stride", "short_side_px", "tubelet_frames", "max_pixels", "max_seconds", "max_streams", "shard_videos")
    }


def test_weights_count_by_their_content(tmp_path: Path) -> None:
    identities = []
    for name, content in (("one", b"a"), ("two", b"a"), ("one", b"b")):
        (tmp_path / name).write_bytes(content)
        identities.append(IngestSettings(detector="torchvision", detector_weights=str(tmp_path / name)).identity())
    assert identities[0] == identities[1] != identities[2]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"detector": "yolo"}, "detector must be one of none, hog, torchvision, got 'yolo'"),
        (
            {"detector": "torchvision"},
            "needs --detector-weights FILE, got '': the state dict",
        ),
        (
            {"detector": "torchvision", "detector_weights": "/gone.pth"},
            "needs --detector-weights FILE, got '/gone.pth'",
        ),
        ({"detector": "hog", "detector_weights": "x.pth"}, "belongs to --detector torchvision, got --detector hog"),
    ],
)
def test_detectors_that_cannot_be_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        IngestSettings(**settings)


def test_the_command_line_tells_of_detectors_and_their_weights(raw: Path, tmp_path: Path) -> None:
    words = ["csv", "--manifest", str(raw / "list.csv"), "--out", str(tmp_path / "o")]
    done = run_command("ingest", *words, "--detector", "torchvision", cwd=tmp_path)
    assert done.returncode == 2
    assert "--detector torchvision needs --detector-weights" in done.stderr + done.stdout
    (tmp_path / "weights.pth").write_bytes(b"not weights")
    options = ["--detector", "torchvision", "--detector-weights", str(tmp_path / "weights.pth")]
    done = run_command("ingest", *words, *options, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"error: {tmp_path}/weights.pth cannot be used as --detector-weights" in done.stderr
    assert not (tmp_path / "o").exists()
    done = run_command("ingest", "--help", cwd=tmp_path)
    assert "--detector {none,hog,torchvision}" in done.stdout
    assert "--boxes" in done.stdout
    assert "A path may name any file that you can read" in " ".join(done.stdout.replace("│", " ").split())


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights, not trained, whose every proposal is a person (label 1 of COCO), sure, and unmoved."""
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn as build

    model = build(weights=None, weights_backbone=None)
    predictor = model.roi_heads.box_predictor
    for layer in (predictor.cls_score, predictor.bbox_pred):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    predictor.cls_score.bias.data[1] = 9.0
    path = tmp_path_factory.mktemp("weights") / "detector.pth"
    torch.save(model.state_dict(), path)
    return path


def test_torchvisions_detector_gives_persons_as_fractions(weights: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
    found = make_detector("torchvision", str(weights))(frames)
    assert len(found) == 3
    boxes = np.array([box for frame in found for box in frame])
    assert len(boxes) > 0
    assert ((boxes >= 0) & (boxes <= 1)).all()
    assert (boxes[:, :2] < boxes[:, 2:]).all()
    assert found == make_detector("torchvision", str(weights))(frames)


def test_torchvisions_detector_leaves_out_other_things(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    state["roi_heads.box_predictor.cls_score.bias"] = state["roi_heads.box_predictor.cls_score.bias"].roll(1)
    torch.save(state, tmp_path / "bicycles.pth")
    assert make_detector("torchvision", str(tmp_path / "bicycles.pth"))(np.zeros((2, 48, 64, 3), np.uint8)) == [[], []]


@pytest.mark.skipif(not CLIPS.is_dir(), reason=f"the real clips are not at {CLIPS}")
def test_hog_finds_a_person_in_a_real_clip() -> None:
    """Two persons sit, then one stands, in a room: it finds one in some of the frames, at the same place each time."""
    video = read_video(CLIPS / "mmaction2_demo_spatiotemporal_det.mp4", stride=10, short_side_px=128)
    found = make_detector("hog")(video.frames)
    assert len(found) == len(video.frames)
    boxes = np.array([box for frame in found for box in frame])
    assert len(boxes) >= 1
    assert ((boxes >= 0) & (boxes <= 1)).all()
    assert found == make_detector("hog")(video.frames)


def test_hog_finds_nobody_in_noise_and_takes_frames_of_any_size() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, 40, 90, 3), dtype=np.uint8)
    assert make_detector("hog")(noise) == [[], []]
    assert make_detector("hog")(np.zeros((1, 8, 200, 3), np.uint8)) == [[]]
