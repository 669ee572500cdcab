"""What a source tells beside its frames is not released: not in streams, tags, boxes or any byte of the file."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.stream import Disposition

from pipelines.release.audio import AudioSource
from pipelines.release.encoding import VideoWriter
from stprivacy.video.decoding import VideoLimits
from stprivacy.video.timed import TimedVideo
from tests.support.release_fixtures import files_below, reasons, release
from tests.support.telling_fixtures import SECRETS, write_telling_source

# Constants of the format and of libav, the same in every file.
FILE_TAGS = {"major_brand": "isom", "minor_version": "512", "compatible_brands": "isomiso2avc1mp41"}
STREAM_TAGS = {
    "video": {"language": "und", "handler_name": "VideoHandler"},
    "audio": {"language": "und", "handler_name": "SoundHandler"},
}
BOXES = {
    *(b"ftyp", b"moov", b"free", b"mdat", b"mvhd", b"trak", b"tkhd", b"edts", b"elst", b"mdia", b"mdhd", b"hdlr"),
    *(b"minf", b"vmhd", b"smhd", b"dinf", b"stbl", b"stsd", b"stts", b"stss", b"stsc", b"stsz", b"stco"),
    *(b"udta", b"sgpd", b"sbgp"),
}
EMPTY_USER_DATA = b"\0\0\0\x35meta" + bytes(7) + b"\x21hdlr" + bytes(8) + b"mdirappl" + bytes(12) + b"\x08ilst"
MAKERS = (b"x264", b"Lavf", b"Lavc", b"libav", b"ffmpeg", b"options:")
SOURCES = pytest.mark.parametrize("name", SECRETS)
SOUND = pytest.mark.parametrize("keep_audio", [False, True], ids=["mute", "with-sound"])


def write_one(folder: Path, name: str, keep_audio: bool) -> Path:
    source, released = write_telling_source(folder / name), folder / "released.mp4"
    with TimedVideo(source, stride=1, height_px=32, width_px=32, limits=VideoLimits()) as video:
        sound = AudioSource(source, start_seconds=video.start_seconds, limits=VideoLimits()) if keep_audio else None
        writer = VideoWriter(released, width=64, height=48, aspect=video.aspect, quality=23, audio=sound)
        for frame in video.frames():
            writer.write(frame.pixels, frame.seconds)
        writer.finish(video.end_seconds)
    return released


def boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of every box, those within containers too."""
    offset = 0
    while offset < len(content):
        length, kind = int.from_bytes(content[offset : offset + 4], "big"), content[offset + 4 : offset + 8]
        inner = content[offset + 8 : offset + length]
        assert length >= 8
        yield kind, inner
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"):
            yield from boxes(inner)
        offset += length
    assert offset == len(content)


@SOURCES
def test_the_sources_do_tell_what_these_tests_look_for(tmp_path: Path, name: str) -> None:
    content = write_telling_source(tmp_path / name).read_bytes()
    assert [secret for secret in SECRETS[name] if secret not in content] == []
    with av.open(str(tmp_path / name)) as container:
        kinds = [stream.type for stream in container.streams]
        assert {"video", "audio", "subtitle"} < set(kinds)
        assert kinds.count("video") == (2 if name == "phone.mov" else 3)
        covers = [bool(stream.disposition & Disposition.attached_pic) for stream in container.streams]
        assert any(covers) == (name != "phone.mov")
        assert container.chapters()
        assert next(container.decode(video=0)).rotation == 90


@SOURCES
@SOUND
def test_streams_tags_chapters_and_side_data_are_those_of_the_release_alone(
    tmp_path: Path, name: str, keep_audio: bool
) -> None:
    with av.open(str(write_one(tmp_path, name, keep_audio))) as container:
        codecs = [(stream.type, stream.codec_context.name) for stream in container.streams]
        assert codecs == [("video", "h264"), ("audio", "aac")][: 1 + keep_audio]
        assert container.metadata == FILE_TAGS
        for stream in container.streams:
            tags = {tag: value for tag, value in stream.metadata.items() if tag != "vendor_id"}
            assert tags == STREAM_TAGS[stream.type]
            assert stream.metadata.get("vendor_id", "[0][0][0][0]") == "[0][0][0][0]"
            assert stream.disposition == Disposition.default
        assert container.chapters() == []
        for frame in container.decode(video=0):
            assert frame.rotation == 0
            assert list(frame.side_data.keys()) == []
            assert not frame.metadata


