"""Scores of the frame-level and multi-label protocols: hand-worked numbers, scikit-learn, refusals."""

import pytest
import torch
from sklearn import metrics as sklearn_metrics
from torch import Tensor

from stprivacy.metrics.bootstrap import resample_weights
from stprivacy.metrics.scores import MetricError, action_scores, group_scores, privacy_scores
from tests.support.metrics_fixtures import NAMES, point, random_case

# Columns: AP 5/6; shown by no video; AP 1; shown by every video.
FOUR_VIDEOS = torch.tensor([[0.9, 0.9, 0.1, 0.4], [0.8, 0.2, 0.2, 0.4], [0.4, 0.3, 0.9, 0.4], [0.1, 0.6, 0.3, 0.4]])
FOUR_VIDEOS_LABELS = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 1], [1, 0, 1, 1], [0, 0, 0, 1]])


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_multilabel_actions_by_hand_leave_out_the_classes_that_none_or_all_show(dtype: torch.dtype) -> None:
    scores = action_scores(FOUR_VIDEOS, FOUR_VIDEOS_LABELS.to(dtype))
    assert point(scores) == pytest.approx(
        {"action_cmap": 100 * (5 / 6 + 1) / 2, "floor_action_cmap": 100 * (2 / 4 + 1 / 4) / 2, "action_classes": 2}
    )
    assert scores["action_cmap_low"] < scores["action_cmap"] < scores["action_cmap_high"] == 100


def test_groups_by_hand() -> None:
    scores = group_scores(FOUR_VIDEOS, FOUR_VIDEOS_LABELS, {"object": range(2), "scene": [3, 2]})
    assert point(scores) == pytest.approx(
        {
            "object_cmap": 100 * 5 / 6,
            "floor_object_cmap": 50.0,
            "object_classes": 1,
            "scene_cmap": 100.0,
            "floor_scene_cmap": 25.0,
            "scene_classes": 1,
            "privacy_cmap": 100 * (5 / 6 + 1) / 2,
            "privacy_auc": (3 / 4 + 1) / 2,
            "privacy_f1": (1 / 2 + 1) / 2,
            "privacy_balanced_accuracy": (1 / 2 + 1) / 2,
            "floor_privacy_cmap": 37.5,
            "floor_privacy_f1": (2 / 3 + 2 / 5) / 2,
            "privacy_classes": 2,
        }
    )
    assert scores["object_cmap_low"] < scores["object_cmap"] < scores["object_cmap_high"]


@pytest.mark.parametrize("ties", [False, True])
def test_multilabel_actions_and_groups_equal_scikit_learn_over_the_labels_that_occur(ties: bool) -> None:
    probabilities, labels = random_case(97, ties=ties)
    labels[:, 1] = 0
    each_ap = [100 * sklearn_metrics.average_precision_score(labels[:, i], probabilities[:, i]) for i in (0, 2)]
    assert action_scores(probabilities, labels)["action_cmap"] == pytest.approx(sum(each_ap) / 2)
    groups = group_scores(probabilities, labels, {"object": [0, 1], "scene": [1, 2]}, f1_threshold=0.3)
    assert [groups["object_cmap"], groups["scene_cmap"]] == pytest.approx(each_ap)
    assert groups["privacy_auc"] == pytest.approx(
        sklearn_metrics.roc_auc_score(labels[:, [0, 2]], probabilities[:, [0, 2]])
    )
    f1 = sklearn_metrics.f1_score(labels[:, [0, 2]], probabilities[:, [0, 2]] >= 0.3, average="macro")
    assert groups["privacy_f1"] == pytest.approx(f1)


def test_where_every_label_occurs_the_three_scores_agree_with_their_intervals() -> None:
    probabilities, labels = random_case(60)
    privacy = privacy_scores(probabilities, labels, NAMES, bootstrap=100, seed=4)
    groups = group_scores(probabilities, labels, {"all": range(3), "face": [1]}, bootstrap=100, seed=4)
    actions = action_scores(probabilities, labels, bootstrap=100, seed=4)
    for end in ("", "_low", "_high"):
        cmap = privacy[f"privacy_cmap{end}"]
        assert [groups[f"all_cmap{end}"], groups[f"privacy_cmap{end}"], actions[f"action_cmap{end}"]] == [cmap] * 3
        assert groups[f"face_cmap{end}"] == privacy[f"privacy_ap_face{end}"]


def test_columns_in_no_group_count_in_the_scores_over_all() -> None:
    probabilities, labels = random_case(60)
    some, every = (group_scores(probabilities, labels, {"g": columns}, bootstrap=20) for columns in ([2], range(3)))
    assert some["privacy_cmap"] == every["privacy_cmap"]
    assert some["privacy_classes"] == 3
    assert some["g_classes"] == 1


