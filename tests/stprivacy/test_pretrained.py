"""A start from a 2D ViT: what timm's model computes on an image, ours computes on a still video."""

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from einops import rearrange
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed
from torch import nn

from stprivacy.config import ClipConfig, Inflation, ModelConfig, PixelScale, RecognizerConfig
from stprivacy.models.anonymizer import STPrivacy
from stprivacy.models.pretrained import (
    PIXELS,
    inflate,
    inflate_kernel,
    load_pretrained_weights,
    resize_position,
)
from stprivacy.models.recognizer import Recognizer
from stprivacy.models.transformer import Layer
from stprivacy.models.whitening import WhitenedEmbedding
from tests.support.tiny import RECOGNIZER
from tests.support.vit_fixtures import TINY, saved, start, tiny_vit


@pytest.fixture(scope="module")
def vit_small() -> nn.Module:
    torch.manual_seed(1)
    return timm.create_model("vit_small_patch16_224", pretrained=False).eval()


@pytest.fixture(scope="module")
def vit_small_file(vit_small: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(vit_small.state_dict(), tmp_path_factory.mktemp("timm"))


def layers_of(model: STPrivacy | Recognizer) -> list[Layer]:
    if isinstance(model, Recognizer):
        return list(model.layers)
    return [layer for block in (*model.stages, model.anonymization) for layer in block]


@pytest.mark.parametrize("inflation", ["averaging", "central"])
@pytest.mark.parametrize("tubelet_frames", [1, 2, 4])
@torch.no_grad()
def test_a_still_video_has_the_patch_embedding_of_timms_model_on_the_image(
    vit_small: nn.Module, vit_small_file: str, tubelet_frames: int, inflation: Inflation
) -> None:
    model = STPrivacy(ModelConfig(clip=ClipConfig(tubelet_frames=tubelet_frames)))
    start(model, vit_small_file, inflation=inflation)
    image = torch.rand(2, 3, 224, 224) * 2 - 1
    video = image.unsqueeze(2).expand(-1, -1, 8, -1, -1)
    slots = rearrange(model.embedding(video), "b (l n) d -> l b n d", l=8 // tubelet_frames)
    for tokens in slots:
        torch.testing.assert_close(tokens, vit_small.patch_embed(image), rtol=0, atol=1e-5)


@pytest.mark.parametrize("pixels", ["half", "imagenet"])
@torch.no_grad()
def test_the_difference_of_normalisation_is_folded_into_the_patch_embedding(pixels: PixelScale, tmp_path: Path) -> None:
    vit, model = tiny_vit(), STPrivacy(TINY)
    start(model, saved(vit.state_dict(), tmp_path), pretrained_pixels=pixels)
    image = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(triple)[:, None, None] for triple in (PIXELS[pixels].mean, PIXELS[pixels].std))
    video = (2 * image - 1).unsqueeze(2).expand(-1, -1, 2, -1, -1)
    torch.testing.assert_close(model.embedding(video), vit.patch_embed((image - mean) / std), rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_name_brings_its_own_normalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    vit = timm.create_model("deit_small_patch16_224", pretrained=False).eval()
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: vit)
    model = Recognizer(RecognizerConfig(), ClipConfig(), 3)
    start(model, "deit_small_patch16_224")
    image = torch.rand(1, 3, 224, 224)
    mean, std = (torch.tensor(x)[:, None, None] for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    video = (2 * image - 1).unsqueeze(2).expand(-1, -1, 2, -1, -1)
    torch.testing.assert_close(model.embedding(video), vit.patch_embed((image - mean) / std), rtol=0, atol=1e-5)


@pytest.mark.parametrize("split", [((3, 3, 3), 3), ((1, 2), 9)])
@torch.no_grad()
def test_every_layer_computes_what_timms_block_does(
    vit_small: nn.Module, vit_small_file: str, split: tuple[tuple[int, ...], int]
) -> None:
    anonymizer = STPrivacy(ModelConfig(clip=ClipConfig(frames=2), stage_depths=split[0], anonymizer_depth=split[1]))
    recognizer = Recognizer(RecognizerConfig(), ClipConfig(frames=2), 3)
    video = torch.randn(2, 3, 2, 112, 112)
    for model in (anonymizer, recognizer):
        start(model, vit_small_file)
        x = model.embedding(video) + model.position((1, 7, 7))  # one slot: as many tokens as an image has patches
        expected = x
        for layer, block in zip(layers_of(model), vit_small.blocks, strict=True):
            x, expected = layer(x, None, None), block(expected)
            torch.testing.assert_close(x, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.norm(x), vit_small.norm(expected), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_layer_scale_is_multiplied_into_the_projections(tmp_path: Path) -> None:
    vit = tiny_vit(init_values=1.0, no_embed_class=True)  # as DeiT-III: no position for the class token either
    for name, parameter in vit.named_parameters():
        if name.endswith("gamma"):
            nn.init.uniform_(parameter, 0.1, 2.0)
    model = STPrivacy(replace(TINY, clip=ClipConfig(frames=2, height_px=64, width_px=64)))
    report = start(model, saved(vit.state_dict(), tmp_path))
    x = torch.randn(2, 16, 24)
    for layer, block in zip(layers_of(model), vit.blocks, strict=True):
        torch.testing.assert_close(layer(x, None, None), block(x))
    torch.testing.assert_close(model.position.weight, vit.pos_embed)
    assert report.loaded["stages.0.0.mlp.2.weight"] == ("blocks.0.mlp.fc2.weight", "blocks.0.ls2.gamma")
    assert not any("gamma" in name for name in report.dropped)


@pytest.mark.parametrize(("frames", "expected"), [(2, [0, 1]), (4, [0, 0, 1, 0])])
def test_central_puts_the_kernel_at_the_middle_frame(frames: int, expected: list[int]) -> None:
    kernel = torch.randn(5, 3, 4, 4)
    inflated = inflate_kernel(kernel, frames, "central")
    assert torch.equal(inflated, torch.stack([kernel * frame for frame in expected], 2))


def test_averaging_gives_every_frame_the_same_share() -> None:
    kernel = torch.randn(5, 3, 4, 4)
    assert torch.equal(inflate_kernel(kernel, 4, "averaging"), torch.stack([kernel / 4] * 4, 2))


def test_positions_lose_the_class_are_resized_as_timm_does_and_repeated_over_time(
    vit_small: nn.Module, vit_small_file: str
) -> None:
    model = STPrivacy(ModelConfig())
    start(model, vit_small_file)
    position = vit_small.pos_embed.detach()
    expected = resample_abs_pos_embed(position[:, 1:], new_size=[7, 7], old_size=[14, 14], num_prefix_tokens=0)
    slots = rearrange(model.position.weight.detach(), "1 (l n) d -> l 1 n d", l=8)
    assert all(torch.equal(slot, slots[0]) for slot in slots)
    torch.testing.assert_close(slots[0], expected)


def test_positions_of_the_same_grid_stay_as_they_are() -> None:
    position = torch.randn(1, 24, 3, 5)
    resized = resize_position(position, (4, 3, 5))
    assert torch.equal(resized[0, 15:30], rearrange(position, "1 d h w -> (h w) d"))


def test_a_constant_grid_of_positions_stays_constant() -> None:
    position = torch.arange(6.0).reshape(1, 6, 1, 1).expand(1, 6, 14, 14)
    torch.testing.assert_close(resize_position(position, (1, 6, 8)), torch.arange(6.0).expand(1, 48, 6))


@pytest.mark.parametrize("prefixes", [{}, {"reg_tokens": 4}, {"class_token": False, "global_pool": "avg"}])
def test_every_tensor_of_model_and_checkpoint_is_accounted_for(prefixes: dict[str, object], tmp_path: Path) -> None:
    weights = {name: torch.randn_like(tensor) for name, tensor in tiny_vit(**prefixes).state_dict().items()}
    file, clip = saved(weights, tmp_path), TINY.clip
    config = replace(RECOGNIZER, stem="conv3d", depth=3)
    whitened = Recognizer(config, clip, 5, WhitenedEmbedding(clip, 8, config.embed_dim))
    for model in (STPrivacy(TINY), Recognizer(config, clip, 5), whitened):
        before = {name: parameter.clone() for name, parameter in model.named_parameters()}
        report = start(model, file)
        groups = set(report.loaded), set(report.resized), set(report.new)
        assert sum(map(len, groups)) == len(set.union(*groups)) == len(before)
        assert set.union(*groups) == set(before)
        origins = [name for names in (report.loaded | report.resized).values() for name in names]
        assert sorted([*origins, *report.dropped]) == sorted(weights)
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter, before[name]) == (name in report.new)


def test_what_is_new_in_each_kind_of_model(vit_small_file: str) -> None:
    anonymizer = start(STPrivacy(ModelConfig()), vit_small_file)
    assert {name.split(".")[0] for name in anonymizer.new} == {"predictors", "head"}
    assert set(anonymizer.resized) == {"embedding.proj.weight", "position.weight"}
    assert anonymizer.dropped == ("cls_token", "head.bias", "head.weight")
    assert anonymizer.summary() == (
        "147 parameters loaded, 2 resized (position.weight, embedding.proj.weight), new: predictors (30), head (2); "
        "not used: cls_token, head.bias, head.weight"
    )
    config, clip = RecognizerConfig(), ClipConfig()
    whitened = start(Recognizer(config, clip, 5, WhitenedEmbedding(clip, 128, 384)), vit_small_file)
    assert {name.split(".")[0] for name in whitened.new} == {"embedding", "head"}
    assert set(whitened.dropped) == {
        *anonymizer.dropped,
        "patch_embed.proj.weight",
        "patch_embed.proj.bias",
    }


def test_a_file_gives_the_tensors_that_were_saved(vit_small: nn.Module, vit_small_file: str) -> None:
    weights = load_pretrained_weights(vit_small_file)
    assert set(weights) == set(vit_small.state_dict())
    assert all(torch.equal(weights[name], tensor) for name, tensor in vit_small.state_dict().items())


def test_without_qkv_bias_ours_is_zero(tmp_path: Path) -> None:
    model = STPrivacy(TINY)
    report = start(model, saved(tiny_vit(qkv_bias=False).state_dict(), tmp_path))
    assert "stages.0.0.attention.qkv.bias" in report.new
    assert not model.stages[0][0].attention.qkv.bias.any()


def test_tensors_outside_of_the_backbone_are_listed(tmp_path: Path) -> None:
    weights = tiny_vit().state_dict() | {"mask_token": torch.zeros(1, 24), "dino_head.last.weight": torch.zeros(3)}
    report = start(STPrivacy(TINY), saved(weights, tmp_path))
    assert {"mask_token", "dino_head.last.weight"} <= set(report.dropped)
    assert "dino_head.last.weight" in report.summary()


def test_half_precision_weights_load(tmp_path: Path) -> None:
    file = saved({name: tensor.half() for name, tensor in tiny_vit().state_dict().items()}, tmp_path)
    model = STPrivacy(TINY)
    inflate(model, load_file(file), "averaging", PIXELS["half"])
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
