"""Scores against hand-worked numbers, scikit-learn, torchmetrics, and the floors of the published label files."""

import pickle
from pathlib import Path

import pytest
import torch
from sklearn import metrics as sklearn_metrics
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multilabel_auroc,
    multilabel_average_precision,
    multilabel_f1_score,
)

from stprivacy.metrics.scores import MetricError, action_scores, privacy_scores
from tests.support.metrics_fixtures import NAMES, point, random_case
from tests.support.places import ANNOTATIONS

needs_annotations = pytest.mark.skipif(
    not (ANNOTATIONS / "vp").is_dir(), reason=f"the published VP label files are not in {ANNOTATIONS}"
)


def test_top1_and_its_floor_by_hand() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    scores = action_scores(probabilities, torch.tensor([0, 1, 2, 0]))
    assert scores["action_top1"] == 75.0
    assert scores["floor_action_top1"] == 50.0


def test_means_of_outputs_may_pass_1_by_rounding_and_no_further() -> None:
    labels = torch.tensor([0, 1])
    assert action_scores(torch.eye(2) * (1 + 5e-5) - 5e-5, labels, bootstrap=9)["action_top1"] == 100.0
    for outside in (torch.eye(2) * 1.001, torch.eye(2) - 0.001):
        with pytest.raises(MetricError, match=r"must be in \[0, 1\]"):
            action_scores(outside, labels, bootstrap=9)


def test_privacy_scores_by_hand() -> None:
    probabilities = torch.tensor([[0.9], [0.8], [0.4], [0.1]])
    labels = torch.tensor([[1], [0], [1], [0]])
    assert point(privacy_scores(probabilities, labels, ["face"])) == pytest.approx(
        {
            "privacy_cmap": 100 * (1 + 2 / 3) / 2,
            "privacy_ap_face": 100 * (1 + 2 / 3) / 2,
            "privacy_auc": 3 / 4,
            "privacy_f1": 1 / 2,
            "privacy_balanced_accuracy": 1 / 2,
            "floor_privacy_cmap": 50.0,
            "floor_privacy_ap_face": 50.0,
            "floor_privacy_f1": 2 / 3,
        }
    )


def test_equal_probabilities_score_prevalence_and_chance() -> None:
    labels = torch.tensor([[1], [0], [0], [0], [1]])
    scores = privacy_scores(torch.full((5, 1), 0.7), labels, ["face"])
    assert scores["privacy_cmap"] == pytest.approx(scores["floor_privacy_cmap"]) == pytest.approx(40.0)
    assert scores["privacy_auc"] == pytest.approx(0.5)
    assert scores["privacy_balanced_accuracy"] == pytest.approx(0.5)


def test_always_yes_reaches_the_f1_floor_and_always_no_gives_zero() -> None:
    labels = torch.tensor([[1, 0], [0, 1], [1, 0], [0, 1]])
    yes = privacy_scores(torch.full((4, 2), 0.5), labels, ["face", "gender"])
    assert yes["privacy_f1"] == pytest.approx(yes["floor_privacy_f1"]) == pytest.approx(2 / 3)
    assert privacy_scores(torch.full((4, 2), 0.49), labels, ["face", "gender"])["privacy_f1"] == 0.0


