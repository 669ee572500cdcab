"""The network as a library call: frames in, anonymised frames out, and the runs that it is loaded from."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipelines.runs.config import AdversarialRun, EvaluateRun, InitRun
from pipelines.train.execute import execute
from stprivacy.checkpoint import CheckpointError, CheckpointStore, load_latest, weights_digest
from stprivacy.config import PhaseConfig
from stprivacy.deploy.deployed import Deployed, load_deployed
from stprivacy.deploy.load import load_anonymizer, load_trained, weights_prefix
from stprivacy.models.anonymizer import STPrivacy
from stprivacy.phases.local import LocalContext
from tests.support.launch_fixtures import later
from tests.support.places import ROOT
from tests.support.run_fixtures import do_run
from tests.support.shard_fixtures import write_tiny_dataset
from tests.support.tiny import MODEL

CONFIG = replace(MODEL, clip=replace(MODEL.clip, patch_size=8))


def drawn_frames(count: int, height: int = 32, width: int = 32) -> Tensor:
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8)


@pytest.fixture
def deployed() -> Deployed:
    return Deployed(STPrivacy(CONFIG), keep_ratio=0.7)


@pytest.mark.parametrize("frames", [1, 3, 4, 5, 37])
def test_as_many_frames_come_out_as_go_in(deployed: Deployed, frames: int) -> None:
    released = deployed(drawn_frames(frames))
    assert released.frames.shape == (frames, 32, 32, 3)
    assert released.frames.dtype == torch.uint8
    assert released.keep.shape == (-(-frames // 2), 16)
    assert set(released.keep.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(("height", "width"), [(48, 85), (20, 11), (33, 32)])
def test_the_whole_field_of_view_becomes_the_networks_size(deployed: Deployed, height: int, width: int) -> None:
    assert deployed(drawn_frames(4, height, width)).frames.shape == (4, 32, 32, 3)
    dark = torch.zeros(4, height, width, 3, dtype=torch.uint8)
    edge = dark.clone()
    edge[:, :, -max(width // 8, 1) :] = 255  # a strip at the right end of the field
    assert not torch.equal(deployed.prepare(dark)[:, :, :, -4:], deployed.prepare(edge)[:, :, :, -4:])


def test_abandoned_tubelets_are_black_and_kept_ones_are_the_networks_output() -> None:
    model = STPrivacy(CONFIG).eval()
    deployed = Deployed(model, keep_ratio=0.5, mask="clip")
    frames = drawn_frames(4)
    released = deployed(frames)
    own = model(deployed.prepare(frames)[None], keep_ratio=0.5)
    # One standard deviation is a third of the way from grey to white (normalize_output).
    expected = ((own.video[0] / 3 + 1) * 127.5).round().clamp(0, 255).permute(1, 2, 3, 0)
    kept = own.keep[0].reshape(2, 4, 4).repeat_interleave(2, 0).repeat_interleave(8, 1).repeat_interleave(8, 2) > 0
    assert torch.equal(released.frames[kept].float(), expected[kept])
    assert (released.frames[~kept] == 0).all()
    assert 0 < kept.float().mean() < 1


def test_a_sparsifying_network_hands_out_the_raw_pixels_that_it_keeps() -> None:
    deployed = Deployed(STPrivacy(replace(CONFIG, anonymizer_depth=0)), keep_ratio=0.7)
    frames = drawn_frames(9)
    released = deployed(frames)
    kept = (
        released.keep.reshape(5, 4, 4).repeat_interleave(2, 0)[:9].repeat_interleave(8, 1).repeat_interleave(8, 2) > 0
    )
    assert torch.equal(released.frames[kept], frames[kept])


def test_the_keep_ratio_is_the_trained_one_unless_another_is_asked_for() -> None:
    model = STPrivacy(CONFIG)
    counts = [int(Deployed(model, ratio)(drawn_frames(8)).keep.sum(1).unique()) for ratio in (None, 0.3, 0.7, 1.0)]
    assert counts == [7, 1, 7, 16]  # of 16: floor(16 ratio^2), after two stages


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        (torch.zeros(0, 8, 8, 3, dtype=torch.uint8), "at least one"),
        (torch.zeros(4, 8, 8, 3), "uint8"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), r"t h w 3"),
    ],
)
def test_what_is_no_video_is_refused(deployed: Deployed, frames: Tensor, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        deployed(frames)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="keep_ratio"):
        Deployed(STPrivacy(CONFIG), keep_ratio=1.5)
    with pytest.raises(ValueError, match="steady, clip"):
        Deployed(STPrivacy(CONFIG), mask="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="selects by slot"):
        Deployed(STPrivacy(replace(CONFIG, select="global")))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny runs of all phases, named by them."""
    folder = tmp_path_factory.mktemp("runs")
    data = str(write_tiny_dataset(folder / "data", videos=12, test_videos=12))
    train = PhaseConfig(epochs=1, batch_size=4)
    init = InitRun(recipe="tiny", data=data, model=MODEL, train=train)
    do_run(init, folder / "init")
    do_run(later(init, AdversarialRun, from_run=str(folder / "init")), folder / "adversarial")
    evaluated = later(init, EvaluateRun, from_run=str(folder / "init"), attackers=("standard",))
    do_run(evaluated, folder / "evaluate")
    do_run(replace(init, anonymizer="spact", model=replace(MODEL, keep_ratio=1.0)), folder / "spact")
    return folder


