"""The whole report: one page that needs nothing else, complete without its data, and one line for a fault."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipelines.cli.report import write_report
from pipelines.data.index import read_description
from pipelines.runs.config import EvaluateRun
from tests.support.places import ROOT
from tests.support.report_fixtures import EVALUATION, UPPER_HALF, scores, write_evaluation
from tests.support.shard_fixtures import write_tiny_dataset

NASTY = "<script>alert('x')</script> & $x_1$"


class Page(HTMLParser):
    """What a page refers to, and its words."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.references: list[str] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    boxes = dict.fromkeys(range(10), UPPER_HALF)
    return write_tiny_dataset(tmp_path_factory.mktemp("tiny"), 4, 6, person_boxes=boxes)


def write_runs(folder: Path, data: Path, fingerprint: str = "") -> Path:
    """Raw, a control with a nasty name at two keep ratios, and blackening; on unseen actions, too; one unfinished."""
    about = read_description(data)
    rows: list[tuple[EvaluateRun, float, float]] = [
        (replace(EVALUATION, anonymizer="raw", deploy_keep_ratio=1.0), 80, 75),
        (replace(EVALUATION, anonymizer="blackening", deploy_keep_ratio=1.0), 60, 55),
        (replace(EVALUATION, anonymizer="motion-selection", label=NASTY, deploy_keep_ratio=0.7), 77, 65),
        (replace(EVALUATION, anonymizer="motion-selection", label=NASTY, deploy_keep_ratio=0.5), 70, 60),
    ]
    for number, (run, top1, cmap) in enumerate(rows):
        known = replace(run, data=str(data))
        values = scores(top1, cmap)
        write_evaluation(folder / f"known-{number}", known, values, "tiny", fingerprint or about.fingerprint)
        write_evaluation(folder / f"unseen-{number}", replace(known, protocol="unseen"), values, "tiny-b", "beef")
    write_evaluation(folder / "late", replace(rows[0][0], seed=1), {})
    return folder


@pytest.fixture(scope="module")
def report(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(write_runs(folder / "runs", data), folder / "out", clips=2, mask_videos=5)
    return folder / "out"


def test_the_page_needs_no_network_and_no_other_file(report: Path) -> None:
    page = Page(report / "report.html")
    outside = [one for one in page.references if not one.startswith(("data:image/png;base64,", "#"))]
    assert outside == []
    assert not re.search(r"url\(|@import|https?://", (report / "report.html").read_text())
    pictures = list((report / "pictures").rglob("*.png"))
    assert sum(one.startswith("data:") for one in page.references) == len(pictures) == 10
    assert {one.removeprefix("#") for one in page.references if one.startswith("#")} <= set(page.ids)


def test_names_are_escaped_and_no_formulas(report: Path) -> None:
    page = Page(report / "report.html")
    assert "script" not in page.tags
    assert NASTY in page.text


def test_pictures_come_first_and_numbers_are_folded(report: Path) -> None:
    page = Page(report / "report.html")
    assert page.tags.index("img") < page.tags.index("details") < page.tags.index("table")
    for words in (
        "Known actions, tiny", "Unseen actions, tiny-b", "attacked by standard, pooled", "Largest hypervolume:",
        "at least half of its pixels", "5 of 6 test videos", "1 run is left out", "evaluate, not finished",
        "The clips and masks of these rows are shown under: Known actions, tiny.", "data fingerprint", "seeds 0",
        "python jobs/report.py --runs", "Fronts are compared",
    ):  # fmt: skip
        assert words in page.text, words


def test_raw_is_shown_in_every_strip_and_has_none_of_its_own(report: Path) -> None:
    names = sorted(path.relative_to(report / "pictures").as_posix() for path in report.rglob("*.png"))
    assert names == [
        "section-1/attackers.png", "section-1/hypervolume.png", "section-1/keep-masks.png", "section-1/person.png",
        "section-1/strip-02.png", "section-1/strip-03.png", "section-1/trade-off.png",
        "section-2/attackers.png", "section-2/hypervolume.png", "section-2/trade-off.png",
    ]  # fmt: skip


def test_the_numbers_can_be_read_by_programs(report: Path) -> None:
    written = json.loads((report / "report.json").read_text())
    known = written["sections"][0]
    assert [line["action_top1"] for line in known["lines"]] == [80, 60, 77, 70]
    assert known["hypervolumes"]["raw"] == [0.0]
    (kept,) = known["kept"]
    assert (kept["anonymizer"], kept["keep_ratio"], kept["clips"]) == (NASTY, 0.7, 5)
    assert kept["on_person"] + kept["on_background"] == pytest.approx(2 * kept["kept"])
    assert written["left_out"][0]["why"] == "evaluate, not finished"


def test_data_that_are_gone_leave_the_charts(data: Path, tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "runs", data, fingerprint="of other data")
    write_report(runs, tmp_path / "out", clips=2, mask_videos=5)
    page = Page(tmp_path / "out/report.html")
    assert f"There are no pictures of clips: {data} holds other data than the evaluation was made on." in page.text
    assert page.tags.count("img") == 6
    assert "Largest hypervolume" in page.text


def test_a_row_whose_training_is_gone_is_told_and_the_others_are_shown(data: Path, tmp_path: Path) -> None:
    runs, fingerprint = write_runs(tmp_path / "runs", data), read_description(data).fingerprint
    gone = replace(EVALUATION, data=str(data), from_run=str(tmp_path / "gone"), label="ours")
    write_evaluation(runs / "ours", gone, scores(75, 60), "tiny", fingerprint)
    write_report(runs, tmp_path / "out", clips=1, mask_videos=2)
    page = Page(tmp_path / "out/report.html")
    assert f"There is no picture of ours: {tmp_path}/gone is not a run folder" in page.text
    assert "blackening" in page.text


def test_without_raw_the_hypervolume_is_left_out_with_a_sentence(data: Path, tmp_path: Path) -> None:
    run = replace(EVALUATION, anonymizer="blackening", deploy_keep_ratio=1.0, data=str(data))
    write_evaluation(tmp_path / "runs/one", run, scores(60, 55), fingerprint=read_description(data).fingerprint)
    write_report(tmp_path / "runs", tmp_path / "out")
    page = Page(tmp_path / "out/report.html")
    assert "There is no hypervolume: no row is called raw" in page.text
    assert json.loads((tmp_path / "out/report.json").read_text())["sections"][0]["lines"][0]["hypervolume"] is None
    assert page.tags.count("img") == 3  # trade-off, attackers, strip


def test_the_command_needs_no_ray_and_ends_with_one_line_where_there_is_nothing(tmp_path: Path) -> None:
    code = """
import runpy, sys
sys.modules["ray"] = sys.modules["mlflow"] = None
sys.argv = ["jobs/report.py", *sys.argv[1:]]
runpy.run_path("jobs/report.py", run_name="__main__")
"""
    arguments = ["--runs", str(tmp_path), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path} holds no finished evaluation: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="must be 1 or more, got 0 and 100"):
        write_report(tmp_path, tmp_path / "out", clips=0)
