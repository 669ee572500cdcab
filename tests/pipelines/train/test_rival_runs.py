"""VITA and SPAct through all three phases: start, resume over a restart, the command lines, runs that do not fit."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.cli import phases as commands
from pipelines.runs.config import AdversarialRun, EvaluateRun, RunBase, read_config, run_of, with_anonymizer
from pipelines.runs.folder import RunRequest
from stprivacy.anonymizers import ITNet, LearnedName, UNet
from stprivacy.checkpoint import load_latest, weights_digest
from stprivacy.deploy.load import load_anonymizer
from stprivacy.phases.local import LocalContext
from stprivacy.phases.objectives.vita import VITAConfig
from tests.support.launch_fixtures import TINY, later
from tests.support.run_fixtures import do_run
from tests.support.shard_fixtures import write_tiny_dataset

# Of 8 steps, 4 in an epoch: restarts at 3 and 6, checkpoints at 2, 4, 6 and 8.
STEP = replace(
    TINY,
    model=replace(TINY.model, vita_width=0.0625, spact_width=0.0625),
    train=replace(TINY.train, epochs=2, accumulate_steps=1, checkpoint_every_steps=2, keep_checkpoints=9),
)
RIVALS: dict[LearnedName, type] = {"vita": ITNet, "spact": UNet}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("data"), videos=20, test_videos=8)


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phases 1 and 2 of each rival, and phase 1 of STPrivacy."""
    folder = tmp_path_factory.mktemp("runs")
    do_run(replace(STEP, data=str(data)), folder / "stprivacy" / "init")
    for name in RIVALS:
        do_run(with_anonymizer(replace(STEP, data=str(data)), name), folder / name / "init")
        do_run(adversarial(data, folder / name, name), folder / name / "adversarial")
    return folder


def adversarial(data: Path, folder: Path, name: LearnedName) -> AdversarialRun:
    base = with_anonymizer(replace(STEP, data=str(data)), name)
    return later(base, AdversarialRun, vita=VITAConfig(adversaries=2, restart_steps=3), from_run=str(folder / "init"))


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_is_initialised_by_reconstruction_and_trained_by_its_own_objective(runs: Path, name: str) -> None:
    started, trained = (
        json.loads((runs / name / phase / "result.json").read_text()) for phase in ("init", "adversarial")
    )
    assert {key for key in started if key.startswith("loss")} == {"loss_reconstruction"}
    assert {key for key in trained if key.startswith("loss")} == {
        "loss",
        "loss_sparsification",
        "loss_action",
        "loss_privacy",
    }
    norms = {key.removeprefix("gradient_norm_") for key in trained if key.startswith("gradient_norm")}
    players = {"vita": {"privacy_recognizer_0", "privacy_recognizer_1"}, "spact": {"self_supervised"}}
    assert norms == {"anonymizer", "action_recognizer"} | players[name]
    assert (trained["anonymizer"], trained["keep_ratio"], trained["deploy_keep_ratio"]) == (name, 1.0, 1.0)


@pytest.mark.parametrize("name", RIVALS)
def test_the_run_tells_which_network_its_checkpoint_holds(runs: Path, data: Path, name: LearnedName) -> None:
    first, last = (load_anonymizer(runs / name / phase) for phase in ("init", "adversarial"))
    assert type(first) is type(last) is RIVALS[name]
    assert weights_digest(first.state_dict()) != weights_digest(last.state_dict())
    test = later(adversarial(data, runs / name, name), EvaluateRun, from_run=str(runs / name / "adversarial"))
    scores = do_run(replace(test, train=replace(test.train, max_steps=1)), runs / name / "evaluate")
    assert scores["anonymizer"] == name
    assert 0 <= scores["privacy_cmap"] <= 100


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize("step", [2, 6])  # before a restart, and at the step of one: VITA's are at 3 and 6
def test_a_run_resumed_over_a_restart_equals_the_undisturbed_one(
    runs: Path, data: Path, tmp_path: Path, name: LearnedName, step: int
) -> None:
    resumed = Path(shutil.copytree(runs / name / "adversarial", tmp_path / "resumed"))
    for checkpoint in (resumed / "checkpoints").iterdir():
        if int(checkpoint.name) > step:
            shutil.rmtree(checkpoint)
    context = LocalContext()
    do_run(adversarial(data, runs / name, name), resumed, context)
    ends = [load_latest(folder / "checkpoints", pytest.fail) for folder in (runs / name / "adversarial", resumed)]
    assert weights_digest(ends[0].model) == weights_digest(ends[1].model)
    assert ends[0].number == ends[1].number == 8
    result = json.loads((runs / name / "adversarial" / "result.json").read_text())
    assert {key: result[key] for key in context.reports[-1][2]} == context.reports[-1][2]


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> RunBase:
    """The run that a job's command line orders."""
    ordered: list[RunRequest] = []

    def take(requests: list[RunRequest], *_: object) -> list[dict[str, object]]:
        ordered.extend(requests)
        return [{}]

    monkeypatch.setattr(commands, "launch_runs", take)
    monkeypatch.setattr(sys, "argv", ["job", *words[1:]])
    commands.phase_command(words[0], "")  # type: ignore[arg-type]
    return run_of(ordered[0].config)


def test_the_command_lines_carry_the_rival_and_its_settings(
    runs: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("--data", str(data), "--out", str(tmp_path / "out"))
    init = command(monkeypatch, "init", *where, "--anonymizer", "vita")
    assert (init.anonymizer, init.model.keep_ratio, init.model.vita_width) == ("vita", 1.0, 0.25)
    source = ("--recipe", "demo", "--from", str(runs / "vita" / "init"))
    again = command(monkeypatch, "adversarial", *where, *source, "--vita.restart-steps", "7")
    assert (again.anonymizer, again.vita.restart_steps, again.model) == (
        "vita",
        7,
        read_config(runs / "vita/init").model,
    )
    tested = ("--recipe", "demo", "--from", str(runs / "spact" / "adversarial"))
    for words in ((), ("--anonymizer", "spact")):
        test = command(monkeypatch, "evaluate", *where, *tested, *words)
        assert (test.anonymizer, test.deploy_keep_ratio) == ("spact", 1.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--anonymizer", "vita"), "--anonymizer vita needs --from: the folder of its run"),
        (("--from", "stprivacy/init", "--anonymizer", "vita"), "--anonymizer vita does not fit .*trained stprivacy"),
        (("--from", "spact/adversarial", "--anonymizer", "vita"), "vita does not fit --from .*that run trained spact"),
        (("--from", "vita/init", "--anonymizer", "raw"), "--anonymizer raw is not trained: leave --from out"),
    ],
)
def test_a_name_that_does_not_fit_the_run_is_one_clear_error(
    runs: Path, data: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    paths = [str(runs / word) if "/" in word else word for word in words]
    with pytest.raises(ValueError, match=said) as stopped:
        command(monkeypatch, "evaluate", "--recipe", "demo", "--data", str(data), "--out", str(runs / "no"), *paths)
    assert "\n" not in str(stopped.value)


def test_a_run_configured_in_python_is_checked_too(runs: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--anonymizer stprivacy does not fit .* that run trained vita"):
        do_run(replace(adversarial(data, runs / "vita", "vita"), anonymizer="stprivacy"), tmp_path / "adversarial")
    with pytest.raises(ValueError, match="anonymizer raw is not trained: phases 1 and 2 take stprivacy, vita, spact"):
        replace(STEP, anonymizer="raw")
