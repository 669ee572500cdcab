"""Scores of the attackers on the test split: top-1, class-wise AP, F1 and AUC, their floors and 95 % intervals.

Every measure is written once, for weighted rows: weights of one give the score, resampled counts its interval.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from stprivacy.metrics.bootstrap import scores_with_intervals
from stprivacy.metrics.ranking import Measures, measures, rank

_RANGE_TOLERANCE = 1e-4  # a mean of float32 softmax outputs may pass 1 by rounding
_OWN_KEYS = ("action", "privacy")  # whose `_cmap` and floor are taken, so no group may be called so


class MetricError(ValueError):
    """The predictions or labels handed over have no score; the message says why and what to do."""


def action_scores(probabilities: Tensor, labels: Tensor, *, bootstrap: int = 1000, seed: int = 0) -> dict[str, float]:
    """How well actions are recognized, in %, over videos: top-1 for one action a video, cMAP for several.

    A class that no test video shows, or every one, has no AP and is left out of the cMAP (the published practice on
    P-HVU, whose 739 actions do not all occur in validation); in a resample likewise.

    Args:
        probabilities: [n classes] in [0, 1], one row a video (the mean over its test views).
        labels: [n] class indices, or [n classes] in {0, 1} where a video may show several actions.
        bootstrap: resamples of the videos behind the 95 % percentile interval.
        seed: of the resamples; scores made with the same seed and n share them.

    Returns: for class indices `action_top1` with `_low` and `_high`, and `floor_action_top1`: what the best constant
        answer scores, the share of the most frequent class among `labels`. For several actions `action_cmap` with
        `_low` and `_high`, `floor_action_cmap`: the mean prevalence of the scored classes, and `action_classes`:
        how many were scored.
    Raises: MetricError: shapes that do not match, values outside their range, no video, no class to score.
    """
    _check_probabilities(probabilities, "action", ("videos", "classes"))
    _check_settings(bootstrap)
    if labels.ndim == 2:
        return _multilabel_action_scores(probabilities, labels, bootstrap, seed)
    videos, classes = probabilities.shape
    if labels.shape != (videos,):
        raise MetricError(f"action labels must be [{videos}], one a video, got {list(labels.shape)}")
    if labels.is_floating_point() or labels.min() < 0 or labels.max() >= classes:
        raise MetricError(f"action labels must be whole numbers in 0..{classes - 1}, the classes of the probabilities")
    correct = (probabilities.argmax(1) == labels).double().cpu()

    def score(weights: Tensor) -> dict[str, Tensor]:
        return {"action_top1": 100 * (weights @ correct) / weights.sum(1)}

    scores = scores_with_intervals(score, torch.arange(len(correct)), bootstrap, seed)
    return scores | {"floor_action_top1": 100 * torch.bincount(labels.cpu()).max().item() / len(correct)}


def privacy_scores(
    probabilities: Tensor,
    labels: Tensor,
    attribute_names: Sequence[str],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    f1_threshold: float = 0.5,
    video: Tensor | None = None,
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
        video: [n] whole numbers, the video that each row is a frame of; by default each row is its own video.
            Scores are over rows; intervals resample videos, all rows of one together, as they are not independent.

    Returns: `privacy_cmap` (%), `privacy_ap_<attribute>` (%), `privacy_f1`, `privacy_auc` and
        `privacy_balanced_accuracy` (decimals), each with `_low` and `_high`; `floor_privacy_cmap`, the AP of
        ignorance, which is the mean prevalence (%), and `floor_privacy_ap_<attribute>`, each one's prevalence;
        `floor_privacy_f1`, the F1 of always answering yes.
    Raises: MetricError: shapes that do not match, values outside their range, an attribute with one class only.
    """
    _check_privacy(probabilities, labels, attribute_names)
    _check_settings(bootstrap, f1_threshold)
    video = _video_of_rows(video, len(labels))
    named = partial(_privacy_means, attribute_names=attribute_names)
    scores = _class_wise_scores(named, probabilities, labels, video, bootstrap, seed, f1_threshold)
    return scores | _privacy_floors(_prevalence(labels), attribute_names)


