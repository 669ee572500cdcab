"""AP, AUC, F1 and balanced accuracy of yes-or-no columns, for many weightings of their rows at once.

All four need only how much weight lies above, at and between the probabilities of a column's positive rows. A data
set with two thousand rare labels and a thousand resamples is scored in minutes because nothing else is added up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import embedding_bag


class Measures(NamedTuple):
    """Scores [r p] of p columns under r weightings, decimals; NaN where all weight is on one class of the column."""

    average_precision: Tensor
    auc: Tensor
    f1: Tensor
    balanced_accuracy: Tensor


@dataclass(frozen=True)
class Ranking:
    """The rows of one column in bags, three for each of its k thresholds from the highest down.

    Thresholds are the distinct probabilities of positive rows, as recall rises nowhere else, and the one from which
    on the answer is yes. Its bags: rows above it but below the threshold before (all negative), positive rows at it,
    negative rows at it. Rows of equal probability so share one threshold; rows below the last are in no bag.

    rows: [m] row numbers, bag after bag.
    starts: [3 k] where each bag starts in `rows`.
    answer: which threshold is the answer's.
    """

    rows: Tensor
    starts: Tensor
    answer: int


def rank(probabilities: Tensor, truth: Tensor, answer_threshold: float = 0.5) -> Ranking:
    """Sorts one column into bags. Args: probabilities: [n]. truth: [n] in {0, 1}. answer_threshold: yes from it on."""
    fall = -probabilities.double().cpu()  # ascending here is descending in probability
    positive = truth.cpu() == 1
    answer = torch.tensor([-answer_threshold], dtype=torch.float64)
    thresholds = torch.unique(torch.cat([fall[positive], answer]))
    threshold = torch.searchsorted(thresholds, fall)  # the first at or below each row
    tied = fall == thresholds[threshold.clamp(max=len(thresholds) - 1)]
    bag = 3 * threshold + tied * torch.where(positive, 1, 2)
    sizes = bag.bincount(minlength=3 * len(thresholds))[: 3 * len(thresholds)]
    ends = sizes.cumsum(0)
    rows = bag.argsort(stable=True)[: int(ends[-1])]
    return Ranking(rows.int(), (ends - sizes).int(), int(torch.searchsorted(thresholds, answer)))


def measures(rankings: Sequence[Ranking], weights: Tensor) -> Measures:
    """Scores [r p] of p ranked columns under weights [r n]: whole numbers, how often each row counts."""
    # Whole numbers add up exactly in float32 (to 2**24 a bag), where embedding_bag is several times as fast.
    counts = weights.float().T.contiguous()  # n r
    total = weights.sum(1)
    columns = [_column_measures(ranking, counts, total) for ranking in rankings]
    return Measures(*torch.stack(columns, 2))


def average_precisions(probabilities: Tensor, labels: Tensor) -> Tensor:
    """AP [p], decimal, of every column of probabilities [n p] against labels [n p]; NaN where all labels are equal."""
    rankings = [rank(probabilities[:, i], labels[:, i]) for i in range(labels.shape[1])]
    return measures(rankings, torch.ones(1, len(labels), dtype=torch.float64)).average_precision[0]


def _column_measures(ranking: Ranking, counts: Tensor, total: Tensor) -> Tensor:
    """AP, AUC, F1 and balanced accuracy [4 r] of one column under counts [n r] that add up to total [r].

    AP is the step-wise sum of precision over recall gained (no interpolation), AUC the trapezoid under the ROC.
    """
    bags = embedding_bag(ranking.rows, counts, ranking.starts, mode="sum").double()
    above, gained, tied = rearrange(bags, "(k bag) r -> bag k r", bag=3)
    hits = gained.cumsum(0)
    false_alarms = (above + tied).cumsum(0)
    positives = hits[-1]
    negatives = total - positives
    # A threshold above every drawn row has no precision, and gains no recall either.
    precision = hits / (hits + false_alarms).clamp(min=1)
    average_precision = (gained * precision).sum(0) / positives
    auc = 1 - (gained * (false_alarms - tied / 2)).sum(0) / (positives * negatives)
    true_yes, false_yes = hits[ranking.answer], false_alarms[ranking.answer]
    f1 = 2 * true_yes / (true_yes + false_yes + positives)
    balanced = (true_yes / positives + 1 - false_yes / negatives) / 2
    defined = (positives > 0) & (negatives > 0)
    return torch.stack([average_precision, auc, f1, balanced]).where(defined, torch.nan)
