"""Checkpoints that cannot be had or do not fit: one error that says which and what to do."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stprivacy.config import ModelConfig, RecognizerConfig
from stprivacy.models.anonymizer import STPrivacy
from stprivacy.models.pretrained import load_pretrained_weights
from tests.support.tiny import MODEL, RECOGNIZER
from tests.support.vit_fixtures import TINY, saved, start, tiny_vit

LOCAL_FILE = r"--model.pretrained FILE\.safetensors.*timm\.create_model"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": 8}, "its patches are 3 x 8 x 8, the model's patch_size is 16"),
        ({"in_chans": 1}, "its patches are 1 x 16 x 16"),
        ({"embed_dim": 48}, "its width is 48, the model's embed_dim is 24"),
        ({"depth": 5}, "its depth is 5 blocks, the model's is 3 layers"),
        ({"mlp_ratio": 2.0}, r"mlp\.0\.weight would be \(48, 24\), the model's is \(96, 24\)"),
        ({"qk_norm": True}, r"12 of its tensors have no place in our layers: blocks\.0\.attn\.k_norm\.bias"),
        ({"pre_norm": True}, r"no plain ViT in timm's naming: it has no patch_embed\.proj\.bias"),
        ({"img_size": (64, 48)}, "its 13 positions are no square grid"),
        ({"pos_embed": "none"}, "no plain ViT in timm's naming: it has no pos_embed"),
    ],
    ids=str,
)
def test_a_checkpoint_that_does_not_fit_is_refused_and_nothing_is_loaded(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    model, file = STPrivacy(TINY), saved(tiny_vit(**changes).state_dict(), tmp_path)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=rf"vit\.safetensors' does not fit: .*{message}"):
        start(model, file)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_checkpoint_of_another_naming_or_with_a_hole_is_refused(tmp_path: Path) -> None:
    weights = tiny_vit().state_dict()
    renamed = {f"teacher.backbone.{name}": tensor for name, tensor in weights.items()}
    with pytest.raises(ValueError, match=r"no patch_embed\.proj\.weight, but teacher\.backbone\.blocks"):
        start(STPrivacy(TINY), saved(renamed, tmp_path))
    del weights["blocks.1.norm2.weight"]
    with pytest.raises(ValueError, match=r"it has no blocks\.1\.norm2\.weight"):
        start(STPrivacy(TINY), saved(weights, tmp_path))
    extra = tiny_vit().state_dict() | {"norm_pre.weight": torch.ones(24)}
    with pytest.raises(ValueError, match=r"1 of its tensors have no place in our layers: norm_pre\.weight"):
        start(STPrivacy(TINY), saved(extra, tmp_path))
    flat = tiny_vit().state_dict()
    with pytest.raises(ValueError, match=r"its pos_embed is \(17, 24\), expected \(1, positions, width\)"):
        start(STPrivacy(TINY), saved(flat | {"pos_embed": flat["pos_embed"][0]}, tmp_path))


def test_a_file_that_is_missing_or_of_another_format_is_named(tmp_path: Path) -> None:
    missing, text, pickled = (tmp_path / name for name in ("none.safetensors", "text.safetensors", "vit.pth"))
    text.write_text("no tensors")
    torch.save({"model": torch.zeros(3)}, pickled)
    for path in (missing, text, pickled):
        with pytest.raises(ValueError, match=rf"pretrained file '{path}' cannot be loaded: .*{LOCAL_FILE}"):
            load_pretrained_weights(str(path))


@pytest.mark.parametrize("name", ["vit_smal_patch16", "folder/vit.pth"])
def test_a_name_that_timm_does_not_know_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=rf"timm model '{name}' .* no model of that name.*{LOCAL_FILE}"):
        load_pretrained_weights(name)


def test_without_network_one_error_says_how_to_pass_a_file(tmp_path: Path) -> None:
    code = "from stprivacy.models.pretrained import load_pretrained_weights as f; f('vit_small_patch16_224')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: pretrained timm model 'vit_small_patch16_224' cannot be loaded: ")
    assert "--model.pretrained FILE.safetensors" in last


@pytest.mark.parametrize("config", [MODEL, RECOGNIZER])
def test_settings_that_cannot_be_are_refused(config: ModelConfig | RecognizerConfig) -> None:
    with pytest.raises(ValueError, match=r"pretrained 'x' needs stem conv3d, got stem 'tubelet_mlp'"):
        replace(config, pretrained="x")
    with pytest.raises(ValueError, match="inflation must be one of averaging, central, got 'copy'"):
        replace(config, inflation="copy")
    with pytest.raises(ValueError, match="pretrained_pixels must be one of half, imagenet, got 'vgg'"):
        replace(config, pretrained_pixels="vgg")
