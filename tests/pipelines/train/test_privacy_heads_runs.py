"""Runs with privacy heads: what the paper's alone leaves as it was, resuming, two workers, command lines, refusals."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_rival_runs import command

from pipelines.progress import Progress
from pipelines.recipes.named import RECIPES
from pipelines.runs.config import AdversarialRun, make_request, with_anonymizer
from pipelines.train.launch import launch
from stprivacy.checkpoint import load_latest, weights_digest
from stprivacy.deploy.load import load_anonymizer
from stprivacy.phases.local import LocalContext
from stprivacy.phases.objectives import following
from stprivacy.phases.objectives.heads import PAPERS_HEADS, PRIVACY_HEADS
from tests.support.launch_fixtures import AGREEING_RESUMING, TINY, later, plan_resume
from tests.support.run_fixtures import do_run
from tests.support.shard_fixtures import write_tiny_dataset

ALL = tuple(PRIVACY_HEADS)
# Of 8 steps, 4 in an epoch: checkpoints at 2, 4, 6 and 8.
STEP = replace(
    TINY,
    train=replace(TINY.train, epochs=2, accumulate_steps=2, checkpoint_every_steps=2, keep_checkpoints=9),
)
PLAYERS = {"anonymizer", "action_recognizer", "privacy_recognizer"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("data"), videos=21, test_videos=8)


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phase 1, and phase 2 against the paper's head, against none named, and against all, which refit every 3 steps."""
    folder = tmp_path_factory.mktemp("runs")
    do_run(replace(STEP, data=str(data)), folder / "init")
    do_run(adversarial(data, folder), folder / "unnamed")
    do_run(adversarial(data, folder, privacy_heads=PAPERS_HEADS), folder / "paper")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(following, "REFIT_STEPS", 3)
        do_run(adversarial(data, folder, privacy_heads=ALL), folder / "defended")
    return folder


def adversarial(data: Path, folder: Path, **settings: Any) -> AdversarialRun:
    source = str(folder / "init")
    return later(STEP, AdversarialRun, data=str(data), from_run=source, whitened_components=16, **settings)


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


def weights(folder: Path) -> Mapping[str, torch.Tensor]:
    checkpoint = load_latest(folder / "checkpoints", pytest.fail)
    assert checkpoint is not None
    return checkpoint.model


def test_the_papers_head_alone_is_the_default_and_its_run_names_no_other(runs: Path) -> None:
    named, unnamed = (runs / name for name in ("paper", "unnamed"))
    assert weights_digest(weights(named)) == weights_digest(weights(unnamed))
    assert result(named) == result(unnamed)
    assert {name.split(".")[0] for name in weights(named)} == PLAYERS
    norms = {key.removeprefix("gradient_norm_") for key in result(named) if key.startswith("gradient_norm")}
    assert norms == PLAYERS
    assert "privacy_heads" not in result(named)
    assert result(named)["label"] == "stprivacy"


def test_a_run_against_all_heads_trains_each_and_says_so(runs: Path) -> None:
    scores = result(runs / "defended")
    assert (scores["label"], scores["privacy_heads"]) == ("stprivacy-defended", ", ".join(ALL))
    others = {f"privacy_recognizer_{name}" for name in ("top_k", "pooled", "whitened", "frame")}
    assert {name.split(".")[0] for name in weights(runs / "defended")} == PLAYERS | others
    assert all(scores[f"gradient_norm_{name}"] > 0 for name in PLAYERS | others)
    ours, papers = (load_anonymizer(runs / name).state_dict() for name in ("defended", "paper"))
    assert weights_digest(ours) != weights_digest(papers)


def test_heads_start_alike_whichever_others_there_are(runs: Path, data: Path, tmp_path: Path) -> None:
    def first(name: str, *heads: str) -> dict[str, torch.Tensor]:
        run = adversarial(data, runs, privacy_heads=heads)
        frozen = replace(run.train, max_steps=1, optim=replace(run.train.optim, learning_rate=1e-30))
        do_run(replace(run, train=frozen), tmp_path / name)
        return dict(weights(tmp_path / name))

    alone, papers, both = first("alone", "frame"), first("papers", "standard"), first("both", "frame", "standard")
    for one in (alone, papers):
        shared = {name for name in one if name.startswith("privacy_recognizer")}
        assert shared
        assert all(torch.equal(one[name], both[name]) for name in shared)


