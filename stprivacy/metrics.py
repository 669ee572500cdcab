"""Scores of the attackers on the test split: top-1, class-wise AP, F1 and AUC, their floors and 95 % intervals.

Every measure is written once, for weighted videos: weights of one give the score, resampled counts its interval.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from stprivacy.bootstrap import scores_with_intervals

_RANGE_TOLERANCE = 1e-4  # a mean of float32 softmax outputs may pass 1 by rounding


class MetricError(ValueError):
    """The predictions or labels handed over have no score; the message says why and what to do."""


def action_scores(probabilities: Tensor, labels: Tensor, *, bootstrap: int = 1000, seed: int = 0) -> dict[str, float]:
    """Top-1 accuracy of action recognition, in %, over videos.

    Args:
        probabilities: [n classes] in [0, 1], one row a video (the mean over its test views).
        labels: [n] class indices.
        bootstrap: resamples of the videos behind the 95 % percentile interval.
        seed: of the resamples; scores made with the same seed and n share them.

    Returns: `action_top1` with `_low` and `_high`, and `floor_action_top1`: what the best constant answer scores,
        the share of the most frequent class among `labels`.
    Raises: MetricError: shapes that do not match, values outside their range, no video.
    """
    _check_probabilities(probabilities, "action", ("videos", "classes"))
    classes = probabilities.shape[1]
    if labels.shape != probabilities.shape[:1]:
        raise MetricError(f"action labels must be [{len(probabilities)}], one a video, got {list(labels.shape)}")
    if labels.is_floating_point() or labels.min() < 0 or labels.max() >= classes:
        raise MetricError(f"action labels must be whole numbers in 0..{classes - 1}, the classes of the probabilities")
    _check_settings(bootstrap)
    correct = (probabilities.argmax(1) == labels).double().cpu()

    def score(weights: Tensor) -> dict[str, Tensor]:
        return {"action_top1": 100 * (weights @ correct) / weights.sum(1)}

    scores = scores_with_intervals(score, len(correct), bootstrap, seed)
    return scores | {"floor_action_top1": 100 * torch.bincount(labels.cpu()).max().item() / len(correct)}


def privacy_scores(
    probabilities: Tensor,
    labels: Tensor,
    attribute_names: Sequence[str],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    f1_threshold: float = 0.5,
) -> dict[str, float]:
    """How well the private attributes are read off the videos: class-wise means, and each attribute's AP.

    In a resample where all videos of an attribute have the same label that attribute has no score: it is left out
    of the resample's mean over attributes, and out of its own interval.

    Args:
        probabilities: [n p] in [0, 1], sigmoid outputs.
        labels: [n p] in {0, 1}.
        attribute_names: the p attributes, in column order.
        bootstrap, seed: as for `action_scores`.
        f1_threshold: an attribute counts as read from this probability on (F1 and balanced accuracy). Public code
            of this field compares raw logits with .5, which is a probability of .622: give that to compare with it.

    Returns: `privacy_cmap` (%), `privacy_ap_<attribute>` (%), `privacy_f1`, `privacy_auc` and
        `privacy_balanced_accuracy` (decimals), each with `_low` and `_high`; `floor_privacy_cmap`, the AP of
        ignorance, which is the mean prevalence (%), and `floor_privacy_ap_<attribute>`, each one's prevalence;
        `floor_privacy_f1`, the F1 of always answering yes.
    Raises: MetricError: shapes that do not match, values outside their range, an attribute with one class only.
    """
    _check_privacy(probabilities, labels, attribute_names)
    _check_settings(bootstrap, f1_threshold)
    predicted, truth = probabilities.double().cpu(), labels.double().cpu()

    def score(weights: Tensor) -> dict[str, Tensor]:
        return _privacy_measures(weights, predicted, truth, attribute_names, f1_threshold)

    scores = scores_with_intervals(score, len(truth), bootstrap, seed)
    undefined = next((key for key, value in scores.items() if value != value), None)
    if undefined is not None:
        raise MetricError(f"no resample holds both classes for {undefined}: set bootstrap above {bootstrap}")
    return scores | _privacy_floors(truth.mean(0), attribute_names)


def _privacy_measures(
    weights: Tensor, predicted: Tensor, truth: Tensor, attribute_names: Sequence[str], f1_threshold: float
) -> dict[str, Tensor]:
    """All privacy scores of r weightings: [r n] -> named [r]; NaN where no attribute has both classes."""
    ranked = [_ranked_measures(weights, predicted[:, i], truth[:, i]) for i in range(len(attribute_names))]
    precision = 100 * torch.stack([ap for ap, _ in ranked], 1)  # r p
    auc = torch.stack([auc for _, auc in ranked], 1)  # r p
    f1, balanced = _thresholded_measures(weights, (predicted >= f1_threshold).double(), truth)
    return {
        "privacy_cmap": precision.nanmean(1),
        "privacy_f1": f1.nanmean(1),
        "privacy_auc": auc.nanmean(1),
        "privacy_balanced_accuracy": balanced.nanmean(1),
        **{f"privacy_ap_{name}": precision[:, i] for i, name in enumerate(attribute_names)},
    }


def _ranked_measures(weights: Tensor, predicted: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """AP and AUC [r] of one attribute under weights [r n]; videos of equal probability share one threshold.

    AP is the step-wise sum of precision over recall gained (no interpolation), AUC the trapezoid under the ROC.
    """
    order = predicted.argsort(descending=True)
    last_of_tie = [*(predicted[order].diff() != 0).nonzero().flatten().tolist(), len(order) - 1]
    hits = (weights * truth)[:, order].cumsum(1)[:, last_of_tie]  # r thresholds
    false_alarms = (weights * (1 - truth))[:, order].cumsum(1)[:, last_of_tie]
    positives, negatives = hits[:, -1], false_alarms[:, -1]
    start = torch.zeros_like(hits[:, :1])
    gained = hits.diff(dim=1, prepend=start)
    # A threshold above every drawn video has no precision, and gains no recall either.
    precision = hits / (hits + false_alarms).clamp(min=1)
    average_precision = (gained * precision).sum(1) / positives
    below = (hits - gained / 2) * false_alarms.diff(dim=1, prepend=start)
    auc = below.sum(1) / (positives * negatives)
    return torch.where(negatives > 0, average_precision, torch.nan), auc


def _thresholded_measures(weights: Tensor, answers: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """F1 of "yes" and balanced accuracy, both [r p], of answers [n p] in {0, 1} under weights [r n]."""
    hits = weights @ (answers * truth)
    false_alarms = weights @ (answers * (1 - truth))
    positives, negatives = weights @ truth, weights @ (1 - truth)
    f1 = 2 * hits / (hits + false_alarms + positives)
    balanced = (hits / positives + 1 - false_alarms / negatives) / 2
    return torch.where((positives > 0) & (negatives > 0), f1, torch.nan), balanced


def _privacy_floors(prevalence: Tensor, attribute_names: Sequence[str]) -> dict[str, float]:
    """What answers that know nothing of the video score, from the prevalence [p] of each attribute."""
    return {
        "floor_privacy_cmap": 100 * prevalence.mean().item(),
        "floor_privacy_f1": (2 * prevalence / (1 + prevalence)).mean().item(),
        **{f"floor_privacy_ap_{name}": 100 * prevalence[i].item() for i, name in enumerate(attribute_names)},
    }


def _check_probabilities(probabilities: Tensor, what: str, axes: tuple[str, str]) -> None:
    if probabilities.ndim != 2 or 0 in probabilities.shape:
        raise MetricError(f"{what} probabilities must be [{axes[0]} {axes[1]}], got {list(probabilities.shape)}")
    broken = (~probabilities.isfinite()).any(1).nonzero().flatten().tolist()
    if broken:
        raise MetricError(f"{what} probabilities of {len(broken)} videos are not finite, the first in row {broken[0]}")
    low, high = probabilities.min().item(), probabilities.max().item()
    if low < -_RANGE_TOLERANCE or high > 1 + _RANGE_TOLERANCE:
        raise MetricError(f"{what} probabilities must be in [0, 1], got {low:g}..{high:g}; hand over no logits")


def _check_privacy(probabilities: Tensor, labels: Tensor, attribute_names: Sequence[str]) -> None:
    _check_probabilities(probabilities, "privacy", ("videos", "attributes"))
    if labels.shape != probabilities.shape or probabilities.shape[1] != len(attribute_names):
        raise MetricError(
            f"privacy probabilities {list(probabilities.shape)} and labels {list(labels.shape)} must both be "
            f"[videos {len(attribute_names)}], a column for each of {', '.join(attribute_names)}"
        )
    if not ((labels == 0) | (labels == 1)).all():
        raise MetricError("privacy labels must be 0 or 1")
    for name, positives in zip(attribute_names, labels.sum(0).tolist(), strict=True):
        if positives in (0, len(labels)):
            raise MetricError(
                f"all {len(labels)} test videos have {name} = {int(positives > 0)}: AP and AUC need both classes; "
                f"add videos of the other class to the test split or leave {name} out"
            )


def _check_settings(bootstrap: int, f1_threshold: float = 0.5) -> None:
    if bootstrap < 1:
        raise MetricError(f"bootstrap must be 1 resample or more, got {bootstrap}")
    if not 0 < f1_threshold < 1:
        raise MetricError(f"f1_threshold must be a probability in (0, 1), got {f1_threshold}")
