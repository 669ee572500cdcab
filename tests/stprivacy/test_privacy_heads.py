"""Privacy heads: what each of them reads, who moves whose weights, and what follows the anonymizer's output."""

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from stprivacy.anonymized import Anonymized
from stprivacy.anonymizers import STPrivacy
from stprivacy.attackers import AttackerSettings
from stprivacy.attackers.pooled import Pooled
from stprivacy.checkpoint import weights_digest
from stprivacy.config import ClipConfig, LossConfig, OptimConfig, PhaseConfig
from stprivacy.losses import privacy_loss
from stprivacy.models.sparsifier import top_k_keep
from stprivacy.models.whitening import WhitenedEmbedding
from stprivacy.noise import ClipNoise, Noise
from stprivacy.phases.context import Batch
from stprivacy.phases.local import LocalContext
from stprivacy.phases.objectives.following import REFIT_STEPS, FollowingLearner
from stprivacy.phases.objectives.heads import PRIVACY_HEADS, PrivacyHead, check_heads, make_head, selected
from stprivacy.phases.objectives.label import LabelObjective
from stprivacy.tubelets import from_tubelets, to_tubelets
from tests.support.tiny import CLIP, MODEL, RECOGNIZER

READERS = AttackerSettings(RECOGNIZER, CLIP, 5, whitened_components=16)
FINE = replace(CLIP, patch_size=8)  # tubelets of 384 values: quicker to whiten
SETTINGS = PhaseConfig(batch_size=8, optim=OptimConfig(learning_rate=0.1))
STEADY = replace(MODEL, drop_path=0.0)
ALL = tuple(PRIVACY_HEADS)


def batch(clips: int = 8) -> tuple[Batch, ClipNoise]:
    video, privacy = torch.randn(clips, 3, 4, 32, 32), torch.randint(2, (clips, 5)).float()
    share = Batch(video, torch.zeros(clips, dtype=torch.int64), privacy, torch.arange(clips), 1.0)
    return share, ClipNoise(0, 0, range(clips))


def objective(*names: PrivacyHead, clip: ClipConfig = CLIP) -> LabelObjective:
    """Heads that let gradients through: theirs start from zero."""
    torch.manual_seed(5)
    heads = {name: make_head(name, replace(READERS, clip=clip), MODEL) for name in names}
    for head in heads.values():
        nn.init.normal_(getattr(head.network, "recognizer", head.network).head.weight, std=0.1)
    return LabelObjective(heads, LossConfig(), SETTINGS, LocalContext())


def transformed(share: Batch, noise: ClipNoise) -> Anonymized:
    torch.manual_seed(1)
    anonymizer = STPrivacy(MODEL)
    for predictor in anonymizer.predictors:  # at birth, predictions hardly differ from token to token
        nn.init.normal_(predictor.head[-1].weight, std=1.0)
    return anonymizer(share.video, noise=noise.scoped("anonymizer"))


def turn(objective: LabelObjective, seen: Anonymized, share: Batch, noise: ClipNoise, step: int = 0) -> list[float]:
    """One step of the heads; gives back their losses."""
    for learner in objective.learners:
        learner.begin(step)
    losses = objective.losses(seen.detach(), share, noise)
    for loss in losses:
        loss.backward()
    for learner in objective.learners:
        learner.update(step, 10_000, 100)
    return [loss.item() for loss in losses]


def raw(video: Tensor, tubelets: int = 4) -> Anonymized:
    keep = torch.ones(len(video), 2, tubelets)
    return Anonymized(video, keep, (keep,))


@pytest.mark.parametrize("name", ALL)
def test_the_gain_moves_the_output_and_the_masks_through_every_head_and_no_heads_weights(name: PrivacyHead) -> None:
    (share, noise), heads = batch(), objective(name)
    anonymized = transformed(share, noise)
    turn(heads, anonymized, share, noise)  # what follows the output has seen it
    masks = anonymized.stage_log_z if name == "top-k" else (anonymized.keep,)
    gain = heads.gain(anonymized, share, noise)
    for gradient in torch.autograd.grad(gain, (anonymized.video, *masks), retain_graph=True):
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0
    gain.backward()
    assert heads.learners[0].at_rest


