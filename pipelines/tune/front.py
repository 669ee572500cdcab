"""What a sweep found: every trial at every deployed keep ratio, and which of these points no other beats."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipelines.compare.spreadsheet import csv_text
from pipelines.tune.trials import Trial
from stprivacy.metrics.pareto import TradeOff, nearest_to_ideal, on_front, trade_off_hypervolume

SCORES = ("action_top1", "privacy_cmap", "privacy_f1", "privacy_auc", "privacy_balanced_accuracy")
FLOORS = ("floor_action_top1", "floor_privacy_cmap", "floor_privacy_f1")


def points_of(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """A point for each finished trial and deployed keep ratio: parameters, scores with intervals, whether on a front.

    `on_front` is said of top-1 and cMAP, `on_front_f1` of top-1 and F1.
    """
    points = []
    for trial in trials:
        for ratio, result in zip(trial.ratios, trial.results(), strict=False):
            points.append(
                {"trial": trial.planned.number, **trial.planned.parameters, "deploy_keep_ratio": ratio}
                | {key: result[key] for score in SCORES for key in (score, f"{score}_low", f"{score}_high")}
                | {"attacker": result["attacker"]}
            )
    for name, score in (("on_front", "privacy_cmap"), ("on_front_f1", "privacy_f1")):
        best = on_front([TradeOff(point["action_top1"], point[score]) for point in points])
        for point, chosen in zip(points, best, strict=True):
            point[name] = chosen
    return points


def summary(points: Sequence[Mapping[str, Any]], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Hypervolume, its reference point, and the knee.

    Where raw is not above the floors there is neither, and `hypervolume_missing` says why.
    """
    floors = {name: raw[name] for name in FLOORS}
    about = {"raw": {name: raw[name] for name in SCORES}, "floors": floors}
    own = TradeOff(raw["action_top1"], raw["privacy_cmap"])
    trade_offs = [TradeOff(point["action_top1"], point["privacy_cmap"]) for point in points]
    limits = {"floor_cmap": floors["floor_privacy_cmap"], "floor_top1": floors["floor_action_top1"]}
    try:
        volume = trade_off_hypervolume(trade_offs, own, **limits)
        knee = nearest_to_ideal(trade_offs, own, **limits) if points else None
    except ValueError as error:
        return about | {"hypervolume": None, "hypervolume_missing": str(error), "knee": None}
    reference = {"action_top1": floors["floor_action_top1"], "privacy_cmap": raw["privacy_cmap"]}
    named = None if knee is None else {name: points[knee][name] for name in ("trial", "deploy_keep_ratio")}
    return about | {"hypervolume": volume, "hypervolume_reference": reference, "knee": named}


def front_csv(points: Sequence[Mapping[str, Any]]) -> str:
    """The points as the text of front.csv, those on the front first, then by top-1."""
    table = pd.DataFrame(points)
    if not table.empty:
        table = table.sort_values(["on_front", "action_top1", "trial"], ascending=[False, False, True])
    return csv_text(table)
