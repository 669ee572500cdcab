"""What the charts say, in a sentence each, worked out from their numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import pandas as pd

from pipelines.reports.masks import KeepMap

AFFORDABLE = 5.0  # points of top-1 that a row may lose against raw to be called as good for the action


def about_hypervolume(volumes: Mapping[str, Sequence[float]], intervals: Mapping[str, tuple[float, float]]) -> str:
    """The row with the largest hypervolume and the next, and whether their intervals tell them apart."""
    best = sorted((label for label in volumes if label != "raw"), key=lambda label: -mean(volumes[label]))[:2]
    if not best:
        return "No row but raw: there is no front to compare."
    parts = [f"{x} ({mean(volumes[x]):.3f} [{intervals[x][0]:.3f}, {intervals[x][1]:.3f}])" for x in best]
    sentence = "Largest hypervolume: " + ", then ".join(parts)
    if len(best) == 1:
        return f"{sentence}."
    apart = intervals[best[0]][0] > intervals[best[1]][1]
    seeds = min(len(volumes[label]) for label in best)
    return f"{sentence}; their intervals {'do not ' if apart else ''}overlap ({seeds} seed{'s' if seeds > 1 else ''})."


def about_trade_off(table: pd.DataFrame) -> str:
    """Which row leaves least to read among those that are as good for the action as raw, within `AFFORDABLE`."""
    lines = table.to_dict("records")
    raw = next((line for line in lines if line["anonymizer"] == "raw"), None)
    if raw is None:
        least = min(lines, key=lambda line: line["privacy_cmap"])
        return f"{_name(least, lines)} leaves least to read: {_cmap(least)}, with {least['action_top1']:.1f} % top-1."
    bound = f"at most {AFFORDABLE:g} points of raw's {raw['action_top1']:.1f} % top-1"
    rows = [x for x in lines if x is not raw and x["action_top1"] >= raw["action_top1"] - AFFORDABLE]
    if len(lines) == 1:
        return f"Only raw: {_cmap(raw)}, with {raw['action_top1']:.1f} % top-1."
    if not rows:
        nearest = max(lines, key=lambda x: (x is not raw, x["action_top1"]))
        return f"No row loses {bound}; the nearest is {_name(nearest, lines)} {nearest['action_top1']:.1f} %."
    least = min(rows, key=lambda line: line["privacy_cmap"])
    apart = least["privacy_cmap_high"] < raw["privacy_cmap_low"]
    return (
        f"Of the rows that lose {bound}, {_name(least, lines)} leaves least to read: {_cmap(least)}, raw {_cmap(raw)}; "
        f"the intervals {'do not ' if apart else ''}overlap."
    )


def about_attackers(attacks: pd.DataFrame) -> str:
    """Which attackers are the strongest on how many lines."""
    values = attacks.drop(columns=["anonymizer", "keep ratio"]).astype(float)
    if values.shape[1] == 1:
        return f"One attacker, {values.columns[0]}: a stronger one may read more."
    strongest = Counter(values.idxmax(axis=1)).most_common(3)
    parts = [f"{name} on {count}" for name, count in strongest]
    return f"The strongest single attacker of {len(values)} lines: {', '.join(parts)}."


def about_masks(maps: Sequence[KeepMap]) -> str:
    """Which row prefers the person most."""
    most = max(maps, key=lambda one: one.on_person - one.on_background)
    kept = (
        f"{100 * most.on_person:.0f} % of the tubelets on a person and {100 * most.on_background:.0f} % of the others"
    )
    return f"{most.label} prefers the person most: it keeps {kept}."


def _name(line: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> str:
    several = sum(other["anonymizer"] == line["anonymizer"] for other in lines) > 1
    return f"{line['anonymizer']}, keeping {line['keep_ratio']:g}," if several else str(line["anonymizer"])


def _cmap(line: Mapping[str, Any]) -> str:
    return f"{line['privacy_cmap']:.1f} % cMAP [{line['privacy_cmap_low']:.1f}, {line['privacy_cmap_high']:.1f}]"
