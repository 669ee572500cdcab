"""The 2D recognizer: every frame by itself, with the patches that its temporal slot keeps."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from stprivacy.attackers import WhitenedFrames
from stprivacy.models.frame_recognizer import FrameRecognizer, frame_clip
from stprivacy.noise import ClipNoise
from tests.support.tiny import CLIP, RECOGNIZER


@pytest.fixture
def model() -> FrameRecognizer:
    model = FrameRecognizer(RECOGNIZER, CLIP, num_outputs=5)
    nn.init.normal_(model.recognizer.head.weight)  # from zero, every frame would read alike
    return model.eval()


@pytest.fixture
def video() -> torch.Tensor:
    return torch.randn(2, 3, 4, 32, 32)


EVERYTHING = torch.ones(2, 2, 4)


def test_every_frame_is_read_by_itself(model: FrameRecognizer, video: torch.Tensor) -> None:
    logits = model(video, EVERYTHING)
    assert logits.shape == (2, 4, 5)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(model(video[:, :, order], EVERYTHING), logits[:, order])
    changed = video.clone()
    changed[:, :, 1] = 0
    assert (model(changed, EVERYTHING) != logits).any(-1).tolist() == [[False, True, False, False]] * 2


def test_abandoned_patches_are_not_seen_and_those_of_other_slots_are(
    model: FrameRecognizer, video: torch.Tensor
) -> None:
    keep = EVERYTHING.clone()
    keep[:, 0, 3] = 0  # the lower right quarter of frames 0 and 1
    logits = model(video, keep)
    changed = video.clone()
    changed[:, :, :, 16:, 16:] += 1.0
    differs = (model(changed, keep) - logits).abs().amax(-1) > 1e-6
    assert differs.tolist() == [[False, False, True, True]] * 2


def test_it_has_the_weights_of_a_recognizer_of_one_frame(model: FrameRecognizer) -> None:
    assert frame_clip(CLIP) == replace(CLIP, frames=1, tubelet_frames=1)
    assert model.recognizer.position.weight.shape == (1, 4, RECOGNIZER.embed_dim)


def test_stochastic_depth_draws_for_each_frame_from_its_clip_alone(model: FrameRecognizer, video: torch.Tensor) -> None:
    config = replace(RECOGNIZER, depth=3, drop_path=0.5)
    model = FrameRecognizer(config, CLIP, num_outputs=5)
    nn.init.normal_(model.recognizer.head.weight)
    both = model(video, EVERYTHING, ClipNoise(0, 0, [7, 8]))
    alone = model(video[1:], EVERYTHING[1:], ClipNoise(0, 0, [8]))
    torch.testing.assert_close(both[1:], alone)
    still = video[:1, :, :1].expand(-1, -1, 4, -1, -1)
    frames = model(still, EVERYTHING[:1], ClipNoise(0, 0, [7]))[0]
    assert len(frames.detach().unique(dim=0)) > 1


def test_a_whitened_one_fits_its_projection_to_the_patches_of_frames(video: torch.Tensor) -> None:
    model = WhitenedFrames(RECOGNIZER, CLIP, 5, 6)
    moments = model.statistics(torch.device("cpu"))
    moments.add(video, EVERYTHING)
    assert moments.sums["count"] == 2 * 4 * 4
    model.fit(moments)
    assert model(video, EVERYTHING).shape == (2, 4, 5)