def frames_of_two_videos() -> tuple[Tensor, Tensor, Tensor]:
    """Forty frames: probabilities and labels [40 1] ranked rightly in video 7 and wrongly in video 90, mixed up."""
    probabilities = torch.tensor([0.9, 0.1, 0.2, 0.8]).repeat(10)[:, None]
    return probabilities, torch.tensor([1, 0, 1, 0]).repeat(10)[:, None], torch.tensor([7, 7, 90, 90]).repeat(10)


def test_frames_of_a_video_are_drawn_together() -> None:
    probabilities, labels, video = frames_of_two_videos()
    by_frame = privacy_scores(probabilities, labels, ["face"])
    by_video = privacy_scores(probabilities, labels, ["face"], video=video)
    assert point(by_video) == point(by_frame)
    assert by_video["privacy_cmap"] == pytest.approx(100 * 5 / 6)
    # Both videos are the first one in a quarter of the resamples and the second one in another.
    assert (by_video["privacy_cmap_low"], by_video["privacy_cmap_high"]) == (50.0, 100.0)
    assert (by_video["privacy_auc_low"], by_video["privacy_auc_high"]) == (0.0, 1.0)
    assert 60 < by_frame["privacy_cmap_low"] < by_frame["privacy_cmap_high"] < 100


def test_the_order_of_frames_and_gaps_between_video_numbers_do_not_matter() -> None:
    probabilities, labels, video = frames_of_two_videos()
    plain = privacy_scores(probabilities, labels, ["face"], bootstrap=50, video=video)
    order = video.argsort(stable=True)
    numbered = (video[order] == 90).int() - 5
    assert privacy_scores(probabilities[order], labels[order], ["face"], bootstrap=50, video=numbered) == plain


def test_rows_are_their_own_videos_by_default() -> None:
    probabilities, labels = random_case(50)
    own = privacy_scores(probabilities, labels, NAMES, bootstrap=50, video=torch.arange(50) * 3)
    assert own == privacy_scores(probabilities, labels, NAMES, bootstrap=50)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({}, "groups is empty"),
        ({"object": [0, 2], "scene": [1, 3]}, "same label in each of the 2 columns of scene"),
        ({"object": []}, "the 0 columns of object"),
        ({"object": [0, 4]}, r"column 4 of group object is not in 0\.\.3"),
        ({"object": [-1]}, r"column -1 of group object is not in 0\.\.3"),
        ({"object": [0, 2, 0]}, "column 0 of group object is named twice"),
        ({"privacy": [0]}, "may not be called privacy"),
        ({"action": [0]}, "may not be called action"),
        ({"scene": [0], "floor_scene": [2]}, "may not be called floor_scene"),
    ],
)
def test_bad_groups_are_refused(groups: dict[str, list[int]], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        group_scores(FOUR_VIDEOS, FOUR_VIDEOS_LABELS, groups)


def test_bad_labels_of_groups_are_refused() -> None:
    with pytest.raises(MetricError, match=r"privacy labels must be \[4, 4\] as the probabilities, got \[4, 3\]"):
        group_scores(FOUR_VIDEOS, FOUR_VIDEOS_LABELS[:, :3], {"object": [0]})
    with pytest.raises(MetricError, match="privacy labels must be 0 or 1"):
        group_scores(FOUR_VIDEOS, 2 * FOUR_VIDEOS_LABELS, {"object": [0]})
    with pytest.raises(MetricError, match="hand over no logits"):
        group_scores(9 * FOUR_VIDEOS, FOUR_VIDEOS_LABELS, {"object": [0]})


@pytest.mark.parametrize("video", [torch.zeros(19, dtype=torch.int64), torch.zeros(20), torch.zeros(20, 1).int()])
def test_video_numbers_that_do_not_fit_the_rows_are_refused(video: Tensor) -> None:
    with pytest.raises(MetricError, match=r"video must be \[20\] whole numbers"):
        privacy_scores(*random_case(20), NAMES, video=video)


def test_an_attribute_that_follows_the_video_has_no_interval_from_one_resample() -> None:
    video = torch.tensor([0, 0, 1, 1])
    labels, probabilities = video[:, None], torch.tensor([[0.1], [0.6], [0.4], [0.9]])
    seed = next(seed for seed in range(20) if len(next(resample_weights(video, 1, seed)).unique()) > 1)
    with pytest.raises(MetricError, match="no resample holds both classes for privacy_cmap_low: set bootstrap above 1"):
        privacy_scores(probabilities, labels, ["face"], bootstrap=1, seed=seed, video=video)
