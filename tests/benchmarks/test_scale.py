"""The table of docs/scale.md is what its script computes from the sizes that stand above it."""

import re

import pytest

from benchmarks.scale import PAPER, Assumed, Kept, Measured, measure_kept, table, work
from tests.support.places import ROOT

PAGE = (ROOT / "docs" / "scale.md").read_text()


def kept_on_the_page() -> Kept:
    found = re.search(r"bytes a video: (\d+) of footers, (\d+) in an index, (\d+) of manifest", PAGE)
    assert found is not None
    return Kept(*map(int, found.groups()))


def test_the_page_shows_the_scripts_table() -> None:
    assert f"{kept_on_the_page()}\n\n{table(Assumed(), Measured(), kept_on_the_page())}\n" in PAGE


def test_the_sizes_are_those_of_today() -> None:
    page, now = kept_on_the_page(), measure_kept()
    for name in ("footer", "row", "entry"):
        assert getattr(now, name) == pytest.approx(getattr(page, name), rel=0.1)


def test_a_gpu_is_fed_by_clips_as_training_takes_them() -> None:
    done = work(10**6, Assumed(), Measured(augmented_clips=100.0, adversarial_clips=200.0, init_share=0.5), PAPER)
    assert done["threads a GPU that read and augment, phase 1"] == 4
    assert done["the same, phase 2"] == 2
    assert f"| {Measured().augmented_clips:,.0f} clips/s | the same run |" in PAGE
    performance = (ROOT / "docs" / "performance.md").read_text()
    assert f"read alone, {Measured().read_clips:,.0f} clips/s | {Measured().augmented_clips:,.0f} |" in performance