@pytest.mark.parametrize("step", [2, 4, 6])  # steps 0, 3 and 6 refit
def test_a_run_resumed_between_refits_equals_the_undisturbed_one(
    runs: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(following, "REFIT_STEPS", 3)
    resumed = Path(shutil.copytree(runs / "defended", tmp_path / "resumed"))
    forget_after(resumed, step)
    context = LocalContext()
    do_run(adversarial(data, runs, privacy_heads=ALL), resumed, context)
    assert weights_digest(weights(resumed)) == weights_digest(weights(runs / "defended"))
    ended = result(runs / "defended")
    assert {key: ended[key] for key in context.reports[-1][2]} == context.reports[-1][2]


def forget_after(folder: Path, step: int) -> None:
    """As if the run had been killed before it wrote its later checkpoints."""
    (folder / "result.json").unlink()
    for checkpoint in (folder / "checkpoints").iterdir():
        if int(checkpoint.name) > step:
            shutil.rmtree(checkpoint)


@pytest.mark.slow
def test_two_workers_agree_on_every_head_and_resume_bit_for_bit(
    ray_cluster: None, runs: Path, data: Path, tmp_path: Path
) -> None:
    # Of 24 steps, those at 0 and 20 refit; the last batch of an epoch has three clips.
    long = replace(STEP.train, epochs=6, checkpoint_every_steps=7)
    run = replace(adversarial(data, runs, privacy_heads=ALL), train=long)

    plan_resume(tmp_path / "resumed", tmp_path / "run", 14)
    with Progress(quiet=True) as progress:
        requests = [make_request(tmp_path / name, run, name) for name in ("run", "resumed")]
        whole, resumed = launch(requests, num_workers=2, progress=progress, executor=AGREEING_RESUMING)
    assert resumed == whole
    digests = {weights_digest(weights(tmp_path / name)) for name in ("run", "resumed")}
    assert len(digests) == 1
    seen = weights(tmp_path / "run")["privacy_recognizer_pooled.running_count"].item()
    assert seen == 6 / 2 + 6  # of the batches of both refits the clips of both workers, and no stand-in


def test_the_command_line_names_heads_and_an_evaluation_says_which_it_was(
    runs: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("--recipe", "demo", "--data", str(data), "--out", str(tmp_path / "out"))
    words = ("adversarial", *where, "--from", str(runs / "init"))
    assert command(monkeypatch, *words).privacy_heads == PAPERS_HEADS
    two = command(monkeypatch, *words, "--privacy-heads", "standard", "pooled")
    assert two.privacy_heads == ("standard", "pooled")
    words = ("adversarial", "--recipe", "demo-defended", *where[2:], "--from", str(runs / "init"))
    assert command(monkeypatch, *words).privacy_heads == ALL

    test = command(monkeypatch, "evaluate", *where, "--from", str(runs / "defended"))
    assert (test.parameters()["label"], test.parameters()["privacy_heads"]) == ("stprivacy-defended", ", ".join(ALL))
    papers = command(monkeypatch, "evaluate", *where, "--from", str(runs / "paper"))
    assert papers.parameters()["label"] == "stprivacy"
    assert "privacy_heads" not in papers.parameters()
    with pytest.raises(ValueError, match="privacy_heads must be named once each, got pooled, pooled") as stopped:
        command(monkeypatch, *words, "--privacy-heads", "pooled", "pooled")
    assert "\n" not in str(stopped.value)


def test_heads_of_another_anonymizer_are_refused(data: Path) -> None:
    said = "privacy_heads standard, top-k.* are adversaries of stprivacy: vita has others, leave them out"
    with pytest.raises(ValueError, match=said):
        RECIPES["demo-defended"]().training("vita")
    with pytest.raises(ValueError, match="vita has others"):
        with_anonymizer(later(STEP, AdversarialRun, privacy_heads=ALL), "vita")
    with pytest.raises(ValueError, match="unknown: oracle; there are: standard, top-k, pooled, whitened, frame"):
        later(STEP, AdversarialRun, privacy_heads=("oracle",))
