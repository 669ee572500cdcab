"""Which tubelets are kept: heat maps of the keep mask, and the kept fraction on persons and on background."""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from einops import rearrange, reduce, repeat
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from pipelines.reports.attacks import ink_on
from pipelines.reports.styles import Style, roomy_layout
from stprivacy.config import ClipConfig
from stprivacy.tubelets import to_tubelets

PERSON_RULE = (
    "A tubelet is on the person where at least half of its pixels lie in a person's box, else on the background."
)
_MAP = colormaps["cividis"]
_PANEL_INCHES = 1.5
_NAME_CHARACTERS, _TITLE_CHARACTERS = 22, 20


@dataclass(frozen=True)
class KeepMap:
    """How often a row keeps each place of the grid.

    places [h w] is the mean over slots and clips, examples [b h w] that over the slots of single clips; kept, on_person
    and on_background are fractions of all tubelets, of those on the person and of the others, NaN where there is none.
    person_share [h w] is how often each place shows a person; empty where that is not known.
    """

    label: str
    keep_ratio: float
    clips: int
    places: Tensor
    examples: Tensor
    kept: float
    on_person: float
    on_background: float
    person_share: Tensor


def tubelets_on_person(person: Tensor, clip: ClipConfig) -> Tensor:
    """Which tubelets [b l n] at least half of whose pixels are a person's, of masks [b 1 t h w] in {0, 1}."""
    pixels = to_tubelets(person, clip.tubelet_frames, clip.patch_size)
    return rearrange(reduce(pixels, "b n v -> b n", "mean") >= 0.5, "b (l n) -> b l n", l=clip.grid[0])


class KeepSums:
    """Adds up keep masks, batch by batch."""

    def __init__(self, clip: ClipConfig) -> None:
        self._clip = clip
        self._clips = 0
        self._kept = torch.zeros(clip.grid[1] * clip.grid[2], dtype=torch.float64)
        self._person, self._kept_person = torch.zeros_like(self._kept), torch.zeros_like(self._kept)
        self._persons_known = True

    def add(self, keep: Tensor, person: Tensor | None) -> None:
        """Masks keep [b l n] of the clips whose persons are [b 1 t h w], if that is known."""
        self._clips += len(keep)
        self._kept += reduce(keep.double(), "b l n -> n", "sum")
        if person is None:
            self._persons_known = False
            return
        on_person = tubelets_on_person(person, self._clip).double()
        self._person += reduce(on_person, "b l n -> n", "sum")
        self._kept_person += reduce(on_person * keep, "b l n -> n", "sum")

    def keep_map(self, label: str, keep_ratio: float, examples: Tensor) -> KeepMap:
        """The fractions of all that was added; examples [b l n] are the masks of single clips."""
        slots, rows, _ = self._clip.grid
        each = self._clips * slots
        on_person, kept_person = float(self._person.sum()), float(self._kept_person.sum())
        everything, kept = each * len(self._kept), float(self._kept.sum())
        known = self._persons_known
        return KeepMap(
            label,
            keep_ratio,
            self._clips,
            rearrange(self._kept / each, "(h w) -> h w", h=rows),
            rearrange(reduce(examples.float(), "b l n -> b n", "mean"), "b (h w) -> b h w", h=rows),
            kept / everything,
            _fraction(kept_person, on_person) if known else math.nan,
            _fraction(kept - kept_person, everything - on_person) if known else math.nan,
            rearrange(self._person / each, "(h w) -> h w", h=rows) if known else torch.zeros(0, 0),
        )


