"""Bootstrap intervals over videos: every score is a function of how often each video counts."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

Score = Callable[[Tensor], Mapping[str, Tensor]]

LEVEL = 0.95
_BLOCK_WEIGHTS = 2**21  # weights held at once: bounds memory at 16 MiB a copy


def resample_weights(videos: int, resamples: int, seed: int) -> Iterator[Tensor]:
    """How often each video is drawn when as many videos are drawn with replacement as there are.

    Yields blocks [r videos] of float64 counts, `resamples` rows in all; every row sums to `videos`.
    The same (videos, resamples, seed) gives the same draws, so scores of one test split share them.
    """
    generator = torch.Generator().manual_seed(seed)
    block = max(1, _BLOCK_WEIGHTS // videos)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = torch.randint(videos, (rows, videos), generator=generator)
        ones = torch.ones(rows, videos, dtype=torch.float64)
        yield torch.zeros(rows, videos, dtype=torch.float64).scatter_add_(1, drawn, ones)


def scores_with_intervals(score: Score, videos: int, resamples: int, seed: int) -> dict[str, float]:
    """Each score's value with all weights one, and its percentile interval as `_low` and `_high`.

    `score` maps weights [r videos] to named values [r]. A resample in which a score is undefined (NaN)
    is left out of that score's interval; a score without any defined resample has the interval NaN.
    """
    point = score(torch.ones(1, videos, dtype=torch.float64))
    blocks = [score(weights) for weights in resample_weights(videos, resamples, seed)]
    quantiles = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    scores: dict[str, float] = {}
    for name, value in point.items():
        low, high = torch.cat([block[name] for block in blocks]).nanquantile(quantiles).tolist()
        scores |= {name: value.item(), f"{name}_low": low, f"{name}_high": high}
    return scores
