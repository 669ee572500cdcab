"""The files that failed in the field, each with its right outcome in ingest and in release."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from stprivacy.video.decoding import VideoLimits
from stprivacy.video.sampled import VideoFrames, read_video
from stprivacy.video.timed import TimedVideo
from tests.support.copy_fixtures import copy, heard
from tests.support.media_fixtures import told
from tests.support.places import FAULTS

pytestmark = pytest.mark.skipif(not FAULTS.is_dir(), reason=f"the files that failed are not at {FAULTS}")

# Of the chart: columns of the upper row, then of the lower one.
CHART = [(200, 40, 40), (40, 180, 60), (50, 60, 200), (200, 200, 60)]
CHART += [(60, 190, 190), (180, 60, 180), (230, 230, 230), (25, 25, 25)]
RED, GREEN, BLUE, YELLOW, CYAN, MAGENTA, WHITE, BLACK = range(8)
# The corners of the chart, row by row, once it is upright as ffmpeg's autorotate turns it.
CORNERS = {
    "id": (RED, YELLOW, CYAN, BLACK),
    "hflip": (YELLOW, RED, BLACK, CYAN),
    "vflip": (CYAN, BLACK, RED, YELLOW),
    "rot180": (BLACK, CYAN, YELLOW, RED),
    "rot90": (CYAN, RED, BLACK, YELLOW),
    "rot270": (YELLOW, BLACK, RED, CYAN),
    "transverse": (BLACK, YELLOW, CYAN, RED),
}
UNDECODABLE = "begins inside a group of pictures: its first 42 pictures cannot be decoded"
TIMING = {
    "a.ts": (50, 2),
    "b.ts": (50, 2),
    "join_forward.ts": (100, 4),
    "join_back.ts": (100, 4),
    "dvr_future.ts": (101, Fraction(101, 25)),
    "cut_gop.ts": (100, 4),
    "screen_gaps.mp4": (47, 20),
    "screen_gaps.webm": (47, 20),
    "phone_vfr.mp4": (77, Fraction(88, 15)),
    "packed_divx.avi": (50, 2),
    "one_per_10s.webm": (6, 60),
    "audio_late.mp4": (75, 3),
}
CONTAINERS = {"raspi.h264": 120, "cam.hevc": 120, "stream.ivf": 120, "clip.gif": 40, "x.nut": 120}


def both(path: Path, short_side_px: int = 96) -> tuple[VideoFrames, TimedVideo, list[Fraction]]:
    """What an ingest stores, and what a release tells of the same frames and when it shows them."""
    stored = read_video(path, stride=1, short_side_px=short_side_px)
    height, width = stored.frames.shape[1:3]
    with TimedVideo(path, stride=1, height_px=height, width_px=width, limits=VideoLimits()) as video:
        frames = list(video.frames())
    assert stored.frames.flags.c_contiguous
    assert np.array_equal(stored.frames, [frame.pixels for frame in frames])
    assert stored.notes == video.notes
    return stored, video, [frame.seconds for frame in frames]


def patches(frame: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The colours in the middle of the eight patches of an upright chart."""
    height, width = frame.shape[:2]
    places = [(row * height // 4, column * width // 8) for row in (1, 3) for column in (1, 3, 5, 7)]
    return np.array([frame[place] for place in places], np.int64)


@pytest.mark.parametrize("name", CORNERS)
def test_an_orientation(tmp_path: Path, name: str) -> None:
    path = FAULTS / "orientation" / f"{name}.mp4"
    stored, video, _ = both(path)
    is_upright = name.startswith(("rot90", "rot270", "trans"))
    assert (video.width, video.height) == ((192, 320) if is_upright else (320, 192))
    released = copy(path, tmp_path / "out.mp4")
    assert (released.width, released.height) == (video.width, video.height)
    shown = read_video(tmp_path / "out.mp4", stride=1, short_side_px=96).frames
    for frame in (stored.frames[0], shown[0]):
        corners = [frame[y, x].astype(int) for y in (6, -6) for x in (6, -6)]
        assert np.abs(np.subtract(corners, [CHART[patch] for patch in CORNERS[name]])).max() <= 10


@pytest.mark.parametrize("name", [*(f"m{tag}" for tag in (0, 1, 8, 9, 10, 14, 16)), "bt709_tv", "untagged_hd_709"])
def test_a_colour_matrix(tmp_path: Path, name: str) -> None:
    """All hold the samples of a chart in BT.709; those whose tag names no matrix are of standard definition."""
    path = FAULTS / "matrix_tags" / f"{name}.mp4"
    stored, _, _ = both(path)
    if name in ("m1", "bt709_tv", "untagged_hd_709"):
        expected = np.array(CHART)
    else:
        with av.open(str(FAULTS / "matrix_tags" / "m1.mp4")) as container:
            frame = next(container.decode(video=0))
        samples = Colorspace.BT2020 if name in ("m9", "m10") else Colorspace.ITU601
        expected = patches(frame.to_ndarray(format="rgb24", src_colorspace=samples))
    assert np.abs(patches(stored.frames[0]) - expected).max() <= 3
    copy(path, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.colorspace == Colorspace.ITU709
    shown = read_video(tmp_path / "out.mp4", stride=1, short_side_px=96).frames
    assert np.abs(patches(shown[0]) - expected).max() <= 6


@pytest.mark.parametrize("name", TIMING)
def test_a_clock(tmp_path: Path, name: str) -> None:
    frames, seconds = TIMING[name]
    stored, video, times = both(FAULTS / "timing" / name)
    assert (stored.source_frames, len(times), video.end_seconds) == (frames, frames, seconds)
    assert all(before < after for before, after in pairwise(times))
    assert (UNDECODABLE in stored.notes) == (name == "cut_gop.ts")
    copy(FAULTS / "timing" / name, tmp_path / "out.mp4", keep_audio=True)
    released = told(tmp_path / "out.mp4")
    assert released.times == pytest.approx(times, abs=1e-4)
    assert released.stream_seconds == pytest.approx(seconds, abs=1e-3)


def test_pauses_give_the_same_row_in_either_container() -> None:
    rows = [both(FAULTS / "timing" / f"screen_gaps.{suffix}")[0] for suffix in ("mp4", "webm")]
    one, two = ((row.frames.shape, row.fps, row.source_frames, row.notes) for row in rows)
    assert one == two
    assert np.abs(rows[0].frames.astype(int) - rows[1].frames).mean() < 5


def test_late_sound_is_heard_in_its_place(tmp_path: Path) -> None:
    path = FAULTS / "timing" / "audio_late.mp4"
    copy(path, tmp_path / "out.mp4", keep_audio=True)
    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams.audio[0]))
        rate = container.streams.audio[0].rate
    assert frames[0].pts is not None
    assert frames[0].time_base is not None
    source = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    begins = float(frames[0].pts * frames[0].time_base) + int(np.argmax(np.abs(source) > 0.02)) / rate
    released, released_rate = heard(tmp_path / "out.mp4")
    assert int(np.argmax(np.abs(released) > 0.02)) / released_rate == pytest.approx(begins, abs=0.005)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container(name: str) -> None:
    stored, video, _ = both(FAULTS / "containers" / name)
    assert stored.source_frames == CONTAINERS[name]
    assert video.end_seconds == 4
    assert bool(stored.notes) == (name in ("raspi.h264", "cam.hevc"))