@pytest.mark.parametrize("name", ALL)
def test_heads_held_fixed_keep_weights_and_buffers_and_learn_on_detached_output(name: PrivacyHead) -> None:
    (share, noise), heads = batch(), objective(name)
    (learner,) = heads.learners
    anonymized = transformed(share, noise)
    before = weights_digest(learner.module.state_dict())
    heads.gain(anonymized, share, noise).backward()
    assert learner.at_rest
    assert weights_digest(learner.module.state_dict()) == before
    (loss,) = heads.losses(anonymized.detach(), share, noise)
    loss.backward()
    assert not learner.at_rest
    assert weights_digest(learner.module.state_dict()) == before  # until its update


def test_the_gain_is_the_mean_over_the_heads_and_each_learns_by_its_own_loss() -> None:
    (share, noise), heads = batch(), objective(*ALL)
    anonymized = transformed(share, noise)
    gains, losses = [], []
    for learner, name in zip(heads.learners, ALL, strict=True):
        keep = selected(anonymized, MODEL.keep_ratio, MODEL.select) if name == "top-k" else anonymized.keep
        logits = learner.module(anonymized.video, keep, noise.scoped(learner.name))
        frames = share.privacy.unsqueeze(1).expand(-1, 4, -1)
        gains.append(privacy_loss(logits, frames if name == "frame" else share.privacy))
        logits = learner.module(anonymized.video.detach(), keep.detach(), noise.scoped(learner.name))
        losses.append(privacy_loss(logits, frames if name == "frame" else share.privacy))
    assert heads.gain(anonymized, share, noise).item() == torch.stack(gains).mean().item()
    assert heads.losses(anonymized.detach(), share, noise) == losses
    assert len({loss.item() for loss in losses}) == 5


def test_each_head_has_weights_and_a_name_of_its_own() -> None:
    heads = objective(*ALL)
    assert [learner.name for learner in heads.learners] == [
        "privacy_recognizer",
        "privacy_recognizer_top_k",
        "privacy_recognizer_pooled",
        "privacy_recognizer_whitened",
        "privacy_recognizer_frame",
    ]
    owned = [id(parameter) for learner in heads.learners for parameter in learner.module.parameters()]
    assert len(set(owned)) == len(owned)


def test_the_top_k_mask_by_hand() -> None:
    def log_z(*keep: float) -> Tensor:  # one clip, two slots of four tubelets
        probability = torch.tensor(keep).view(1, 2, 4)
        return torch.stack([probability, 1 - probability], -1).log()

    first = log_z(0.9, 0.8, 0.1, 0.2, 0.3, 0.4, 0.6, 0.5)
    second = log_z(0.2, 0.7, 0.9, 0.9, 0.9, 0.3, 0.6, 0.8)
    # Half of four in each slot, then a quarter: of the two that are left.
    assert top_k_keep([first], 0.5, "slot").flatten().tolist() == [1, 1, 0, 0, 0, 0, 1, 1]
    assert top_k_keep([first, second], 0.5, "slot").flatten().tolist() == [0, 1, 0, 0, 0, 0, 0, 1]
    # Four of all eight, then two of those.
    assert top_k_keep([first], 0.5, "global").flatten().tolist() == [1, 1, 0, 0, 0, 0, 1, 1]
    assert top_k_keep([first, second], 0.5, "global").flatten().tolist() == [0, 1, 0, 0, 0, 0, 0, 1]
    assert top_k_keep([second], 0.25, "global").sum() == 2
    assert top_k_keep([first], 0.01, "slot").sum() == 2  # one in each slot at least

    first.requires_grad_()
    second.requires_grad_()
    top_k_keep([first, second], 0.5, "slot").sum().backward()
    kept = torch.tensor([1.0, 1, 0, 0, 0, 0, 1, 1]), torch.tensor([0.0, 1, 0, 0, 0, 0, 0, 1])
    # d keep / d log z is the probability, where the other stage keeps.
    assert torch.allclose(second.grad[..., 0].flatten(), kept[0] * second.detach()[..., 0].exp().flatten())
    assert torch.allclose(first.grad[..., 0].flatten(), kept[1] * first.detach()[..., 0].exp().flatten())


