"""Masks over clips: no seam where clips meet, the asked number of tubelets, and the same whatever comes in together."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from stprivacy.deploy.steady_masks import AnonymizedClip, Clip, ClipMasks, Masks, SteadyMasks
from stprivacy.models.anonymizer import STPrivacy
from stprivacy.models.sparsifier import stage_count
from tests.support.tiny import MODEL

# Three stages, four slots a clip, 16 tubelets a slot.
CONFIG = replace(
    MODEL, clip=replace(MODEL.clip, frames=8, height_px=32, width_px=32, patch_size=8), stage_depths=(1, 1, 1)
)
SLOTS, PLACES = 4, 16


@pytest.fixture(scope="module")
def model() -> STPrivacy:
    torch.manual_seed(3)
    return STPrivacy(CONFIG).eval()


def noise_clips(count: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(3, 8, 32, 32, generator=generator) for _ in range(count)]


def named(pixels: list[Tensor], video: str = "a") -> list[Clip]:
    return [Clip(video, clip, at == len(pixels) - 1) for at, clip in enumerate(pixels)]


def keeps(done: list[AnonymizedClip]) -> Tensor:
    return torch.cat([clip.keep for clip in done])


def changes(keep: Tensor) -> Tensor:
    """Tubelets that differ from the slot before: [l - 1]."""
    return keep.diff(dim=0).abs().sum(1)


@pytest.mark.parametrize("clips", [1, 2, 3, 9])
@pytest.mark.parametrize("keep_ratio", [0.3, 0.7, 1.0])
def test_every_slot_keeps_as_many_tubelets_as_the_networks_own_masks(
    model: STPrivacy, clips: int, keep_ratio: float
) -> None:
    pixels = noise_clips(clips)
    keep = keeps(SteadyMasks(model, keep_ratio).push(named(pixels)))
    own = model(torch.stack(pixels), keep_ratio=keep_ratio).keep.flatten(0, 1)
    assert keep.shape == (clips * SLOTS, PLACES)
    assert keep.sum(1).tolist() == own.sum(1).tolist() == [stage_count(PLACES, keep_ratio, 3)] * (clips * SLOTS)


def test_a_still_video_has_one_mask_though_its_clips_own_masks_flicker(model: STPrivacy) -> None:
    # The scores of a still video repeat from clip to clip: slots differ by their position within the clip alone.
    still = noise_clips(1)[0][:, :1].expand(-1, 8, -1, -1)
    own = keeps(ClipMasks(model, 0.5).push(named([still] * 9)))
    steady = keeps(SteadyMasks(model, 0.5).push(named([still] * 9)))
    assert changes(own).sum() > 0
    # Half a clip beside each end has no whole clip around it, and each later stage looks half a clip further.
    inner = slice(3 * SLOTS, -3 * SLOTS)
    assert changes(steady[inner]).sum() == 0


def test_masks_change_no_more_between_clips_than_within_them(model: STPrivacy) -> None:
    # Without positions in time, what a clip's own masks share within it, and change at its ends, is its mean.
    timeless = deepcopy(model)
    positions = timeless.position.weight.data.reshape(SLOTS, PLACES, -1)
    positions.copy_(positions[:1].expand(SLOTS, -1, -1))
    generator = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, 3, 1, 32, 32, generator=generator)
    place = torch.linspace(0, 1, 40 * 8)[None, :, None, None]
    clips = list((start * (1 - place) + end * place).split(8, dim=1))  # drifts from one image to another
    at_seams = torch.arange(1, 40 * SLOTS) % SLOTS == 0
    steady = changes(keeps(SteadyMasks(timeless, 0.5).push(named(clips))))
    own = changes(keeps(ClipMasks(timeless, 0.5).push(named(clips))))
    assert own[at_seams].mean() > 2 * own[~at_seams].mean()  # what a viewer would see
    assert steady[at_seams].sum() > 0
    assert steady[at_seams].mean() <= 1.2 * steady[~at_seams].mean()


def test_the_same_comes_out_however_clips_come_in(model: STPrivacy) -> None:
    first, second = noise_clips(5), noise_clips(3, seed=1)
    alone = {name: SteadyMasks(model, 0.5).push(named(clips, name)) for name, clips in (("a", first), ("b", second))}
    masks: Masks = SteadyMasks(model, 0.5)
    a, b = named(first, "a"), named(second, "b")
    done = [*masks.push(a[:1]), *masks.push([a[1], b[0]]), *masks.push([]), *masks.push([b[1], b[2], a[2], a[3]])]
    assert not [clip for clip in done if clip.video == "a" and torch.equal(clip.keep, alone["a"][4].keep)]
    done += masks.push(a[4:])
    for name, expected in alone.items():
        found = [clip for clip in done if clip.video == name]
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one.keep, other.keep)
            torch.testing.assert_close(one.pixels, other.pixels)


def test_a_name_is_free_again_after_its_last_clip(model: STPrivacy) -> None:
    masks = SteadyMasks(model, 0.5)
    once, again = (masks.push(named(noise_clips(2))) for _ in range(2))
    assert torch.equal(keeps(once), keeps(again))


@pytest.mark.parametrize("seed", range(5))
def test_a_single_clip_keeps_the_best_of_its_mean_scores(seed: int) -> None:
    clip = noise_clips(1, seed)[0]
    two_stages = STPrivacy(replace(CONFIG, stage_depths=(1, 1))).eval()
    grid = CONFIG.clip.grid
    # By hand: slots two before to two after, the outermost counting half, of those in which the place is still there.
    weights = torch.tensor([[1, 1, 0.5, 0], [1, 1, 1, 0.5], [0.5, 1, 1, 1], [0, 0.5, 1, 1]])
    survivors, there = two_stages.survivors(clip[None]), torch.ones(SLOTS, PLACES)
    for stage in (1, 2):
        survivors, log_z = two_stages.score(survivors, stage, grid)
        odds = torch.zeros(SLOTS * PLACES).scatter(0, survivors.places[0], log_z[0, :, 0] - log_z[0, :, 1])
        means = weights @ odds.view(SLOTS, PLACES) / (weights @ there).clamp_min(0.1)
        best = means.where(there == 1, -torch.inf).topk(stage_count(PLACES, 0.4, stage), dim=1).indices
        there = torch.zeros(SLOTS, PLACES).scatter(1, best, 1.0)
        survivors = survivors.choose(there.flatten()[survivors.places].nonzero()[:, 1][None])
    assert torch.equal(keeps(SteadyMasks(two_stages, 0.4).push(named([clip]))), there)


def test_at_keep_ratio_1_nothing_is_abandoned_and_the_network_writes_what_it_always_does(model: STPrivacy) -> None:
    pixels = noise_clips(3)
    done = SteadyMasks(model, 1.0).push(named(pixels))
    torch.testing.assert_close(torch.stack([clip.pixels for clip in done]), model(torch.stack(pixels), 1.0).video)


def test_clip_masks_are_the_networks_own(model: STPrivacy) -> None:
    pixels = noise_clips(3)
    own = model(torch.stack(pixels), keep_ratio=0.5)
    done = ClipMasks(model, 0.5).push(named(pixels))
    assert torch.equal(torch.stack([clip.keep for clip in done]), own.keep)
    assert torch.equal(torch.stack([clip.pixels for clip in done]), own.video)
    assert ClipMasks(model, 0.5).push([]) == []


def test_a_network_that_selects_over_whole_clips_has_no_steady_masks() -> None:
    with pytest.raises(ValueError, match="selects by slot"):
        SteadyMasks(STPrivacy(replace(CONFIG, select="global")), 0.5)
