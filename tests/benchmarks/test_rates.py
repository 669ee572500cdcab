"""The search of rates: all anonymizers alike, and each from one initialisation."""

from pathlib import Path

from benchmarks.rates import _search, table
from pipelines.recipes.named import RECIPES


def test_rates_differ_in_nothing_but_the_rate(tmp_path: Path) -> None:
    for name in ("vita", "stprivacy"):
        runs = list(_search(RECIPES["demo"](), tmp_path / "data", tmp_path / name, name, (0.1, 0.5)))
        assert [run.config["phase"] for run in runs] == ["init", *2 * ["adversarial", "evaluate"]]
        slow, fast = runs[1].config, runs[3].config
        assert (slow["train"]["anonymizer_rate_scale"], fast["train"]["anonymizer_rate_scale"]) == (0.1, 0.5)
        own = {"anonymizer_rate_scale": 0}
        assert slow | {"train": slow["train"] | own} == fast | {"train": fast["train"] | own}
        assert slow["from_run"] == str(runs[0].folder)
        assert [runs[i].config["from_run"] for i in (2, 4)] == [str(runs[i].folder) for i in (1, 3)]


def test_hypervolumes_stand_beside_the_scores() -> None:
    floors = {"seed": 0, "floor_action_top1": 10.0, "floor_privacy_cmap": 50.0}
    raw = floors | {"label": "raw", "action_top1": 90.0, "privacy_cmap": 90.0}
    slow = floors | {"label": "vita, 0.1", "action_top1": 50.0, "privacy_cmap": 70.0}
    assert table([raw, slow]).splitlines()[2:] == [
        "| raw | 90.0 | 90.0 | 0.000 |",
        "| vita, 0.1 | 50.0 | 70.0 | 0.250 |",
    ]
