"""Tables with their floors, strips with black where tubelets were abandoned, and curves."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from torch import Tensor

from pipelines.compare.demo_table import ReportError, attribute_table, results_markdown, results_table, save_report
from pipelines.compare.strip import STRIP_ROWS, strip_figure
from pipelines.curves import curves_figure
from pipelines.runs.history import Report, read_history
from stprivacy.metrics.scores import action_scores, privacy_scores
from tests.support.figure_fixtures import overlapping, text_boxes


def result(anonymizer: str, **changes: Any) -> dict[str, Any]:
    """What result.json holds, with made-up scores."""
    scores = {"action_top1": 91.2, "privacy_cmap": 66.4, "privacy_f1": 0.589, "privacy_auc": 0.71}
    scores |= {"privacy_balanced_accuracy": 0.62, "privacy_ap_skin_color": 70.0, "privacy_ap_face": 61.5}
    scores |= {f"{key}_low": value * 0.95 for key, value in scores.items()}
    floors = {"floor_action_top1": 13.2, "floor_privacy_cmap": 50.3, "floor_privacy_f1": 0.666}
    floors |= {"floor_privacy_ap_skin_color": 48.5, "floor_privacy_ap_face": 52.1}
    attackers = {"attacker": "whitened", "privacy_cmap_standard": 60.3, "privacy_cmap_whitened": 66.4}
    highs = {f"{key}_high": scores[key] * 1.05 for key in scores if not key.endswith("_low")}
    return {"anonymizer": anonymizer, "dataset": "vp-synth", **scores, **highs, **floors, **attackers, **changes}


def cells(markdown: str) -> list[list[str]]:
    """Cells of all lines of a Markdown text's tables."""
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in rows]


def on_terminal(table: Any, width: int = 80) -> str:
    output = io.StringIO()
    Console(file=output, width=width).print(table)
    return output.getvalue()


def test_table_has_scores_intervals_both_attackers_and_the_floors() -> None:
    head, _, raw, ours, floor = cells(results_markdown([result("raw"), result("stprivacy", action_top1=93.5)]))[:5]
    assert head == ["anonymizer", "top-1 %", "cMAP % standard", "cMAP % whitened", "cMAP % stronger", "F1", "AUC"]
    assert raw == [
        "raw",
        "91.2 [86.6, 95.8]",
        "60.3",
        "66.4",
        "66.4 [63.1, 69.7]",
        ".589 [.560, .618]",
        ".710 [.674, .745]",
    ]
    assert ours[:2] == ["stprivacy", "93.5 [86.6, 95.8]"]
    assert floor == ["floor", "13.2", "50.3", "50.3", "50.3", ".666", ".500"]


def test_attributes_have_their_own_table_and_floors() -> None:
    head, _, raw, floor = cells(results_markdown([result("raw")]))[4:]
    assert head == ["anonymizer", "balanced accuracy", "AP % skin color", "AP % face"]
    assert raw == ["raw", ".620 [.589, .651]", "70.0 [66.5, 73.5]", "61.5 [58.4, 64.6]"]
    assert floor == ["floor", ".500", "48.5", "52.1"]


def test_each_data_set_has_its_floor_after_its_results() -> None:
    unseen = {"dataset": "vp-synth-b", "floor_privacy_cmap": 51.0, "label": "unseen | raw"}
    lines = cells(results_markdown([result("raw"), result("raw", **unseen)]))[2:6]
    assert [line[0] for line in lines[:2]] == ["raw", "floor, vp-synth"]
    assert lines[3][0] == "floor, vp-synth-b"
    assert lines[3][4] == "51.0"


def test_the_terminal_shows_whole_numbers_within_80_characters() -> None:
    results = [result("raw"), result("stprivacy", label="init [only]")]
    text = on_terminal(results_table(results))
    for part in ("raw", "init [only]", "91.2", "86.6-95.8", ".560-.618", "floor", "13.2", "50.3", ".666", ".500"):
        assert part in text
    assert "…" not in text
    assert "61.5" in on_terminal(attribute_table(results))


def test_an_attacker_that_was_not_run_is_a_dash() -> None:
    row = result("raw")
    del row["privacy_cmap_whitened"]
    assert cells(results_markdown([row]))[2][3] == "-"


def test_scores_of_the_library_are_what_the_table_takes() -> None:
    labels = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]])
    scores = action_scores(torch.eye(4), torch.arange(4)) | privacy_scores(torch.rand(4, 2), labels, ["face", "nudity"])
    lines = cells(results_markdown([scores | {"anonymizer": "raw"}]))
    assert lines[2][1] == "100.0 [100.0, 100.0]"
    assert lines[3][1:] == ["25.0", "50.0", "50.0", "50.0", ".667", ".500"]
    assert lines[7][1:] == [".500", "50.0", "50.0"]


def test_a_missing_score_is_named_with_its_row() -> None:
    row = result("raw")
    del row["privacy_f1"]
    with pytest.raises(ReportError, match="result raw has no privacy_f1: run its evaluation again"):
        results_markdown([row])


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


def test_report_folder_holds_the_table_and_the_strip(tmp_path: Path) -> None:
    written = save_report(tmp_path / "report", [result("raw")], strip_figure(*clips(1)))
    assert written == [tmp_path / "report/table.md", tmp_path / "report/strip.png"]
    assert "| floor | 13.2 |" in written[0].read_text()
    assert np.asarray(Image.open(written[1]).convert("L")).min() == 0


def history(phase: str, steps: int) -> list[Report]:
    names = ("loss", "loss_action", "kept_stage_1", "mask_gradient_norm", "gradient_norm_anonymizer", "top1")
    return [Report(phase, step, dict.fromkeys(names, 0.5 + step)) for step in range(1, steps + 1)]


def test_curves_show_losses_kept_fractions_and_gradient_norms() -> None:
    figure = curves_figure([*history("init", 3), *history("init", 2)])
    lines = {axis.get_title(): [str(line.get_label()) for line in axis.get_lines()] for axis in figure.axes}
    assert lines == {
        "loss": ["loss", "loss action"],
        "kept fraction": ["kept stage 1"],
        "gradient norm": ["mask gradient norm", "gradient norm anonymizer"],
    }
    assert np.asarray(figure.axes[0].get_lines()[0].get_xydata()).tolist() == [[1, 1.5], [2, 2.5], [3, 3.5]]
    assert overlapping(text_boxes(figure)) == 0


def test_curves_of_several_phases_are_told_apart() -> None:
    figure = curves_figure([*history("init", 2), *history("adversarial", 2)])
    labels = [line.get_label() for line in figure.axes[1].get_lines()]
    assert labels == ["init: kept stage 1", "adversarial: kept stage 1"]


def test_no_history_gives_a_figure_that_says_so() -> None:
    assert "was reported" in curves_figure([]).texts[0].get_text()


def test_history_is_read_up_to_the_line_being_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_history(path) == []
    path.write_text('{"phase": "init", "step": 4, "loss": 1, "note": "x", "done": true}\n{"phase": "init", "step": 5')
    assert read_history(path) == [Report("init", 4, {"loss": 1.0})]
    path.write_text('{"phase": "init", "step": 4}\n{"phase": "init", "step": 5}')  # which may go on
    assert read_history(path) == [Report("init", 4, {})]
