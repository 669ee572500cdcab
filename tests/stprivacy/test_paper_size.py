"""The model at the paper's size: tokens after each stage, sizes of input that work, parameters, FLOPs."""

from dataclasses import replace

import pytest
import torch

from benchmarks.flops import count_flops, count_parameters
from pipelines.recipes.named import paper
from stprivacy.config import ClipConfig, ModelConfig, RecognizerConfig
from stprivacy.models.anonymizer import STPrivacy
from stprivacy.models.recognizer import Recognizer


def tokens_after_each_stage(model: STPrivacy, size: tuple[int, int, int], keep_ratio: float) -> list[torch.Tensor]:
    """The kept tokens of each slot, stage by stage, of one clip."""
    video = torch.randn(1, 3, *size)
    with torch.no_grad():
        anonymized = model.eval()(video, keep_ratio=keep_ratio)
    assert anonymized.video.shape == video.shape
    return [keep.sum(-1).flatten() for keep in anonymized.stage_keeps]


@pytest.fixture(scope="module")
def model() -> STPrivacy:
    torch.manual_seed(0)
    return STPrivacy(paper().init.model)


def test_the_recipe_is_the_papers_model() -> None:
    recipe = paper()
    run = recipe.init
    start = {"pretrained": "deit_small_patch16_224", "pretrained_pixels": "imagenet"}
    assert run.model == ModelConfig(**start)
    assert recipe.adversarial.recognizer == recipe.evaluate.recognizer == RecognizerConfig(**start)
    assert run.model.clip == ClipConfig(16, 112, 112, 2, 16)
    assert run.model.clip.grid == (8, 7, 7)
    assert (run.model.embed_dim, run.model.num_heads, run.model.mlp_ratio) == (384, 6, 4.0)
    assert (run.model.stage_depths, run.model.anonymizer_depth) == ((3, 3, 3), 3)


@pytest.mark.parametrize(
    ("keep_ratio", "per_slot"), [(1.0, [49, 49, 49]), (0.9, [44, 39, 35]), (0.7, [34, 24, 16]), (0.5, [24, 12, 6])]
)
def test_every_slot_keeps_the_floor_of_its_share(model: STPrivacy, keep_ratio: float, per_slot: list[int]) -> None:
    kept = tokens_after_each_stage(model, (16, 112, 112), keep_ratio)
    assert [slots.tolist() for slots in kept] == [[count] * 8 for count in per_slot]


def test_at_ratio_seven_tenths_392_tokens_become_272_192_and_128(model: STPrivacy) -> None:
    kept = tokens_after_each_stage(model, (16, 112, 112), 0.7)
    assert [int(slots.sum()) for slots in kept] == [272, 192, 128]


def test_global_selection_keeps_the_floor_of_the_clips_share(model: STPrivacy) -> None:
    everywhere = STPrivacy(replace(model.config, select="global"))
    everywhere.load_state_dict(model.state_dict())
    kept = tokens_after_each_stage(everywhere, (16, 112, 112), 0.7)
    assert [int(slots.sum()) for slots in kept] == [274, 192, 134]  # 392 * .7, .49 and .343
    assert len(set(kept[-1].tolist())) > 1  # and not equally many in every slot


@pytest.mark.parametrize("size", [(8, 96, 128), (16, 112, 112), (20, 48, 160), (2, 16, 16)])
def test_any_size_that_the_tubelet_divides_works(model: STPrivacy, size: tuple[int, int, int]) -> None:
    slots, tokens = size[0] // 2, size[1] * size[2] // 256
    (first, *_) = tokens_after_each_stage(model, size, 0.7)
    assert first.tolist() == [max(int(tokens * 0.7), 1)] * slots


@pytest.mark.parametrize("tubelet_frames", [1, 2, 4])
def test_tubelets_of_one_two_and_four_frames_work(tubelet_frames: int) -> None:
    clip = ClipConfig(tubelet_frames=tubelet_frames)
    kept = tokens_after_each_stage(STPrivacy(ModelConfig(clip=clip)), (16, 112, 112), 0.7)
    assert [slots.tolist() for slots in kept] == [[count] * (16 // tubelet_frames) for count in (34, 24, 16)]
    recognizer = Recognizer(RecognizerConfig(), clip, 51)
    assert recognizer(torch.randn(1, 3, 16, 112, 112)).shape == (1, 51)


def test_parameters(model: STPrivacy) -> None:
    # 12 layers of ViT-S are 21.29 M; kernel 3 x 2 x 16 x 16 to 384, 392 positions; three predictors; the output layer.
    layer = 4 * 384 * 384 + 8 * 384 * 384 + (3 + 1 + 4 + 1 + 4) * 384
    shared = 12 * layer + (1536 + 1) * 384 + 392 * 384 + 2 * 384
    predictor = 2 * 384 + 385 * 384 + 385 * 192 + 193 * 96 + 97 * 2
    assert sum(p.numel() for p in model.parameters()) == shared + 3 * predictor + 385 * 1536 == 23_350_182
    recognizer = Recognizer(RecognizerConfig(), ClipConfig(), 51)
    assert sum(p.numel() for p in recognizer.parameters()) == shared + 385 * 51 == 22_054_707
    assert sum(count_parameters(model).values()) == 23_350_182


def test_flops_are_those_of_the_tokens_left(model: STPrivacy) -> None:
    flops, tokens = count_flops(model.eval(), 0.7)
    assert tokens == [272, 192, 128]
    # Per token the four matrices and the MLP of each layer, and per pair of tokens the two products of attention.
    for part, count in {
        "stage 1 with predictor": 392,
        "stage 2 with predictor": 272,
        "stage 3 with predictor": 192,
    }.items():
        layers = 3 * (2 * count * 12 * 384**2 + 4 * count**2 * 384)
        head = 2 * count * (384**2 + 384 * 192 + 192 * 96 + 96 * 2)
        assert layers + head < flops[part] < 1.01 * (layers + head)  # the rest: the predictor's means
    assert flops["anonymization"] == 3 * (2 * 128 * 12 * 384**2 + 4 * 128**2 * 384)
    assert flops["norm and head"] == 2 * 128 * 384 * 1536
    assert flops["embedding and positions"] == 2 * 392 * 384 * 1536