def test_f1_threshold_of_raw_logits_is_offered() -> None:
    probabilities, labels = torch.tensor([[0.6], [0.7]]), torch.tensor([[0], [1]])
    assert privacy_scores(probabilities, labels, ["face"])["privacy_f1"] == pytest.approx(2 / 3)
    raw_logits = privacy_scores(probabilities, labels, ["face"], f1_threshold=torch.tensor(0.5).sigmoid().item())
    assert raw_logits["privacy_f1"] == 1.0


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_privacy_scores_equal_scikit_learn(seed: int, ties: bool) -> None:
    probabilities, labels = random_case(97, seed, ties=ties)
    scores = privacy_scores(probabilities, labels, NAMES, bootstrap=50)
    answers = probabilities >= 0.5
    each_ap = sklearn_metrics.average_precision_score(labels, probabilities, average=None)
    balanced = [sklearn_metrics.balanced_accuracy_score(labels[:, i], answers[:, i]) for i in range(3)]
    assert [scores[f"privacy_ap_{name}"] for name in NAMES] == pytest.approx(100 * each_ap)
    assert scores["privacy_cmap"] == pytest.approx(100 * each_ap.mean())
    assert scores["privacy_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(labels, probabilities))
    assert scores["privacy_f1"] == pytest.approx(sklearn_metrics.f1_score(labels, answers, average="macro"))
    assert scores["privacy_balanced_accuracy"] == pytest.approx(sum(balanced) / 3)


@pytest.mark.parametrize("ties", [False, True])
def test_scores_equal_torchmetrics(ties: bool) -> None:
    probabilities, labels = random_case(97, ties=ties)
    scores = privacy_scores(probabilities, labels, NAMES, bootstrap=50)
    precision = multilabel_average_precision(probabilities, labels, num_labels=3, average="macro")
    assert scores["privacy_cmap"] == pytest.approx(100 * precision.item(), abs=1e-4)
    assert action_scores(probabilities, labels)["action_cmap"] == pytest.approx(100 * precision.item(), abs=1e-4)
    auc = multilabel_auroc(probabilities, labels, num_labels=3, average="macro")
    assert scores["privacy_auc"] == pytest.approx(auc.item(), abs=1e-6)
    # torchmetrics answers yes above .5, not from it on
    f1 = multilabel_f1_score(probabilities, labels, num_labels=3, threshold=0.5 - 1e-9, average="macro")
    assert scores["privacy_f1"] == pytest.approx(f1.item(), abs=1e-6)
    actions = labels.argmax(1)
    top1 = multiclass_accuracy(probabilities, actions, num_classes=3, average="micro")
    assert action_scores(probabilities, actions)["action_top1"] == pytest.approx(100 * top1.item(), abs=1e-4)


def test_ranking_scores_do_not_change_under_a_rising_transform() -> None:
    probabilities, labels = random_case(80, ties=True)
    plain = privacy_scores(probabilities, labels, NAMES, bootstrap=50)
    bent = privacy_scores(probabilities.pow(3), labels, NAMES, bootstrap=50)
    for key in ("privacy_cmap", "privacy_cmap_low", "privacy_cmap_high", "privacy_auc", "privacy_ap_face"):
        assert bent[key] == pytest.approx(plain[key])


def test_the_order_of_videos_does_not_matter() -> None:
    probabilities, labels = random_case(80, ties=True)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(1))
    shuffled = privacy_scores(probabilities[order], labels[order], NAMES, bootstrap=50)
    assert point(shuffled) == pytest.approx(point(privacy_scores(probabilities, labels, NAMES, bootstrap=50)))


def test_intervals_hold_the_score_and_shrink_with_more_videos() -> None:
    widths = []
    for videos in (100, 1600):
        scores = privacy_scores(*random_case(videos), NAMES, bootstrap=300)
        for key in point(scores):
            if key.startswith("privacy"):
                assert scores[f"{key}_low"] < scores[key] < scores[f"{key}_high"]
        widths.append(scores["privacy_cmap_high"] - scores["privacy_cmap_low"])
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.3)


def test_top1_interval_is_the_binomial_one() -> None:
    labels = torch.arange(400) % 2
    answers = torch.where(torch.arange(400) < 300, labels, 1 - labels)
    scores = action_scores(torch.nn.functional.one_hot(answers, 2).float(), labels)
    half_width = 1.96 * 100 * (0.75 * 0.25 / 400) ** 0.5
    assert scores["action_top1_low"] == pytest.approx(75 - half_width, abs=0.8)
    assert scores["action_top1_high"] == pytest.approx(75 + half_width, abs=0.8)


