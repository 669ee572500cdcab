"""Files that an ingest must survive, each with the reason it must give; and small good videos to go with them."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_video(
    path: Path,
    frames: int = 12,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    fps: int = 12,
    seed: int = 0,
    rotation: float = 0,
    options: Mapping[str, str] | None = None,
) -> Path:
    """A video whose red channel brightens with time, its upper left quarter green; size is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    with av.open(str(path), "w", options=dict(options or {})) as container:
        stream = container.add_stream(codec, rate=fps, options={"threads": "1", "g": "6"})
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            image = np.full((height, width, 3), seed * 40 % 200, np.uint8)
            image[:, :, 0] = 250 * number // max(frames - 1, 1)
            image[: height // 2, : width // 2, 1] = 255
            frame = av.VideoFrame.from_ndarray(image)
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path, seconds: int = 1) -> Path:
    """A file with a sound stream alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        for block in range(seconds * 8):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 8000, block * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def claim_size(path: Path, width: int, height: int) -> Path:
    """Rewrite the headers of a Motion JPEG AVI, its own and each picture's, to claim other dimensions."""
    content = bytearray(path.read_bytes())
    header = content.find(b"strf") + 8
    content[header + 4 : header + 12] = struct.pack("<II", width, height)
    start_of_frame = b"\xff\xc0\x00\x11\x08"
    at = content.find(start_of_frame)
    while at >= 0:
        content[at + 5 : at + 9] = struct.pack(">HH", height, width)
        at = content.find(start_of_frame, at + 9)
    path.write_bytes(content)
    return path


def write_untimed(path: Path, keeps_stamps: bool = False) -> Path:
    """A Flash video of 0 frames a second and no duration, all its frames at time 0 unless it keeps their stamps."""
    content = bytearray(write_video(path, codec="flv").read_bytes())
    for key in (b"framerate", b"duration"):
        value = content.find(key) + len(key) + 1
        content[value : value + 8] = bytes(8)
    tag = 13
    while not keeps_stamps and tag < len(content):
        content[tag + 4 : tag + 8] = bytes(4)
        tag += 11 + int.from_bytes(content[tag + 1 : tag + 4], "big") + 4
    path.write_bytes(content)
    return path


def write_many_streams(path: Path, streams: int = 100) -> Path:
    """A Matroska file of one video stream and subtitles in ever so many languages."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=12)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        subtitles = [container.add_stream("ass") for _ in range(streams - 1)]
        for subtitle in subtitles:
            subtitle.codec_context.subtitle_header = b"[Script Info]\n"
        container.mux(video.encode(av.VideoFrame(64, 48)))
        container.mux(video.encode())
    return path


@dataclass(frozen=True)
class BadFile:
    """A file of the corpus, and the error code with which it must be refused."""

    name: str
    error: str


def write_bad_corpus(folder: Path) -> list[BadFile]:
    """One file for each way to be unusable, beside the good `target.mp4` that the playlists point at."""
    target = write_video(folder / "target.mp4", frames=24)
    whole = write_video(folder / "whole.mp4", frames=24, options={"movflags": "faststart"}).read_bytes()
    matroska = write_video(folder / "whole.mkv", frames=24).read_bytes()
    noise = np.random.default_rng(0).bytes(20_000)
    m3u8 = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\ntarget.mp4\n#EXT-X-ENDLIST\n"
    playlist_of_urls = m3u8.replace(b"target.mp4", b"http://127.0.0.1:9/target.mp4")
    contents = {
        BadFile("empty.mp4", "empty"): b"",
        BadFile("noise.mp4", "unreadable"): noise,
        BadFile("text.mp4", "unreadable"): b"this is a letter and not a film\n" * 40,
        BadFile("cut.mp4", "truncated"): whole[: len(whole) // 2],
        BadFile("cut.mkv", "truncated"): matroska[: len(matroska) // 2],
        BadFile("no_index.mp4", "truncated"): target.read_bytes()[:600],
        BadFile("list.m3u8", "not-allowed-format"): m3u8,
        BadFile("list.mp4", "unreadable"): m3u8,
        BadFile("urls.m3u8", "not-allowed-format"): playlist_of_urls,
        BadFile("urls.mp4", "unreadable"): playlist_of_urls,
        BadFile("list.ffconcat", "not-allowed-format"): b"ffconcat version 1.0\nfile target.mp4\n",
        BadFile("concat.mp4", "not-allowed-format"): b"ffconcat version 1.0\nfile target.mp4\n",
    }
    for bad, content in contents.items():
        (folder / bad.name).write_bytes(content)
    write_sound(folder / "sound.mp4")
    write_many_streams(folder / "streams.mkv")
    claim_size(write_video(folder / "huge.avi", frames=2, codec="mjpeg"), 16384, 16384)
    for extra in ("whole.mp4", "whole.mkv"):
        (folder / extra).unlink()
    return [
        *contents,
        BadFile("sound.mp4", "no-video-stream"),
        BadFile("streams.mkv", "too-many-streams"),
        BadFile("huge.avi", "too-large"),
    ]
