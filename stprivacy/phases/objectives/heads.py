"""Adversaries of STPrivacy by name. `standard` is the paper's; all others are a departure from it.

Some have the form of an attacker of evaluations (`stprivacy.attackers`: standard, pooled, whitened), which a table must
say of an anonymizer that was trained against them. Attackers are networks of their own all the same, trained from
scratch on the finished anonymizer's output: none shares a weight with a head.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from torch import Tensor, nn

from stprivacy.anonymized import Anonymized
from stprivacy.attackers import AttackerSettings
from stprivacy.attackers.pooled import Pooled, pooled
from stprivacy.attackers.transformer import Whitened, standard, whitened
from stprivacy.config import ModelConfig, PhaseConfig, Select
from stprivacy.models.frame_recognizer import FrameRecognizer
from stprivacy.models.sparsifier import top_k_keep
from stprivacy.phases.context import PhaseContext
from stprivacy.phases.learner import Learner
from stprivacy.phases.objectives.following import FollowingLearner

PrivacyHead = Literal["standard", "top-k", "pooled", "whitened", "frame"]
PRIVACY_HEADS: Mapping[PrivacyHead, str] = {
    "standard": "the paper's: a video ViT on the sampled mask",
    "top-k": "the same on the mask that evaluation's selection would take",
    "pooled": "a linear probe on mean and standard deviation of the kept tubelets",
    "whitened": "a video ViT on PCA-whitened kept tubelets",
    "frame": "a 2D ViT that reads every frame by itself, as VITA's adversaries",
}
# Thousands of features that rise and fall together: at the recognizers' own rate the probe overshoots, for most of the
# demo's phase 2 to a loss above that of knowing nothing. Of 1, .3, .1 and .03, by its loss on training clips.
_PROBE_RATE = 0.1
PAPERS_HEADS: tuple[PrivacyHead, ...] = ("standard",)


def sampled(anonymized: Anonymized) -> Tensor:
    """The mask [b l n] of a transformed batch."""
    return anonymized.keep


@dataclass(frozen=True)
class Head:
    """A network (video [b 3 t h w], keep [b l n], noise) -> logits [b p] or [b t p], and the mask that it is shown.

    `rate_scale` is a factor on its learning rate.
    """

    network: nn.Module
    mask: Callable[[Anonymized], Tensor] = sampled
    rate_scale: float = 1.0

    def learner(self, name: str, settings: PhaseConfig, context: PhaseContext) -> Learner:
        """The network in training."""
        optim = replace(settings.optim, learning_rate=settings.optim.learning_rate * self.rate_scale)
        settings = replace(settings, optim=optim)
        if isinstance(self.network, Pooled | Whitened):
            return FollowingLearner(name, self.network, settings, context)
        return Learner(name, self.network, settings, context)


def selected(anonymized: Anonymized, keep_ratio: float, select: Select) -> Tensor:
    """The mask [b l n] that evaluation's selection would take of a transformed batch, by its log-probabilities.

    What was not sampled, as nothing is abandoned at all, has the mask that it has.
    """
    log_z = anonymized.stage_log_z
    return top_k_keep(log_z, keep_ratio, select) if log_z else anonymized.keep


def check_heads(names: Sequence[str]) -> None:
    """Raise ValueError, which lists the known ones, where none is named, an unknown one, or one twice."""
    unknown = [name for name in names if name not in PRIVACY_HEADS]
    if unknown or not names:
        said = f"unknown: {', '.join(unknown)}" if unknown else "none named"
        raise ValueError(f"privacy_heads, {said}; there are: {', '.join(PRIVACY_HEADS)}")
    if len(set(names)) < len(names):
        raise ValueError(f"privacy_heads must be named once each, got {', '.join(names)}")


def make_head(name: PrivacyHead, settings: AttackerSettings, model: ModelConfig) -> Head:
    """The head of this name with new weights, for the anonymizer that `model` describes."""
    if name == "top-k":
        return Head(standard(settings), partial(selected, keep_ratio=model.keep_ratio, select=model.select))
    if name == "pooled":
        return Head(pooled(settings), rate_scale=_PROBE_RATE)
    networks: dict[str, Callable[[AttackerSettings], nn.Module]] = {
        "standard": standard,
        "whitened": whitened,
        "frame": lambda settings: FrameRecognizer(settings.recognizer, settings.clip, settings.outputs),
    }
    return Head(networks[name](settings))
