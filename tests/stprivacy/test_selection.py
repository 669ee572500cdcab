"""Which attacker counts for which attribute: decided on validation videos alone."""

import pytest
import torch
from torch import Tensor

from stprivacy.metrics.scores import MetricError
from stprivacy.phases.evaluation.predictions import Predictions, Scoring
from stprivacy.phases.evaluation.selection import choose_attackers

NAMES = ("face", "gender")
LABELS = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
RIGHT, WRONG = LABELS * 0.8 + 0.1, 0.9 - LABELS * 0.8


def predictions(labels: Tensor = LABELS, **attacks: Tensor) -> Predictions:
    videos = len(labels)
    return Predictions(
        torch.arange(videos) % 2, torch.full((videos, 2), 0.5), torch.arange(videos), labels, dict(attacks)
    )


def mixed(face: Tensor, gender: Tensor) -> Tensor:
    return torch.stack([face[:, 0], gender[:, 1]], 1)


def test_each_attribute_gets_the_attacker_that_reads_it_best_on_validation() -> None:
    told: list[str] = []
    attacks = {"one": mixed(RIGHT, WRONG), "two": mixed(WRONG, RIGHT)}
    choice, scores = choose_attackers(predictions(**attacks), NAMES, told.append)
    assert (choice, told) == (["one", "two"], [])
    # Right 100; the wrong order puts two negatives first, then both positives at once: precision 2 of 4.
    expected = (100 + 50) / 2
    assert scores == pytest.approx(
        {"validation_videos": 4, "validation_privacy_cmap_one": expected, "validation_privacy_cmap_two": expected}
    )
    # On the test videos each is wrong where it was chosen: the choice does not look there.
    test = predictions(one=mixed(WRONG, RIGHT), two=mixed(RIGHT, WRONG))
    flat = test.scores(NAMES, Scoring(), seed=0, choice=choice)
    assert flat["attacker"] == "face=one, gender=two"
    assert flat["privacy_ap_face"] == flat["privacy_ap_face_one"] < flat["privacy_ap_face_two"] == 100
    assert flat["privacy_ap_gender"] == flat["privacy_ap_gender_two"] < 100
    assert flat["privacy_cmap"] == pytest.approx(50)
    assert flat["privacy_cmap_low"] <= flat["privacy_cmap"] <= flat["privacy_cmap_high"]
    # Without a choice it is the attacker with the highest test cMAP, for all attributes.
    assert test.scores(NAMES, Scoring(), seed=0)["attacker"] == "one"


def test_of_equal_attackers_the_first_is_taken() -> None:
    choice, _ = choose_attackers(predictions(one=RIGHT, two=RIGHT), NAMES, pytest.fail)
    assert choice == ["one", "one"]


def test_an_attribute_with_one_class_in_validation_gets_the_attacker_best_at_the_others_and_that_is_told() -> None:
    labels = LABELS.clone()
    labels[:, 1] = 1.0
    told: list[str] = []
    choice, scores = choose_attackers(predictions(labels, one=WRONG, two=RIGHT), NAMES, told.append)
    assert choice == ["two", "two"]
    assert scores["validation_privacy_cmap_two"] == 100
    assert told == [
        "all 4 validation videos have the same label for gender: the attacker with the highest validation cMAP over "
        "the other attributes, two, is taken for that"
    ]
    with pytest.raises(MetricError, match="all 4 validation videos have the same label in each attribute"):
        choose_attackers(predictions(torch.ones(4, 2), one=WRONG, two=RIGHT), NAMES, told.append)


def test_where_attributes_are_scored_in_groups_the_choice_is_counted() -> None:
    test = predictions(one=RIGHT, two=RIGHT)
    flat = test.scores(NAMES, Scoring({"object": [0, 1]}), seed=0, choice=["two", "two"])
    assert flat["attacker"] == "two (2 attributes)"
    assert flat["object_cmap"] == 100


def test_recovery_is_reported_as_a_mean_with_an_interval() -> None:
    test = Predictions(
        torch.tensor([0, 1]), torch.full((2, 2), 0.5), torch.arange(2), LABELS[[0, 3]].flip(1) * 1.0,
        {"reconstruction": RIGHT[:2]}, {"reconstruction": torch.tensor([[20.0, 0.5], [30.0, 0.7]])},
    )  # fmt: skip
    flat = test.scores(NAMES, Scoring(), seed=0)
    assert (flat["reconstruction_psnr"], flat["reconstruction_ssim"]) == pytest.approx((25.0, 0.6))
    assert (flat["reconstruction_psnr_low"], flat["reconstruction_psnr_high"]) == (20.0, 30.0)
