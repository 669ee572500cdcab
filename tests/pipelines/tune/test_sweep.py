"""A whole sweep at tiny size: its trials on Ray Tune, its files, its MLflow runs, and running it again."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipelines.runs.folder import PhaseError
from pipelines.tune.plan import Planned
from pipelines.tune.space import parse_space
from pipelines.tune.sweep import Concurrency, run_sweep
from pipelines.tune.trials import STOPPED, make_trial, record
from stprivacy.config import LossConfig, OptimConfig
from tests.support.sweep_fixtures import TWO, WHERE, Swept, tiny_recipe, tiny_sweep

pytestmark = pytest.mark.slow


def test_every_trial_is_tested_at_every_deployed_keep_ratio_that_differs(swept: Swept) -> None:
    points = {(point["trial"], point["deploy_keep_ratio"]) for point in swept.result["points"]}
    # Trials that keep everything have no deployment knob.
    assert points == {(0, 0.5), (0, 0.7), (1, 0.5), (1, 0.7), (2, 1.0), (3, 1.0)}
    assert any(point["on_front"] for point in swept.result["points"])


def test_trials_that_begin_alike_share_phase_1(swept: Swept) -> None:
    assert len(list((swept.out / "init").glob("*/result.json"))) == 2
    starts = [make_trial(swept.sweep, swept.out, Planned(n, p)).start.folder for n, p in enumerate(PARAMETERS)]
    assert starts[0] == starts[1] != starts[2] == starts[3]


PARAMETERS = [{"keep_ratio": keep, "lambda_privacy": weight} for keep in (0.5, 1.0) for weight in (0.5, 2.0)]


def test_the_files_say_the_same(swept: Swept) -> None:
    assert json.loads((swept.out / "result.json").read_text()) == swept.result
    rows = list(csv.DictReader((swept.out / "front.csv").open()))
    assert len(rows) == 6
    assert [row["on_front"] for row in rows] == sorted((row["on_front"] for row in rows), reverse=True)
    page = (swept.out / "front.html").read_text()
    assert r"trial 000\u003c\u002fb\u003e\u003cbr\u003ekeep_ratio 0.5" in page  # as plotly writes markup
    assert (swept.out / "front.png").read_bytes().startswith(b"\x89PNG")


def test_mlflow_has_one_run_a_trial_below_the_sweeps(swept: Swept) -> None:
    client = MlflowClient(f"sqlite:///{swept.out / 'mlflow.db'}")
    (experiment,) = [x for x in client.search_experiments() if x.name == "stprivacy"]
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) >= {"front", "evaluate raw", *(f"trial {n:03d}" for n in range(4))}
    assert len(runs) == 1 + 1 + 2 + 4  # the sweep, raw, two phases 1, four trials
    trial, parent = runs["trial 001"], runs["front"]
    assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (trial.data.params["keep_ratio"], trial.data.params["lambda_privacy"]) == ("0.5", "2.0")
    assert trial.data.params["deploy_keep_ratio"] == "0.5"
    assert not {"from_run", "attacker", "label"} & set(trial.data.params)
    point = next(x for x in swept.result["points"] if x["trial"] == 1 and x["deploy_keep_ratio"] == 0.5)
    other = next(x for x in swept.result["points"] if x["trial"] == 1 and x["deploy_keep_ratio"] == 0.7)
    assert trial.data.metrics["action_top1"] == point["action_top1"]
    assert trial.data.metrics["keep_0.7/action_top1"] == other["action_top1"]
    history = client.get_metric_history(trial.info.run_id, "adversarial/loss_action")
    assert [metric.step for metric in history] == [2, 4]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert trial.data.params["data_fingerprint"]
    (data,) = trial.inputs.dataset_inputs
    assert trial.data.params["data_fingerprint"].startswith(data.dataset.digest)
    assert sum(len(run.outputs.model_outputs) for run in runs.values()) == 2 + 4  # of phases 1 and trials
    folders = ("", "adversarial", "evaluate-keep-0.5", "figures")
    kept = {file.path for folder in folders for file in client.list_artifacts(trial.info.run_id, folder)}
    files = {"environment.txt", "figures/curves.png", "adversarial/config.json", "evaluate-keep-0.5/config.json"}
    assert files <= kept
    assert {"result.json", "front.csv", "front.html", "front.png"} <= {
        file.path for file in client.list_artifacts(parent.info.run_id)
    }
    assert parent.data.metrics.get("hypervolume") == swept.result["hypervolume"]  # None if raw is not above floors


def test_the_same_sweep_again_runs_nothing_and_finds_the_same(swept: Swept) -> None:
    results = sorted(swept.out.glob("**/evaluate-*/result.json"))
    before = [path.stat().st_mtime_ns for path in results]
    assert run_sweep(swept.sweep, swept.out, WHERE, TWO) == swept.result
    assert [path.stat().st_mtime_ns for path in results] == before


def test_other_settings_do_not_mix_with_a_sweep(swept: Swept) -> None:
    with pytest.raises(ValueError, match=r"holds a sweep with other settings \(seed was 0, now 1\)"):
        run_sweep(replace(swept.sweep, seed=1), swept.out, WHERE, TWO)


def test_a_trial_that_cannot_be_done_is_told_and_the_others_are_done(swept: Swept, tmp_path: Path) -> None:
    exploding = replace(tiny_recipe().adversarial, losses=LossConfig(lambda_action=1.0))
    recipe = replace(tiny_recipe(), adversarial=exploding)
    space = parse_space({"keep_ratio": ("0.5",), "lambda_privacy": ("0.5", "1e38")})
    sweep = replace(swept.sweep, recipe=recipe, space=space, deploy_keep_ratios=())
    result = run_sweep(sweep, swept.lend(tmp_path / "front"), WHERE, TWO)
    assert [failed["trial"] for failed in result["failed"]] == [1]
    assert "mask_gradient_norm is inf" in result["failed"][0]["reason"]
    assert {point["trial"] for point in result["points"]} == {0}


def test_a_stopped_trial_stays_stopped(swept: Swept, tmp_path: Path) -> None:
    sweep = replace(swept.sweep, space=parse_space({"keep_ratio": ("0.5",)}), stop_at=(1,))
    swept.lend(tmp_path)
    record(make_trial(sweep, tmp_path, Planned(0, {"keep_ratio": 0.5})), STOPPED, {"epoch": 1, "reason": "behind"})
    result = run_sweep(sweep, tmp_path, WHERE, TWO)
    assert result["points"] == []
    assert result["stopped"] == [{"trial": 0, "epoch": 1, "reason": "behind"}]


def test_without_raw_there_is_no_front_and_no_other_trial_is_begun(ray_cluster: None, tmp_path: Path) -> None:
    recipe = tiny_recipe()
    diverging = replace(recipe.evaluate.train, optim=OptimConfig(learning_rate=1e30))
    wrong = replace(recipe, evaluate=replace(recipe.evaluate, train=diverging))
    sweep = tiny_sweep(tmp_path / "data", parse_space({"lambda_privacy": tuple("12345678")}), wrong)
    with pytest.raises(PhaseError, match="evaluate raw stopped"):
        run_sweep(sweep, tmp_path / "front", WHERE, Concurrency(1))
    assert len(list((tmp_path / "front" / "trials").glob("*"))) < 8


def test_optunas_trials_depend_on_how_many_it_is_asked_for_at_a_time(swept: Swept, tmp_path: Path) -> None:
    space = parse_space({"keep_ratio": ("0.5",), "lambda_privacy": ("0.5:2",)})
    sweep = replace(swept.sweep, space=space, search="optuna", num_trials=1, deploy_keep_ratios=())
    result = run_sweep(sweep, swept.lend(tmp_path / "front"), WHERE, TWO)
    assert [point["trial"] for point in result["points"]] == [0]
    with pytest.raises(ValueError, match=r"other settings \(max_concurrent was 2, now 3\)"):
        run_sweep(sweep, tmp_path / "front", WHERE, Concurrency(3))
