"""Runs to export, and clips that no exporter has met."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from pipelines.runs.config import RunBase
from stprivacy.config import PhaseConfig
from tests.support.launch_fixtures import TINY
from tests.support.run_fixtures import do_run

METADATA = ("format_version", "weights_sha256", "keep_ratio", "clip", "value_range")
_QUICK = PhaseConfig(epochs=1, batch_size=6, max_steps=2)


def quick_run(folder: Path, data: Path, run: RunBase = TINY) -> Path:
    """A run of two steps on a tiny data set; gives back its folder."""
    do_run(replace(run, data=str(data), train=_QUICK), folder)
    return folder


def unseen(count: int, seed: int = 1) -> Tensor:
    """Random clips [count 3 4 32 32] in [-1, 1]."""
    return torch.rand(count, 3, 4, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1
