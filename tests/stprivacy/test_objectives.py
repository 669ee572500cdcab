"""The rivals' privacy objectives: who is pushed where, who learns from what, who begins anew, who takes turns."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from stprivacy.anonymized import Anonymized
from stprivacy.anonymizers import ITNet, UNet
from stprivacy.checkpoint import weights_digest
from stprivacy.config import LossConfig, PhaseConfig
from stprivacy.losses import action_loss, nt_xent, privacy_loss, uniform_loss
from stprivacy.models.frame_recognizer import FrameRecognizer, frame_clip
from stprivacy.models.recognizer import Recognizer
from stprivacy.noise import ClipNoise
from stprivacy.phases.adversarial import AdversarialPhase
from stprivacy.phases.context import Batch
from stprivacy.phases.local import LocalContext
from stprivacy.phases.objectives.spact import FrameProjector, SelfSupervisedObjective, SPActConfig, two_frames
from stprivacy.phases.objectives.vita import FrameEnsembleObjective, VITAConfig
from tests.support.tiny import CLIP, MODEL, RECOGNIZER

SMALL = replace(MODEL, vita_width=0.125, spact_width=0.125)
SETTINGS = PhaseConfig(batch_size=4)
NOISE = ClipNoise(0, 0, range(4))


def batch() -> Batch:
    privacy = torch.randint(2, (4, 5)).float()
    return Batch(torch.rand(4, 3, 4, 32, 32) * 2 - 1, torch.tensor([0, 1, 1, 0]), privacy, torch.arange(4), 1.0)


def confident() -> FrameRecognizer:
    model = FrameRecognizer(RECOGNIZER, CLIP, 5)
    nn.init.normal_(model.recognizer.head.weight)  # from zero, the head lets no gradient through at the first step
    return model


def ensemble(**settings: int) -> FrameEnsembleObjective:
    return FrameEnsembleObjective(confident, VITAConfig(**settings), 0, SETTINGS, LocalContext())


def self_supervised() -> SelfSupervisedObjective:
    projector = FrameProjector(Recognizer(RECOGNIZER, frame_clip(CLIP), 24), 16)
    return SelfSupervisedObjective(projector, SPActConfig(), SETTINGS, LocalContext())


def raw(video: Tensor) -> Anonymized:
    keep = torch.ones(len(video), 2, 4)
    return Anonymized(video, keep, (keep,))


def vita_phase(objective: FrameEnsembleObjective) -> AdversarialPhase:
    action = Recognizer(RECOGNIZER, CLIP, 2)
    nn.init.normal_(action.head.weight)
    return AdversarialPhase(ITNet(SMALL), action, objective, LossConfig(), SETTINGS, LocalContext())


def spact_phase() -> AdversarialPhase:
    action = Recognizer(RECOGNIZER, CLIP, 2)
    nn.init.normal_(action.head.weight)
    return AdversarialPhase(UNet(SMALL), action, self_supervised(), LossConfig(), SETTINGS, LocalContext())


def test_the_uniform_push_draws_every_logit_to_zero() -> None:
    logits = torch.tensor([3.0, -2.0, 0.0], requires_grad=True)
    loss = uniform_loss(logits)
    loss.backward()
    assert logits.grad.sign().tolist() == [1, -1, 0]  # descent goes the other way
    expected = sum(math.log(1 + math.exp(x)) - x / 2 for x in (3.0, -2.0, 0.0)) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert uniform_loss(torch.zeros(2, 4, 5)).item() == pytest.approx(math.log(2), rel=1e-6)


def test_nt_xent_by_hand() -> None:
    # Two videos; the views of the first are the same direction, those of the second at a right angle.
    first, second = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[5.0, 0.0], [3.0, 0.0]])
    e = math.exp(1 / 0.5)
    # Cosines of (a1, b1, a2, b2): a1-a2 1, a1-b2 1, a2-b2 1, all with b1 0.
    a1 = -math.log(e / (1 + e + e))
    b1 = -math.log(1 / (1 + 1 + 1))
    a2 = -math.log(e / (e + 1 + e))
    b2 = -math.log(1 / (e + 1 + e))
    assert nt_xent(first, second, 0.5).item() == pytest.approx((a1 + b1 + a2 + b2) / 4, rel=1e-5)


def test_nt_xent_of_one_video_is_zero_and_has_a_finite_gradient() -> None:
    one, two = torch.randn(1, 8, requires_grad=True), torch.randn(1, 8)
    loss = nt_xent(one, two, 0.1)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(one.grad, torch.zeros(1, 8))


def test_two_frames_are_different_and_every_pair_comes_up() -> None:
    video = torch.arange(3.0).view(1, 1, 3, 1, 1).expand(600, 3, 3, 2, 2)
    pairs = two_frames(video, torch.rand(600, 2))[:, :, 0, 0, 0]
    assert {tuple(pair) for pair in pairs.tolist()} == {(a, b) for a in range(3) for b in range(3) if a != b}
    with pytest.raises(ValueError, match="two frames of a video, and this one has 1"):
        two_frames(video[:, :, :1], torch.rand(600, 2))


def test_the_worst_adversary_alone_is_pushed() -> None:
    objective, share = ensemble(adversaries=3), batch()
    for learner, scale in zip(objective.learners, (0.1, 5.0, 1.0), strict=True):
        nn.init.normal_(learner.module.recognizer.head.weight, std=scale)
    video = share.video.requires_grad_()
    gain = objective.gain(raw(video), share, NOISE)
    (pushed,) = torch.autograd.grad(gain, video)

    worst = objective.learners[1]
    expected = -uniform_loss(worst.module(video, raw(video).keep, NOISE.scoped(worst.name)))
    assert gain.item() == expected.item()
    torch.testing.assert_close(pushed, torch.autograd.grad(expected, video)[0])
    # Up the gain, that adversary comes nearer to the uniform prediction.
    moved = raw((video + 1e-3 * pushed.sign()).detach())
    assert objective.gain(moved, share, NOISE) > gain
    assert all(parameter.grad is None for learner in objective.learners for parameter in learner.module.parameters())


def test_the_ensembles_adversaries_learn_each_by_its_own_loss_on_every_frame() -> None:
    objective, share = ensemble(adversaries=2), batch()
    losses = objective.losses(raw(share.video), share, NOISE)
    for learner, loss in zip(objective.learners, losses, strict=True):
        logits = learner.module(share.video, raw(share.video).keep, NOISE.scoped(learner.name))
        assert logits.shape == (4, 4, 5)
        assert loss.item() == privacy_loss(logits, share.privacy.unsqueeze(1).expand(-1, 4, -1)).item()
    by_frame = replace(share, privacy=torch.randint(2, (4, 4, 5)).float())
    assert len(objective.losses(raw(share.video), by_frame, NOISE)) == 2


def test_vitas_gradients_reach_each_player_from_its_own_loss_only() -> None:
    objective, share = ensemble(adversaries=2), batch()
    phase = vita_phase(objective)
    terms = phase.backward(share, NOISE)
    gradients = [{name: p.grad.clone() for name, p in learner.module.named_parameters()} for learner in phase.learners]

    for learner in phase.learners:
        learner.module.zero_grad()
    anonymized = phase.anonymizer.module(share.video)
    action_noise = NOISE.scoped("action_recognizer")
    loss_action = action_loss(
        phase.action_recognizer.module(anonymized.video, anonymized.keep, action_noise), share.action
    )
    own = objective.losses(anonymized, share, NOISE)
    total = 0.5 * loss_action - 0.5 * objective.gain(anonymized, share, NOISE)
    for learner, loss, got in zip(phase.learners, [total, loss_action, *own], gradients, strict=True):
        names, weights = zip(*learner.module.named_parameters(), strict=True)
        expected = dict(zip(names, torch.autograd.grad(loss, weights, retain_graph=True), strict=True))
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
    assert terms["loss_sparsification"] == 0
    assert terms["loss_privacy"].item() == pytest.approx(torch.stack(own).mean().item())


def test_spact_moves_the_anonymizer_in_even_steps_and_its_opponents_in_odd_ones() -> None:
    phase, share = spact_phase(), batch()
    for step in range(3):
        for learner in phase.learners:
            learner.begin(step)
        terms = phase.backward(share, NOISE)
        at_rest = [learner.at_rest for learner in phase.learners]
        assert at_rest == ([False, True, True] if step % 2 == 0 else [True, False, False])
        assert ("loss" in terms, "loss_privacy" in terms) == ((True, False) if step % 2 == 0 else (False, True))
        for learner in phase.learners:
            learner.module.zero_grad()


def test_spacts_anonymizer_goes_up_the_nt_xent_that_the_network_goes_down() -> None:
    objective, share = self_supervised(), batch()
    video = share.video.requires_grad_()
    gain = objective.gain(raw(video), share, NOISE)
    (up,) = torch.autograd.grad(gain, video)
    assert objective.gain(raw(video + 1e-3 * up.sign()), share, NOISE) > gain
    (loss,) = objective.losses(raw(video.detach()), share, NOISE)
    assert loss.item() == gain.item()
    loss.backward()
    with torch.no_grad():
        for parameter in objective.learners[0].module.parameters():
            parameter -= 1e-3 * parameter.grad
    assert objective.losses(raw(video), share, NOISE)[0] < loss


def test_spact_compares_the_two_frames_of_each_video_with_those_of_the_others() -> None:
    objective, share = self_supervised(), batch()
    (learner,) = objective.learners
    own = NOISE.scoped("self_supervised")
    frames = two_frames(share.video, own.uniform("frames", 4, 2)).unsqueeze(3)  # b 2 c 1 h w
    first, second = (learner.module(frames[:, i], own) for i in range(2))
    expected = nt_xent(first, second, SPActConfig().temperature)
    torch.testing.assert_close(objective.gain(raw(share.video), share, NOISE), expected)
    torch.testing.assert_close(objective.losses(raw(share.video), share, NOISE)[0], expected)


def test_spact_reads_no_label() -> None:
    objective, share = self_supervised(), batch()
    turned = replace(share, privacy=1 - share.privacy)
    for read in (objective.gain, lambda *inputs: objective.losses(*inputs)[0]):
        assert read(raw(share.video), share, NOISE).item() == read(raw(share.video), turned, NOISE).item()


def test_each_adversary_begins_anew_in_its_turn_weights_and_optimizer() -> None:
    objective, share = ensemble(adversaries=2, restart_steps=10), batch()
    for learner in objective.learners:
        learner.module(share.video, raw(share.video).keep).sum().backward()
        learner.update(0, 100, 100)
    restarts = {}
    for step in range(41):
        before = [weights_digest(learner.module.state_dict()) for learner in objective.learners]
        for learner in objective.learners:
            learner.begin(step)
        after = [weights_digest(learner.module.state_dict()) for learner in objective.learners]
        changed = [place for place in range(2) if before[place] != after[place]]
        if changed:
            restarts[step] = changed
            assert not objective.learners[changed[0]].optimizer.state
    assert restarts == {10: [0], 20: [1], 30: [0], 40: [1]}


def test_restarts_are_counted_from_the_end_of_the_head_start() -> None:
    objective = FrameEnsembleObjective(confident, VITAConfig(2, restart_steps=10), 0, SETTINGS, LocalContext(), 25)
    learner = objective.learners[0]
    before = weights_digest(learner.module.state_dict())
    for step in (10, 20, 25, 30):
        learner.begin(step)
    assert weights_digest(learner.module.state_dict()) == before
    learner.begin(35)
    assert weights_digest(learner.module.state_dict()) != before


def test_an_adversary_fresh_from_a_restart_is_not_the_one_pushed() -> None:
    def from_zero() -> FrameRecognizer:
        return FrameRecognizer(RECOGNIZER, CLIP, 5)

    objective = FrameEnsembleObjective(from_zero, VITAConfig(2, restart_steps=1), 0, SETTINGS, LocalContext())
    share = batch()
    for learner, scale in zip(objective.learners, (5.0, 0.1), strict=True):
        nn.init.normal_(learner.module.recognizer.head.weight, std=scale)
    first = objective.gain(raw(share.video), share, NOISE)
    objective.learners[0].begin(1)
    second = objective.gain(raw(share.video), share, NOISE)
    assert first < second < -math.log(2)  # now the lesser of the two learned ones, and not the uniform one


def test_a_restart_depends_on_seed_and_step_alone_and_leaves_the_random_state() -> None:
    def restarted(seed: int, step: int) -> str:
        objective = FrameEnsembleObjective(confident, VITAConfig(1, restart_steps=1), seed, SETTINGS, LocalContext())
        torch.rand(step + seed)
        state = torch.random.get_rng_state()
        objective.learners[0].begin(step)
        assert torch.equal(torch.random.get_rng_state(), state)
        return weights_digest(objective.learners[0].module.state_dict())

    assert restarted(0, 3) == restarted(0, 3)
    assert len({restarted(0, 3), restarted(1, 3), restarted(0, 4)}) == 3


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: VITAConfig(adversaries=5), "vita.adversaries must be 1 to 4, got 5"),
        (lambda: VITAConfig(restart_steps=-1), "vita.restart_steps must not be negative, got -1"),
        (lambda: SPActConfig(temperature=0), "spact.temperature must be positive, got 0"),
        (lambda: SPActConfig(projection_dim=0), "spact.projection_dim must be positive, got 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
