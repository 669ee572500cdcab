"""Video ViTs: the protocol's own attacker, one that sees no mask, one of whitened tubelets, and a large one."""

from dataclasses import replace

import torch
from torch import Tensor

from stprivacy.attackers.base import AttackerSettings
from stprivacy.config import ClipConfig, RecognizerConfig
from stprivacy.models.frame_recognizer import FrameRecognizer, frame_clip
from stprivacy.models.recognizer import Recognizer
from stprivacy.models.whitening import Moments, Statistics, WhitenedEmbedding

LARGE_FACTOR = 2


class Whitened(Recognizer):
    """The recognizer on PCA-whitened tubelets: it undoes a low-rank output layer."""

    embedding: WhitenedEmbedding

    def __init__(self, config: RecognizerConfig, clip: ClipConfig, num_outputs: int, components: int) -> None:
        super().__init__(config, clip, num_outputs, WhitenedEmbedding(clip, components, config.embed_dim))

    def statistics(self, device: torch.device) -> Moments:
        """Moments of the kept tubelets."""
        return Moments(self.clip, device)

    def fit(self, statistics: Statistics) -> None:
        """Set the projection."""
        assert isinstance(statistics, Moments)
        self.embedding.fit(statistics)


class FrameMoments(Moments):
    """Moments of the kept patches of frames."""

    def __init__(self, model: FrameRecognizer, device: torch.device) -> None:
        super().__init__(frame_clip(model.clip), device)
        self._model = model

    def add(self, video: Tensor, keep: Tensor) -> None:
        """Take in the kept patches of the frames of video [b 3 t h w], keep [b l n]."""
        super().add(*self._model.inputs(video, keep))


class WhitenedFrames(FrameRecognizer):
    """The 2D recognizer of frame-level privacy on PCA-whitened patches."""

    def __init__(self, config: RecognizerConfig, clip: ClipConfig, num_outputs: int, components: int) -> None:
        embedding = WhitenedEmbedding(frame_clip(clip), components, config.embed_dim)
        super().__init__(config, clip, num_outputs, embedding)

    def statistics(self, device: torch.device) -> FrameMoments:
        """Moments of the kept patches."""
        return FrameMoments(self, device)

    def fit(self, statistics: Statistics) -> None:
        """Set the projection."""
        assert isinstance(statistics, Moments)
        embedding = self.recognizer.embedding
        assert isinstance(embedding, WhitenedEmbedding)
        embedding.fit(statistics)


def standard(settings: AttackerSettings) -> Recognizer:
    """The protocol's own recognizer: it sees the keep mask and no abandoned tubelet."""
    return Recognizer(settings.recognizer, settings.clip, settings.outputs)


def mask_blind(settings: AttackerSettings) -> Recognizer:
    """The same on pixels alone."""
    return Recognizer(replace(settings.recognizer, mask_aware=False), settings.clip, settings.outputs)


def whitened(settings: AttackerSettings) -> Whitened:
    """The same on PCA-whitened tubelets."""
    return Whitened(settings.recognizer, settings.clip, settings.outputs, settings.whitened_components)


def large(settings: AttackerSettings) -> Recognizer:
    """The same, twice as wide and twice as deep, from scratch: no weights of its size are named."""
    own = settings.recognizer
    sizes = {name: LARGE_FACTOR * getattr(own, name) for name in ("embed_dim", "num_heads", "depth")}
    return Recognizer(replace(own, **sizes, pretrained=""), settings.clip, settings.outputs)
