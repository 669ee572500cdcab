"""Resamples: rows of one video move together, and draws depend on the videos alone."""

import pytest
import torch

from stprivacy.metrics.bootstrap import resample_weights


def test_rows_of_a_video_count_as_often_as_it_is_drawn() -> None:
    (weights,) = resample_weights(torch.tensor([40, 7, 40, 9, 40]), 200, seed=0)
    assert weights.shape == (200, 5)
    assert torch.equal(weights[:, 0], weights[:, 2])
    assert torch.equal(weights[:, 0], weights[:, 4])
    drawn = weights[:, [1, 3, 0]]
    assert (drawn.sum(1) == 3).all()
    assert drawn.mean(0).tolist() == pytest.approx([1, 1, 1], abs=0.2)


def test_draws_are_those_of_the_videos_whatever_their_frames() -> None:
    videos = torch.cat(list(resample_weights(torch.arange(300), 1000, seed=5)))
    blocks = list(resample_weights(torch.arange(300).repeat_interleave(10) * 7, 1000, seed=5))
    assert len(blocks) > 1  # memory is bounded by rows, not by videos
    assert torch.equal(torch.cat(blocks), videos.repeat_interleave(10, 1))
