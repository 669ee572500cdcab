"""2D ViTs of timm to start from, with random weights, and the smallest STPrivacy that takes them."""

from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from stprivacy.models.anonymizer import STPrivacy
from stprivacy.models.pretrained import PretrainedReport, start_from_pretrained
from stprivacy.models.recognizer import Recognizer
from tests.support.tiny import MODEL

TINY = replace(MODEL, stem="conv3d")


def tiny_vit(**changes: object) -> VisionTransformer:
    settings = {"img_size": 64, "patch_size": 16, "embed_dim": 24, "depth": 3, "num_heads": 2, "num_classes": 5}
    return VisionTransformer(**{**settings, **changes}).eval()


def saved(weights: dict[str, Tensor], folder: Path) -> str:
    file = folder / "vit.safetensors"
    save_file(weights, file)
    return str(file)


def start(model: STPrivacy | Recognizer, file: str, **settings: object) -> PretrainedReport:
    return start_from_pretrained({"model": model}, replace(model.config, pretrained=file, **settings))["model"]
