"""The figures and tables of one section of a report, drawn and written."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure

from pipelines.compare import tables
from pipelines.compare.matrix import ROWS
from pipelines.compare.strip import strip_figure
from pipelines.curves import save_figure
from pipelines.reports.attacks import attacker_figure, hypervolume_figure
from pipelines.reports.clips import Material, RowPictures, draw_row, open_material
from pipelines.reports.masks import PERSON_RULE, KeepMap, keep_map_figure, person_figure
from pipelines.reports.runs import Section
from pipelines.reports.styles import CHART_DPI, Style
from pipelines.reports.takeaways import about_attackers, about_hypervolume, about_masks, about_trade_off
from pipelines.reports.tradeoff import trade_off_figure
from stprivacy.storage import make_folder

_TRADE_OFF_CAPTION = (
    "Means over seeds; bars: 95 % intervals over test videos, the mean of their ends. Keep ratios that find no room "
    "beside their points stand in the table."
)
_ATTACKERS_CAPTION = (
    "cMAP in %, mean over seeds; bold: the highest of a line. The first column is what the other charts show. Colours "
    "begin at the floor, which is what knowing nothing scores."
)
_MASKS_CAPTION = (
    "Left: share of a place's tubelets, over slots and clips. Right: the clips of the strips; the darker, the fewer of "
    "a place's slots are kept, black: none."
)
_PAGE_PIXELS_PER_INCH = 104
_STRIP_DPI = 120


@dataclass(frozen=True)
class Picture:
    """A figure that was written, how wide a page shows it, what it is called, what it says, and how to read it."""

    file: Path
    width_px: int
    title: str
    takeaway: str = ""
    caption: str = ""


@dataclass
class Content:
    """All that the page shows of a section; `said` are sentences that stand in the place of pictures."""

    section: Section
    charts: list[Picture] = field(default_factory=list)
    strips: list[Picture] = field(default_factory=list)
    masks: list[Picture] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    tables: list[tuple[str, pd.DataFrame]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)


def draw_charts(section: Section, styles: Mapping[str, Style], folder: Path) -> Content:
    """The trade-off, the hypervolumes and the attackers, and the tables of the same numbers."""
    content, cells = Content(section), section.cells
    table, attacks = tables.numbers(cells), tables.by_attacker(cells)
    make_folder(folder)
    content.charts.append(
        _saved(trade_off_figure(table, styles), folder / "trade-off.png", "Action against privacy",
               about_trade_off(table), _TRADE_OFF_CAPTION)
    )  # fmt: skip
    _add_hypervolumes(content, cells, styles, folder)
    floor = float(table["privacy_cmap_floor"].iloc[0])
    content.charts.append(
        _saved(attacker_figure(attacks, table["privacy_cmap"].tolist(), floor), folder / "attackers.png",
               "What each attacker reads", about_attackers(attacks), _ATTACKERS_CAPTION)
    )  # fmt: skip
    deciding = table[["anonymizer", "keep_ratio", "seeds", "attacker"]].rename(columns={"keep_ratio": "keep ratio"})
    content.tables += [("Scores", tables.readable(table)), ("cMAP % of each attacker", attacks),
                       ("Seeds, and whose prediction counts", deciding)]  # fmt: skip
    content.notes += tables.notes(cells)
    content.values["lines"] = table.astype(object).where(table.notna(), None).to_dict("records")
    return content


def _add_hypervolumes(
    content: Content, cells: Sequence[Mapping[str, Any]], styles: Mapping[str, Style], folder: Path
) -> None:
    try:
        volumes = tables.hypervolumes(cells)
    except ValueError as error:
        content.said.append(f"There is no hypervolume: {error}.")
        return
    if not volumes:
        content.said.append("There is no hypervolume: no row is called raw, with which the others would be compared.")
        return
    content.values["hypervolumes"] = volumes
    if len(volumes) > 1:
        intervals = tables.hypervolume_intervals(cells)
        figure = hypervolume_figure(volumes, intervals, styles)
        takeaway = about_hypervolume(volumes, intervals)
        content.charts.append(
            _saved(figure, folder / "hypervolume.png", "Hypervolume", takeaway, tables.ABOUT_HYPERVOLUME)
        )


def draw_clips(
    content: Content,
    styles: Mapping[str, Style],
    folder: Path,
    shown: int,
    counted: int,
    tell: Callable[[int, str], None],
) -> None:
    """The strips of all rows and what they keep; a sentence in the place of what cannot be drawn.

    Args: shown: how many clips; counted: in how many of them kept tubelets are counted; tell: takes the rows done
        and the next.
    """
    rows = content.section.shown()
    try:
        material = open_material(rows[0], shown, counted)
    except (ValueError, OSError) as error:
        content.said.append(f"There are no pictures of clips: {error}.")
        return
    maps: list[KeepMap] = []
    for number, evaluation in enumerate(rows):
        tell(number, evaluation.label)
        try:
            drawn = draw_row(evaluation, material)
        except (ValueError, OSError) as error:
            content.said.append(f"There is no picture of {evaluation.label}: {error}.")
            continue
        if len(rows) > 1 and torch.equal(drawn.anonymized, material.raw):
            continue  # raw is the first line of every strip
        content.strips.append(_strip(drawn, material, evaluation.run.seed, folder / f"strip-{number + 1:02d}.png"))
        maps += [drawn.keep_map] if drawn.keep_map else []
    _add_masks(content, maps, material, styles, folder)


def _strip(drawn: RowPictures, material: Material, seed: int, file: Path) -> Picture:
    raw = material.raw
    figure = strip_figure(
        raw, raw, drawn.anonymized, drawn.keep, titles=material.titles, columns=len(raw), stretch=drawn.stretch
    )
    kept = "" if drawn.keep_map is None else f", deployed at keep ratio {drawn.keep_ratio:g}"
    return _saved(figure, file, drawn.label, ROWS.get(drawn.label, ""), f"Seed {seed}{kept}.", _STRIP_DPI)


def _add_masks(
    content: Content, maps: Sequence[KeepMap], material: Material, styles: Mapping[str, Style], folder: Path
) -> None:
    if not maps:
        return
    content.values["kept"] = [
        {"anonymizer": one.label, "keep_ratio": one.keep_ratio, "clips": one.clips, "kept": one.kept}
        | {name: None if math.isnan(value) else value for name, value in (
            ("on_person", one.on_person), ("on_background", one.on_background))}
        | {"places": one.places.tolist()}
        for one in maps
    ]  # fmt: skip
    counted = f"Over the centre clips of {maps[0].clips} of {material.clips.test_size()} test videos, spread evenly."
    figure = keep_map_figure(maps, material.raw, material.persons, material.titles)
    content.masks.append(
        _saved(figure, folder / "keep-masks.png", "What is kept where", "", f"{counted} {_MASKS_CAPTION}")
    )
    unknown = material.without_persons or ("no tubelet is on a person" if math.isnan(maps[0].on_person) else "")
    if unknown:
        content.said.append(f"What is kept on persons and on background is not known: {unknown}.")
        return
    figure = person_figure(maps, styles)
    content.masks.append(
        _saved(figure, folder / "person.png", "Person and background", about_masks(maps), f"{counted} {PERSON_RULE}")
    )


def _saved(figure: Figure, file: Path, title: str, takeaway: str, caption: str, dpi: int = CHART_DPI) -> Picture:
    """Write a figure; on the page, the texts of all figures have the same size."""
    save_figure(figure, file, dpi)
    return Picture(file, round(figure.get_figwidth() * _PAGE_PIXELS_PER_INCH), title, takeaway, caption)
