"""The sound of a released video: in step with its pictures, as long as they are, silent where the source is."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipelines.release.audio import AudioSource
from stprivacy.video.decoding import VideoError, VideoLimits
from tests.support.bad_corpus import write_sound
from tests.support.copy_fixtures import copy, heard, loud_at
from tests.support.media_fixtures import Source, told, write_source, write_source_with_sound


@pytest.mark.parametrize(
    ("name", "codec", "rate", "channels", "delay_seconds", "start_frame"),
    [
        ("a.mp4", "aac", 48_000, 2, 0.0, 0),
        ("a.mp4", "aac", 8_000, 1, 0.0, 10),
        ("a.mkv", "libopus", 48_000, 2, 0.5, 25),
        ("a.mkv", "libopus", 48_000, 2, 0.5, 0),
        ("a.ts", "mp2", 44_100, 2, 0.0, 0),
        ("a.avi", "pcm_s16le", 11_025, 1, 0.0, 0),
        ("a.mkv", "flac", 48_000, 6, 0.0, 0),
    ],
)
def test_sound_stays_in_step_with_its_video(
    tmp_path: Path, name: str, codec: str, rate: int, channels: int, delay_seconds: float, start_frame: int
) -> None:
    """The source's sound is on and off for 1/4 s each, from delay_seconds of its clock on."""
    path = write_source_with_sound(tmp_path / name, codec, rate, channels, delay_seconds, start_frame)
    video = copy(path, tmp_path / "out.mp4", stride=2, keep_audio=True)
    samples, released_rate = heard(tmp_path / "out.mp4")
    assert released_rate == rate
    for moment in np.arange(1, 14) / 8:
        in_source = moment + start_frame / 25 - delay_seconds
        if 0.05 < in_source % 0.25 < 0.2 and in_source < 2:
            assert loud_at(samples, rate, moment) == (in_source > 0 and in_source % 0.5 < 0.25), moment
    released = told(tmp_path / "out.mp4")
    assert released.start_seconds == 0
    assert abs(released.container_seconds - video.end_seconds) <= Fraction(1, 25)
    assert len(samples) / rate < video.end_seconds + 2048 / rate


@pytest.mark.parametrize(("rate", "released_rate"), [(9_000, 11_025), (192_000, 96_000)])
def test_sound_at_a_rate_that_aac_lacks_is_resampled(tmp_path: Path, rate: int, released_rate: int) -> None:
    path = write_source_with_sound(tmp_path / "a.mkv", "pcm_s16le", rate)
    copy(path, tmp_path / "out.mp4", keep_audio=True)
    samples, told_rate = heard(tmp_path / "out.mp4")
    assert told_rate == released_rate
    assert [loud_at(samples, told_rate, moment / 8) for moment in (1, 3, 5, 7, 9, 11)] == [True, False] * 3


def test_a_gap_in_the_sound_is_silent_and_what_follows_stays_in_its_place(tmp_path: Path) -> None:
    path = write_source_with_sound(tmp_path / "a.mkv", "pcm_s16le", 8000, 1, lost_seconds=(0.6, 1.1))
    copy(path, tmp_path / "out.mp4", keep_audio=True)
    samples, rate = heard(tmp_path / "out.mp4")
    moments = {0.1: True, 0.4: False, 0.56: True, 0.7: False, 1.05: False, 1.15: True, 1.4: False, 1.6: True}
    assert {moment: loud_at(samples, rate, moment) for moment in moments} == moments


def test_a_source_without_sound_gives_a_video_without_sound(tmp_path: Path) -> None:
    copy(write_source(tmp_path / "a.mp4", Source()), tmp_path / "out.mp4", keep_audio=True)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_sound_that_cannot_be_decoded_is_told(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.mp4")
    content = bytearray(path.read_bytes())
    begin = content.index(b"mdat") + 4
    end = content.index(b"moov") - 4
    content[begin:end] = b"\xff" * (end - begin)
    path.write_bytes(content)
    with pytest.raises(VideoError, match="sound") as caught:
        AudioSource(path, start_seconds=Fraction(0), limits=VideoLimits())
    assert caught.value.error == "unreadable-audio"


@pytest.mark.parametrize("delay_seconds", [0.0, 0.013, 0.03, 0.037, 0.25, 0.519, 1.463])
@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "aac"), ("a.mkv", "pcm_s16le"), ("a.ts", "mp2")])
def test_sound_that_starts_late_starts_as_late_in_the_release(
    tmp_path: Path, name: str, codec: str, delay_seconds: float
) -> None:
    path = write_source_with_sound(tmp_path / name, codec, delay_seconds=delay_seconds)
    copy(path, tmp_path / "out.mp4", keep_audio=True)
    samples, rate = heard(tmp_path / "out.mp4")
    begins = int(np.argmax(np.abs(samples) > 0.05)) / rate
    assert begins == pytest.approx(delay_seconds, abs=0.005)