@SOURCES
@SOUND
def test_no_byte_of_the_file_tells_of_the_source_or_of_what_made_it(
    tmp_path: Path, name: str, keep_audio: bool
) -> None:
    content = write_one(tmp_path, name, keep_audio).read_bytes().lower()
    told = [secret for secret in (*SECRETS[name], *MAKERS, b"SECRET", b"cover") if secret.lower() in content]
    assert told == []


@SOURCES
@SOUND
def test_the_boxes_of_the_file_hold_no_dates_no_turn_and_no_user_data(
    tmp_path: Path, name: str, keep_audio: bool
) -> None:
    content = write_one(tmp_path, name, keep_audio).read_bytes()
    found = list(boxes(content))
    assert {kind for kind, _ in found} <= BOXES
    assert [kind for kind, _ in found if kind in (b"ftyp", b"moov", b"mdat")] == [b"ftyp", b"moov", b"mdat"]
    upright = b"".join(number.to_bytes(4, "big") for number in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    for kind, inner in found:
        if kind in (b"mvhd", b"tkhd", b"mdhd"):
            assert inner[4:12] == bytes(8), "created and changed at no time"
        if kind in (b"mvhd", b"tkhd"):
            assert upright in inner
        if kind == b"udta":
            assert inner == EMPTY_USER_DATA


@SOURCES
def test_the_stream_holds_parameters_and_pictures_and_no_other_unit(tmp_path: Path, name: str) -> None:
    path = write_one(tmp_path, name, keep_audio=False)
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    kinds = set()
    for packet in packets:
        offset = 0
        while offset < len(packet):
            kinds.add(packet[offset + 4] & 31)
            offset += 4 + int.from_bytes(packet[offset : offset + 4], "big")
        assert offset == len(packet)
    assert kinds == {1, 5}, "slices; supplemental information would be 6"


def test_files_do_not_differ_by_what_their_sources_tell(tmp_path: Path) -> None:
    """Two sources with the same frames, one with metadata of every kind, one without: the same bytes are released."""
    plain, telling = tmp_path / "plain", tmp_path / "telling"
    for folder in (plain, telling):
        folder.mkdir()
    first = write_one(telling, "phone.mov", keep_audio=False).read_bytes()
    with av.open(str(telling / "phone.mov")) as source, av.open(str(plain / "a.mp4"), "w") as bare:
        stream = source.streams.video[0]
        copy = bare.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                bare.mux(packet)
    with TimedVideo(plain / "a.mp4", stride=1, height_px=32, width_px=32, limits=VideoLimits()) as video:
        writer = VideoWriter(plain / "released.mp4", width=64, height=48, aspect=Fraction(3, 4), quality=23)
        for frame in video.frames():
            writer.write(frame.pixels, frame.seconds)
        writer.finish(video.end_seconds)
    assert (plain / "released.mp4").read_bytes() == first


@SOUND
def test_no_file_of_a_release_tells_of_its_source(run: Path, tmp_path: Path, keep_audio: bool) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    for name in SECRETS:
        write_telling_source(raw / name)
    assert set(reasons(release(run, raw, out, keep_audio=keep_audio)).values()) == {""}
    assert files_below(out) == {f"{Path(name).stem}{suffix}" for name in SECRETS for suffix in (".mp4", ".json")}
    for name, secrets in SECRETS.items():
        video = (out / name).with_suffix(".mp4").read_bytes()
        told = (out / name).with_suffix(".json").read_bytes()
        assert not [secret for secret in (*secrets, *MAKERS) if secret in video]
        assert not [secret for secret in (*secrets, name.encode(), str(raw).encode()) if secret in told]
        with av.open(str((out / name).with_suffix(".mp4"))) as container:
            assert [stream.type for stream in container.streams] == ["video", "audio"][: 1 + keep_audio]
