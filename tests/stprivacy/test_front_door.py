"""`stprivacy.load(run)(frames)`: what a release hands to its encoder, in the source's size and without Ray."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from einops import rearrange
from numpy.typing import NDArray

import stprivacy
from pipelines.release.encoding import VideoWriter
from stprivacy.deploy.deployed import Deployed
from stprivacy.deploy.front_door import FrameAnonymizer
from stprivacy.models.anonymizer import STPrivacy
from tests.support.places import ROOT
from tests.support.release_fixtures import release
from tests.support.tiny import MODEL

Frames = NDArray[np.uint8]
KEEP_RATIO = 0.7  # as release_fixtures releases; of 4 tubelets one is left


def drawn_frames(count: int, height: int = 32, width: int = 32) -> Frames:
    """Coarse noise, which resizing leaves in place, and a little fine noise."""
    generator = np.random.default_rng(count)
    coarse = generator.integers(40, 200, (count, 4, 4, 3)).repeat(-(-height // 4), 1).repeat(-(-width // 4), 2)
    return np.asarray(coarse[:, :height, :width] + generator.integers(0, 50, (count, height, width, 3)), np.uint8)


def write_lossless(path: Path, frames: Frames) -> Path:
    """A video of exactly these RGB frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "rgb24"
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def to_size(pixels: Frames, height: int, width: int, way: str) -> Frames:
    """A frame [h w 3] at another size, by libswscale."""
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    return np.asarray(frame.reformat(width, height, "rgb24", interpolation=way).to_ndarray(), np.uint8)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[Frames]:
    """Frames that releases hand to their encoder from now on."""
    frames: list[Frames] = []
    write = VideoWriter.write

    def record(self: VideoWriter, pixels: Frames, seconds: Fraction) -> None:
        frames.append(pixels.copy())
        write(self, pixels, seconds)

    monkeypatch.setattr(VideoWriter, "write", record)
    return frames


@pytest.mark.parametrize(("count", "mask"), [(1, "steady"), (4, "steady"), (7, "steady"), (39, "steady"), (7, "clip")])
def test_frames_of_the_networks_size_are_those_that_a_release_encodes(
    run: Path, tmp_path: Path, encoded: list[Frames], count: int, mask: Any
) -> None:
    frames = drawn_frames(count)
    (outcome,) = release(run, write_lossless(tmp_path / "raw.mov", frames), tmp_path / "out", stride=1, mask=mask)
    assert not outcome.error
    anonymized = stprivacy.load(str(run), keep_ratio=KEEP_RATIO, mask=mask)(frames)
    assert anonymized.dtype == np.uint8
    assert np.array_equal(anonymized, np.stack(encoded))
    black = (anonymized == 0).all(axis=3).mean()
    assert 0.75 <= black < 0.8


@pytest.mark.parametrize(("height", "width", "way"), [(64, 96, "BICUBIC"), (49, 85, "BICUBIC"), (24, 30, "AREA")])
def test_frames_of_any_size_are_those_that_a_release_encodes_in_the_sources_size(
    run: Path, tmp_path: Path, encoded: list[Frames], height: int, width: int, way: str
) -> None:
    frames = drawn_frames(9, height, width)
    source = write_lossless(tmp_path / "raw.mov", frames)
    (outcome,) = release(run, source, tmp_path / "out", stride=1, size="source", quality=0)
    assert not outcome.error
    anonymized = stprivacy.load(run, keep_ratio=KEEP_RATIO)(frames)
    assert anonymized.shape == frames.shape
    shown = anonymized.any(axis=3)
    assert 0.2 < shown.mean() < 0.3
    enlarged = np.stack([to_size(pixels, height, width, way) for pixels in encoded])
    assert np.array_equal(anonymized[shown], enlarged[shown])
    if (height, width) == (64, 96):  # H.264 makes odd sizes even
        with av.open(str(tmp_path / "out" / "raw.mp4")) as container:
            written = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        assert np.abs(written[shown].mean(0) - anonymized[shown].mean(0)).max() < 3
        assert written[~shown].mean() < 3


def test_abandoned_tubelets_are_black_to_the_pixel_at_any_size() -> None:
    deployed = Deployed(STPrivacy(MODEL), keep_ratio=KEEP_RATIO)
    frames = drawn_frames(6, 96, 50)
    keep = deployed(torch.from_numpy(np.stack([to_size(pixels, 32, 32, "AREA") for pixels in frames]))).keep
    # Three slots of two frames, each of 2 x 2 tubelets of 48 x 25 pixels.
    parts = rearrange(FrameAnonymizer(deployed)(frames), "(l p) (h q) (w r) c -> l (h w) (p q r c)", p=2, q=48, r=25)
    assert np.array_equal(parts.any(axis=2), keep.numpy() > 0)


def test_arrays_tensors_and_views_are_the_same_to_it(run: Path) -> None:
    anonymize = stprivacy.load(run)
    frames = drawn_frames(5, 40, 36)
    before = frames.copy()
    expected = anonymize(frames)
    assert np.array_equal(anonymize(torch.from_numpy(frames)), expected)
    assert np.array_equal(anonymize(np.asfortranarray(frames)), expected)
    assert np.array_equal(anonymize(frames[:, :, ::-1][:, :, ::-1]), expected)
    frames.flags.writeable = False
    assert np.array_equal(anonymize(frames), expected)
    assert np.array_equal(frames, before)


def test_the_smallest_video_is_one_too(run: Path) -> None:
    assert stprivacy.load(run)(np.full((1, 1, 1, 3), 200, np.uint8)).shape == (1, 1, 1, 3)


@pytest.mark.parametrize(
    ("frames", "got"),
    [
        (np.zeros((0, 8, 8, 3), np.uint8), r"got \[0, 8, 8, 3\] of uint8"),
        (np.zeros((4, 0, 8, 3), np.uint8), r"got \[4, 0, 8, 3\] of uint8"),
        (np.zeros((8, 8, 3), np.uint8), r"got \[8, 8, 3\] of uint8"),
        (np.zeros((4, 3, 8, 8), np.uint8), r"got \[4, 3, 8, 8\] of uint8"),
        (np.zeros((4, 8, 8, 3), np.float32), "of float32"),
        (torch.zeros(4, 8, 8, 3), "of torch.float32"),
        (torch.zeros(4, 8, 8, 4, dtype=torch.uint8), r"got \[4, 8, 8, 4\] of torch.uint8"),
        ([[[[0, 0, 0]]]], "got list"),
    ],
)
def test_what_is_no_video_is_refused(run: Path, frames: Any, got: str) -> None:
    with pytest.raises(ValueError, match=rf"a video is .*frames \[t h w 3\] of uint8.*{got}"):
        stprivacy.load(run)(frames)


def test_what_cannot_be_loaded_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a run folder"):
        stprivacy.load(tmp_path)
    with pytest.raises(ValueError, match="keep_ratio"):
        stprivacy.load(run, keep_ratio=1.5)
    for device in ("abacus", "cuda:99"):
        with pytest.raises(ValueError, match=f"device {device} cannot be used: "):
            stprivacy.load(run, device=device)
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        stprivacy.lode  # noqa: B018


def test_importing_the_library_loads_nothing_before_it_is_used() -> None:
    code = "import sys, stprivacy; print('torch' in sys.modules, callable(stprivacy.load), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "False True True\n", done.stderr
