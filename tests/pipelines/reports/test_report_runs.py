"""Runs below a folder: which are found, which may stand in one chart, and what is said of the others."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.reports.runs import find_runs
from pipelines.runs.config import AdversarialRun
from stprivacy.config import OptimConfig
from tests.support.launch_fixtures import later
from tests.support.report_fixtures import EVALUATION, scores, write_evaluation

RAW = replace(EVALUATION, anonymizer="raw", label="raw", deploy_keep_ratio=1.0, data="/data/a")
OURS = replace(RAW, anonymizer="stprivacy", label="stprivacy", deploy_keep_ratio=0.7)


def test_rows_seeds_and_keep_ratios_of_one_comparison_are_one_section(tmp_path: Path) -> None:
    for seed in (0, 1):
        for ratio in (0.5, 0.7):
            run = replace(OURS, seed=seed, deploy_keep_ratio=ratio)
            write_evaluation(tmp_path / f"seed-{seed}/stprivacy/evaluate-{ratio}", run, scores(70, 60))
        write_evaluation(tmp_path / f"seed-{seed}/raw/evaluate-known", replace(RAW, seed=seed), scores(80, 75))
    (section,), left_out = find_runs(tmp_path)
    assert (section.title, section.labels, section.seeds) == ("Known actions, tiny", ["raw", "stprivacy"], [0, 1])
    assert [(cell["label"], cell["deploy_keep_ratio"], cell["seed"]) for cell in section.cells] == [
        ("raw", 1, 0), ("raw", 1, 1), ("stprivacy", 0.7, 0), ("stprivacy", 0.7, 1), ("stprivacy", 0.5, 0),
        ("stprivacy", 0.5, 1),
    ]  # fmt: skip
    assert left_out == []
    assert [(one.label, one.run.seed, one.run.deploy_keep_ratio) for one in section.shown()] == [
        ("raw", 0, 1.0),
        ("stprivacy", 0, 0.7),  # the keep ratio that the model was trained for
    ]


def test_results_of_other_protocols_data_attackers_or_settings_are_never_in_one_section(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "a", RAW, scores(80, 75))
    write_evaluation(tmp_path / "b", replace(RAW, protocol="unseen"), scores(80, 75), "tiny-b", "beef")
    write_evaluation(tmp_path / "c", replace(RAW, attackers=("pooled",)), scores(80, 75))
    released = replace(RAW, as_released=True)
    write_evaluation(tmp_path / "d", released, scores(80, 75, as_released="h264 crf 23"))
    faster = replace(RAW.train, optim=OptimConfig(learning_rate=0.2))
    write_evaluation(tmp_path / "e", replace(RAW, train=faster), scores(80, 75))
    write_evaluation(tmp_path / "f", RAW, scores(80, 75), fingerprint="beef")
    sections, _ = find_runs(tmp_path)
    assert [len(section.evaluations) for section in sections] == [1] * 6
    titles = [section.title for section in sections]
    assert len(set(titles)) == 6
    assert titles[-1] == "Unseen actions, tiny-b"
    assert "Known actions, tiny, as released (h264 crf 23)" in titles
    assert any("attackers pooled" in title for title in titles)
    assert any("learning rate 0.2" in title for title in titles)


def test_what_does_not_change_a_result_does_not_keep_runs_apart(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "a", RAW, scores(80, 75))
    often = replace(RAW.train, checkpoint_every_steps=1, accumulate_steps=3)
    write_evaluation(tmp_path / "b", replace(OURS, train=often, recipe="paper", prefetch_batches=0), scores(70, 60))
    (section,), _ = find_runs(tmp_path)
    assert section.labels == ["raw", "stprivacy"]
    assert section.recipes == ["paper", "tiny"]


def test_two_results_for_one_point_are_not_taken_for_seeds(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_evaluation(tmp_path / name / "seed-0/raw/evaluate-known", RAW, scores(80, 75))
        write_evaluation(tmp_path / name / "seed-0/stprivacy/evaluate-known", OURS, scores(70, 60))
    sections, _ = find_runs(tmp_path)
    assert [section.labels for section in sections] == [["raw", "stprivacy"]] * 2
    assert [Path(section.title.rsplit("in ")[-1]).name for section in sections] == ["one", "two"]
    assert not sections[0].same_rows_elsewhere(replace(sections[1], settings={}))


def test_two_results_for_one_point_in_one_folder_are_rows_of_their_own(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "evaluate-raw", RAW, scores(80, 75))
    write_evaluation(tmp_path / "evaluate-stprivacy", OURS, scores(70, 60))
    write_evaluation(tmp_path / "evaluate-stprivacy-2", OURS, scores(71, 61))
    (section,), _ = find_runs(tmp_path)
    assert section.labels == ["raw", "stprivacy", "stprivacy (evaluate-stprivacy-2)"]


def test_unfinished_and_unusable_runs_are_named_with_the_reason(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "a", RAW, scores(80, 75))
    write_evaluation(tmp_path / "b", OURS, {})
    write_evaluation(tmp_path / "c", later(OURS, AdversarialRun), {})
    write_evaluation(tmp_path / "d", later(OURS, AdversarialRun), {"kept": 0.3})
    write_evaluation(tmp_path / "e", replace(OURS, protocol="ospar"), {"privacy_cmap": 50.0, "seed": 0})
    broken = write_evaluation(tmp_path / "f", OURS, scores(70, 60))
    (broken / "result.json").write_text("{")
    copy = write_evaluation(tmp_path / "mlartifacts/0/artifacts", OURS, {})
    (copy / "launch.json").unlink()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/config.json").write_text('{"hidden_size": 768}')
    (section,), left_out = find_runs(tmp_path)
    assert section.labels == ["raw"]
    reasons = {one.folder.name: one.why for one in left_out}
    assert reasons["b"] == "evaluate, not finished"
    assert reasons["c"] == "adversarial, not finished"
    assert reasons["e"] == "protocol ospar: its result has no action_top1, which the charts show"
    assert reasons["f"].startswith("unreadable: ")
    assert sorted(reasons) == ["b", "c", "e", "f"]


def test_a_setting_that_this_version_does_not_know_is_told(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "a", RAW, scores(80, 75))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"colour": "red"}))
    with pytest.raises(ValueError, match=r"1 unfinished or unusable runs; .*/a: unreadable: unknown setting colour"):
        find_runs(tmp_path)


def test_a_folder_without_finished_evaluations_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone is not a folder: give --runs the --out of jobs/compare.py"):
        find_runs(tmp_path / "gone")
    write_evaluation(tmp_path / "b", OURS, {})
    expected = r"no finished evaluation: .* result.json .*/b: evaluate, not finished.*Run jobs/compare.py"
    with pytest.raises(ValueError, match=expected):
        find_runs(tmp_path)