class Steered(Noise):
    """Draws that have every stage keep what `stage_keeps` do."""

    def __init__(self, stage_keeps: Sequence[Tensor]) -> None:
        self._keeps = torch.stack([keep.flatten(1) for keep in stage_keeps], 1)  # b stages n

    def uniform(self, purpose: str, batch_size: int, *shape: int) -> Tensor:
        assert purpose == "gumbel"
        return torch.stack([self._keeps, 1 - self._keeps], -1).clamp(1e-6, 1 - 1e-6)


@pytest.mark.parametrize("select", ["slot", "global"])
def test_where_the_sample_keeps_what_evaluation_keeps_the_top_k_mask_is_evaluations(select: str) -> None:
    model = STPrivacy(replace(STEADY, select=select, stage_depths=(1, 1, 1)))
    for predictor in model.predictors:
        nn.init.normal_(predictor.head[-1].weight, std=1.0)
    video = torch.randn(6, 3, 8, 64, 64)
    tested = model.eval()(video)
    trained = model.train()(video, noise=Steered(tested.stage_keeps))
    assert torch.equal(trained.keep, tested.keep)
    assert torch.equal(selected(trained, 0.7, select), tested.keep)
    other = model(video)  # another sample: still as many, in each slot or in all
    mask = selected(other, 0.7, select)
    assert not torch.equal(other.keep, tested.keep)
    counts = (2,) if select == "slot" else (1, 2)
    assert torch.equal(mask.sum(counts), tested.keep.sum(counts))


def test_evaluation_and_what_abandons_nothing_have_their_own_mask() -> None:
    video = torch.randn(2, 3, 4, 32, 32)
    for model in (STPrivacy(MODEL).eval(), STPrivacy(replace(MODEL, keep_ratio=1.0))):
        anonymized = model(video)
        assert anonymized.stage_log_z == ()
        assert selected(anonymized, 0.7, "slot") is anonymized.keep


def whitening() -> tuple[LabelObjective, WhitenedEmbedding]:
    heads = objective("whitened", clip=FINE)
    (learner,) = heads.learners
    assert isinstance(learner, FollowingLearner)
    return heads, learner.module.reader.embedding


def tokens(embedding: WhitenedEmbedding, seen: Anonymized) -> Tensor:
    """What the whitened head sees of each kept tubelet."""
    kept = to_tubelets(seen.video, FINE.tubelet_frames, FINE.patch_size)[seen.keep.flatten(1) > 0.5]
    return (kept - embedding.mean) @ embedding.directions


def drawn(seed: int) -> Anonymized:
    """Output of rank 24, as that of a linear layer, about a mean that is not 0; every second tubelet is kept."""
    draws = torch.Generator().manual_seed(seed)
    mix = torch.randn(24, FINE.tubelet_values, generator=draws)
    values = torch.randn(100, 32, 24, generator=draws) @ mix * 3 + seed
    keep = (torch.arange(32) % 2).float().view(1, 2, 16).expand(100, -1, -1)
    return Anonymized(from_tubelets(values, FINE.grid, FINE.tubelet_frames, FINE.patch_size), keep, (keep,))


def test_the_whitened_head_is_white_again_some_refits_after_the_output_has_changed() -> None:
    heads, embedding = whitening()
    share, noise = batch(100)
    gaps = []
    for refit, seed in enumerate((1, 2, 2, 2, 2, 2, 2)):
        turn(heads, drawn(seed), share, noise, step=refit * REFIT_STEPS)
        gaps.append((tokens(embedding, drawn(seed)).T.cov() - torch.eye(16)).abs().max().item())
    assert gaps[0] < 0.01
    assert gaps[1] > 0.2
    assert gaps[-1] < 0.05
    assert tokens(embedding, drawn(2)).mean(0).abs().max() < 0.05


