"""A decoded frame to upright RGB: every display matrix, colour matrix and pixel format, alike for all readers."""

from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from stprivacy.video.decoding import VideoLimits
from stprivacy.video.frames import UprightFrames
from stprivacy.video.sampled import read_video
from stprivacy.video.timed import TimedVideo
from tests.support.media_fixtures import turn, write_pictures

CORNERS = {"green": (0, 200, 0), "red": (200, 0, 0), "blue": (0, 0, 200), "white": (220, 220, 220)}
# The matrix's a, b, c, d, and which corner is where afterwards, row by row: worked out by hand with a sheet of paper.
ORIENTATIONS = {
    "identity": ((1, 0, 0, 1), "green red blue white"),
    "hflip": ((-1, 0, 0, 1), "red green white blue"),
    "vflip": ((1, 0, 0, -1), "blue white green red"),
    "rotate-180": ((-1, 0, 0, -1), "white blue red green"),
    "transpose": ((0, 1, 1, 0), "green blue red white"),
    "clockwise": ((0, 1, -1, 0), "blue green white red"),
    "counterclockwise": ((0, -1, 1, 0), "red white green blue"),
    "transverse": ((0, -1, -1, 0), "white red blue green"),
}
CHART = [(200, 40, 40), (40, 180, 60), (50, 60, 200), (200, 200, 60), (60, 190, 190), (180, 60, 180), (230, 230, 230)]
SAMPLES_OF = {4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601, 7: Colorspace.SMPTE240M}
SAMPLES_OF |= {1: Colorspace.ITU709, 9: Colorspace.BT2020, 10: Colorspace.BT2020}


