"""Strips of clips: black where tubelets were abandoned, and nothing else stretched or lost."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from pipelines.compare.strip import STRIP_ROWS, strip_figure
from tests.support.figure_fixtures import overlapping, text_boxes


def clips(count: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Raw, sparsified and anonymized [b 3 8 32 48] without black in them, and keep [b 4 6]: 4 slots, 2 x 3 patches."""
    raw = torch.rand(count, 3, 8, 32, 48) * 0.8 + 0.1
    keep = (torch.rand(count, 4, 6) < 0.5).float()
    keep[:, :, 0], keep[:, :, 1] = 1.0, 0.0
    return raw, raw.clone(), 0.01 * torch.randn(count, 3, 8, 32, 48), keep


def drawn(figure: Figure, clip: int) -> NDArray[np.float32]:
    """The image of one clip as the figure draws it, [height width 3] in 0..1."""
    return np.asarray(figure.axes[clip].images[0].get_array(), dtype=np.float32)


def test_abandoned_tubelets_are_black_and_kept_ones_are_not() -> None:
    raw, sparsified, anonymized, keep = clips()
    figure = strip_figure(raw, sparsified, anonymized, keep, frames=4)
    shown = torch.linspace(0, 7, 4).round().long().tolist()
    assert figure.get_supxlabel().startswith("Black: abandoned tubelets.")
    for clip in range(3):
        image = drawn(figure, clip)
        for row in range(3):
            for column, frame in enumerate(shown):
                for token in range(6):
                    top, left = row * 33 + token // 3 * 16, column * 49 + token % 3 * 16
                    patch = image[top : top + 16, left : left + 16]
                    is_black = bool((patch == 0).all())
                    assert is_black == (row > 0 and keep[clip, frame // 2, token] == 0)


def test_raw_and_kept_pixels_keep_their_brightness_and_the_anonymized_are_stretched() -> None:
    raw, sparsified, anonymized, keep = clips(1)
    image = drawn(strip_figure(raw, sparsified, anonymized, keep, frames=1), 0)
    expected = ((raw[0, :, 0, :16, :16] + 1) / 2).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(image[:16, :16], expected, atol=1e-6)
    np.testing.assert_allclose(image[33:49, :16], expected, atol=1e-6)
    assert np.ptp(image[66:82, :16]) > 0.9


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_an_anonymized_clip_of_one_colour_is_grey(value: float) -> None:
    raw, sparsified, anonymized, keep = clips(1)
    image = drawn(strip_figure(raw, sparsified, torch.full_like(anonymized, value), keep, frames=1), 0)
    assert (image[66:82, :16] == 0.5).all()


def test_an_output_that_is_an_image_keeps_its_brightness_on_demand() -> None:
    raw, sparsified, anonymized, keep = clips(1)
    figure = strip_figure(raw, sparsified, anonymized, keep, frames=1, stretch=False)
    expected = ((anonymized[0, :, 0, :16, :16] + 1) / 2).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(drawn(figure, 0)[66:82, :16], expected, atol=1e-6)
    assert "are the real ones" in " ".join(figure.get_supxlabel().split())
    assert "stretched" not in figure.get_supxlabel()


def test_a_strip_of_what_abandons_nothing_has_no_sparsified_row() -> None:
    raw, sparsified, anonymized, keep = clips(2)
    figure = strip_figure(raw, sparsified, anonymized, torch.ones_like(keep), frames=1, columns=1)
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["raw", "anonymized"]
    assert drawn(figure, 1).shape == (65, 48, 3)
    assert "abandoned" not in figure.get_supxlabel()


def test_a_clip_without_kept_tubelets_is_black() -> None:
    raw, sparsified, anonymized, keep = clips(1)
    assert (drawn(strip_figure(raw, sparsified, anonymized, keep * 0, frames=1), 0)[33:65] == 0).all()


@pytest.mark.parametrize(("count", "frames"), [(1, 2), (3, 4), (4, 8)])
def test_labels_of_a_strip_are_complete_and_do_not_overlap(count: int, frames: int) -> None:
    raw, sparsified, anonymized, keep = clips(count)
    titles = [f"walk left {i}" for i in range(count)]
    figure = strip_figure(raw, sparsified, anonymized, keep, titles=titles, frames=frames)
    assert [figure.axes[i].get_title().split(",")[0] for i in range(count)] == titles
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(STRIP_ROWS)
    assert "stretched" in figure.get_supxlabel()
    boxes = text_boxes(figure)
    assert overlapping(boxes) == 0
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_shapes_that_do_not_fit_are_refused() -> None:
    raw, sparsified, anonymized, keep = clips(2)
    with pytest.raises(ValueError, match="one shape"):
        strip_figure(raw, sparsified[:, :, :4], anonymized, keep)
    with pytest.raises(ValueError, match="square tubelets"):
        strip_figure(raw, sparsified, anonymized, keep[:, :, :5])
    with pytest.raises(ValueError, match="as many titles"):
        strip_figure(raw, sparsified, anonymized, keep, titles=["one"])
