"""Previews: raw, sparsified and anonymized side by side, marked, in time."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.support.bad_corpus import write_video
from tests.support.release_fixtures import files_below, frame_count, release


@pytest.fixture(scope="module")
def previews(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("previews")
    for name, frames in (("long", 75), ("one", 1)):
        write_video(folder / "raw" / "sub" / f"{name}.mp4", frames=frames, size=(96, 48))
    (folder / "raw" / "bad.mp4").write_bytes(b"no video")
    release(run, folder / "raw", folder / "out", previews=folder / "previews")
    return folder


def shown(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_each_released_video_has_a_marked_video_and_a_sheet(previews: Path) -> None:
    names = {f"sub/{name}.contains-raw-frames{kind}" for name in ("long", "one") for kind in (".mp4", ".png")}
    assert files_below(previews / "previews") == names
    assert not [name for name in files_below(previews / "out") if "raw" in name]


def test_the_panels_are_the_raw_the_sparsified_and_the_released_frames(previews: Path) -> None:
    frames = shown(previews / "previews" / "sub" / "long.contains-raw-frames.mp4").astype(int)
    released = shown(previews / "out" / "sub" / "long.mp4").astype(int)
    assert len(frames) == len(released) == 38
    # 240 pixels high at the source's aspect of 2, 4 between; 22 above for the names and 22 below for the mark.
    assert frames.shape[1:3] == (284, 3 * 480 + 2 * 4)
    raw, sparsified, anonymized = (frames[:, 22:262, left : left + 480] for left in (0, 484, 968))
    assert (raw[:, 20:100, 20:220, 1].mean(axis=(1, 2)) > 230).all()  # the source's green quarter
    assert raw[-1, 150:, 300:, 0].mean() > raw[0, 150:, 300:, 0].mean() + 200  # which brightens
    black = (np.stack([cv2.resize(x.astype(np.uint8), (480, 240)) for x in released]) < 8).all(-1)
    inside = np.stack([cv2.erode(x.astype(np.uint8), np.ones((33, 33), np.uint8)) for x in black]) > 0
    assert inside.any()
    assert sparsified[inside].mean() < 12  # abandoned in both
    small = np.stack([cv2.resize(x.astype(np.uint8), (32, 32), interpolation=cv2.INTER_AREA) for x in anonymized])
    assert np.abs(small.astype(int) - released).mean() < 12


def test_the_mark_stands_on_every_frame(previews: Path) -> None:
    for name in ("long", "one"):
        frames = shown(previews / "previews" / "sub" / f"{name}.contains-raw-frames.mp4")
        foot = frames[:, -22:].astype(int)
        assert ((foot[..., 0] > 180) & (foot[..., 1] < 140)).any(axis=2).sum(axis=1).min() > 5  # red letters


def test_the_sheet_shows_frames_of_the_whole_length(previews: Path) -> None:
    sheet = cv2.imread(str(previews / "previews" / "sub" / "long.contains-raw-frames.png"))
    single = cv2.imread(str(previews / "previews" / "sub" / "one.contains-raw-frames.png"))
    height = 284 + 22
    assert single.shape[0] == height
    assert sheet.shape[0] % height == 0
    assert 8 <= sheet.shape[0] // height <= 16
    first, last = sheet[22 + 200, 400, 2], sheet[-22 - 62, 400, 2]  # red of the raw panel, lower right
    assert int(last) > int(first) + 150


def test_previews_last_as_long_as_the_source(previews: Path) -> None:
    path = previews / "previews" / "sub" / "long.contains-raw-frames.mp4"
    with av.open(str(path)) as container:
        assert abs(Fraction(container.duration or 0, av.time_base) - Fraction(75, 12)) < Fraction(1, 12)
    assert frame_count(path) == 38