def four_corners(width: int, height: int) -> NDArray[np.uint8]:
    image = np.empty((height, width, 3), np.uint8)
    halves = product((slice(0, height // 2), slice(height // 2, None)), (slice(0, width // 2), slice(width // 2, None)))
    for (rows, columns), colour in zip(halves, CORNERS.values(), strict=True):
        image[rows, columns] = colour
    return image


def chart(width: int, height: int) -> NDArray[np.uint8]:
    """Columns of one colour each."""
    numbers = np.arange(width) * len(CHART) // width
    return np.broadcast_to(np.array(CHART, np.uint8)[numbers], (height, width, 3)).copy()


def off_chart(pixels: NDArray[np.uint8]) -> int:
    """The largest error in the middle of the columns of a chart."""
    columns = [(2 * number + 1) * pixels.shape[1] // (2 * len(CHART)) for number in range(len(CHART))]
    return int(np.abs(pixels[pixels.shape[0] // 2, columns].astype(int) - CHART).max())


def both(path: Path, short_side_px: int) -> tuple[NDArray[np.uint8], TimedVideo]:
    """The frames that an ingest stores, after a check that a release reads the same at this size."""
    stored = read_video(path, stride=1, short_side_px=short_side_px).frames
    height, width = stored.shape[1:3]
    with TimedVideo(path, stride=1, height_px=height, width_px=width, limits=VideoLimits()) as video:
        read = [frame.pixels for frame in video.frames()]
    assert all(frame.flags.c_contiguous for frame in (stored, *read))
    assert np.array_equal(stored, read)
    return stored, video


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("size", [(48, 80), (80, 48)], ids=["portrait", "landscape"])
def test_every_display_matrix_is_obeyed_by_ingest_and_release(tmp_path: Path, size: tuple[int, int], name: str) -> None:
    matrix, corners = ORIENTATIONS[name]
    path = turn(write_pictures(tmp_path / "a.mp4", [four_corners(*size)] * 3), matrix)
    stored, video = both(path, short_side_px=24)
    width, height = size[::-1] if matrix[0] == 0 else size
    assert (video.width, video.height, video.aspect) == (width, height, Fraction(width, height))
    assert stored.shape == (3, height // 2, width // 2, 3)
    found = [stored[0, y, x] for y in (4, -5) for x in (4, -5)]
    assert np.abs(np.subtract(found, [CORNERS[corner] for corner in corners.split()], dtype=int)).max() < 8


def test_a_matrix_that_turns_by_any_angle_and_enlarges_goes_to_the_nearest_of_eight(tmp_path: Path) -> None:
    path = write_pictures(tmp_path / "a.mp4", [four_corners(48, 80)])
    content = bytearray(turn(path, (0, 2, -2, 0)).read_bytes())
    content[content.index(b"tkhd") + 46] = 0x20  # a: an eighth
    path.write_bytes(content)
    assert both(path, short_side_px=48)[0].shape == (1, 48, 80, 3)
    assert np.abs(both(path, short_side_px=48)[0][0, 4, 4].astype(int) - CORNERS["blue"]).max() < 8


@pytest.mark.parametrize("size", [(320, 192), (640, 480), (1024, 576), (1280, 544), (720, 1280), (1280, 720)], ids=str)
@pytest.mark.parametrize("tag", range(18))
def test_colours_are_right_whatever_matrix_is_claimed(size: tuple[int, int], tag: int) -> None:
    """Tags that libswscale has no matrix for, and none, are read as BT.709 in high definition, else as BT.601."""
    is_hd = size[0] >= 1280 or size[1] >= 720
    samples = SAMPLES_OF.get(tag, Colorspace.ITU709 if is_hd else Colorspace.ITU601)
    frame = av.VideoFrame.from_ndarray(chart(*size)).reformat(format="yuv420p", dst_colorspace=samples)
    frame.colorspace, frame.color_range = tag, ColorRange.MPEG
    assert off_chart(UprightFrames(size[1] // 2, size[0] // 2)(frame)) <= 3


@pytest.mark.parametrize(
    "pixel_format",
    [
        *("yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv410p", "nv12", "yuva420p", "yuv420p10le", "yuv422p10le"),
        *("yuv444p12le", "p010le", "yuvj420p", "yuvj444p", "rgb24", "bgra", "gbrp", "gbrp10le", "rgb48le"),
    ],
)
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
def test_colours_are_right_in_every_pixel_format_range_and_odd_size(pixel_format: str, full: bool) -> None:
    tag, samples = 1, Colorspace.ITU709
    wide = ColorRange.JPEG if full or pixel_format.startswith("yuvj") else ColorRange.MPEG
    frame = av.VideoFrame.from_ndarray(chart(161, 97))
    frame = frame.reformat(format=pixel_format, dst_colorspace=samples, dst_color_range=wide)
    frame.colorspace, frame.color_range = tag, wide
    for height, width in ((97, 161), (48, 80), (33, 53), (200, 330)):
        pixels = UprightFrames(height, width)(frame)
        assert pixels.shape == (height, width, 3)
        assert off_chart(pixels) <= 4


@pytest.mark.parametrize("pixel_format", ["gray", "gray10le"])
def test_grey_stays_grey(pixel_format: str) -> None:
    frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 180, np.uint8)).reformat(format=pixel_format)
    assert np.abs(UprightFrames(24, 32)(frame).astype(int) - 180).max() <= 2


def test_untagged_high_definition_is_read_alike_and_as_its_players_show_it(tmp_path: Path) -> None:
    path = write_pictures(tmp_path / "a.mp4", [chart(1280, 720)] * 2)
    assert off_chart(both(path, short_side_px=96)[0][0]) <= 3
    assert off_chart(both(write_pictures(tmp_path / "b.mp4", [chart(640, 480)]), short_side_px=96)[0][0]) <= 3


@pytest.mark.parametrize("tag", [8, 10, 12, 14])
def test_a_matrix_that_libswscale_lacks_is_no_reason_to_refuse(tmp_path: Path, tag: int) -> None:
    path = write_pictures(tmp_path / "a.mp4", [chart(320, 192)], colorspace=tag)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).colorspace == tag
    stored, _ = both(path, short_side_px=96)
    assert off_chart(stored[0]) <= (18 if tag == 10 else 3)  # the samples are BT.601, which BT.2020 is not
