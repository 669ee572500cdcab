"""Eqs 1-6 and the selection of tokens in evaluation."""

import pytest
import torch

from stprivacy.models.sparsifier import RetainPredictor, gumbel_keep, select_tokens, slot_mean, stage_count


def test_slot_mean_counts_kept_tokens_of_the_same_slot_only() -> None:
    x = torch.tensor([[[1.0], [3.0], [5.0], [7.0]]])
    keep = torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    slots = torch.tensor([[0, 0, 1, 1]])
    assert slot_mean(x, keep, slots, 2).flatten().tolist() == [1.0, 1.0, 6.0, 6.0]
    whole = slot_mean(x, keep, torch.zeros_like(slots), 1).flatten()
    torch.testing.assert_close(whole, torch.full((4,), 13.0 / 3))


def test_slot_mean_of_an_empty_slot_is_zero() -> None:
    mean = slot_mean(torch.ones(1, 2, 3), torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.long), 1)
    assert (mean == 0).all()


def test_predictor_gives_log_probabilities_that_ignore_pruned_tokens() -> None:
    predictor = RetainPredictor(32)  # not a multiple of 3: the local part takes the rest
    x, slots = torch.randn(2, 8, 32), torch.arange(2).repeat_interleave(4).expand(2, -1)
    keep = torch.tensor([1.0, 1, 1, 0, 1, 1, 0, 1]).expand(2, -1)
    log_z = predictor(x, keep, slots, 2)
    torch.testing.assert_close(log_z.exp().sum(-1), torch.ones(2, 8))
    changed = x.clone()
    changed[:, [3, 6]] += 10.0
    kept = keep[0] == 1
    torch.testing.assert_close(predictor(changed, keep, slots, 2)[:, kept], log_z[:, kept])


def test_predictor_joins_a_token_with_the_means_of_its_slot_and_of_the_clip() -> None:
    predictor = RetainPredictor(8)  # 4 local features, 2 of the slot, 2 of the clip
    x, slots = torch.randn(1, 6, 8), torch.tensor([[0, 0, 0, 1, 1, 1]])
    keep = torch.tensor([[1.0, 1, 0, 1, 0, 1]])
    seen: list[torch.Tensor] = []
    predictor.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    predictor(x, keep, slots, 2)
    features = predictor.features(x)[0]
    for token in range(6):
        of_slot = features[[0, 1] if token < 3 else [3, 5], 4:6].mean(0)
        of_clip = features[[0, 1, 3, 5], 6:].mean(0)
        torch.testing.assert_close(seen[0][0, token], torch.cat([features[token, :4], of_slot, of_clip]))


def test_gumbel_keep_is_hard_and_follows_the_probabilities() -> None:
    log_z = torch.tensor([0.7, 0.3]).log().expand(1, 20_000, 2)
    keep = gumbel_keep(log_z, torch.rand(1, 20_000, 2))
    assert set(keep.unique().tolist()) == {0.0, 1.0}
    # Standard error of the share: sqrt(.7 * .3 / 20000) = .0032
    assert keep.mean().item() == pytest.approx(0.7, abs=0.015)


def test_gumbel_keep_passes_the_gradient_straight_through() -> None:
    log_z = torch.randn(1, 6, 2).log_softmax(-1).requires_grad_()
    gumbel_keep(log_z, torch.rand(1, 6, 2)).sum().backward()
    assert (log_z.grad[..., 0] > 0).all()
    assert (log_z.grad[..., 1] < 0).all()


def test_gumbel_keep_survives_draws_at_the_ends_of_the_interval() -> None:
    uniform = torch.tensor([[[0.0, 0.0], [1 - 2**-24, 0.0], [0.0, 1 - 2**-24]]])
    assert gumbel_keep(torch.zeros(1, 3, 2), uniform).isfinite().all()


@pytest.mark.parametrize(
    ("tokens", "ratio", "counts"),
    [
        (49, 0.7, (34, 24, 16)),
        (16, 0.7, (11, 7, 5)),
        (10, 0.7, (7, 4, 3)),
        (100, 0.7, (70, 49, 34)),  # 100 * .7 ** 2 is 48.999... in floating point
        (4, 0.1, (1, 1, 1)),
        (5, 1.0, (5, 5, 5)),
    ],
)
def test_stage_counts(tokens: int, ratio: float, counts: tuple[int, ...]) -> None:
    assert tuple(stage_count(tokens, ratio, stage) for stage in (1, 2, 3)) == counts


def test_selection_takes_the_most_probable_of_each_slot_or_of_all() -> None:
    keep_probability = torch.tensor([[0.9, 0.8, 0.7, 0.1, 0.2, 0.3]])
    log_z = torch.stack([keep_probability, 1 - keep_probability], -1).log()
    assert select_tokens(log_z, 2, 2, "slot").tolist() == [[0, 1, 4, 5]]
    assert select_tokens(log_z, 2, 4, "global").tolist() == [[0, 1, 2, 5]]
