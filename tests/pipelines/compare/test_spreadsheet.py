"""Tables that others open in a spreadsheet run nothing there."""

import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from pipelines.compare.spreadsheet import csv_text
from pipelines.compare.tables import write_tables
from pipelines.tune.front import front_csv
from tests.pipelines.compare.test_tables import CELLS

FORMULAS = ("=HYPERLINK(1)", "+cmd|' /C calc'!A0", "-2+3+cmd", "@SUM(1)", "\t=1", "\r=1", "\n=1", "\uff1d1+1")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_a_text(text: str) -> None:
    written = csv_text(pd.DataFrame([{"a": text, text: 1.5}]))
    (row,) = csv.DictReader(io.StringIO(written, newline=""))
    assert row == {"a": f"'{text}", f"'{text}": "1.5"}


def test_numbers_and_other_texts_stay_as_they_are() -> None:
    row = {"n": -1.25, "i": -3, "b": True, "s": "-0.5", "e": "+1e-3", "t": "a=b", "r": "a\r=b", "x": None}
    names, values = csv.reader(io.StringIO(csv_text(pd.DataFrame([row])), newline=""))
    assert names == list(row)
    assert values == ["-1.25", "-3", "True", "-0.5", "+1e-3", "a=b", "a\r=b", ""]
    assert csv_text(pd.DataFrame([{"n": -1.25, "i": -3}])).splitlines()[1] == "-1.25,-3"


def test_the_table_of_a_comparison_holds_no_formula(tmp_path: Path) -> None:
    cells = [cell | {"label": "=1+1"} if cell["label"] == "ours" else cell for cell in CELLS]
    write_tables(tmp_path, [cell | {"attacker": "@face=pooled"} for cell in cells])
    rows = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert [row["anonymizer"] for row in rows] == ["raw", "'=1+1", "'=1+1"]
    assert {row["attacker"] for row in rows} == {"'@face=pooled"}
    assert [float(row["action_top1"]) for row in rows] == [85, 75, 47.5]


def test_the_front_of_a_sweep_holds_no_formula() -> None:
    point = {"trial": 0, "on_front": True, "action_top1": 70.0, "privacy_auc": -0.5, "attacker": "=face=pooled"}
    (row,) = csv.DictReader(io.StringIO(front_csv([point])))
    assert row["attacker"] == "'=face=pooled"
    assert float(row["privacy_auc"]) == -0.5
