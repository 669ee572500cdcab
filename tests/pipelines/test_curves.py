"""Training curves: what a run reported, told apart by phase."""

import numpy as np

from pipelines.curves import curves_figure
from pipelines.runs.history import Report
from tests.support.figure_fixtures import overlapping, text_boxes


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
