"""Keep masks that do not show where one clip of a long video ends and the next begins."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from stprivacy.models.anonymizer import STPrivacy, Survivors
from stprivacy.models.sparsifier import select_tokens


@dataclass(frozen=True)
class Clip:
    """The next clip [3 t h w], normalised, of the video of that name; after the `last` one the name is free again."""

    video: Hashable
    pixels: Tensor
    last: bool


@dataclass(frozen=True)
class AnonymizedClip:
    """What a clip became: model values [3 t h w], and the keep mask [l n]."""

    video: Hashable
    pixels: Tensor
    keep: Tensor


class Masks(Protocol):
    """A way to decide what is kept of the clips of long videos."""

    def push(self, clips: Sequence[Clip]) -> list[AnonymizedClip]:
        """The next clips of any videos, those of one video in order; returns those that are decided by now.

        Of one video, they come in order; once its last clip is in, all of them have come.
        """

    def forget(self, video: Hashable) -> None:
        """No more clips of that video will come: it broke off."""


class ClipMasks:
    """The network's own masks, clip by clip, as in training and in evaluation: nothing holds them together."""

    def __init__(self, model: STPrivacy, keep_ratio: float) -> None:
        self._model, self._keep_ratio = model, keep_ratio

    @torch.no_grad()
    def push(self, clips: Sequence[Clip]) -> list[AnonymizedClip]:
        """See Masks.push: every clip is decided at once."""
        if not clips:
            return []
        done = self._model(torch.stack([clip.pixels for clip in clips]), keep_ratio=self._keep_ratio)
        return [AnonymizedClip(*one) for one in zip((clip.video for clip in clips), done.video, done.keep, strict=True)]

    def forget(self, video: Hashable) -> None:
        """See Masks.forget: there is nothing to forget."""


class SteadyMasks:
    """Masks by the mean of each place's scores over a clip's length of slots around it, across the ends of clips.

    Every stage keeps as many tubelets of a slot as the network's own masks do (floor(N * keep_ratio^stage)), those
    with the best mean of log-odds of being kept (Eq 5), over the slots up to half a clip before and after in which the
    place is still there. Two neighbouring slots share all of these but one at each end, whether or not a clip ends
    between them, and what a slot's position within its clip adds to its scores is the same in every mean. A clip is
    decided once the next one has been scored: a stage runs one clip behind the one before.
    """

    def __init__(self, model: STPrivacy, keep_ratio: float) -> None:
        """Raises: ValueError: the network chooses over whole clips, so that its slots have no number of their own."""
        if model.config.select != "slot":
            raise ValueError(
                "steady masks need a network that selects by slot; this one was trained with select "
                f"{model.config.select!r}: ask for its own masks, clip by clip"
            )
        self._model, self._keep_ratio, self._grid = model, keep_ratio, model.config.clip.grid
        self._windows = [_Window() for _ in model.stages]

    @torch.no_grad()
    def push(self, clips: Sequence[Clip]) -> list[AnonymizedClip]:
        """See Masks.push: of a video, each clip comes as many clips later as the network has stages, or at its end."""
        if not clips:
            return []
        survivors = self._model.survivors(torch.stack([clip.pixels for clip in clips]))
        flying = [_InFlight(clip, one, one.x.new_empty(0)) for clip, one in zip(clips, _split(survivors), strict=True)]
        for stage, window in enumerate(self._windows, start=1):
            flying = [self._choose(item, stage) for scored in self._score(flying, stage) for item in window.add(scored)]
        return self._write(flying)

    def forget(self, video: Hashable) -> None:
        """See Masks.forget."""
        for window in self._windows:
            window.forget(video)

    def _score(self, flying: Sequence["_InFlight"], stage: int) -> Iterator["_InFlight"]:
        if not flying:
            return
        survivors, log_z = self._model.score(_joined(flying), stage, self._grid)
        log_odds = log_z[..., 0] - log_z[..., 1]
        empty = log_odds.new_full((len(flying), self._grid[0] * self._grid[1] * self._grid[2]), torch.nan)
        scores = rearrange(empty.scatter(1, survivors.places, log_odds), "b (l n) -> b l n", l=self._grid[0])
        for item, one, own in zip(flying, _split(survivors), scores, strict=True):
            yield replace(item, survivors=one, scores=own)

    def _choose(self, item: "_InFlight", stage: int) -> "_InFlight":
        score = item.scores.flatten()[item.survivors.places]
        count = self._model.count(self._grid, self._keep_ratio, stage)
        chosen = select_tokens(torch.stack([score, torch.zeros_like(score)], dim=-1), self._grid[0], count, "slot")
        return replace(item, survivors=item.survivors.choose(chosen))

    def _write(self, flying: Sequence["_InFlight"]) -> list[AnonymizedClip]:
        if not flying:
            return []
        survivors = _joined(flying)
        video, _ = self._model.write(survivors, torch.stack([item.clip.pixels for item in flying]), self._grid)
        keep = survivors.keep(self._grid)
        return [AnonymizedClip(item.clip.video, *one) for item, *one in zip(flying, video, keep, strict=True)]


@dataclass(frozen=True)
class _InFlight:
    """A clip on its way through the stages: its survivors, alone in their batch, and the scores of its places [l n]."""

    clip: Clip
    survivors: Survivors
    scores: Tensor


class _Window:
    """The clips of each video that wait, before the choice of one stage, for the scores of the next clip."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, list[_InFlight]] = {}

    def add(self, item: _InFlight) -> Iterable[_InFlight]:
        """The next clip of its video; returns those whose neighbours' scores are known, with mean scores."""
        name = item.clip.video
        # At most the one before the last decided, the waiting one, and this.
        seen = [*self._waiting.get(name, []), item]
        decided = range(len(seen) - 2, len(seen)) if item.clip.last else range(len(seen) - 2, len(seen) - 1)
        means = {i: _steady([one.scores for one in seen], i) for i in decided if i >= 0}
        if item.clip.last:
            self._waiting.pop(name, None)
        else:
            self._waiting[name] = seen[-2:]
        return [replace(seen[i], scores=mean) for i, mean in means.items()]

    def forget(self, video: Hashable) -> None:
        self._waiting.pop(video, None)


def _steady(scores: Sequence[Tensor], which: int) -> Tensor:
    """Means [l n] over half a clip of slots before and after each slot of scores[which]; NaN are places not there."""
    slots = len(scores[which])
    first = max(which - 1, 0)
    around = torch.cat(list(scores[first : which + 2]))
    there = ~around.isnan()
    sums, counts = (_window_sums(x, slots) for x in (around.nan_to_num(0.0), there.to(around.dtype)))
    start = slots * (which - first)
    return (sums / counts.clamp_min(0.5))[start : start + slots]


def _window_sums(x: Tensor, slots: int) -> Tensor:
    """Sums of x [s n] over a clip's `slots` around each slot; of an even number, the outermost two count half."""
    half = slots // 2
    weights = x.new_ones(2 * half + 1)
    if slots % 2 == 0:
        weights[[0, -1]] = 0.5  # together one slot of the clip: what repeats from clip to clip falls out of the mean
    return F.pad(x, (0, 0, half, half)).unfold(0, 2 * half + 1, 1) @ weights


def _split(survivors: Survivors) -> list[Survivors]:
    parts = zip(survivors.x, survivors.slots, survivors.places, strict=True)
    return [Survivors(*(part[None] for part in one)) for one in parts]


def _joined(flying: Sequence[_InFlight]) -> Survivors:
    parts = [item.survivors for item in flying]
    return Survivors(*(torch.cat([getattr(part, name) for part in parts]) for name in ("x", "slots", "places")))