def test_a_refit_keeps_what_a_token_means() -> None:
    heads, embedding = whitening()
    share, noise = batch(64)
    seen = raw(share.video, 16)
    turn(heads, seen, share, noise)
    before = tokens(embedding, seen)
    changed = raw(share.video * 1.05 + 0.1 * torch.randn_like(share.video), 16)
    turn(heads, changed, share, noise, step=REFIT_STEPS)
    assert nn.functional.cosine_similarity(before, tokens(embedding, seen), dim=1).mean() > 0.9


def test_what_follows_the_output_sees_it_in_the_steps_of_a_refit_alone_and_no_stand_in() -> None:
    heads = objective("pooled", "whitened")
    share, noise = batch()
    seen = raw(share.video)
    for step in range(1, REFIT_STEPS):
        turn(heads, seen, share, noise, step)
    stand_in = replace(share, weight=0.0)
    for learner in heads.learners:
        assert all(
            (buffer == 0).all() for name, buffer in learner.module.named_buffers() if name.startswith("running_")
        )
        learner.begin(0)
    heads.losses(seen, stand_in, noise)
    heads.losses(seen, share, noise)
    for learner, clips in zip(heads.learners, (8, 8 * 8), strict=True):
        learner.update(0, 100, 100)
        assert learner.module.running_count == clips


def test_a_clip_with_one_kept_tubelet_or_none_has_finite_gradients_through_its_pooled_statistics() -> None:
    video = torch.randn(3, 3, 4, 32, 32, requires_grad=True)
    keep = torch.zeros(3, 2, 4)
    keep[1, 0, 0] = 1
    keep[2] = 1
    keep.requires_grad_()
    features = Pooled(CLIP, 5).pool(video, keep)
    features.square().sum().backward()
    assert video.grad.isfinite().all()
    assert keep.grad.isfinite().all()
    assert (features[0] == 0).all()
    tubelets = to_tubelets(video, 2, 16)
    torch.testing.assert_close(features[2, CLIP.tubelet_values :], tubelets[2].std(0, correction=0))
    torch.testing.assert_close(features[1, : CLIP.tubelet_values], tubelets[1, 0])
    assert (features[1, CLIP.tubelet_values :] == 0).all()


@pytest.mark.parametrize("name", ALL)
def test_each_head_learns_an_attribute_that_it_is_shown(name: PrivacyHead) -> None:
    torch.manual_seed(0)
    heads = LabelObjective({name: make_head(name, READERS, MODEL)}, LossConfig(), SETTINGS, LocalContext())
    losses = []
    for step in range(80):
        share, _ = batch(16)
        shown = share.privacy[:, 0].view(-1, 1, 1, 1, 1) - 0.5  # a brightness
        share = replace(share, video=0.3 * share.video + shown, privacy=share.privacy[:, :1].expand(-1, 5))
        losses += turn(heads, raw(share.video), share, ClipNoise(0, step, range(16)), step)
    assert losses[0] == pytest.approx(0.693, abs=1e-3)
    assert sum(losses[-10:]) / 10 < 0.3


def test_frames_that_are_labelled_by_themselves_are_read_so() -> None:
    heads, (share, noise) = objective("frame"), batch()
    by_frame = replace(share, privacy=torch.randint(2, (8, 4, 5)).float())
    (learner,) = heads.learners
    logits = learner.module(share.video, raw(share.video).keep, noise.scoped(learner.name))
    assert heads.losses(raw(share.video), by_frame, noise)[0].item() == privacy_loss(logits, by_frame.privacy).item()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "privacy_heads, none named; there are: standard, top-k, pooled, whitened, frame"),
        (("standard", "oracle"), "privacy_heads, unknown: oracle; there are: standard, top-k"),
        (("pooled", "pooled"), "privacy_heads must be named once each, got pooled, pooled"),
    ],
)
def test_names_that_cannot_be_are_refused_with_the_known_ones(names: Sequence[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_heads(names)


def test_every_head_is_explained() -> None:
    assert set(get_args(PrivacyHead)) == set(PRIVACY_HEADS)
