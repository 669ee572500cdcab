"""Source videos that carry, beside their frames, all that a release must not hand on."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from tests.support.media_fixtures import picture

METADATA = {
    "location": "+48.1372+011.5756/",
    "make": "SECRETMAKE",
    "model": "SECRETMODEL",
    "creation_time": "2019-05-04T10:00:00Z",
    "title": "SECRETTITLE",
    "comment": "SECRETCOMMENT",
    "artist": "SECRETARTIST",
}
_IN_STREAMS = [b"SECRETCHAPTER", b"SECRETHANDLER", b"SECRETSUBTITLE", b"x264"]
_COVER_PIXELS = 16
SECRETS = {
    "phone.mov": [b"48.1372", b"2019", b"SECRETMAKE", b"SECRETMODEL", b"SECRETTITLE", b"SECRETARTIST", *_IN_STREAMS],
    "tagged.mp4": [b"SECRETTITLE", b"SECRETCOMMENT", b"SECRETARTIST", b"Lavc", *_IN_STREAMS],
    "attached.mkv": [
        *(value.encode() for key, value in METADATA.items() if key != "creation_time"),
        *(b"SECRETFILE", b"SECRETATTACHMENT", *_IN_STREAMS),
    ],
}


def write_telling_source(path: Path) -> Path:
    """A file of one of the names in SECRETS: two videos, the first one turned; sound, subtitles, chapters, a cover."""
    options = {"movflags": "use_metadata_tags"} if path.suffix == ".mov" else {}
    with av.open(str(path), "w", options=options) as container:
        container.metadata.update(METADATA)
        title = {"title": "SECRETCHAPTER"}
        container.set_chapters([{"id": 1, "start": 0, "end": 400, "time_base": Fraction(1, 1000), "metadata": title}])
        first, second = _add_video(container, "libx264", (64, 48)), _add_video(container, "mpeg4", (32, 32))
        first.set_display_rotation(90)
        sound = container.add_stream("aac", rate=8000, layout="mono")
        sound.metadata["language"] = "fra"
        subtitle = container.add_mux_stream("subrip" if path.suffix == ".mkv" else "mov_text")
        covers = _add_cover(container, path)
        for number in range(12):
            container.mux(first.encode(_frame(number, (64, 48))))
            container.mux(second.encode(_frame(number, (32, 32))))
            block = av.AudioFrame.from_ndarray(np.zeros((1, 320), np.float32), "fltp", "mono")
            block.sample_rate, block.pts, block.time_base = 8000, number * 320, Fraction(1, 8000)
            container.mux(sound.encode(block))
        container.mux(_subtitle(subtitle, path))
        container.mux(covers)
        for stream in (first, second, sound):
            container.mux(stream.encode())
    return path


def _add_video(container: OutputContainer, codec: str, size: tuple[int, int]) -> VideoStream:
    stream = container.add_stream(codec, rate=25, options={"threads": "1"})
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.metadata.update({"handler_name": "SECRETHANDLER", "title": "SECRETHANDLER", "language": "deu"})
    return stream


def _frame(number: int, size: tuple[int, int]) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(picture(number, 12, size))
    frame.pts, frame.time_base = number, Fraction(1, 25)
    return frame


def _subtitle(stream: Stream, path: Path) -> Packet:
    text = b"SECRETSUBTITLE"
    packet = Packet(text if path.suffix == ".mkv" else len(text).to_bytes(2, "big") + text)
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts, packet.dts, packet.duration = 0, 0, 400
    return packet


def _add_cover(container: OutputContainer, path: Path) -> list[Packet]:
    """A thumbnail, as the format has it, and where it can be a file that is attached."""
    picture_file = io.BytesIO()
    with av.open(picture_file, "w", format="mjpeg") as jpeg:
        encoder = jpeg.add_stream("mjpeg", rate=1)
        encoder.width, encoder.height, encoder.pix_fmt = _COVER_PIXELS, _COVER_PIXELS, "yuvj420p"
        jpeg.mux(encoder.encode(av.VideoFrame(_COVER_PIXELS, _COVER_PIXELS, "yuvj420p")))
        jpeg.mux(encoder.encode())
    if path.suffix == ".mkv":
        container.add_attachment("SECRETFILE.txt", "text/plain", b"SECRETATTACHMENT")
        container.add_attachment("cover.jpg", "image/jpeg", picture_file.getvalue())
    if path.suffix != ".mp4":
        return []
    stream = container.add_stream("mjpeg", rate=1)
    stream.width, stream.height, stream.pix_fmt = _COVER_PIXELS, _COVER_PIXELS, "yuvj420p"
    stream.disposition = Disposition.attached_pic
    packet = Packet(picture_file.getvalue())
    packet.stream, packet.time_base, packet.pts, packet.dts, packet.is_keyframe = stream, Fraction(1, 25), 0, 0, True
    return [packet]
