"""The method on a GPU: the CPU's numbers, autocast, compilation, a resumed run, NCCL. Skipped where there is no GPU."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from stprivacy.anonymizers import STPrivacy
from stprivacy.checkpoint import CheckpointStore, weights_digest
from stprivacy.config import LossConfig, PhaseConfig
from stprivacy.models.attention import masked_attention
from stprivacy.models.recognizer import Recognizer
from stprivacy.phases.adversarial import adversarial
from stprivacy.phases.context import Batch
from stprivacy.phases.local import LocalContext
from stprivacy.phases.loop import Training
from stprivacy.phases.objectives.heads import Head
from stprivacy.phases.objectives.label import LabelObjective
from tests.support.tiny import CLIP, MODEL, RECOGNIZER

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU here")
TRAIN = PhaseConfig(epochs=2, batch_size=4, checkpoint_every_steps=1, keep_checkpoints=9)


class RandomClips:
    """Eight random clips in two steps an epoch, the same in every epoch."""

    action_names = ("stand", "walk")
    attribute_names = ("face", "gender", "nudity")

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self._video = torch.randn(8, 3, CLIP.frames, CLIP.height_px, CLIP.width_px, generator=generator)
        self._action = torch.randint(2, (8,), generator=generator)
        self._privacy = torch.randint(2, (8, 3), generator=generator).float()

    def steps_per_epoch(self, batch_size: int) -> int:
        return 8 // batch_size

    def train_batches(self, epoch: int, first_step: int, batch_size: int) -> Iterator[Batch]:
        for step in range(first_step, self.steps_per_epoch(batch_size)):
            rows = torch.arange(step * batch_size, (step + 1) * batch_size)
            yield Batch(self._video[rows], self._action[rows], self._privacy[rows], rows, 1.0)

    def test_size(self, part: str = "test") -> int:
        return 0

    def test_batches(self, batch_videos: int, part: str = "test") -> Iterator[tuple[Batch, int]]:
        return iter(())


class NcclContext(LocalContext):
    """One worker of an NCCL group of one, in DDP."""

    def wrap(self, module: nn.Module) -> nn.Module:
        return nn.parallel.DistributedDataParallel(module.to(self.device), device_ids=[self.device])


def players() -> tuple[STPrivacy, Recognizer, Recognizer]:
    torch.manual_seed(0)
    trio = STPrivacy(MODEL), Recognizer(RECOGNIZER, CLIP, 2), Recognizer(RECOGNIZER, CLIP, 3)
    for recognizer in trio[1:]:
        nn.init.normal_(recognizer.head.weight)  # from zero, the head lets no gradient through at the first step
    return trio


def train(
    folder: Path, context: LocalContext, settings: PhaseConfig = TRAIN
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Phase 2 on the random clips; its last terms, and STPrivacy's weights."""
    trio = players()
    store = CheckpointStore(folder, keep=9, rank=0, warn=pytest.fail)
    objective = LabelObjective({"standard": Head(trio[2])}, LossConfig(), settings, context)
    training = Training(RandomClips(), settings, context, store, seed=0)
    terms = adversarial(*trio[:2], objective, LossConfig(), training)
    return terms, trio[0].state_dict()


