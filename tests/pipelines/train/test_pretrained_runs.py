"""Runs that start from a 2D ViT: each phase loads it into its own models, tells so, and needs it only once."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch

from pipelines.cli.phases import _base, _checked, _parse
from pipelines.runs.config import AdversarialRun, EvaluateRun, RunBase
from pipelines.runs.folder import CHECKPOINTS, CONFIG, RESULT, write_json
from pipelines.train.execute import execute
from stprivacy.anonymizers import STPrivacy
from stprivacy.checkpoint import CheckpointStore
from stprivacy.config import OptimConfig
from stprivacy.deploy.load import load_anonymizer
from stprivacy.models.pretrained import start_from_pretrained
from stprivacy.phases.local import LocalContext
from stprivacy.plain import to_dict
from tests.support.launch_fixtures import TINY, later
from tests.support.shard_fixtures import write_tiny_dataset
from tests.support.tiny import RECOGNIZER
from tests.support.vit_fixtures import saved, tiny_vit


@pytest.fixture
def vit_file(tmp_path: Path) -> Path:
    return Path(saved(tiny_vit().state_dict(), tmp_path))


def run(config: RunBase, folder: Path) -> list[str]:
    """Run it in `folder`; gives back what it told."""
    folder.mkdir(exist_ok=True)
    write_json(folder / CONFIG, to_dict(config))
    context = LocalContext()
    store = CheckpointStore(folder / CHECKPOINTS, 2, 0, pytest.fail)
    write_json(folder / RESULT, execute(to_dict(config), folder, context, store))
    return context.messages


def test_every_phase_starts_its_own_models_and_goes_on_without_the_file(tmp_path: Path, vit_file: Path) -> None:
    data = write_tiny_dataset(tmp_path / "data", videos=12, test_videos=8)
    still = OptimConfig(learning_rate=1e-12)
    base = replace(
        TINY,
        data=str(data),
        model=replace(TINY.model, stem="conv3d", pretrained=str(vit_file)),
        train=replace(TINY.train, epochs=1, max_steps=1, checkpoint_every_steps=1, optim=still),
    )
    recognizer = replace(RECOGNIZER, stem="conv3d", depth=3, pretrained=str(vit_file))
    adversarial = later(base, AdversarialRun, recognizer=recognizer, from_run=str(tmp_path / "init"))
    evaluate = later(base, EvaluateRun, recognizer=recognizer, from_run=str(tmp_path / "adv"))
    (told,) = run(base, tmp_path / "init")
    assert told.startswith(f"anonymizer starts from {vit_file}: 39 parameters loaded, 2 resized (")

    expected = STPrivacy(base.model)
    start_from_pretrained({"anonymizer": expected}, base.model)
    initialised = load_anonymizer(tmp_path / "init").state_dict()
    for name, tensor in expected.state_dict().items():
        if name.split(".")[0] not in ("predictors", "head", "output_std"):
            torch.testing.assert_close(initialised[name], tensor, rtol=0, atol=1e-6)

    told = run(adversarial, tmp_path / "adv")
    assert [line.split()[0] for line in told] == ["action_recognizer", "privacy_recognizer"]
    told = run(evaluate, tmp_path / "evaluate")
    assert [line.split()[0] for line in told] == ["action", "standard", "whitened"]
    assert ["new: head (2)" in line for line in told] == [True, True, False]
    assert "new: embedding (4), head (2)" in told[2]

    vit_file.unlink()
    assert run(base, tmp_path / "init") == run(evaluate, tmp_path / "evaluate") == []
    with pytest.raises(ValueError, match=r"vit\.safetensors' cannot be loaded"):
        run(base, tmp_path / "another")


def test_the_papers_command_line_starts_from_a_file_by_its_whole_path(
    tmp_path: Path, vit_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_tiny_dataset(tmp_path / "data", videos=6)
    monkeypatch.chdir(tmp_path)
    options = ["--recipe", "paper", "--model.pretrained", vit_file.name, "--model.inflation", "central"]
    monkeypatch.setattr(sys, "argv", ["init.py", "--data", str(data), "--out", "run", *options])
    base = _base("init")
    chosen = _checked(_parse(base, None).run)
    assert (chosen.model.pretrained, chosen.model.inflation) == (str(vit_file), "central")
    assert chosen.train.optim == OptimConfig(backbone_rate_scale=0.01, backbone_freeze_epochs=5)


def test_a_timm_name_stays_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_tiny_dataset(tmp_path / "data", videos=6)
    options = ["--recipe", "paper", "--anonymizer", "raw", "--recognizer.pretrained", "vit_small_patch16_224"]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "--data", str(data), "--out", "run", *options])
    base = _base("evaluate")
    run = cast(EvaluateRun, _checked(_parse(base, None).run))
    assert run.recognizer.pretrained == "vit_small_patch16_224"
