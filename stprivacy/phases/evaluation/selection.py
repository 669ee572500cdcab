"""Which attacker is believed on which attribute: chosen on validation videos, never on test videos."""

from collections.abc import Callable, Sequence

import torch

from stprivacy.metrics.ranking import average_precisions
from stprivacy.metrics.scores import MetricError
from stprivacy.phases.evaluation.predictions import Predictions


def choose_attackers(
    validation: Predictions, attribute_names: Sequence[str], tell: Callable[[str], None]
) -> tuple[list[str], dict[str, float]]:
    """For each attribute the attacker with the highest AP on the validation videos; of equals, the first.

    An attribute whose label is the same in all of them has no AP there: that is reported, and it gets the attacker with
    the highest validation cMAP over the others.
    Returns: the names, one an attribute; and `validation_videos`, and `validation_privacy_cmap_<attacker>` of each (%).
    Raises: MetricError: no attribute has both labels.
    """
    names = list(validation.attacks)
    precision = torch.stack([average_precisions(attack, validation.privacy) for attack in validation.attacks.values()])
    undecided = precision[0].isnan()  # a matter of the labels: the same for all attackers
    videos = len(validation.action)
    if undecided.all():
        raise MetricError(
            f"all {videos} validation videos have the same label in each attribute, so no attacker can be chosen: "
            "set validation_share higher"
        )
    means = precision.nanmean(1)
    chosen = precision.nan_to_num(-1.0).argmax(0).where(~undecided, means.argmax())
    if undecided.any():
        listed = [name for name, unknown in zip(attribute_names, undecided.tolist(), strict=True) if unknown]
        tell(
            f"all {videos} validation videos have the same label for {_short(listed)}: the attacker with the highest "
            f"validation cMAP over the other attributes, {names[int(means.argmax())]}, is taken for that"
        )
    scores = {f"validation_privacy_cmap_{name}": 100 * mean for name, mean in zip(names, means.tolist(), strict=True)}
    return [names[i] for i in chosen.tolist()], {"validation_videos": float(videos)} | scores


def _short(names: Sequence[str], shown: int = 8) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