def _fraction(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def keep_map_figure(maps: Sequence[KeepMap], raw: Tensor, persons: Tensor | None, titles: Sequence[str]) -> Figure:
    """What each row keeps: the mean over many clips as a heat map, and single clips, dark where it abandons.

    The first line shows the clips' middle frames and, if that is known, where persons are.
    Args: maps: of at least one row; raw [b 3 t h w] in [-1, 1], persons [b 1 t h w] and titles of the single clips.
    """
    columns, lines = 1 + len(raw), 1 + len(maps)
    size = columns * _PANEL_INCHES + 2.9, lines * (_PANEL_INCHES + 0.1) + 0.5
    # Names stand beside images that keep their aspect, for which the layout leaves no pad.
    figure = Figure(figsize=size, layout=roomy_layout(left=0.03))
    axes = figure.subplots(lines, columns, squeeze=False)
    frames = rearrange(((raw[:, :, raw.shape[2] // 2] + 1) / 2).clamp(0, 1), "b c h w -> b h w c")
    _draw_line(axes[0], "raw", maps[0].person_share, frames)
    if persons is not None:
        _outline(axes[0, 1:], persons[:, 0, raw.shape[2] // 2])
    for line, one in zip(axes[1:], maps, strict=True):
        patch = frames.shape[1] // one.places.shape[0]
        shares = repeat(one.examples, "b h w -> b (h p) (w q) 1", p=patch, q=patch)
        name = f"{textwrap.fill(one.label, _NAME_CHARACTERS)}\nkeeps {100 * one.kept:.0f} %"
        # The root keeps what is kept in one slot of four apart from what is never kept.
        _draw_line(line, name, one.places, frames * shares.sqrt())
    heads = ["on a person, mean" if persons is not None else "", *map(_short, titles)]
    heads += [f"kept, mean of {maps[0].clips} clips", *["kept"] * len(raw)]
    for axis, head in zip(axes[:2].flat, heads, strict=True):
        axis.set_title(head, fontsize=8.5)
    scale = figure.colorbar(axes[1, 0].images[0], ax=axes, location="right", fraction=0.025, pad=0.02, aspect=30)
    scale.set_label("share of the tubelets at a place, %", fontsize=8.5)
    scale.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "25", "50", "75", "100"], fontsize=8)
    return figure


def _short(title: str) -> str:
    return title if len(title) <= _TITLE_CHARACTERS else title[: _TITLE_CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _draw_line(axes: Sequence[Axes], name: str, places: Tensor, frames: Tensor) -> None:
    """A heat map with its percentages, and frames [b h w 3] in [0, 1] beside it."""
    for axis, frame in zip(axes[1:], frames, strict=True):
        axis.imshow(frame.numpy(), interpolation="nearest")
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    axes[0].set_ylabel(name, fontsize=9, rotation=0, ha="right", va="center", labelpad=8)
    if not places.numel():
        axes[0].spines[:].set_visible(False)
        return
    axes[0].imshow(places.numpy(), cmap=_MAP, vmin=0, vmax=1)
    points = min(8.0, 0.42 * 72 * _PANEL_INCHES / places.shape[1])
    for row, column in product(*map(range, places.shape)):
        share = float(places[row, column])
        colour = ink_on(_MAP(share))
        axes[0].text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=points, color=colour)


def _outline(axes: Iterable[Axes], boxes: Tensor) -> None:
    """The edges of persons' boxes [b h w], on bright and on dark frames to be seen."""
    for axis, box in zip(axes, boxes, strict=True):
        if box.any():
            axis.contour(box.numpy(), levels=[0.5], colors="white", linewidths=2.6)
            axis.contour(box.numpy(), levels=[0.5], colors="black", linewidths=1.0)


def person_figure(maps: Sequence[KeepMap], styles: Mapping[str, Style]) -> Figure:
    """The kept fraction on persons (filled) and on background (open) of each row, and of all its tubelets (stroke)."""
    rows = sorted(maps, key=lambda one: one.on_person - one.on_background)
    figure = Figure(figsize=(7.2, 0.34 * len(rows) + 1.35), layout=roomy_layout())
    axis = figure.subplots()
    for place, one in enumerate(rows):
        colour = styles[one.label].colour
        axis.plot([one.on_background, one.on_person], [place, place], color=colour, linewidth=2, alpha=0.5)
        axis.plot([one.kept], [place], "|", color="black", markersize=11)
        axis.plot([one.on_background], [place], "o", color=colour, markerfacecolor="white", markersize=8)
        axis.plot([one.on_person], [place], "o", color=colour, markersize=8)
        text = f"{100 * one.on_person:.0f} / {100 * one.on_background:.0f} %"
        axis.text(1.02, place, text, va="center", transform=axis.get_yaxis_transform(), fontsize=8)
    axis.set_yticks(range(len(rows)), [one.label for one in rows], fontsize=8.5)
    axis.set_ylim(-0.7, len(rows) - 0.3)
    axis.set_xlim(-0.02, 1.02)
    axis.set_xlabel("kept fraction of the tubelets", fontsize=8.5)
    axis.grid(axis="x", alpha=0.25, linewidth=0.6)
    axis.tick_params(labelsize=8.5, length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    key: dict[str, Any] = {"linestyle": "none", "color": "black"}
    handles = [
        Line2D([], [], marker="o", label="on the person", **key),
        Line2D([], [], marker="o", markerfacecolor="white", label="on the background", **key),
        Line2D([], [], marker="|", markersize=11, label="everywhere", **key),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=8.5, frameon=False)
    return figure
