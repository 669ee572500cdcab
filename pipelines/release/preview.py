"""For a person to look at: raw, sparsified and anonymized side by side, as a video and as a sheet of frames.

Every picture contains raw frames, and says so; files and folders are for their owner alone.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipelines.release.encoding import VideoWriter
from pipelines.release.names import PREVIEW, VIDEO, shortened
from stprivacy.config import ClipConfig
from stprivacy.storage import atomic_file, make_private_folder
from stprivacy.tubelets import expand_keep
from stprivacy.video.timed import TimedFrame

_MARK = "CONTAINS RAW FRAMES - not for release"
_PANELS = ("raw", "sparsified", "anonymized")
_PANEL_HEIGHT_PX = 240
_LABEL_PX, _GAP_PX = 22, 4
_QUALITY = 18
_NAME_BYTES = 255
_SHEET_FRAMES = 8
_INK, _RED = (230, 230, 230), (255, 90, 90)

_Image = NDArray[np.uint8]


class PreviewWriter:
    """Writes NAME.contains-raw-frames.mp4 and .png below a folder."""

    def __init__(self, folder: Path, name: str, clip: ClipConfig, aspect: Fraction) -> None:
        """`aspect` is the display width of the source over its height."""
        name = shortened(name, _NAME_BYTES - len(f"{PREVIEW}{VIDEO}"))
        self._video, self._sheet = (folder / f"{name}{PREVIEW}{kind}" for kind in (VIDEO, ".png"))
        self._drafts = ExitStack()
        self._clip = clip
        self._panel = _even(_PANEL_HEIGHT_PX * aspect), _PANEL_HEIGHT_PX
        width = max(len(_PANELS) * self._panel[0] + (len(_PANELS) - 1) * _GAP_PX, _text_width(_MARK))
        self._size = _even(Fraction(width)), 2 * _LABEL_PX + self._panel[1]
        self._writer: VideoWriter | None = None
        self._shown: list[tuple[Fraction, _Image]] = []
        self._number, self._every = 0, 1

    def add(self, frames: Sequence[TimedFrame], released: _Image, keep: Tensor) -> None:
        """A clip: raw frames, what is released of them [t h w 3], and their keep mask [l n]. Raises: OSError."""
        writer = self._writer = self._writer or self._open()
        clip = self._clip
        kept = expand_keep(keep[None].cpu(), clip.grid, clip.tubelet_frames, clip.patch_size)[0, 0].numpy() > 0.5
        for frame, output, mask in zip(frames, released, kept, strict=False):
            image = self._compose((frame.pixels, np.where(mask[..., None], frame.pixels, 0).astype(np.uint8), output))
            writer.write(image, frame.seconds)
            self._remember(frame.seconds, image)

    def finish(self, end_seconds: Fraction) -> None:
        """Close the video and write the sheet. Raises: OSError."""
        if self._writer is None:
            return
        self._writer.finish(end_seconds)
        rows = [_labelled(image, f"{float(seconds):.2f} s") for seconds, image in self._shown]
        sheet = cv2.imencode(".png", cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))[1]
        with atomic_file(self._sheet, private=True) as local:
            local.write_bytes(sheet.tobytes())
        self._drafts.close()  # which puts the video into place

    def abort(self) -> None:
        """Leave nothing behind."""
        if self._writer is not None:
            self._writer.abort()
        self._drafts.__exit__(InterruptedError, InterruptedError(), None)

    def _open(self) -> VideoWriter:
        make_private_folder(self._video.parent)
        local = self._drafts.enter_context(atomic_file(self._video, private=True))
        width, height = self._size
        return VideoWriter(local, width=width, height=height, aspect=Fraction(width, height), quality=_QUALITY)

    def _compose(self, panels: Sequence[_Image]) -> _Image:
        """The panels at the source's aspect, their names above, the mark below."""
        image = np.zeros((self._size[1], self._size[0], 3), np.uint8)
        for number, (name, panel) in enumerate(zip(_PANELS, panels, strict=True)):
            left = number * (self._panel[0] + _GAP_PX)
            image[_LABEL_PX : _LABEL_PX + self._panel[1], left : left + self._panel[0]] = cv2.resize(
                panel, self._panel, interpolation=cv2.INTER_CUBIC
            )
            _write_text(image, name, left + 4, _LABEL_PX - 7, _INK)
        _write_text(image, _MARK, 4, self._size[1] - 7, _RED)
        return image

    def _remember(self, seconds: Fraction, image: _Image) -> None:
        """Keep up to 15 evenly spread frames of a video whose length is not known, 8 or more of a long one."""
        if self._number % self._every == 0:
            self._shown.append((seconds, image))
        self._number += 1
        if len(self._shown) == 2 * _SHEET_FRAMES:
            self._shown, self._every = self._shown[::2], 2 * self._every


def _labelled(image: _Image, text: str) -> _Image:
    above = np.zeros((_LABEL_PX, image.shape[1], 3), np.uint8)
    _write_text(above, text, 4, _LABEL_PX - 7, _INK)
    return np.concatenate([above, image])


def _write_text(image: _Image, text: str, x: int, y: int, colour: tuple[int, int, int]) -> None:
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)


def _text_width(text: str) -> int:
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0]) + 8


def _even(length: Fraction) -> int:
    return max(2 * round(length / 2), 2)
