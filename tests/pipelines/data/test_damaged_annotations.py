"""Annotation files damaged at random: each is read or refused by one printable line."""

import json
import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.data.datasets import load_manifest
from pipelines.data.manifest import ManifestError, Sources
from tests.support.published_files import write_hmdb51, write_pa_hmdb51, write_ucf101


def write_celebv_hq(folder: Path) -> Path:
    names = ["Young", "Pointy_Nose", "Male", "Rosy_Cheeks", "Brown_Hair"]
    shown = [{"emotion": "happy", "start_sec": 0, "end_sec": 2.5}]
    emotions = [{"sep_flag": True, "labels": shown}, {"sep_flag": False, "labels": "sad"}]
    clips = {f"c{at}": {"attributes": {"appearance": [0, 1, 1, 0, 1], "emotion": emotions[at]}} for at in range(2)}
    folder.mkdir()
    info = {"meta_info": {"appearance_mapping": names}, "clips": clips}
    (folder / "celebvhq_info.json").write_text(json.dumps(info, indent=1))
    return folder


def write_p_hvu(folder: Path) -> Path:
    folder.mkdir()
    (folder / "HVU_Tags_Categories_V1.0.csv").write_text("Tag,Category\nrun,action\ntree,object\npark,scene\n")
    rows = "".join(f"run|tree|park,v{at},{at},{at + 10}\n" for at in range(9))
    with zipfile.ZipFile(folder / "HVU_Val_V1.0.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("HVU_Val_V1.0.csv", "Tags,youtube_id,time_start,time_end\n" + rows)
    return folder


def write_csv(folder: Path) -> Path:
    folder.mkdir()
    rows = "".join(f"v/{at}.mp4,walk,train,{at % 2},0\n" for at in range(9))
    (folder / "list.csv").write_text("path,action,split,privacy_face,privacy_skin\n" + rows)
    boxes = [{"video": f"v/{at}.mp4", "boxes": [[[0, 0.25, 0.5, 1]], []]} for at in range(9)]
    (folder / "boxes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in boxes))
    return folder


VIDEOS = {"wave/a(1).avi": (1, 1, 2), "wave/b.avi": (2, 0, 1), "clap/c.avi": (0, 2, 1)}
DATA_SETS: dict[str, Callable[[Path], Path]] = {
    "hmdb51": lambda folder: write_hmdb51(folder, VIDEOS),
    "ucf101": lambda folder: write_ucf101(folder, ["Wave/a.avi", "Wave/b.avi"], ["Clap/c.avi"]),
    "pa-hmdb51": lambda folder: write_pa_hmdb51(folder, {video: {} for video in VIDEOS}),
    "celebv-hq": write_celebv_hq,
    "p-hvu": write_p_hvu,
    "csv": write_csv,
}
TOKENS = [bytes([value]) for value in b'\0"[]{},;\n\rRb(\x93']
TOKENS += [b"\xff\xfe", b"1e999", b"NaN", b"9" * 5000, b"null", b"true", b"\\ud800", b"-1", b"[" * 2000, b"\x85" * 50]
TOKENS += [b"\xed\xa0\x80", b"../", b"\x1b[2J"]


def damaged(content: bytes, random_state: random.Random) -> bytes:
    """A few of: a bit flipped, a byte replaced, cut, bytes lost, bytes doubled, something foreign put in."""
    changed = bytearray(content)
    for _ in range(random_state.choice((1, 1, 2, 5))):
        at, size = random_state.randrange(len(changed) + 1), random_state.choice((1, 2, 8, 64))
        kind = random_state.randrange(6)
        if kind < 2 and at < len(changed):
            changed[at] = changed[at] ^ 1 << random_state.randrange(8) if kind else random_state.randrange(256)
        elif kind == 2:
            del changed[at:]
        elif kind == 3:
            del changed[at : at + size]
        else:
            changed[at:at] = changed[at // 2 :][:size] if kind == 4 else random_state.choice(TOKENS)
    return bytes(changed)


@pytest.mark.parametrize("dataset", DATA_SETS)
def test_damaged_annotations_are_read_or_refused_and_nothing_else(tmp_path: Path, dataset: str) -> None:
    folder = DATA_SETS[dataset](tmp_path / "data")
    boxes = folder / "boxes.jsonl"
    sources = Sources(tmp_path / "videos", folder, folder / "list.csv", boxes=boxes if boxes.is_file() else None)
    load_manifest(dataset, sources)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    whole = {path: path.read_bytes() for path in files}
    state, refusals = random.Random(0), list[str]()
    for _ in range(150):
        path = state.choice(files)
        path.write_bytes(damaged(whole[path], state))
        try:
            load_manifest(dataset, sources)
        except ManifestError as error:
            refusals.append(str(error))
        path.write_bytes(whole[path])
    assert len(refusals) > 30
    assert [text for text in refusals if not re.fullmatch(r"[^\n\x1b]{1,1003}", text)] == []
