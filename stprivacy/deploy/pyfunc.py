"""A trained anonymizer as `mlflow.pyfunc.load_model` and `mlflow models serve` call it; MLflow itself is not needed."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stprivacy.deploy.deployed import load_deployed


class ServedAnonymizer:
    """What MLflow calls a model's implementation."""

    def __init__(self, run: str) -> None:
        """Args: run: its folder. Raises: ValueError: as load_deployed."""
        self._anonymize = load_deployed(run)

    def predict(self, frames: NDArray[np.uint8], params: dict[str, Any] | None = None) -> NDArray[np.uint8]:
        """Frames [t h w 3] of one video, RGB, as anonymised frames [t h w 3] of the network's height and width."""
        released = self._anonymize(torch.from_numpy(frames.copy()))  # arrays of a server may be read-only
        return released.frames.numpy()


def _load_pyfunc(path: str) -> ServedAnonymizer:
    """MLflow's entry: the model whose run folder is at `path`."""
    return ServedAnonymizer(path)