@pytest.mark.parametrize("mask_gradient", ["exact", "bounded"])
def test_masked_attention_and_its_gradients_equal_the_cpus(mask_gradient: str) -> None:
    q, k, v = torch.randn(3, 2, 3, 40, 8).unbind(0)
    keep = (torch.rand(2, 40) < 0.6).float()
    upstream = torch.randn(2, 3, 40, 8)

    def run(device: str, dtype: torch.dtype) -> list[Tensor]:
        inputs = [x.to(device, dtype).requires_grad_() for x in (q, k, v, keep)]
        out = masked_attention(*inputs, mask_gradient)
        return [out, *torch.autograd.grad(out, inputs, upstream.to(device, dtype))]

    for ours, expected in zip(run("cuda", torch.float32), run("cpu", torch.float64), strict=True):
        torch.testing.assert_close(ours.cpu().double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_scores_stay_float32_on_the_gpu(dtype: torch.dtype) -> None:
    scale = torch.tensor([3.0, 1.0, 1.0, 1.0])[:, None, None, None, None]  # of q: some scores are large
    q, k, v, upstream = (scale * torch.randn(4, 2, 3, 196, 64)).to(dtype).double().unbind(0)
    keep = (torch.rand(2, 196) < 0.5).double()

    def run(device: str, kind: torch.dtype) -> list[Tensor]:
        inputs = [x.to(device, kind).requires_grad_() for x in (q, k, v, keep)]
        out = masked_attention(*inputs, "bounded")
        return [x.double().cpu() for x in (out, *torch.autograd.grad(out, inputs, upstream.to(device, kind)))]

    # Plain attention loses up to 0.55 of eps; scores rounded to the narrow type would lose more than 1.
    for ours, exact in zip(run("cuda", dtype), run("cpu", torch.float64), strict=True):
        assert (ours - exact).norm() <= 0.75 * torch.finfo(dtype).eps * exact.norm()


def test_stprivacy_keeps_the_same_tubelets_and_writes_the_same_video_as_on_the_cpu() -> None:
    model, video = players()[0].eval(), torch.randn(3, 3, CLIP.frames, CLIP.height_px, CLIP.width_px)
    with torch.no_grad():
        expected = model(video)
        ours = model.cuda()(video.cuda())
    assert torch.equal(ours.keep.cpu(), expected.keep)
    torch.testing.assert_close(ours.video.cpu(), expected.video, rtol=1e-3, atol=1e-3)


def test_training_on_the_gpu_follows_training_on_the_cpu(tmp_path: Path) -> None:
    one_step = replace(TRAIN, max_steps=1)
    expected, _ = train(tmp_path / "cpu", LocalContext("cpu"), one_step)
    ours, _ = train(tmp_path / "gpu", LocalContext("cuda"), one_step)
    assert ours == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_resumed_run_equals_the_undisturbed_one_bit_for_bit(tmp_path: Path) -> None:
    _, undisturbed = train(tmp_path / "a", LocalContext("cuda"))
    train(tmp_path / "b", LocalContext("cuda"), replace(TRAIN, max_steps=1))
    _, resumed = train(tmp_path / "b", LocalContext("cuda"))
    assert weights_digest(resumed) == weights_digest(undisturbed)


def test_autocast_trains_float32_weights_on_nearly_the_same_losses(tmp_path: Path) -> None:
    one_step = replace(TRAIN, max_steps=1)
    expected, _ = train(tmp_path / "float32", LocalContext("cuda"), one_step)
    ours, weights = train(tmp_path / "bfloat16", LocalContext("cuda"), replace(one_step, amp=True))
    assert {name: ours[name] for name in ours if name.startswith("loss")} == pytest.approx(
        {name: expected[name] for name in expected if name.startswith("loss")}, rel=0.05, abs=0.05
    )
    assert all(x.dtype == torch.float32 for x in weights.values())


@pytest.mark.parametrize("amp", [False, True])
def test_compiled_players_learn_from_the_losses_of_the_eager_ones(tmp_path: Path, amp: bool) -> None:
    eager, _ = train(tmp_path / "eager", LocalContext("cuda"), replace(TRAIN, max_steps=1, amp=amp))
    compiled, _ = train(tmp_path / "compiled", LocalContext("cuda"), replace(TRAIN, max_steps=1, amp=amp, compile=True))
    tolerance = 0.05 if amp else 1e-3
    assert compiled == pytest.approx(eager, rel=tolerance, abs=tolerance)


def test_a_group_on_nccl_trains_as_one_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29531", "RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setitem(os.environ, name, value)
    alone, _ = train(tmp_path / "alone", LocalContext("cuda"))
    dist.init_process_group("nccl")
    try:
        together, _ = train(tmp_path / "together", NcclContext("cuda:0"))
    finally:
        dist.destroy_process_group()
    assert together == pytest.approx(alone, rel=1e-3, abs=1e-4)