def group_scores(
    probabilities: Tensor,
    labels: Tensor,
    groups: Mapping[str, Sequence[int]],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    f1_threshold: float = 0.5,
) -> dict[str, float]:
    """How well groups of many private labels (objects, scenes) are read off the videos: one cMAP a group.

    A column with the same label in all test videos has no AP and is left out of every mean; in a resample likewise.

    Args:
        probabilities: [n p] in [0, 1], sigmoid outputs.
        labels: [n p] in {0, 1}.
        groups: the columns of each named group, in any order; groups may share columns.
        bootstrap, seed, f1_threshold: as for `privacy_scores`.

    Returns: for each group g `<g>_cmap` (%) with `_low` and `_high`, `floor_<g>_cmap` (%), its mean prevalence, and
        `<g>_classes`, how many of its columns were scored. Over all p columns together `privacy_cmap` (%),
        `privacy_f1`, `privacy_auc` and `privacy_balanced_accuracy` (decimals) with `_low` and `_high`,
        `floor_privacy_cmap`, `floor_privacy_f1` and `privacy_classes`.
    Raises: MetricError: shapes that do not match, values outside their range, a group that names a column twice or
        one that is not there, that has no column to score, or whose keys would be those of another score.
    """
    _check_probabilities(probabilities, "privacy", ("videos", "labels"))
    _check_multi_hot(probabilities, labels, "privacy")
    _check_settings(bootstrap, f1_threshold)
    _check_groups(groups, probabilities.shape[1])
    columns_of = {group: torch.tensor(list(columns), dtype=torch.long) for group, columns in groups.items()}
    floors = _group_floors(_prevalence(labels), columns_of, len(labels))

    def named(columns: Measures) -> dict[str, Tensor]:
        precision = columns.average_precision
        means = {f"{group}_cmap": 100 * precision[:, of_group].nanmean(1) for group, of_group in columns_of.items()}
        return _privacy_means(columns) | means

    video = torch.arange(len(labels))
    return _class_wise_scores(named, probabilities, labels, video, bootstrap, seed, f1_threshold) | floors


def _multilabel_action_scores(probabilities: Tensor, labels: Tensor, bootstrap: int, seed: int) -> dict[str, float]:
    """What `action_scores` returns for labels [n classes]."""
    _check_multi_hot(probabilities, labels, "action")
    floors = _average_precision_floor("action", _prevalence(labels), len(labels))

    def named(columns: Measures) -> dict[str, Tensor]:
        return {"action_cmap": 100 * columns.average_precision.nanmean(1)}

    return _class_wise_scores(named, probabilities, labels, torch.arange(len(labels)), bootstrap, seed) | floors


def _class_wise_scores(
    named: Callable[[Measures], dict[str, Tensor]],
    probabilities: Tensor,
    labels: Tensor,
    video: Tensor,
    bootstrap: int,
    seed: int,
    f1_threshold: float = 0.5,
) -> dict[str, float]:
    """Scores with intervals: `named` turns the measures [r p] of the columns into scores [r], NaN where undefined."""
    predicted, truth = probabilities.cpu(), labels.cpu()
    rankings = [rank(predicted[:, i], truth[:, i], f1_threshold) for i in range(truth.shape[1])]
    scores = scores_with_intervals(lambda weights: named(measures(rankings, weights)), video, bootstrap, seed)
    undefined = next((key for key, value in scores.items() if value != value), None)
    if undefined is not None:
        raise MetricError(f"no resample holds both classes for {undefined}: set bootstrap above {bootstrap}")
    return scores


def _privacy_means(columns: Measures, attribute_names: Sequence[str] = ()) -> dict[str, Tensor]:
    """Means [r] over the columns that have both classes in a resample, and the AP of each named column."""
    return {
        "privacy_cmap": 100 * columns.average_precision.nanmean(1),
        "privacy_f1": columns.f1.nanmean(1),
        "privacy_auc": columns.auc.nanmean(1),
        "privacy_balanced_accuracy": columns.balanced_accuracy.nanmean(1),
        **{f"privacy_ap_{name}": 100 * columns.average_precision[:, i] for i, name in enumerate(attribute_names)},
    }


def _prevalence(labels: Tensor) -> Tensor:
    """Share of ones in each column [p], which is the AP of ignorance; NaN for a column with one class only."""
    share = labels.double().cpu().mean(0)
    return share.where((share > 0) & (share < 1), torch.nan)