def test_the_same_seed_gives_the_same_intervals() -> None:
    first, again, other = (privacy_scores(*random_case(50), NAMES, bootstrap=100, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_rare_attribute_still_has_a_finite_interval() -> None:
    labels = torch.tensor([[1, 0]] + [[0, 1], [0, 0]] * 5)
    scores = privacy_scores(random_case(11)[0][:, :2], labels, ["rare", "common"])
    assert all(value == value for value in scores.values())


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        ([[0.5, float("nan")], [0.1, 0.2]], [[0, 1], [1, 0]], "not finite, the first in row 0"),
        ([[3.0, 0.1], [0.1, 0.2]], [[0, 1], [1, 0]], r"must be in \[0, 1\].*no logits"),
        ([[0.5, 0.1], [0.1, 0.2]], [[0, 1], [1, 1]], "all 2 test videos have gender = 1.*both classes"),
        ([[0.5, 0.1], [0.1, 0.2]], [[0, 2], [1, 0]], "labels must be 0 or 1"),
        ([[0.5, 0.1], [0.1, 0.2]], [[0], [1]], "a column for each of face, gender"),
    ],
)
def test_bad_privacy_input_is_refused(probabilities: list[list[float]], labels: list[list[int]], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        privacy_scores(torch.tensor(probabilities), torch.tensor(labels), ["face", "gender"])


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        ([[float("nan"), 0.5]], [0], "not finite"),
        ([[0.5, 0.5]], [2], r"whole numbers in 0\.\.1"),
        ([[0.5, 0.5]], [0.5], "whole numbers"),
        ([[0.5, 0.5]], [0, 1], "one a video"),
        ([0.5, 0.5], [0, 1], r"must be \[videos classes\]"),
        ([[0.5, 0.5]], [[0, 1, 0]], r"action labels must be \[1, 2\] as the probabilities, got \[1, 3\]"),
        ([[0.5, 0.5]], [[0, 0.5]], "action labels must be 0 or 1"),
        ([[0.5, 0.5], [0.1, 0.2]], [[0, 1], [0, 1]], "all 2 test videos have the same label .* 2 columns of action"),
    ],
)
def test_bad_action_input_is_refused(probabilities: list[list[float]], labels: list[float], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        action_scores(torch.tensor(probabilities), torch.tensor(labels))


def test_bad_settings_are_refused() -> None:
    probabilities, labels = random_case(20)
    with pytest.raises(MetricError, match="bootstrap must be 1 resample or more"):
        privacy_scores(probabilities, labels, NAMES, bootstrap=0)
    with pytest.raises(MetricError, match="f1_threshold must be a probability"):
        privacy_scores(probabilities, labels, NAMES, f1_threshold=1.5)


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of numpy arrays and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        if module.split(".")[0] != "numpy":
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a label file")
        return super().find_class(module, name)


def published_labels(dataset: str) -> dict[str, Tensor]:
    """VP labels [5] by lower-case video name without folder and extension."""
    with (ANNOTATIONS / f"vp/{dataset}_privacy_attribute_label.pickle").open("rb") as file:
        return {Path(key).stem.lower(): torch.as_tensor(row[0]) for key, row in _ArraysOnly(file).load().items()}


def floors(names: list[str], dataset: str) -> tuple[float, float]:
    """F1 of always-yes and prevalence cMAP over the named videos."""
    labels = published_labels(dataset)
    rows = torch.stack([labels[name.lower()] for name in names])
    scores = privacy_scores(torch.full(rows.shape, 0.5), rows, tuple("abcde"), bootstrap=1)
    return scores["floor_privacy_f1"], scores["floor_privacy_cmap"]


@needs_annotations
def test_floors_of_vp_hmdb51_are_the_known_ones() -> None:
    lists = sorted((ANNOTATIONS / "hmdb51/testTrainMulti_7030_splits").glob("*_test_split1.txt"))
    lines = [line.strip() for file in lists for line in file.read_text().splitlines()]
    names = [Path(line[:-2].strip()).stem for line in lines if line.endswith(" 2")]
    assert len(names) == 1530
    f1, cmap = floors(names, "hmdb51")
    assert (round(f1, 3), round(cmap, 1)) == (0.696, 58.8)


@needs_annotations
def test_floors_of_vp_ucf101_are_the_known_ones() -> None:
    lines = (ANNOTATIONS / "ucf101/ucfTrainTestlist/testlist01.txt").read_text().split()
    names = [Path(line).stem for line in lines]
    assert len(names) == 3783
    f1, cmap = floors(names, "ucf101")
    assert (round(f1, 3), round(cmap, 1)) == (0.694, 58.7)
