"""Rows of the paper's tables: their settings, the data that they take, and every phase of one of each kind."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.cli.paper import PaperOptions, paper_runs
from pipelines.data.datasets.celebv_hq import ATTRIBUTE_NAMES
from pipelines.recipes.named import RECIPES
from pipelines.recipes.paper_tables import STRIDES, TABLE_ROWS
from pipelines.runs.config import EvaluateRun, LaterRun, run_of
from pipelines.runs.folder import RunRequest
from stprivacy.anonymizers import LEARNED
from stprivacy.config import PhaseConfig, TestViewsConfig
from tests.support.launch_fixtures import TINY
from tests.support.run_fixtures import do_run
from tests.support.shard_fixtures import write_tiny_dataset
from tests.support.tiny import RECOGNIZER

OPTIONS = PaperOptions(pretrained="")
# The end of a row's name: what the paper calls it, and its anonymizer.
TITLES = {
    "raw": ("Raw data", "raw"),
    "downsample-2x": ("Downsample-2x", "downsample-2x"),
    "downsample-4x": ("Downsample-4x", "downsample-4x"),
    "blackening": ("Blackening", "blackening"),
    "strong-blur": ("StrongBlur", "strong-blur"),
    "weak-blur": ("WeakBlur", "weak-blur"),
    "collective-style": ("Collective", "collective-style"),
    "vita": ("VITA", "vita"),
    "spact": ("SPAct", "spact"),
    "ours": ("Ours", "stprivacy"),
}


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny data under the names and with the strides of the published ones."""
    root = tmp_path_factory.mktemp("data")
    faces, things = {"attribute_names": ATTRIBUTE_NAMES}, ("object_a", "object_b", "object_c", "scene_a", "scene_b")
    shapes = {
        "hmdb51": {"videos": 40, "seed": 1},
        "ucf101": {"videos": 12, "seed": 2},
        "pa-hmdb51": {"videos": 12, "seed": 3, "frame_labels": True},
        "celebv-hq": {"videos": 12, "seed": 4} | faces,
        "p-hvu": {"videos": 12, "seed": 5, "multi_label": True, "attribute_names": things},
    }
    return {
        name: write_tiny_dataset(root / name, test_videos=8, dataset=name, stride=STRIDES[name], **shape)  # type: ignore[arg-type]
        for name, shape in shapes.items()
    }


def requests_of(row: str, ingested: dict[str, Path], out: Path) -> list[RunRequest]:
    recipe = RECIPES[row]()
    train_data = ingested[recipe.train_dataset] if recipe.train_dataset else None
    return paper_runs(row, ingested[recipe.dataset], train_data, out, OPTIONS)


SOME = [row for row in TABLE_ROWS if row.endswith(("-ours", "-raw"))] + [
    "table-1-vp-hmdb51-spact",
    "table-2-hmdb51-to-ucf101-vita",
    "table-3-pa-hmdb51-strong-blur",
    "table-4-fapder-downsample-2x",
    "table-5-ospar-blackening",
]


@pytest.mark.parametrize("row", SOME)
def test_rows_of_every_table_and_kind_run_all_their_phases(row: str, ingested: dict[str, Path], tmp_path: Path) -> None:
    requests = requests_of(row, ingested, tmp_path)
    for request in requests:
        run = run_of(request.config)
        keep_ratio = 1.0 if run.anonymizer in ("vita", "spact") else 0.7
        assert run.model == replace(RECIPES["paper"]().init.model, pretrained="", keep_ratio=keep_ratio)
        small = replace(run, model=replace(TINY.model, keep_ratio=keep_ratio, vita_width=0.1, spact_width=0.1))
        if isinstance(small, LaterRun):
            small = replace(small, recognizer=RECOGNIZER)
        if isinstance(small, EvaluateRun):
            small = replace(small, views=TestViewsConfig(2, 1))
        result = do_run(replace(small, train=PhaseConfig(batch_size=6, max_steps=1)), request.folder)
    assert result["protocol"] == {
        "1": "known", "2": "unseen", "3": "frame-level", "4": "fapder", "5": "ospar"
    }[row.split("-")[1]]  # fmt: skip
    assert result["anonymizer"] == RECIPES[row]().evaluate.anonymizer
    phases = ["init", "adversarial", "evaluate"] if result["anonymizer"] in LEARNED else ["evaluate"]
    assert [request.name.split()[0] for request in requests] == phases


