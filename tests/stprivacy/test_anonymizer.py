"""STPrivacy in both modes: what is dropped, what cannot leak, what randomness and gradients do."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from stprivacy.anonymizers import ANONYMIZERS, Anonymized, RivalOptions, STPrivacy, make_anonymizer
from stprivacy.config import ClipConfig, ModelConfig
from stprivacy.losses import sparsification_loss
from stprivacy.models.sparsifier import select_tokens
from stprivacy.noise import ClipNoise
from stprivacy.tubelets import expand_keep, to_tubelets

TINY = ModelConfig(
    clip=ClipConfig(frames=4, height_px=32, width_px=48),
    embed_dim=24,
    num_heads=2,
    stage_depths=(1, 1, 1),
    anonymizer_depth=1,
    drop_path=0.1,
)


def make(**changes: object) -> STPrivacy:
    torch.manual_seed(1)
    model = STPrivacy(replace(TINY, **changes))
    for predictor in model.predictors:  # at birth, predictions hardly differ from token to token
        torch.nn.init.normal_(predictor.head[-1].weight, std=1.0)
    return model


def clips(batch: int = 3) -> Tensor:
    return torch.randn(batch, 3, 4, 32, 48)


def pixels(keep: Tensor) -> Tensor:
    return expand_keep(keep, TINY.clip.grid, TINY.clip.tubelet_frames, TINY.clip.patch_size)


@pytest.mark.parametrize("name", sorted(ANONYMIZERS))
@pytest.mark.parametrize("training", [True, False])
def test_every_anonymizer_maps_a_video_to_one_of_the_same_size_and_its_masks(name: str, training: bool) -> None:
    model = make_anonymizer(name, TINY, RivalOptions(region="frame")).train(training)
    out = model(clips(), person=torch.ones(3, 1, 4, 32, 48))
    assert isinstance(out, Anonymized)
    assert out.video.shape == (3, 3, 4, 32, 48)
    assert out.keep.shape == (3, 2, 6)
    assert all(keep.shape == out.keep.shape and set(keep.unique().tolist()) <= {0.0, 1.0} for keep in out.stage_keeps)


@pytest.mark.parametrize(("select", "counts"), [("slot", (8, 4, 4)), ("global", (8, 5, 4))])
def test_evaluation_keeps_the_exact_count_after_each_stage(select: str, counts: tuple[int, ...]) -> None:
    out = make(select=select).eval()(clips())
    assert tuple(keep.sum((1, 2)).unique().tolist() for keep in out.stage_keeps) == tuple([count] for count in counts)


def test_paper_size_keeps_the_papers_counts() -> None:
    small_paper = replace(ModelConfig(), embed_dim=24, num_heads=2, stage_depths=(1, 1, 1), anonymizer_depth=1)
    out = STPrivacy(small_paper).eval()(torch.randn(1, 3, 16, 112, 112))
    assert [int(keep.sum()) for keep in out.stage_keeps] == [272, 192, 128]


def test_evaluation_sets_abandoned_tubelets_to_zero_and_no_others() -> None:
    out = make().eval()(clips())
    assert (out.video * (1 - pixels(out.keep)) == 0).all()
    tubelets = to_tubelets(out.video, 2, 16)
    assert ((tubelets.abs().sum(-1) > 0) == (out.keep.flatten(1) == 1)).all()


def test_masks_shrink_from_stage_to_stage() -> None:
    for mode in (True, False):
        keeps = make().train(mode)(clips()).stage_keeps
        assert all((later <= earlier).all() for earlier, later in pairwise(keeps))


def test_keep_ratio_can_be_overridden_at_deployment() -> None:
    model = make().eval()
    fractions = [model(clips(), keep_ratio=ratio).keep.mean().item() for ratio in (0.5, 0.9, 1.0)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    with pytest.raises(ValueError, match=r"keep_ratio must be in \(0, 1\], got 1.5"):
        model(clips(), keep_ratio=1.5)


def test_training_with_a_mask_equals_evaluation_that_drops_the_same_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masked attention hides pruned tokens exactly: physically dropping them changes nothing for the others."""
    model, video = make(drop_path=0.0), clips()
    dropped = model.eval()(video)
    stages = iter(dropped.stage_keeps)
    monkeypatch.setattr(
        "stprivacy.models.anonymizer.gumbel_keep", lambda log_z, _: next(stages).flatten(1) + 0 * log_z[..., 0]
    )
    masked = model.train()(video)
    torch.testing.assert_close(masked.video * pixels(dropped.keep), dropped.video, rtol=1e-4, atol=1e-5)