@pytest.mark.parametrize("phase", ["init", "adversarial"])
def test_a_runs_network_is_loaded_with_what_it_was_trained_on(runs: Path, phase: str) -> None:
    trained = load_trained(runs / phase)
    assert trained.digest == weights_digest(load_anonymizer(runs / phase).state_dict())
    assert not trained.model.training
    assert (trained.phase, trained.data, trained.dataset) == (phase, str(runs / "data"), "tiny")
    assert trained.data_fingerprint == json.loads((runs / "data" / "dataset.json").read_text())["fingerprint"]


def test_runs_that_hold_no_finished_network_of_this_kind_are_refused(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "init", tmp_path / "unfinished")
    (tmp_path / "unfinished" / "result.json").unlink()
    shutil.copytree(runs / "init", tmp_path / "empty", ignore=shutil.ignore_patterns("checkpoints"))
    for folder, complaint in (
        (tmp_path, "not a run folder"),
        (runs / "evaluate", "an evaluate run"),
        (runs / "spact", "trained spact"),
        (tmp_path / "unfinished", "not finished"),
        (tmp_path / "empty", "no checkpoint"),
    ):
        with pytest.raises(ValueError, match=complaint):
            load_deployed(str(folder))


def test_the_documented_library_call_works_without_ray(runs: Path, tmp_path: Path) -> None:
    from tests.support.bad_corpus import write_video

    text = (ROOT / "docs" / "release.md").read_text()
    code = next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "stprivacy.load(" in block)
    assert len([line for line in code.splitlines() if line.strip()]) <= 5 + 3  # and the imports
    write_video(tmp_path / "walk.mp4", frames=40)
    (tmp_path / "my-runs").symlink_to(runs)
    (runs / "adv").symlink_to(runs / "adversarial") if not (runs / "adv").exists() else None
    blocked = "import sys\nfor name in ('ray', 'mlflow', 'pyarrow'):\n    sys.modules[name] = None\n"
    shown = "print(released.shape == frames.shape, released.dtype)"
    done = subprocess.run(
        [sys.executable, "-c", f"{blocked}sys.path.insert(0, {str(ROOT)!r})\n{code}\n{shown}"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True uint8\n"


# Damage after training


def trained_twice(folder: Path) -> Path:
    """A finished run of two checkpoints, 1 and 2."""
    data = str(write_tiny_dataset(folder / "data", videos=8))
    train = PhaseConfig(epochs=1, batch_size=4, checkpoint_every_steps=1)
    do_run(InitRun(recipe="tiny", data=data, model=MODEL, train=train), folder / "run")
    return folder / "run"


def flip_a_bit(run: Path) -> None:
    weights = run / "checkpoints" / "000002" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def lose_the_newest(run: Path) -> None:
    shutil.rmtree(run / "checkpoints" / "000002")


def forget_the_step(run: Path) -> None:
    """As a run from before results named their step, of which a bit flips."""
    result = json.loads((run / "result.json").read_text())
    del result["checkpoint"]
    (run / "result.json").write_text(json.dumps(result))
    flip_a_bit(run)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (flip_a_bit, r"damaged \(model.safetensors does not match its checksum\)"),
        (lose_the_newest, "missing"),
        (forget_the_step, r"damaged \(model.safetensors does not match its checksum\)"),
    ],
)
def test_a_finished_run_without_its_final_weights_is_refused_unless_older_ones_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], fault: str
) -> None:
    run = trained_twice(tmp_path)
    damage(run)
    complaint = rf"{run}: its final checkpoint 000002 is {fault}: restore it .*, which continues from step 1"
    for load in (load_trained, load_anonymizer, lambda folder: load_deployed(str(folder))):
        with pytest.raises(CheckpointError, match=complaint):
            load(run)
    assert capsys.readouterr() == ("", "")
    older = load_deployed(str(run), allow_older_weights=True).model
    assert re.fullmatch(
        rf"warning: {run}: its final checkpoint 000002 is {fault}; the older weights of step 1 are used\n",
        capsys.readouterr().err,
    )
    first = load_latest(run / "checkpoints", lambda message: None)
    assert first is not None
    name = next(iter(older.state_dict()))
    assert torch.equal(older.state_dict()[name], first.model[weights_prefix("init") + name])


def test_the_remedy_for_damaged_final_weights_trains_them_again(tmp_path: Path) -> None:
    run = trained_twice(tmp_path)
    digest = load_trained(run).digest
    flip_a_bit(run)
    (run / "result.json").unlink()
    context, store = LocalContext(), CheckpointStore(run / "checkpoints", keep=2, rank=0, warn=lambda message: None)
    result = execute(json.loads((run / "config.json").read_text()), run, context, store)
    (run / "result.json").write_text(json.dumps(dict(result)))
    assert load_trained(run).digest == digest
