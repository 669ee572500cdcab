"""Where persons are in the frames of a video, for data sets that come without boxes."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.data.schema import DetectorName

# Frames [t h w 3] uint8 RGB -> for each frame [x0, y0, x1, y1] of each person, as fractions of width and height.
Detector = Callable[[NDArray[np.uint8]], list[list[list[float]]]]

_HOG_SHORT_SIDE_PX = 256  # enlarged to it: persons must fill a window of 64 x 128 pixels
_PERSON_LABEL, _MIN_SCORE = 1, 0.5  # of COCO, as torchvision's detectors number and score it
_BATCH_FRAMES = 8


@functools.lru_cache(maxsize=1)
def make_detector(name: DetectorName, weights: str = "") -> Detector:
    """The detector of this name, made once a process.

    Args: weights: file that torchvision's needs. Raises: ValueError: no such detector, or weights that do not fit.
    """
    if name not in DETECTORS:
        raise ValueError(f"there is no detector {name!r} to make; known are {', '.join(DETECTORS)}")
    return DETECTORS[name](weights)


def _hog(weights: str) -> Detector:
    """OpenCV's default people detector: upright, whole persons."""
    import cv2

    cv2.setNumThreads(1)  # a task has one CPU
    detector = cv2.HOGDescriptor()
    detector.setSVMDetector(np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector(), np.float32))

    def detect(frames: NDArray[np.uint8]) -> list[list[list[float]]]:
        found = []
        height, width = frames.shape[1:3]
        scale = max(_HOG_SHORT_SIDE_PX / min(height, width), 1.0)
        size = round(width * scale), round(height * scale)
        for frame in frames:
            picture = cv2.cvtColor(cv2.resize(frame, size), cv2.COLOR_RGB2BGR)
            boxes, _ = detector.detectMultiScale(picture, winStride=(8, 8), padding=(8, 8), scale=1.05)
            corners = [(x, y, x + w, y + h) for x, y, w, h in np.reshape(boxes, (-1, 4)).tolist()]
            found.append(_fractions(corners, *size))
        return found

    return detect


def _torchvision(weights: str) -> Detector:
    """Faster R-CNN with a MobileNetV3 of torchvision, with weights from a file: persons that score .5 or more."""
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn as build

    model: Any = build(weights=None, weights_backbone=None)
    try:
        model.load_state_dict(torch.load(weights, "cpu", weights_only=True))
    except Exception as error:  # whatever an unpickler or a state dict makes of a foreign file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{weights} cannot be used as --detector-weights ({reason}): expected the state dict of torchvision's "
            "fasterrcnn_mobilenet_v3_large_320_fpn, as torchvision publishes it (.pth)"
        ) from error
    model.eval()

    @torch.inference_mode()
    def detect(frames: NDArray[np.uint8]) -> list[list[list[float]]]:
        found = []
        height, width = frames.shape[1:3]
        for first in range(0, len(frames), _BATCH_FRAMES):
            part = torch.from_numpy(frames[first : first + _BATCH_FRAMES])
            for frame in model(list(part.movedim(-1, 1).float().div(255.0))):
                sure = (frame["labels"] == _PERSON_LABEL) & (frame["scores"] >= _MIN_SCORE)
                found.append(_fractions(frame["boxes"][sure].tolist(), width, height))
        return found

    return detect


def _fractions(corners: Sequence[Sequence[float]], width: int, height: int) -> list[list[float]]:
    """Boxes (x0, y0, x1, y1) in pixels as fractions, cut at the frame's border; empty ones are left out."""
    size = np.array([width, height, width, height], dtype=np.float64)
    boxes = np.clip(np.reshape(np.asarray(corners, dtype=np.float64), (-1, 4)) / size, 0.0, 1.0)
    kept: list[list[float]] = boxes[(boxes[:, :2] < boxes[:, 2:]).all(1)].tolist()
    return kept


DETECTORS: Mapping[str, Callable[[str], Detector]] = {"hog": _hog, "torchvision": _torchvision}
