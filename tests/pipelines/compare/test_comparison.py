"""The comparison: which runs its matrix needs, what its tables say, and the whole of it on a few videos."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipelines.cli.compare import run_comparison
from pipelines.cli.demo import prepare_data
from pipelines.cli.report import write_report
from pipelines.compare.matrix import ROWS, Comparison, cells_of
from pipelines.data.datasets.synth.settings import SynthSettings
from pipelines.progress import Progress
from pipelines.recipes.named import RECIPES
from pipelines.train.options import LaunchOptions
from stprivacy.phases.objectives.heads import PRIVACY_HEADS

COMPARISON = Comparison(
    data=Path("/data/a"),
    unseen_data=None,
    recipe="demo",
    anonymizers=("raw", "vita", "stprivacy", "initialised-only", "random-selection"),
    attackers=("standard", "pooled"),
    seeds=2,
    deploy_keep_ratios=(0.5,),
    validation_share=0.15,
    as_released=False,
    released_quality=23,
    region="boxes",
)

WHERE = LaunchOptions(workers=1)
KEEPING = ["motion-selection", "initialised-only"]


def test_every_row_is_tested_for_every_seed_and_protocol_alike(tmp_path: Path) -> None:
    cells = cells_of(replace(COMPARISON, unseen_data=Path("/data/b"), deploy_keep_ratios=()), tmp_path)
    assert {(cell.row, cell.seed, cell.protocol) for cell in cells} == {
        (row, seed, protocol) for row in COMPARISON.rows for seed in (0, 1) for protocol in ("known", "unseen")
    }
    assert len({cell.request.folder for cell in cells}) == len(cells) == 20
    demo_train = RECIPES["demo"]().evaluate.train
    for cell in cells:
        config = cell.request.config
        assert config["data"] == {"known": "/data/a", "unseen": "/data/b"}[cell.protocol]
        assert (config["seed"], config["label"]) == (cell.seed, cell.row)
        assert config["train"]["epochs"] == demo_train.epochs
        assert {run.config["data"] for run in cell.before} <= {"/data/a"}


def test_what_is_trained_is_trained_alike_and_once(tmp_path: Path) -> None:
    cells = {cell.row: cell for cell in cells_of(replace(COMPARISON, seeds=1, deploy_keep_ratios=()), tmp_path)}
    assert cells["raw"].before == cells["random-selection"].before == ()
    init, adversarial = cells["stprivacy"].before
    assert cells["initialised-only"].before == (init,)
    assert adversarial.config["from_run"] == str(init.folder)
    assert cells["initialised-only"].request.config["from_run"] == str(init.folder)
    rival_init, rival_adversarial = cells["vita"].before
    for ours, rival in ((init, rival_init), (adversarial, rival_adversarial)):
        assert (ours.config["anonymizer"], rival.config["anonymizer"]) == ("stprivacy", "vita")
        assert ours.config.get("recognizer") == rival.config.get("recognizer")
    own = {"anonymizer_rate_scale": 0}  # searched for each
    assert adversarial.config["train"] | own == rival_adversarial.config["train"] | own


def test_trained_anonymizers_of_another_comparison_are_taken(tmp_path: Path) -> None:
    comparison = replace(COMPARISON, trained=tmp_path / "first", attackers=("all",))
    cells = {cell.row: cell for cell in cells_of(comparison, tmp_path / "second") if cell.seed == 1}
    first = {cell.row: cell for cell in cells_of(COMPARISON, tmp_path / "first") if cell.seed == 1}
    assert cells["stprivacy"].before == first["stprivacy"].before
    assert cells["stprivacy"].request.folder.is_relative_to(tmp_path / "second" / "seed-1")
    assert cells["stprivacy"].request.config["from_run"] == str(tmp_path / "first/seed-1/stprivacy/adversarial")


def test_the_defended_row_starts_where_stprivacy_does_and_is_named_a_departure(tmp_path: Path) -> None:
    rows = ("stprivacy", "stprivacy-defended", "sparsification-only")
    comparison = replace(COMPARISON, anonymizers=rows, seeds=1, deploy_keep_ratios=())
    cells = {cell.row: cell for cell in cells_of(comparison, tmp_path)}
    ours, defended, other = (cells[row] for row in rows)
    assert ours.before[0] == defended.before[0] != other.before[0]
    assert ours.before[1].folder != defended.before[1].folder
    before, after = (cell.before[1].config for cell in (ours, defended))
    assert {key for key in before if before[key] != after[key]} == {"privacy_heads", "train"}
    own = {"anonymizer_rate_scale": 0.5, "head_start_epochs": 5, "epochs": before["train"]["epochs"] + 5}
    assert after["train"] == before["train"] | own
    assert before["privacy_heads"] == ours.request.config["privacy_heads"] == ("standard",)
    assert after["privacy_heads"] == defended.request.config["privacy_heads"] == tuple(PRIVACY_HEADS)
    assert defended.request.config["from_run"] == str(defended.before[1].folder)
    assert "A departure from the paper" in ROWS["stprivacy-defended"]
    assert "standard, pooled, whitened have the form of one" in ROWS["stprivacy-defended"]


def test_rows_that_abandon_tubelets_are_deployed_at_further_keep_ratios(tmp_path: Path) -> None:
    cells = cells_of(replace(COMPARISON, seeds=1), tmp_path)
    ratios = {row: [c.request.config["deploy_keep_ratio"] for c in cells if c.row == row] for row in COMPARISON.rows}
    assert ratios == {
        "raw": [1.0],
        "vita": [1.0],
        "stprivacy": [0.7, 0.5],
        "initialised-only": [0.7, 0.5],
        "random-selection": [0.7, 0.5],
    }


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"unknown anonymizer mosaic; known are raw, downsample-2x, .*initialised-only"
    ):
        replace(COMPARISON, anonymizers=("raw", "mosaic"))
    with pytest.raises(ValueError, match=r"unknown recipe papers; jobs/adv.py --list prints them"):
        replace(COMPARISON, recipe="papers")
    with pytest.raises(ValueError, match="unknown: oracle; there are: standard"):
        replace(COMPARISON, attackers=("oracle",))


@dataclass(frozen=True)
class Small:
    """A comparison that has run."""

    comparison: Comparison
    out: Path
    files: list[Path]


@pytest.fixture(scope="module")
def small(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Small:
    folder = tmp_path_factory.mktemp("comparison")
    with Progress(quiet=True) as progress:
        settings = SynthSettings("a", train_videos=32, test_videos=24)
        data = prepare_data(folder / "data", settings, RECIPES["demo"](), 2, progress)
    rows = ("raw", "blackening", "initialised-only", "motion-selection")
    comparison = replace(COMPARISON, data=data, anonymizers=rows, seeds=1, deploy_keep_ratios=())
    return Small(comparison, folder / "out", run_comparison(comparison, folder / "out", WHERE))


@pytest.mark.slow
def test_a_small_comparison_runs_once_and_then_only_writes(small: Small) -> None:
    first = [file.read_text() for file in small.files]
    assert all(f"| {row} |" in first[1] for row in small.comparison.anonymizers)
    results = {cell["label"]: cell for cell in json.loads(first[0])["cells"]}
    assert results["blackening"]["clips_without_person"] == 0
    assert results["motion-selection"]["deploy_keep_ratio"] == 0.7
    cells = sorted(small.out.glob("seed-0/*/*/result.json"))
    assert len(cells) == 5  # four rows, and phase 1 of one of them
    times = [path.stat().st_mtime_ns for path in cells]
    run_comparison(small.comparison, small.out, WHERE)
    assert [path.stat().st_mtime_ns for path in cells] == times
    with pytest.raises(ValueError, match=r"holds a run with other settings .*validation_share was 0.15, now 0.2"):
        run_comparison(replace(small.comparison, validation_share=0.2), small.out, WHERE)


@pytest.mark.slow
def test_a_comparison_has_a_report(small: Small, tmp_path: Path) -> None:
    write_report(small.out, tmp_path, clips=2, mask_videos=6)
    (section,) = json.loads((tmp_path / "report.json").read_text())["sections"]
    assert section["title"] == "Known actions, vp-synth"
    assert [line["anonymizer"] for line in section["lines"]] == [*small.comparison.anonymizers[:2], *KEEPING]
    assert [row["anonymizer"] for row in section["kept"]] == KEEPING
    assert section["kept"][0]["kept"] == pytest.approx(5 / 16)  # three times 0.7 of 16 tubelets
    names = sorted(path.name for path in (tmp_path / "pictures/section-1").iterdir())
    assert names[-4:] == ["strip-02.png", "strip-03.png", "strip-04.png", "trade-off.png"]
    assert {"keep-masks.png", "person.png"} <= set(names)
    assert "run is left out" not in (tmp_path / "report.html").read_text()


def test_all_rows_have_a_purpose() -> None:
    assert len(ROWS) == 17
    assert all(ROWS.values())
