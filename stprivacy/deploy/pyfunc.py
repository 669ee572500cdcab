"""`stprivacy.load` as `mlflow.pyfunc.load_model` and `mlflow models serve` call it; MLflow itself is not needed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stprivacy.deploy.front_door import FrameAnonymizer, load


class ServedAnonymizer:
    """What MLflow calls a model's implementation."""

    def __init__(self, anonymize: FrameAnonymizer) -> None:
        self._anonymize = anonymize

    def predict(self, frames: NDArray[np.uint8], params: Mapping[str, Any] | None = None) -> NDArray[np.uint8]:
        """One video's frames [t h w 3] uint8 RGB, every stride-th as for training, as anonymised ones of the same size.

        Args: params: MLflow's, of which this model has none.
        """
        return self._anonymize(frames)


def _load_pyfunc(path: str, model_config: Mapping[str, Any]) -> ServedAnonymizer:
    """MLflow's entry. Args: path: of the run folder in the model; model_config: options of stprivacy.load."""
    return ServedAnonymizer(load(path, **model_config))