def test_what_the_first_stage_abandons_reaches_the_rest_through_its_own_layers_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the first stage's attention silenced and the selection held, an abandoned tubelet changes nothing."""
    model, video, chosen = make().eval(), clips(), []

    def remember(*args: object) -> Tensor:
        chosen.append(select_tokens(*args))
        return chosen[-1]

    torch.nn.init.zeros_(model.stages[0][0].attention.proj.weight)
    monkeypatch.setattr("stprivacy.models.anonymizer.select_tokens", remember)
    out = model(video)
    selections = iter(chosen)
    monkeypatch.setattr("stprivacy.models.anonymizer.select_tokens", lambda *args: next(selections))
    again = model(video + (1 - pixels(out.stage_keeps[0])) * 10.0)
    torch.testing.assert_close(again.video, out.video, rtol=1e-4, atol=1e-5)
    selections = iter(chosen)
    assert not torch.allclose(model(video + pixels(out.keep)).video, out.video)  # a kept one's change is seen


def test_training_noise_depends_on_seed_epoch_and_clip_and_not_on_the_batch() -> None:
    model, video = make().train(), clips(4)
    whole = model(video, noise=ClipNoise(0, 2, [5, 6, 7, 8]))
    part = model(video[1:3], noise=ClipNoise(0, 2, [6, 7]))
    assert torch.equal(part.keep, whole.keep[1:3])
    other_epoch = model(video, noise=ClipNoise(0, 3, [5, 6, 7, 8]))
    assert not torch.equal(other_epoch.keep, whole.keep)


def test_gradients_of_the_output_reach_the_predictors_through_the_masks() -> None:
    model = make().train()
    out = model(clips(), noise=ClipNoise(0, 0, [0, 1, 2]))
    (out.video * pixels(out.keep)).square().sum().backward()
    for predictor in model.predictors:
        assert predictor.head[0].weight.grad.abs().max() > 0


def test_any_size_that_the_tubelet_divides_and_an_error_for_others() -> None:
    model = make().eval()
    assert model(torch.randn(1, 3, 8, 64, 32)).video.shape == (1, 3, 8, 64, 32)
    with pytest.raises(ValueError, match="5 frames, 32x48 pixels"):
        model(torch.randn(1, 3, 5, 32, 48))


def test_output_is_normalised_by_its_training_standard_deviation() -> None:
    model = make(normalize_output=True).train()
    with torch.no_grad():
        model.head.weight.mul_(30.0)
    for _ in range(3):
        out = model(clips(8))
    kept = pixels(out.keep).expand_as(out.video) == 1
    assert out.video[kept].std().item() == pytest.approx(1.0, rel=0.1)
    assert STPrivacy(model.config).load_state_dict(model.state_dict())  # the scale is part of the model
    assert model.state_dict()["output_std"] > 0


def test_the_output_scale_is_a_slow_mean_of_the_kept_values_deviations() -> None:
    model = make(normalize_output=True).train()
    written: list[Tensor] = []
    model.head.register_forward_hook(lambda _, given, values: written.append(values.detach()))
    deviations = []
    for scale in (1.0, 5.0):
        with torch.no_grad():
            model.head.weight.mul_(scale)
        keep = model(clips(8)).keep.flatten(1) == 1
        assert 0 < keep.float().mean() < 1
        deviations.append(written[-1][keep].std())
    torch.testing.assert_close(model.output_std, 0.99 * deviations[0] + 0.01 * deviations[1])


def test_every_stage_draws_anew() -> None:
    model = make().train()
    for predictor in model.predictors:  # every token is kept with probability one half
        torch.nn.init.zeros_(predictor.head[-1].weight)
        torch.nn.init.zeros_(predictor.head[-1].bias)
    kept = [keep.sum().item() for keep in model(clips(32), noise=ClipNoise(0, 0, range(32))).stage_keeps]
    assert [after / before for before, after in pairwise([32 * 12, *kept])] == pytest.approx([0.5] * 3, abs=0.2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep_ratio": 0.0}, "keep_ratio must be in"),
        ({"num_heads": 5}, "multiple of num_heads 5"),
        ({"stage_depths": ()}, "stage_depths"),
        ({"select": "best"}, "select must be one of slot, global"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


def test_sparsification_only_leaves_kept_tubelets_as_they_are() -> None:
    model, video = make(anonymizer_depth=0), clips()
    trained = model.train()(video)
    assert torch.equal(trained.video, video)
    assert trained.keep.requires_grad
    out = model.eval()(video)
    assert 0 < out.keep.mean() < 1
    assert torch.equal(out.video, video * pixels(out.keep))


def test_anonymization_only_abandons_nothing_in_training() -> None:
    out = make(keep_ratio=1.0).train()(clips())
    assert all((keep == 1).all() for keep in out.stage_keeps)
    assert sparsification_loss(out.stage_keeps, 1.0) == 0
