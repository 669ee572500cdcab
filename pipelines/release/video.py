"""One video on its way from its source to its released file."""

from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipelines.release.audio import AudioSource
from pipelines.release.encoding import VideoWriter
from pipelines.release.names import SIDECAR, VIDEO, ReleaseItem
from pipelines.release.settings import Provenance, ReleaseSettings
from pipelines.release.sidecar import (
    file_digest,
    make_sidecar,
    pack_keep,
    remove_pair,
    source_facts,
    version_of,
    write_sidecar,
)
from stprivacy.deploy.deployed import Deployed, cut_clips
from stprivacy.deploy.steady_masks import AnonymizedClip, Clip
from stprivacy.storage import atomic_file, local_copy, location
from stprivacy.video.decoding import VideoError, local_file
from stprivacy.video.timed import TimedFrame, TimedVideo

if TYPE_CHECKING:
    from pipelines.release.preview import PreviewWriter


@dataclass(frozen=True)
class Destination:
    """Where released videos go, what is told of them, and where previews go, if any are wanted."""

    out: Path
    provenance: Provenance
    settings: ReleaseSettings
    previews: Path | None


class OpenVideo:
    """Reads a source clip by clip, takes what became of the clips, and puts the released pair into place at the end.

    Use as a context manager: left by an error, nothing remains under the final names.
    """

    def __init__(self, item: ReleaseItem, deployed: Deployed, destination: Destination) -> None:
        self.item = item
        self.frames_read = 0
        self.source: dict[str, Any] = {}  # digest and size, once it is open
        self._deployed, self._to = deployed, destination
        self._stack = ExitStack()
        self._waiting: deque[list[TimedFrame]] = deque()
        self._keep: list[str] = []
        self._frames_written = 0
        self.all_read = False
        self._writer: VideoWriter | None = None
        self._preview: PreviewWriter | None = None

    def __enter__(self) -> "OpenVideo":
        """Open the source. Raises: VideoError: see TimedVideo."""
        with ExitStack() as stack:
            out, name, settings = self._to.out, self.item.name, self._to.settings
            remove_pair(out, name)  # of a source that has changed since
            source = self._source = self._open_source(stack)
            clip = self._deployed.clip
            assert settings.stride is not None
            size = {"height_px": clip.height_px, "width_px": clip.width_px}
            video = TimedVideo(source, stride=settings.stride, limits=settings.limits, **size)
            self._video = stack.enter_context(video)
            self._clips = cut_clips(self._video.frames(), clip.frames)
            self._draft = stack.enter_context(atomic_file(out / f"{name}{VIDEO}"))
            self._stack = stack.pop_all()
        return self

    def _open_source(self, stack: ExitStack) -> Path:
        place = location(self.item.path)
        try:
            version = version_of(place)
            source = stack.enter_context(local_copy(place))
            source.stat()  # raises, where local_file finds no file, what is in the way
            local_file(source)  # no pipe, from which a digest would wait for bytes
            self.source = file_digest(source) | version
        except FileNotFoundError as error:
            raise VideoError("missing", "no such file, or a link to none") from error
        except OSError as error:
            raise VideoError("unreadable", f"cannot be read: {error.strerror or error}") from error
        return source

    def __exit__(self, *error: Any) -> None:
        for writer in (self._writer, self._preview):
            if writer is not None:
                writer.abort()
        self._stack.__exit__(*error)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of a video that can be released, such as that its beginning cannot be decoded."""
        renamed = (f"as {self.item.name}{VIDEO}",) if self.item.is_renamed else ()
        return renamed + self._video.notes

    @property
    def name(self) -> str:
        """A name for its clips that no other open video has."""
        return self.item.path

    def read(self) -> Clip:
        """The next clip. Raises: VideoError: the source cannot be read on, or ends before its end."""
        frames, last = next(self._clips)
        self.frames_read = self._video.source_frames
        self._waiting.append(frames)
        self.all_read = last  # after the line above: another thread writes what waits
        pixels = torch.stack([torch.from_numpy(frame.pixels) for frame in frames])
        return Clip(self.name, self._deployed.prepare(pixels), last)

    def take(self, done: AnonymizedClip) -> bool:
        """Write the clip that was read first of those not yet written; returns whether it was the last.

        Raises: WriteError: it cannot be written. VideoError: the source's sound cannot be read.
        """
        frames = self._waiting.popleft()
        pixels = self._deployed.pixels(done)[: len(frames)].numpy()
        writer = self._writer = self._writer or self._open_writer()
        for frame, shown in zip(frames, pixels, strict=True):
            writer.write(shown, frame.seconds)
        if self._to.previews:
            preview = self._preview = self._preview or self._open_preview(self._to.previews)
            preview.add(frames, pixels, done.keep)
        self._keep += pack_keep(done.keep[: self._deployed.slots(len(frames))])
        self._frames_written += len(frames)
        return self.all_read and not self._waiting

    def finish(self) -> None:
        """Put the video into place, then its sidecar. Raises: WriteError: it cannot be written."""
        end = self._video.end_seconds
        for writer in (self._writer, self._preview):
            if writer is not None:
                writer.finish(end)
        self._writer = self._preview = None
        output = file_digest(self._draft)
        self._stack.close()  # which puts the draft into place
        told = {"frames": self._frames_written, "seconds": round(float(end), 6)}
        source = source_facts(self.source, self.item.salt)
        try:
            output |= version_of(self._to.out / f"{self.item.name}{VIDEO}")
            content = make_sidecar(self._to.provenance, self._keep, told, source, output)
            write_sidecar(self._to.out / f"{self.item.name}{SIDECAR}", content)
        except Exception:
            remove_pair(self._to.out, self.item.name)
            raise

    def _open_writer(self) -> VideoWriter:
        clip, settings, video = self._deployed.clip, self._to.settings, self._video
        width, height = (clip.width_px, clip.height_px) if settings.size == "network" else (video.width, video.height)
        even = {"width": width + width % 2, "height": height + height % 2}  # colour has half the size
        audio = None
        if settings.keep_audio:
            audio = AudioSource(self._source, start_seconds=video.start_seconds, limits=settings.limits)
            self._stack.callback(audio.close)
        return VideoWriter(self._draft, aspect=video.aspect, quality=settings.quality, audio=audio, **even)

    def _open_preview(self, folder: Path) -> "PreviewWriter":
        from pipelines.release.preview import PreviewWriter  # brings OpenCV, which takes time to load

        return PreviewWriter(folder, self.item.name, self._deployed.clip, self._video.aspect)