@pytest.mark.parametrize("row", TABLE_ROWS)
def test_every_row_says_its_table_its_exact_command_its_data_and_the_papers_values(row: str) -> None:
    text = TABLE_ROWS[row].description
    recipe = RECIPES[row]()
    assert text.startswith(f"Table {row.split('-')[1]}, ")
    title, anonymizer = TITLES[next(end for end in TITLES if row.endswith(f"-{end}"))]
    assert f'"{title}"' in text
    assert recipe.evaluate.anonymizer == anonymizer
    values = re.findall(r"\d\d\.\d\d %|\.\d\d\d|illegible", text.splitlines()[0])
    assert len(values) == 3
    command = " ".join(text.split("Data:")[0].split("Command:")[1].split())
    folder = {"hmdb51": "vp-hmdb51", "ucf101": "vp-ucf101"}
    trained = f" --train-data data/{folder[recipe.train_dataset]}" if recipe.train_dataset else ""
    assert command == (
        f"python jobs/paper.py {row} --data data/{folder.get(recipe.dataset, recipe.dataset)}{trained} "
        "--out paper --use-gpu --workers 8"
    )
    boxes = " --detector torchvision" if anonymizer in ("blackening", "strong-blur", "weak-blur") else ""
    assert f"jobs/ingest.py {recipe.dataset} --stride {recipe.stride}{boxes}" in text


def test_every_row_of_the_five_tables_is_there() -> None:
    counts = Counter(row.split("-")[1] for row in TABLE_ROWS)
    assert counts == {"1": 20, "2": 10, "3": 10, "4": 9, "5": 10}


def test_rows_that_train_alike_share_the_runs(ingested: dict[str, Path], tmp_path: Path) -> None:
    known = requests_of("table-1-vp-hmdb51-ours", ingested, tmp_path)
    unseen = requests_of("table-2-hmdb51-to-ucf101-ours", ingested, tmp_path)
    by_frames = requests_of("table-3-pa-hmdb51-ours", ingested, tmp_path)
    assert known[:2] == unseen[:2]
    assert {request.folder for request in known[:2]}.isdisjoint(request.folder for request in by_frames[:2])
    assert by_frames[0].config["exclude"] == str(ingested["pa-hmdb51"])


def test_options_reach_every_phase_and_keep_what_the_paper_says(ingested: dict[str, Path], tmp_path: Path) -> None:
    options = PaperOptions(batch_size=8, accumulate_steps=2, amp=False, max_steps=3, pretrained="", seed=5, split=1)
    for request in paper_runs("table-1-vp-hmdb51-ours", ingested["hmdb51"], None, tmp_path, options):
        run = run_of(request.config)
        paper = RECIPES["paper"]().of(run.phase)
        wanted = replace(paper.train, batch_size=8, accumulate_steps=2, amp=False, max_steps=3)
        assert (run.train, run.seed, run.losses, run.augment) == (wanted, 5, paper.losses, paper.augment)


def test_a_row_refuses_other_data(ingested: dict[str, Path], tmp_path: Path) -> None:
    said = "table-1-vp-hmdb51-ours takes hmdb51 ingested with --stride 2 as --data; .*ucf101 is ucf101, stride 4"
    with pytest.raises(ValueError, match=said):
        paper_runs("table-1-vp-hmdb51-ours", ingested["ucf101"], None, tmp_path, OPTIONS)
    coarse = write_tiny_dataset(tmp_path / "coarse", dataset="hmdb51", stride=3)
    with pytest.raises(ValueError, match="coarse is hmdb51, stride 3"):
        paper_runs("table-1-vp-hmdb51-ours", coarse, None, tmp_path, OPTIONS)
    with pytest.raises(ValueError, match="table-3-pa-hmdb51-raw needs --train-data: hmdb51, ingested"):
        paper_runs("table-3-pa-hmdb51-raw", ingested["pa-hmdb51"], None, tmp_path, OPTIONS)
    with pytest.raises(ValueError, match="trains on --data alone: leave --train-data out"):
        paper_runs("table-1-vp-hmdb51-ours", ingested["hmdb51"], ingested["ucf101"], tmp_path, OPTIONS)
    with pytest.raises(ValueError, match="there is no row 'table-9'; there are: table-1-vp-hmdb51-raw, "):
        paper_runs("table-9", ingested["hmdb51"], None, tmp_path, OPTIONS)
