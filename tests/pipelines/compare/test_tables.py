"""Tables of evaluations against hand-worked numbers, on paper and on a terminal."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.compare.tables import hypervolumes, notes, numbers, print_tables, tables, write_tables
from stprivacy.metrics.scores import action_scores, privacy_scores


def cell(label: str, seed: int, top1: float, cmap: float, ratio: float = 1.0) -> dict[str, Any]:
    scores = {"action_top1": top1, "privacy_cmap": cmap}
    scores |= {"privacy_f1": 0.6, "privacy_auc": 0.7, "privacy_balanced_accuracy": 0.65}
    bounds = {f"{key}_{end}": value + sign for key, value in scores.items() for end, sign in (("low", -1), ("high", 1))}
    floors = {"floor_action_top1": 10.0, "floor_privacy_cmap": 50.0, "floor_privacy_f1": 0.667}
    about = {"label": label, "seed": seed, "protocol": "known", "deploy_keep_ratio": ratio, "attacker": "face=pooled"}
    return about | scores | bounds | floors | {"privacy_cmap_pooled": cmap, "privacy_cmap_mask": 50.0}


CELLS = [
    cell("raw", 0, 90.0, 80.0),
    cell("ours", 0, 70.0, 60.0, 0.7),
    cell("ours", 0, 50.0, 55.0, 0.5),
    cell("raw", 1, 80.0, 90.0),
    cell("ours", 1, 80.0, 70.0, 0.7),
    cell("ours", 1, 45.0, 75.0, 0.5),
]


def test_hypervolumes_by_hand() -> None:
    # Seed 0: from (10, 80), 60 x 20 and, below it, 40 x 5 more, of 80 x 30. Seed 1: 70 x 20 of 70 x 40.
    volumes = hypervolumes(CELLS)
    assert volumes["raw"] == [0.0, 0.0]
    assert volumes["ours"] == pytest.approx([(60 * 20 + 40 * 5) / (80 * 30), 0.5])
    # With seed 0's points at (69, 61) and (49, 56), and at (71, 59) and (51, 54); the raw point stays.
    assert hypervolumes(CELLS, "worst")["ours"][0] == pytest.approx((59 * 19 + 39 * 5) / (80 * 30))
    assert hypervolumes(CELLS, "best")["ours"][0] == pytest.approx((61 * 21 + 41 * 5) / (80 * 30))
    assert hypervolumes(CELLS, "best")["raw"] == [0.0, 0.0]


def test_tables_give_means_deviations_and_floors(tmp_path: Path) -> None:
    table = numbers(CELLS)
    ours = table[(table.anonymizer == "ours") & (table.keep_ratio == 0.7)].iloc[0]
    assert (ours.seeds, ours.action_top1, ours.privacy_cmap) == (2, 75.0, 65.0)
    assert ours.action_top1_sd == pytest.approx(50**0.5)
    assert (ours.privacy_cmap_low, ours.privacy_cmap_high, ours.privacy_cmap_floor) == (64.0, 66.0, 50.0)
    files = {file.name: file for file in write_tables(tmp_path, CELLS)}
    markdown = files["table.md"].read_text()
    assert "| ours | 0.7 | 75.0 ± 7.1 [74.0, 76.0] | 65.0 ± 7.1 [64.0, 66.0] |" in markdown
    assert "| floor |  | 10.0 | 50.0 | 0.667 | 0.500 | 0.500 |  |" in markdown
    assert "| ours | 0.5 | 65.0 | 50.0 |" in markdown  # each attacker's own
    assert json.loads(files["result.json"].read_text())["cells"] == CELLS
    rows = list(csv.DictReader(files["table.csv"].open()))
    assert [(row["anonymizer"], float(row["keep_ratio"])) for row in rows] == [("raw", 1), ("ours", 0.7), ("ours", 0.5)]
    latex = files["table.tex"].read_text()
    assert r"\begin{tabular}" in latex
    assert r"top-1 \%" in latex


def with_attributes(**face: float) -> list[dict[str, Any]]:
    """Raw and ours, one seed; `face` are AP, its interval's ends and its floor."""
    ends = {f"privacy_ap_face{end}": value for end, value in face.items() if end != "floor"}
    return [row | ends | {"floor_privacy_ap_face": face["floor"]} for row in CELLS[:2]]


def test_attributes_have_their_own_table_and_floors() -> None:
    (table,) = [x for title, x in tables(with_attributes(**{"": 61.5}, _low=58.44, _high=64.6, floor=52.1)).items()
                if title == "known actions: AP % of each attribute"]  # fmt: skip
    assert table.values.tolist() == [
        ["raw", "1", "61.5 [58.4, 64.6]"],
        ["ours", "0.7", "61.5 [58.4, 64.6]"],
        ["floor", "", "52.1"],
    ]


def test_each_protocol_has_its_floor_after_its_rows(tmp_path: Path) -> None:
    unseen = [row | {"protocol": "unseen", "floor_privacy_cmap": 51.0, "label": "unseen | raw"} for row in CELLS[:1]]
    shown = tables(CELLS[:1] + unseen)
    assert [title for title in shown if ":" not in title] == ["known actions", "unseen actions"]
    assert shown["known actions"]["cMAP %"].tolist()[-1] == "50.0"
    assert shown["unseen actions"]["cMAP %"].tolist()[-1] == "51.0"
    markdown = next(file for file in write_tables(tmp_path / "new", CELLS[:1] + unseen) if file.suffix == ".md")
    assert r"| unseen \| raw | 1 |" in markdown.read_text()


def test_a_terminal_of_80_characters_shows_whole_numbers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    small = {"privacy_f1": 0.6, "privacy_auc": 0.7, "privacy_balanced_accuracy": 0.65}
    ends = {
        f"{key}_{end}": value + sign for key, value in small.items() for end, sign in (("low", -0.02), ("high", 0.02))
    }
    print_tables([row | ends | ({} if row["label"] == "raw" else {"label": "init [only]"}) for row in CELLS[:2]])
    shown = capsys.readouterr().out
    for part in ("raw", "init [only]", "70.0", "69.0-71.0", ".580-.620", ".667", ".500", "known actions", "strongest"):
        assert part in shown
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_scores_of_the_library_are_what_the_tables_take() -> None:
    labels = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]])
    scores = action_scores(torch.eye(4), torch.arange(4)) | privacy_scores(torch.rand(4, 2), labels, ["face", "nudity"])
    about = {"label": "raw", "seed": 0, "protocol": "known", "deploy_keep_ratio": 1.0, "attacker": "standard"}
    shown = tables([about | scores])
    assert shown["known actions"]["top-1 %"].tolist() == ["100.0 [100.0, 100.0]", "25.0"]
    assert shown["known actions"]["F1"].tolist()[-1] == "0.667"
    assert shown["known actions: AP % of each attribute"].values.tolist()[-1] == ["floor", "", "50.0", "50.0"]


def test_readers_learn_whether_the_attacker_was_chosen_on_the_test_videos_themselves() -> None:
    assert "strongest on validation videos" in notes(CELLS)[1]
    assert "strongest on validation videos" in notes([row | {"attacker": "pooled (9 attributes)"} for row in CELLS])[1]
    unchosen = [*CELLS, CELLS[0] | {"attacker": "pooled"}]
    assert "decided on the test split itself" in notes(unchosen)[1]
