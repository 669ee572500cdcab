"""One file to sampled frames: exact counts, orientation, limits, and every refusal in words."""

from pathlib import Path

import numpy as np
import pytest

from stprivacy.video.decoding import VideoError, VideoLimits
from stprivacy.video.sampled import VideoFrames, read_video
from tests.support.bad_corpus import claim_size, write_bad_corpus, write_video
from tests.support.places import CLIPS

needs_clips = pytest.mark.skipif(not CLIPS.is_dir(), reason=f"the real clips are not at {CLIPS}")


def read(path: Path, stride: int = 1, short_side_px: int = 48, tubelet_frames: int = 1, **limits: float) -> VideoFrames:
    return read_video(
        path,
        stride=stride,
        short_side_px=short_side_px,
        tubelet_frames=tubelet_frames,
        limits=VideoLimits(**limits),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(("stride", "kept"), [(1, 12), (2, 6), (4, 3), (5, 3), (100, 1)])
def test_keeps_every_kth_frame_in_order(tmp_path: Path, stride: int, kept: int) -> None:
    path = write_video(tmp_path / "a.mp4")
    every = read(path).frames
    video = read(path, stride=stride)
    assert video.source_frames == 12
    assert video.fps == 12
    assert np.array_equal(video.frames, every[::stride])
    assert len(video.frames) == kept
    assert (np.diff(every[:, 40, 60, 0].astype(int)) > 0).all()


def test_repeats_the_last_frame_to_whole_tubelets(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=5)
    video = read(path, tubelet_frames=4)
    assert video.frames.shape == (8, 48, 64, 3)
    assert video.source_frames == 5
    assert all(np.array_equal(frame, video.frames[4]) for frame in video.frames[5:])


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    assert read(write_video(tmp_path / "a.mp4", frames=1), tubelet_frames=2).frames.shape == (2, 48, 64, 3)


@pytest.mark.parametrize(
    ("size", "short_side_px", "expected"),
    [((64, 48), 24, (24, 32)), ((48, 64), 24, (32, 24)), ((64, 48), 480, (48, 64)), ((66, 48), 31, (31, 43))],
)
def test_shrinks_the_short_side_and_never_enlarges(
    tmp_path: Path, size: tuple[int, int], short_side_px: int, expected: tuple[int, int]
) -> None:
    assert read(write_video(tmp_path / "a.mp4", size=size), short_side_px=short_side_px).frames.shape[1:3] == expected


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
def test_colours_survive_shrinking(tmp_path: Path, codec: str) -> None:
    # Motion JPEG has full-range samples, H.264 here has not: both must come out as they went in.
    last = read(write_video(tmp_path / "a.avi", codec=codec), short_side_px=24).frames[-1]
    assert np.abs(last[4, 4].astype(int) - (250, 255, 0)).max() < 16
    assert np.abs(last[20, 28].astype(int) - (250, 0, 0)).max() < 16


@pytest.mark.parametrize(("rotation", "corner"), [(90, (-1, 0)), (-90, (0, -1)), (180, (-1, -1))])
def test_turns_frames_upright(tmp_path: Path, rotation: float, corner: tuple[int, int]) -> None:
    # The file says: turn me counterclockwise. The green corner then is elsewhere.
    frame = read(write_video(tmp_path / "a.mp4", rotation=rotation)).frames[0]
    assert frame.shape == ((48, 64, 3) if rotation == 180 else (64, 48, 3))
    green = {(y, x): frame[y, x, 1] > 128 for y in (0, -1) for x in (0, -1)}
    assert [place for place, is_green in green.items() if is_green] == [corner]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        *(("a.mp4", "libx264"), ("a.mov", "mpeg4"), ("a.avi", "mpeg4"), ("a.mkv", "libx264"), ("a.webm", "libvpx")),
        *(("a.ts", "libx264"), ("a.flv", "libx264"), ("a.mpg", "mpeg2video")),
    ],
)
def test_reads_the_usual_containers(tmp_path: Path, name: str, codec: str) -> None:
    fps = 25 if codec == "mpeg2video" else 12
    assert read(write_video(tmp_path / name, codec=codec, fps=fps)).source_frames == 12


def test_refuses_every_bad_file_in_words(tmp_path: Path) -> None:
    for bad in write_bad_corpus(tmp_path):
        with pytest.raises(VideoError) as caught:
            read(tmp_path / bad.name)
        assert (bad.name, caught.value.error) == (bad.name, bad.error)
        assert len(str(caught.value).split()) >= 3


def test_a_file_that_is_too_large_is_so_however_often_it_is_read(tmp_path: Path) -> None:
    path = claim_size(write_video(tmp_path / "a.avi", frames=2, codec="mjpeg"), 16384, 16384)
    for _ in range(3):
        with pytest.raises(VideoError, match="16384x16384") as caught:
            read(path)
        assert caught.value.error == "too-large"


def test_a_playlist_cannot_be_followed_even_when_its_target_is_fine(tmp_path: Path) -> None:
    write_bad_corpus(tmp_path)
    assert read(tmp_path / "target.mp4").source_frames == 24
    with pytest.raises(VideoError, match="playlist"):
        read(tmp_path / "concat.mp4")


@pytest.mark.parametrize("name", ["none.mp4", "http://127.0.0.1:9/a.mp4", "concat:target.mp4", "pipe:0"])
def test_names_are_local_files_and_never_urls(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VideoError) as caught:
        read(Path(name)) if "://" not in name else read_video(name, stride=1, short_side_px=48)
    assert caught.value.error == "missing"


@pytest.mark.parametrize(
    ("limits", "error"),
    [({"max_pixels": 3000}, "too-large"), ({"max_seconds": 0.5}, "too-long"), ({"max_streams": 0}, "too-many-streams")],
)
def test_limits_are_enforced(tmp_path: Path, limits: dict[str, float], error: str) -> None:
    path = write_video(tmp_path / "a.mp4")
    with pytest.raises(VideoError, match="limit") as caught:
        read(path, **limits)
    assert caught.value.error == error


def test_length_is_measured_where_the_header_tells_none(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", frames=36)
    assert read(path, max_seconds=3).source_frames == 36
    with pytest.raises(VideoError, match="limit"):
        read(path, max_seconds=2)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_hole_in_the_middle_counts_as_truncated_and_a_scratch_does_not(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, frames=240, options={"movflags": "faststart"} if name == "a.mp4" else None)
    content = path.read_bytes()
    noise = np.random.default_rng(0).bytes(len(content))
    for begin, end in ((0.4, 0.75), (0.5, 0.501)):
        damaged = bytearray(content)
        span = slice(int(begin * len(content)), int(end * len(content)))
        damaged[span] = noise[span]
        path.write_bytes(damaged)
        if end - begin > 0.1:
            with pytest.raises(VideoError, match=r"declare|cannot be read") as caught:
                read(path)
            assert caught.value.error == "truncated"
        else:
            assert read(path).source_frames >= 216


@needs_clips
def test_real_clips_are_read_and_the_sound_file_is_not() -> None:
    shapes = {}
    for path in sorted(CLIPS.iterdir()):
        if path.suffix == ".mp3":
            with pytest.raises(VideoError) as caught:
                read(path)
            assert caught.value.error == "no-video-stream"
        else:
            shapes[path.name] = read(path, stride=8, tubelet_frames=2).frames.shape
    assert len(shapes) == 7
    # Six streams, two of them video: the larger one is read.
    assert shapes["torchcodec_nasa_13013.mp4"] == (50, 48, 85, 3)
