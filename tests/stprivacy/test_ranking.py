"""Weighted measures of one column: scikit-learn with sample weights, resamples with one class, corner cases."""

import pytest
import torch
from sklearn import metrics as sklearn_metrics
from torch import Tensor

from stprivacy.metrics.bootstrap import resample_weights
from stprivacy.metrics.ranking import Measures, measures, rank


def measured(probabilities: Tensor, truth: Tensor, weights: Tensor, threshold: float = 0.5) -> Measures:
    """Measures [r] of one column."""
    return Measures(*(values[:, 0] for values in measures([rank(probabilities, truth, threshold)], weights)))


@pytest.mark.parametrize("decimals", [1, 2, 9])
@pytest.mark.parametrize(("prevalence", "threshold"), [(0.05, 0.4), (0.5, 0.622), (0.9, 0.95)])
def test_weighted_measures_equal_scikit_learn(decimals: int, prevalence: float, threshold: float) -> None:
    generator = torch.Generator().manual_seed(decimals)
    truth = (torch.rand(120, generator=generator) < prevalence).long()
    noise = torch.rand(120, generator=generator, dtype=torch.float64)
    probabilities = (0.3 * truth + 0.7 * noise).round(decimals=decimals)
    weights = next(resample_weights(torch.arange(120), 8, seed=3))
    found = measured(probabilities, truth, weights, threshold)
    answers = probabilities >= threshold
    for row, counts in enumerate(weights):
        weighted = {"sample_weight": counts}
        expected = Measures(
            sklearn_metrics.average_precision_score(truth, probabilities, **weighted),
            sklearn_metrics.roc_auc_score(truth, probabilities, **weighted),
            sklearn_metrics.f1_score(truth, answers, **weighted),
            sklearn_metrics.balanced_accuracy_score(truth, answers, **weighted),
        )
        assert [values[row].item() for values in found] == pytest.approx(list(expected), abs=1e-9)


def test_tied_rows_share_one_threshold_by_hand() -> None:
    # Drawn: once a positive at .8; at .5 twice a positive and once a negative; three times a negative at .2.
    found = measured(torch.tensor([0.8, 0.5, 0.5, 0.2]), torch.tensor([1, 1, 0, 0]), torch.tensor([[1.0, 2, 1, 3]]))
    assert found.average_precision.item() == pytest.approx(1 / 3 * 1 + 2 / 3 * 3 / 4)
    assert found.auc.item() == pytest.approx((1 * 4 + 2 * (0.5 + 3)) / (3 * 4))
    assert found.f1.item() == pytest.approx(2 * 3 / (4 + 3))
    assert found.balanced_accuracy.item() == pytest.approx((1 + 3 / 4) / 2)


def test_weightings_that_leave_one_class_have_no_score() -> None:
    weights = torch.tensor([[1.0, 1, 0], [0, 0, 3], [1, 0, 1]])
    found = measured(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([1, 1, 0]), weights)
    for values in found:
        assert values.isnan().tolist() == [True, True, False]
        assert values[2] == 1


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 1.0])
def test_a_column_of_one_class_has_no_score(label: int, probability: float) -> None:
    found = measured(torch.full((3,), probability), torch.full((3,), label), torch.ones(2, 3))
    assert all(values.isnan().all() for values in found)


def test_a_thousand_draws_of_one_row_are_counted_exactly() -> None:
    weights = torch.tensor([[1_000_003.0, 1, 2_000_001]], dtype=torch.float64)
    found = measured(torch.tensor([0.9, 0.6, 0.7]), torch.tensor([1, 1, 0]), weights)
    expected = (1_000_003 + 1_000_004 / 3_000_005) / 1_000_004
    assert found.average_precision.item() == pytest.approx(expected, abs=1e-12)
