"""Predictions and labels that the tests of the scores share."""

import torch
from torch import Tensor

NAMES = ("skin_color", "face", "gender")


def random_case(videos: int, seed: int = 0, *, ties: bool = False) -> tuple[Tensor, Tensor]:
    """Probabilities [n 3] that know a little of the labels [n 3]; rounded to tenths where ties are wanted."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(videos, 3, generator=generator) < 0.4).long()
    noise = torch.rand(videos, 3, generator=generator, dtype=torch.float64)
    probabilities = 0.3 * labels + 0.7 * noise
    return (probabilities * 10).round() / 10 if ties else probabilities, labels


def point(scores: dict[str, float]) -> dict[str, float]:
    """The scores without the bounds of their intervals."""
    return {key: value for key, value in scores.items() if not key.endswith(("_low", "_high"))}
