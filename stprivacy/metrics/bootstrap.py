"""Bootstrap intervals over videos: every score is a function of how often each row counts."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

Score = Callable[[Tensor], Mapping[str, Tensor]]

LEVEL = 0.95
_BLOCK_WEIGHTS = 2**21  # weights held at once: bounds memory at 16 MiB a copy


def resample_weights(video: Tensor, resamples: int, seed: int) -> Iterator[Tensor]:
    """How often each row counts when as many videos are drawn with replacement as there are.

    `video` [n] numbers the video of each row, in any way: rows of one video (its frames) count together, as they
    are not independent. Yields blocks [r n] of float64 counts, `resamples` rows in all. The same number of videos,
    resamples and seed give the same draws of videos in rising order, so scores of one test split share them.
    """
    ids, of_row = torch.unique(video.cpu(), return_inverse=True)
    videos = len(ids)
    generator = torch.Generator().manual_seed(seed)
    block = max(1, _BLOCK_WEIGHTS // len(of_row))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = torch.randint(videos, (rows, videos), generator=generator)
        ones = torch.ones(rows, videos, dtype=torch.float64)
        yield torch.zeros(rows, videos, dtype=torch.float64).scatter_add_(1, drawn, ones)[:, of_row]


def scores_with_intervals(score: Score, video: Tensor, resamples: int, seed: int) -> dict[str, float]:
    """Each score's value with all weights one, and its percentile interval over videos as `_low` and `_high`.

    `score` maps weights [r n] to named values [r]; `video` [n] is the video of each row. A resample in which a score
    is undefined (NaN) is left out of that score's interval; one without any defined resample has the interval NaN.
    A positive row drawn twice is ranked beside its copy: with few positives a label, resampled AP near chance lies
    somewhat above the score, and its percentile interval with it.
    """
    point = score(torch.ones(1, len(video), dtype=torch.float64))
    blocks = [score(weights) for weights in resample_weights(video, resamples, seed)]
    quantiles = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    scores: dict[str, float] = {}
    for name, value in point.items():
        low, high = torch.cat([block[name] for block in blocks]).nanquantile(quantiles).tolist()
        scores |= {name: value.item(), f"{name}_low": low, f"{name}_high": high}
    return scores


def means_with_intervals(columns: Mapping[str, Tensor], resamples: int, seed: int) -> dict[str, float]:
    """Mean over videos of every named column [n], a row a video, with its percentile interval."""
    values = {name: column.double().cpu() for name, column in columns.items()}
    video = torch.arange(len(next(iter(values.values()))))

    def score(weights: Tensor) -> dict[str, Tensor]:
        return {name: weights @ column / weights.sum(1) for name, column in values.items()}

    return scores_with_intervals(score, video, resamples, seed)
