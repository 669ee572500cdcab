"""Controls: STPrivacy's counts, another choice."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from stprivacy.anonymizers import RivalOptions, STPrivacy, make_anonymizer
from stprivacy.checkpoint import weights_digest
from stprivacy.config import ClipConfig, ModelConfig
from stprivacy.tubelets import expand_keep

MODEL = ModelConfig(
    clip=ClipConfig(frames=8, height_px=64, width_px=80),
    embed_dim=24,
    num_heads=2,
    stage_depths=(1, 1, 1),
    anonymizer_depth=1,
)
SELECTIONS = ["random-selection", "motion-selection"]


def a_video(batch: int = 3) -> Tensor:
    return torch.rand(batch, 3, 8, 64, 80) * 2 - 1


def pixels(keep: Tensor) -> Tensor:
    return expand_keep(keep, MODEL.clip.grid, MODEL.clip.tubelet_frames, MODEL.clip.patch_size)


@pytest.mark.parametrize("name", SELECTIONS)
@pytest.mark.parametrize("select", ["slot", "global"])
@pytest.mark.parametrize("keep_ratio", [None, 0.3, 0.5, 0.9, 1.0])
def test_selections_keep_as_many_as_stprivacy(name: str, select: str, keep_ratio: float | None) -> None:
    model, video = replace(MODEL, select=select), a_video()
    with torch.no_grad():
        expected = STPrivacy(model).eval()(video, keep_ratio=keep_ratio)
    out = make_anonymizer(name, model).eval()(video, keep_ratio=keep_ratio)
    axes = (2,) if select == "slot" else (1, 2)
    for got, wanted in zip(out.stage_keeps, expected.stage_keeps, strict=True):
        assert torch.equal(got.sum(axes), wanted.sum(axes))
    assert all((later <= earlier).all() for earlier, later in pairwise(out.stage_keeps))
    assert torch.equal(out.keep, out.stage_keeps[-1])


@pytest.mark.parametrize("name", SELECTIONS)
def test_kept_tubelets_stay_as_they_are_and_the_others_are_0(name: str) -> None:
    video = a_video()
    out = make_anonymizer(name, MODEL)(video)
    assert torch.equal(out.video, video * pixels(out.keep))
    with pytest.raises(ValueError, match=r"keep_ratio must be in \(0, 1\], got 2"):
        make_anonymizer(name, MODEL)(video, keep_ratio=2)


def test_random_selection_repeats_for_a_clip_and_differs_between_clips() -> None:
    video, model = a_video(4), make_anonymizer("random-selection", MODEL)
    whole = model(video).keep
    state = torch.get_rng_state()
    one_by_one = torch.cat([model(clip.unsqueeze(0)).keep for clip in video.flip(0)]).flip(0)
    assert torch.equal(one_by_one, whole)  # whatever its batch, its place in it, and what was drawn before
    assert torch.equal(torch.get_rng_state(), state)
    assert len({tuple(keep.flatten().tolist()) for keep in whole}) == 4
    slots = whole.unbind(1)
    assert not all(torch.equal(slots[0], slot) for slot in slots)


def test_random_selection_takes_every_tubelet_equally_often() -> None:
    keep = make_anonymizer("random-selection", MODEL)(a_video(300)).keep
    share = float(keep[0].mean())
    assert (keep.mean(0) - share).abs().max() < 5 * (share * (1 - share) / 300) ** 0.5


def test_motion_selection_takes_the_moving_squares_tubelets() -> None:
    """A square of 16 pixels jumps from patch to patch along the second row of a noisy, still background."""
    video = (torch.rand(1, 3, 1, 64, 80) - 0.5).expand(-1, -1, 8, -1, -1).clone()
    for frame in range(8):
        video[:, :, frame, 16:32, 8 * frame : 8 * frame + 16] = 1.0
    keep = make_anonymizer("motion-selection", MODEL)(video, keep_ratio=0.55).keep  # 20 * .55^3: 3 of 20 in a slot
    assert keep.sum(-1).unique().tolist() == [3]
    for slot in range(4):
        # Where the square is in the slot's two frames and the one before: from 8 (2 slot - 1) to 8 (2 slot + 1) + 16.
        touched = {5 + x // 16 for x in range(max(8 * (2 * slot - 1), 0), 8 * (2 * slot + 1) + 16)}
        assert touched <= set(keep[0, slot].nonzero().flatten().tolist())


def test_motion_selection_of_a_still_video_is_the_same_each_time() -> None:
    still = torch.zeros(1, 3, 8, 64, 80)
    keeps = [make_anonymizer("motion-selection", MODEL)(still).stage_keeps for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*keeps, strict=True))
    assert keeps[0][-1][0, 0].tolist() == [1.0] * 6 + [0.0] * 14  # floor(20 * .343), the first of equals


def test_motion_before_a_tubelet_counts() -> None:
    """A flash between the slots: in tubelets of one frame there is no difference within."""
    model = replace(MODEL, clip=replace(MODEL.clip, tubelet_frames=1))
    video = torch.zeros(1, 3, 8, 64, 80)
    video[:, :, 4:, 48:, 64:] = 1.0  # the last patch, from frame 4 on
    keep = make_anonymizer("motion-selection", model)(video, keep_ratio=0.4).keep[0]  # one in a slot
    assert keep.argmax(-1).tolist() == [0, 0, 0, 0, 19, 0, 0, 0]


def test_untrained_is_stprivacy_with_weights_of_the_seed_alone() -> None:
    def digest(seed: int) -> str:
        model = make_anonymizer("untrained", MODEL, RivalOptions(seed=seed))
        assert isinstance(model, STPrivacy)
        return weights_digest(model.state_dict())

    first = digest(3)
    torch.randn(5)
    state = torch.get_rng_state()
    assert digest(3) == first != digest(4)
    assert torch.equal(torch.get_rng_state(), state)
