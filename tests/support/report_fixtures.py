"""Finished evaluations as files, without any training: settings of a tiny run, and made-up scores."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.runs.config import EvaluateRun, RunBase
from pipelines.runs.folder import CONFIG, LAUNCH, RESULT, write_json
from stprivacy.plain import to_dict
from tests.support.launch_fixtures import TINY, later

EVALUATION = later(TINY, EvaluateRun, seed=0, attackers=("standard", "pooled"), validation_share=0.2)
FLOORS = {"floor_action_top1": 10.0, "floor_privacy_cmap": 50.0, "floor_privacy_f1": 0.667}


UPPER_HALF = [[[0.0, 0.0, 1.0, 0.5]]] * 16  # the box of a person in each of 16 frames


def scores(top1: float, cmap: float, f1: float = 0.6, **others: Any) -> dict[str, Any]:
    """What an evaluation gives: intervals of 2 below to 3 above, for F1 and the like .02 to .03."""
    values = {"action_top1": top1, "privacy_cmap": cmap, "privacy_cmap_standard": cmap, "privacy_cmap_pooled": cmap - 2}
    small = {"privacy_f1": f1, "privacy_auc": 0.7, "privacy_balanced_accuracy": 0.65}
    bounds = {f"{key}_low": value - 2 for key, value in values.items()}
    bounds |= {f"{key}_high": value + 3 for key, value in values.items()}
    bounds |= {f"{key}_low": value - 0.02 for key, value in small.items()}
    bounds |= {f"{key}_high": value + 0.03 for key, value in small.items()}
    return values | small | bounds | FLOORS | {"attacker": "face=standard"} | others


def write_evaluation(
    folder: Path, run: RunBase, values: Mapping[str, Any], dataset: str = "tiny", fingerprint: str = "f00d"
) -> Path:
    """A run folder as a launch leaves it behind; without `values` it is not finished."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, to_dict(run))
    write_json(folder / LAUNCH, {"launch": "abc"})
    if values:
        about = {"dataset": dataset, "data_fingerprint": fingerprint, "as_released": "no"}
        about |= {"protocol": run.protocol} if isinstance(run, EvaluateRun) else {}
        write_json(folder / RESULT, run.parameters() | about | dict(values))
    return folder