@pytest.mark.parametrize("lost_seconds", [(0.6, 0.64), (0.6, 0.68), (0.6, 0.72), (0.6, 1.0)])
def test_what_follows_lost_sound_stays_in_its_place_however_little_is_lost(
    tmp_path: Path, lost_seconds: tuple[float, float]
) -> None:
    path = write_source_with_sound(tmp_path / "a.mkv", "pcm_s16le", 8000, 1, lost_seconds=lost_seconds)
    copy(path, tmp_path / "out.mp4", keep_audio=True)
    samples, rate = heard(tmp_path / "out.mp4")
    quiet = np.abs(samples[round(1.1 * rate) :]) > 0.2  # the tone that is on from 1 s is off from 1.25 to 1.5 s
    ends = 1.1 + int(np.argmin([quiet[at : at + rate // 100].any() for at in range(len(quiet) - rate // 100)])) / rate
    assert ends == pytest.approx(1.25, abs=0.005)


@pytest.mark.parametrize("jitter_seconds", [-0.004, 0.004])
def test_stamps_that_recorders_round_leave_no_gaps(tmp_path: Path, jitter_seconds: float) -> None:
    path = write_source_with_sound(tmp_path / "a.mkv", "pcm_s16le", 8000, 1, jitter_seconds=jitter_seconds)
    copy(path, tmp_path / "out.mp4", keep_audio=True)
    samples, rate = heard(tmp_path / "out.mp4")
    on = np.abs(samples[round(1.02 * rate) : round(1.23 * rate)])
    assert min(on[at : at + rate // 440].max() for at in range(0, len(on) - rate // 440, 8)) > 0.2


@pytest.mark.parametrize("starts", [(0, 5000), (5000, 0), (0, 0), (0, 3), (0, 5000, 3)], ids=str)
def test_the_sound_of_each_part_of_a_joined_broadcast_stays_with_its_pictures(
    tmp_path: Path, starts: tuple[int, ...]
) -> None:
    """The sound of the first part ends early: appended to it, what follows would be heard too early."""
    parts = []
    for number, start in enumerate(starts):
        lost = (0.0, 0.0) if number else (1.4, 2.0)
        path = tmp_path / f"{number}.ts"
        write_source_with_sound(path, "mp2", delay_seconds=start, start_frame=25 * start, lost_seconds=lost)
        parts.append(path.read_bytes())
    (tmp_path / "a.ts").write_bytes(b"".join(parts))
    video = copy(tmp_path / "a.ts", tmp_path / "out.mp4", keep_audio=True)
    assert video.end_seconds == 2 * len(starts)
    samples, rate = heard(tmp_path / "out.mp4")
    for moment in np.arange(1, 16 * len(starts), 2) / 8:
        is_on = moment % 0.5 < 0.25 and not 1.4 < moment < 2
        assert loud_at(samples, rate, moment) == is_on, moment


@pytest.mark.parametrize("keep_audio", [False, True])
def test_a_release_ends_with_its_pictures_and_sound_that_lasts_longer_is_cut(tmp_path: Path, keep_audio: bool) -> None:
    path = write_source_with_sound(tmp_path / "a.mp4", delay_seconds=1.0)
    assert told(path).container_seconds > Fraction(29, 10)
    video = copy(path, tmp_path / "out.mp4", keep_audio=keep_audio)
    assert video.end_seconds == 2
    assert told(tmp_path / "out.mp4").container_seconds == pytest.approx(2, abs=0.03)