def _scored_columns(prevalence: Tensor) -> int:
    return int((~prevalence.isnan()).sum())


def _average_precision_floor(name: str, prevalence: Tensor, videos: int) -> dict[str, float]:
    """Mean prevalence in % and number of the columns that have both classes, of which there must be one."""
    scored = _scored_columns(prevalence)
    if scored == 0:
        raise MetricError(
            f"all {videos} test videos have the same label in each of the {len(prevalence)} columns of {name}: "
            "AP needs both classes in one column at least; add videos to the test split"
        )
    return {f"floor_{name}_cmap": 100 * prevalence.nanmean().item(), f"{name}_classes": scored}


def _group_floors(prevalence: Tensor, columns_of: Mapping[str, Tensor], videos: int) -> dict[str, float]:
    """Floors and numbers of scored columns of all columns together and of each group."""
    floors = _privacy_floors(prevalence) | {"privacy_classes": _scored_columns(prevalence)}
    for group, columns in columns_of.items():
        floors |= _average_precision_floor(group, prevalence[columns], videos)
    return floors


def _privacy_floors(prevalence: Tensor, attribute_names: Sequence[str] = ()) -> dict[str, float]:
    """What answers that know nothing of the video score, from the prevalence [p] of each column."""
    return {
        "floor_privacy_cmap": 100 * prevalence.nanmean().item(),
        "floor_privacy_f1": (2 * prevalence / (1 + prevalence)).nanmean().item(),
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


def _check_multi_hot(probabilities: Tensor, labels: Tensor, what: str) -> None:
    if labels.shape != probabilities.shape:
        raise MetricError(
            f"{what} labels must be {list(probabilities.shape)} as the probabilities, got {list(labels.shape)}"
        )
    _check_zero_one(labels, what)


def _check_zero_one(labels: Tensor, what: str) -> None:
    if not ((labels == 0) | (labels == 1)).all():
        raise MetricError(f"{what} labels must be 0 or 1")


def _check_privacy(probabilities: Tensor, labels: Tensor, attribute_names: Sequence[str]) -> None:
    _check_probabilities(probabilities, "privacy", ("videos", "attributes"))
    if labels.shape != probabilities.shape or probabilities.shape[1] != len(attribute_names):
        raise MetricError(
            f"privacy probabilities {list(probabilities.shape)} and labels {list(labels.shape)} must both be "
            f"[videos {len(attribute_names)}], a column for each of {', '.join(attribute_names)}"
        )
    _check_zero_one(labels, "privacy")
    for name, positives in zip(attribute_names, labels.sum(0).tolist(), strict=True):
        if positives in (0, len(labels)):
            raise MetricError(
                f"all {len(labels)} test videos have {name} = {int(positives > 0)}: AP and AUC need both classes; "
                f"add videos of the other class to the test split or leave {name} out"
            )


def _video_of_rows(video: Tensor | None, rows: int) -> Tensor:
    """The checked video [n] of each row; its own where none is given."""
    video = torch.arange(rows) if video is None else video
    if video.shape != (rows,) or video.is_floating_point():
        raise MetricError(
            f"video must be [{rows}] whole numbers, the video of each row, got {list(video.shape)} {video.dtype}"
        )
    return video


def _check_groups(groups: Mapping[str, Sequence[int]], columns: int) -> None:
    if not groups:
        raise MetricError("groups is empty: name at least one group of columns")
    for group, members in groups.items():
        if group in _OWN_KEYS or group.startswith("floor_"):
            raise MetricError(f"a group may not be called {group}: its keys are those of other scores")
        seen: set[int] = set()
        for column in members:
            if column in seen or not 0 <= column < columns:
                reason = "is named twice" if column in seen else f"is not in 0..{columns - 1}"
                raise MetricError(
                    f"column {column} of group {group} {reason}: a group lists columns of the labels once"
                )
            seen.add(column)


def _check_settings(bootstrap: int, f1_threshold: float = 0.5) -> None:
    if bootstrap < 1:
        raise MetricError(f"bootstrap must be 1 resample or more, got {bootstrap}")
    if not 0 < f1_threshold < 1:
        raise MetricError(f"f1_threshold must be a probability in (0, 1), got {f1_threshold}")
