"""A decoded frame to an upright, resized RGB array: what an ingest stores is what a release reads."""

from fractions import Fraction
from typing import NamedTuple, cast

import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

# AVCOL_SPC numbers: the matrix that turns a picture's luma and two colour differences into RGB.
_BT709, _UNSPECIFIED, _BT601, _BT2020, _BT2020_CONSTANT = 1, 2, 6, 9, 10
_MATRICES = (_BT709, 4, 5, _BT601, 7, _BT2020)  # that libswscale has
HD_WIDTH_PX, HD_HEIGHT_PX = 1280, 720  # a picture without a matrix is BT.709 from either size on, else BT.601


class Orientation(NamedTuple):
    """How stored pixels become upright: rows and columns swapped, then columns reversed, then rows reversed."""

    transposed: bool
    mirrored: bool
    flipped: bool


def orientation(frame: VideoFrame) -> Orientation:
    """What the frame's display matrix asks for, as ffmpeg's autorotate obeys it; other angles go to the nearest of 8.

    `frame.rotation` tells the angle only: a mirrored picture would come out turned. Not for every frame: one whose side
    data were looked at stays in memory until Python's collector runs.
    """
    data = cast("SideDataContainer", frame.side_data).get(Type.DISPLAYMATRIX)
    if data is None:
        return Orientation(transposed=False, mirrored=False, flipped=False)
    # The numbers are a b u, c d v, x y w: the pixel in column i and row j moves to column a i + c j and row b i + d j.
    matrix = np.frombuffer(bytes(data), np.int32)
    a, b, c, d = (int(matrix[index]) for index in (0, 1, 3, 4))
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(transposed=True, mirrored=c < 0, flipped=b < 0)
    return Orientation(transposed=False, mirrored=a < 0, flipped=d < 0)


def upright_size(frame: VideoFrame) -> tuple[int, int]:
    """Width and height in pixels of the frame once it is upright."""
    size = frame.width, frame.height
    return size[::-1] if orientation(frame).transposed else size


def upright_aspect(frame: VideoFrame, pixel_aspect: Fraction | None) -> Fraction:
    """The width over the height at which the upright frame is shown.

    `pixel_aspect` is the width of a stored pixel over its height; none, or one that is not positive, is square.
    """
    aspect = Fraction(frame.width, frame.height) * (pixel_aspect if pixel_aspect and pixel_aspect > 0 else 1)
    return 1 / aspect if orientation(frame).transposed else aspect


class UprightFrames:
    """Frames of any size, orientation, pixel format and colour matrix to upright RGB arrays of one size.

    Resizing within 4:2:0, then converting what is left, is faster than one step; colour is as sharp as in a video
    encoded at that size.
    """

    def __init__(self, height_px: int, width_px: int) -> None:
        self._height, self._width = height_px, width_px
        self.frame_bytes = 3 * height_px * width_px
        self._resize, self._convert = VideoReformatter(), VideoReformatter()
        self._rotation: int | None = None

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """The pixels [height_px width_px 3] uint8 RGB, in one piece of memory."""
        if frame.rotation != self._rotation:
            self._rotation, self._turned = frame.rotation, orientation(frame)
        turned = self._turned
        height, width = (self._width, self._height) if turned.transposed else (self._height, self._width)
        shrinks = width <= frame.width and height <= frame.height
        way = Interpolation.AREA if shrinks else Interpolation.BILINEAR
        if _has_matrix(frame.format):
            frame.colorspace = _matrix(frame)  # both steps must agree on it
            small = self._resize.reformat(frame, width, height, "yuv420p", interpolation=way, threads=1)
            rgb = self._convert.reformat(small, format="rgb24", interpolation=Interpolation.POINT, threads=1)
        else:
            rgb = self._convert.reformat(frame, width, height, "rgb24", interpolation=way, threads=1)
        return _turn(np.asarray(rgb.to_ndarray(), dtype=np.uint8), turned)


def _turn(pixels: NDArray[np.uint8], turned: Orientation) -> NDArray[np.uint8]:
    if turned.transposed:
        pixels = pixels.transpose(1, 0, 2)
    if turned.mirrored:
        pixels = pixels[:, ::-1]
    if turned.flipped:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _has_matrix(pixel_format: VideoFormat) -> bool:
    """Whether pixels are luma and two colour differences, and not RGB, grey or numbers of a palette."""
    return not pixel_format.is_rgb and not pixel_format.has_palette and len(pixel_format.components) >= 3


def _matrix(frame: VideoFrame) -> int:
    """The number of the colour matrix to read the frame with: its own, if libswscale has it.

    BT.2020 with constant luminance is read as BT.2020, as ffmpeg does. Any other (YCgCo, ICtCp...) counts as none:
    pictures in 4:2:0 that carry such a number are mislabelled more often than not.
    """
    if frame.colorspace in _MATRICES:
        return frame.colorspace
    if frame.colorspace == _BT2020_CONSTANT:
        return _BT2020
    return _BT709 if frame.width >= HD_WIDTH_PX or frame.height >= HD_HEIGHT_PX else _BT601
