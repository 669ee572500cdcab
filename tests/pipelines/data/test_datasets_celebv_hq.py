"""CelebV-HQ: expressions and appearance out of the published JSON file."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipelines.data.datasets import load_manifest
from pipelines.data.manifest import Manifest, ManifestError, Sources

MAPPING = ["Blurry", "Male", "Young", "Pointy_Nose", "rosy cheeks", "BROWN_hair"]


def clip(appearance: list[int], labels: Any = "neutral") -> dict[str, Any]:
    emotion = {"sep_flag": isinstance(labels, list), "labels": labels}
    return {
        "ytb_id": "x",
        "duration": {"start_sec": 81.62, "end_sec": 86.17},
        "bbox": {"top": 0.0, "bottom": 0.8, "left": 0.1, "right": 0.6},
        "attributes": {"appearance": appearance, "action": [0], "emotion": emotion},
    }


def span(emotion: str, start: float, end: float) -> dict[str, Any]:
    return {"emotion": emotion, "start_sec": start, "end_sec": end}


def load(folder: Path, clips: dict[str, Any], mapping: list[str] = MAPPING, seed: int = 0) -> Manifest:
    info = {"meta_info": {"appearance_mapping": mapping, "action_mapping": ["blow"]}, "clips": clips}
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "celebvhq_info.json").write_text(json.dumps(info))
    return load_manifest("celebv-hq", Sources(folder / "videos", folder, split_seed=seed))


def test_attributes_are_found_through_the_mapping_and_clips_by_id(tmp_path: Path) -> None:
    path = tmp_path / "videos" / "35666" / "M2Ohb0FAaJU_1.mp4"
    path.parent.mkdir(parents=True)
    path.touch()
    manifest = load(tmp_path, {"M2Ohb0FAaJU_1": clip([1, 0, 1, 0, 1, 0]), "_0tf2n3rlJU_0": clip([0, 1, 0, 1, 0, 0])})
    assert manifest.attribute_names == ("young", "pointy_nose", "male", "rosy_cheeks", "brown_hair")
    assert [entry.privacy for entry in manifest.entries] == [b"\1\0\0\1\0", b"\0\1\1\0\0"]
    assert [entry.path for entry in manifest.entries] == [str(path), str(tmp_path / "videos" / "_0tf2n3rlJU_0.mp4")]


@pytest.mark.parametrize(
    ("labels", "expression"),
    [
        ("happy", "happy"),
        ([span("neutral", 0, 0.28), span("happy", 1.28, 3.28)], "happy"),
        ([span("sad", 0, 1), span("happy", 1, 2.5), span("sad", 2.5, 4)], "sad"),  # 2.5 s in all against 1.5
        ([span("fear", 0, 1), span("anger", 1, 2)], "fear"),  # of equals the first
    ],
)
def test_the_expression_shown_longest_is_the_action(tmp_path: Path, labels: Any, expression: str) -> None:
    assert load(tmp_path, {"a_0": clip([0] * 6, labels)}).entries[0].actions == (expression,)


def test_the_seed_decides_the_split(tmp_path: Path) -> None:
    clips = {f"v_{at}": clip([0] * 6) for at in range(10)}
    splits = [tuple(entry.splits for entry in load(tmp_path, clips, seed=seed).entries) for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]
    assert Counter(splits[0]) == {("train",): 6, ("test",): 4}


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (clip([0] * 5), r"celebvhq_info\.json, a_0: appearance must be 0 or 1 for each of 6"),
        (clip([0, 0, 2, 0, 0, 0]), "a_0: appearance must be 0 or 1"),
        (clip([0, 0, [1], 0, 0, 0]), "a_0: appearance must be 0 or 1"),  # type: ignore[list-item]
        (clip(None), "a_0: appearance must be 0 or 1"),  # type: ignore[arg-type]
        (clip([0] * 6, ""), "a_0: expected the name of an expression, got ''"),
        (clip([0] * 6, {"x": 1}), "a_0: expected the name of an expression"),
        (clip([0] * 6, []), r"a_0: no attributes\.appearance or attributes\.emotion"),
        (clip([0] * 6, [{"emotion": "sad"}]), r"a_0: no attributes\.appearance"),
        ({"attributes": {"appearance": [0] * 6}}, r"a_0: no attributes\.appearance or attributes\.emotion"),
        ([], "a_0: no attributes"),
    ],
)
def test_a_faulty_clip_is_one_error_with_its_id(tmp_path: Path, record: Any, words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        load(tmp_path, {"a_0": record})


@pytest.mark.parametrize("mapping", [MAPPING[:-1], [*MAPPING, "brown hair"]])
def test_an_attribute_that_the_mapping_lacks_or_repeats_is_named(tmp_path: Path, mapping: list[str]) -> None:
    with pytest.raises(ManifestError, match=r"celebvhq_info\.json: appearance_mapping must hold brown_hair once"):
        load(tmp_path, {}, mapping)


def test_a_file_without_its_parts_is_named(tmp_path: Path) -> None:
    for content in ({}, {"clips": {}}, {"meta_info": {"appearance_mapping": MAPPING}, "clips": ["a_0"]}):
        (tmp_path / "celebvhq_info.json").write_text(json.dumps(content))
        with pytest.raises(ManifestError, match=r"info\.json: expected meta_info\.appearance_mapping and clips"):
            load_manifest("celebv-hq", Sources(tmp_path, tmp_path))
    (tmp_path / "celebvhq_info.json").unlink()
    with pytest.raises(ManifestError, match="lists no videos"):
        load(tmp_path, {})
