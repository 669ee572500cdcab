"""Convolutional attackers: a 3D ResNet of clips, and a 2D ResNet of frames whose logits are joined over a clip.

Both are built from torchvision's blocks: at the paper's size they are its r3d_18 and resnet18, layer for layer.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor, nn

from stprivacy.attackers.base import AttackerSettings, kept_pixels
from stprivacy.config import ClipConfig, RecognizerConfig
from stprivacy.noise import Noise

Join = Literal["mean", "max"]

_STAGES = 4
_PAPER = RecognizerConfig()  # the ViT-S beside which the networks have torchvision's own size
_PAPER_WIDTH, _PAPER_BLOCKS = 64, 2
_UNIT_2D, _UNIT_3D = 16, 8  # widths come in these: a small 3D network costs several times as much as a 2D one


def resnet_size(config: RecognizerConfig, unit: int) -> tuple[int, int]:
    """(channels of the first stage, blocks of each stage), in proportion to the ViT's width and depth."""
    width = _PAPER_WIDTH * config.embed_dim / _PAPER.embed_dim
    return unit * max(1, round(width / unit)), max(1, _PAPER_BLOCKS * config.depth // _PAPER.depth)


class Cnn3d(nn.Module):
    """torchvision's R3D of any width and depth, over the kept pixels of a clip."""

    def __init__(self, settings: AttackerSettings) -> None:
        super().__init__()
        self.clip = settings.clip
        width, blocks = resnet_size(settings.recognizer, _UNIT_3D)
        self.stem = nn.Sequential(
            nn.Conv3d(3, width, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(inplace=True),
        )
        self.stages = _stages(_block3d, width, blocks)
        self.head = nn.Linear(width * 2 ** (_STAGES - 1), settings.outputs)
        self.apply(_initialise)

    def forward(self, video: Tensor, keep: Tensor, noise: Noise = Noise()) -> Tensor:
        """Video [b 3 t h w], keep [b l n] -> logits [b outputs]."""
        pixels = kept_pixels(video, keep, self.clip).contiguous(memory_format=torch.channels_last_3d)
        features = self.stages(self.stem(pixels))
        logits: Tensor = self.head(reduce(features, "b d t h w -> b d", "mean"))
        return logits


class FrameCnn(nn.Module):
    """torchvision's ResNet of any width and depth over each frame's kept pixels; logits are joined over the frames.

    In training it sees one frame of each temporal slot, drawn anew: the others show next to the same and cost as much.
    """

    def __init__(self, clip: ClipConfig, num_outputs: int, width: int, blocks: int, join: Join) -> None:
        super().__init__()
        self.clip, self.join = clip, join
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stages = _stages(_block2d, width, blocks)
        self.head = nn.Linear(width * 2 ** (_STAGES - 1), num_outputs)
        self.apply(_initialise)

    def forward(self, video: Tensor, keep: Tensor, noise: Noise = Noise()) -> Tensor:
        """Video [b 3 t h w], keep [b l n] -> logits [b outputs]."""
        shown = kept_pixels(video, keep, self.clip)
        if self.training:
            shown = self._one_of_each_slot(shown, noise)
        logits: Tensor = reduce(self.of_frames(shown), "b t p -> b p", self.join)
        return logits

    def _one_of_each_slot(self, video: Tensor, noise: Noise) -> Tensor:
        """[b 3 t h w] -> [b 3 l h w]."""
        slots = rearrange(video, "b c (l f) h w -> b l f c h w", f=self.clip.tubelet_frames)
        batch, count, frames = slots.shape[:3]
        drawn = (noise.uniform("frames", batch, count) * frames).long().to(video.device)
        chosen = slots.gather(2, repeat(drawn, "b l -> b l 1 c h w", c=3, h=slots.shape[4], w=slots.shape[5]))
        return rearrange(chosen, "b l 1 c h w -> b c l h w")

    def of_frames(self, video: Tensor) -> Tensor:
        """The logits of each frame of video [b 3 t h w] by itself [b t outputs]."""
        frames = rearrange(video, "b c t h w -> (b t) c h w")
        frames = frames.contiguous(memory_format=torch.channels_last)  # faster on CPUs
        features = reduce(self.stages(self.stem(frames)), "b d h w -> b d", "mean")
        logits: Tensor = rearrange(self.head(features), "(b t) p -> b t p", b=len(video))
        return logits


def frame_mean(settings: AttackerSettings) -> FrameCnn:
    """A 2D ResNet on each frame; the mean of the frames' logits."""
    return FrameCnn(settings.clip, settings.outputs, *resnet_size(settings.recognizer, _UNIT_2D), join="mean")


def frame_max(settings: AttackerSettings) -> FrameCnn:
    """A 2D ResNet on each frame; the highest of the frames' logits: one telling frame is enough."""
    return FrameCnn(settings.clip, settings.outputs, *resnet_size(settings.recognizer, _UNIT_2D), join="max")


def _stages(block: Callable[[int, int, int], nn.Module], width: int, blocks: int) -> nn.Sequential:
    """Four stages of `blocks`, each but the first halving the size and doubling the width."""
    layers = []
    before = width
    for stage in range(_STAGES):
        planes = width * 2**stage
        for index in range(blocks):
            layers.append(block(before, planes, 2 if stage and index == 0 else 1))
            before = planes
    return nn.Sequential(*layers)


def _block2d(before: int, planes: int, stride: int) -> nn.Module:
    from torchvision.models import resnet  # here, as it takes seconds

    shortcut = _shortcut(nn.Conv2d, nn.BatchNorm2d, before, planes, stride)
    block: nn.Module = resnet.BasicBlock(before, planes, stride, shortcut)
    return block


def _block3d(before: int, planes: int, stride: int) -> nn.Module:
    from torchvision.models.video import resnet as video_resnet

    shortcut = _shortcut(nn.Conv3d, nn.BatchNorm3d, before, planes, stride)
    block: nn.Module = video_resnet.BasicBlock(before, planes, video_resnet.Conv3DSimple, stride, shortcut)
    return block


def _shortcut(conv: Any, norm: Any, before: int, planes: int, stride: int) -> nn.Sequential | None:
    """A projection where the block changes the shape."""
    if stride == 1 and before == planes:
        return None
    return nn.Sequential(conv(before, planes, 1, stride=stride, bias=False), norm(planes))


def _initialise(module: nn.Module) -> None:
    """Convolutions as torchvision has them; the head starts at zero as the recognizers'."""
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.weight)
        nn.init.zeros_(module.bias)
