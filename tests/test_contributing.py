"""What CONTRIBUTING.md shows is tried as it stands there; the files beside it that other programs read load."""

import importlib
import json
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
import torch
import yaml
from torch import nn

from pipelines.data.datasets import load_manifest
from pipelines.data.index import VideoIndex
from pipelines.data.ingest import ingest
from pipelines.data.manifest import Sources
from pipelines.data.schema import IngestSettings
from stprivacy.anonymizers import Anonymized, make_anonymizer
from stprivacy.attackers import ATTACKERS, AttackerSettings, attacker_names
from stprivacy.noise import ClipNoise
from tests.support.bad_corpus import write_video
from tests.support.places import ROOT
from tests.support.tiny import CLIP, MODEL, RECOGNIZER

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MOST_LINES = 20
TITLES = ("Add a data set", "Add an anonymizer", "Add an attacker")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def shown(title: str) -> tuple[str, str]:
    """The one module that a section shows: the path it belongs to, and its code."""
    ((path, code),) = re.findall(r"in `([\w/]+\.py)`:\n\n```python\n(.*?)```\n", section(title), re.DOTALL)
    return path, code


def add(title: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Follow a section of the page: its module by its own name, and its entries in the registries that it names."""
    path, code = shown(title)
    file = folder / Path(path).name
    file.write_text(code, encoding="utf-8")
    package, name = dotted(str(Path(path).parent)), dotted(path)
    spec = spec_from_file_location(name, file)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(importlib.import_module(package), file.stem, module, raising=False)
    spec.loader.exec_module(module)
    entries = re.findall(r"^- `(\w+)` in `([\w/]+\.py)`: `(.+)`$", section(title), re.MULTILINE)
    assert entries
    for registry, where, entry in entries:
        register(
            importlib.import_module(dotted(where)), registry, entry, vars(module) | {file.stem: module}, monkeypatch
        )


def register(package: Any, registry: str, entry: str, known: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Add an entry, as it is shown, to a dict or a Literal of a package."""
    old = getattr(package, registry)
    if not isinstance(old, dict):
        monkeypatch.setattr(package, registry, Literal[(*get_args(old), eval(entry))])
        return
    for key, value in eval(f"{{{entry}}}", known).items():
        assert key not in old
        monkeypatch.setitem(old, key, value)


def dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.mark.parametrize("title", TITLES)
def test_an_example_is_short_and_is_not_part_of_the_house(title: str) -> None:
    path, code = shown(title)
    assert 1 < len(code.splitlines()) <= MOST_LINES
    assert (ROOT / path).parent.is_dir()
    assert not (ROOT / path).exists()


def test_the_data_set_is_ingested(ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add("Add a data set", tmp_path, monkeypatch)
    names = {"walk/a.mp4": "train", "run/b.mp4": "test"}
    for name in names:
        write_video(tmp_path / "videos" / name)
    labels = {name: {"privacy": [at, 1 - at], "split": split} for at, (name, split) in enumerate(names.items())}
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "labels.json").write_text(json.dumps(labels))
    manifest = load_manifest("labelled", Sources(tmp_path / "videos", tmp_path / "lists"))
    ledger = ingest(manifest, tmp_path / "out", IngestSettings(short_side_px=32))
    assert (ledger.rows, ledger.quarantined) == (2, 0)
    index = VideoIndex(tmp_path / "out")
    assert index.description.attribute_names == ("face", "gender")
    assert [(index.description.action_names[row.actions[0]], row.privacy, row.splits) for row in index.rows] == [
        ("walk", b"\0\1", ("train",)),
        ("run", b"\1\0", ("test",)),
    ]


def test_the_anonymizer_transforms_a_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add("Add an anonymizer", tmp_path, monkeypatch)
    video = torch.randn(2, 3, 4, 32, 32)
    out = make_anonymizer("pixelate", MODEL)(video)  # type: ignore[arg-type]
    assert isinstance(out, Anonymized)
    assert out.video.shape == video.shape
    assert out.keep.shape == (2, 2, 4)
    assert out.keep.all()
    square = out.video[1, 2, 3, 8:16, 24:]
    torch.testing.assert_close(square, video[1, 2, 3, 8:16, 24:].mean().expand(8, 8))


def test_the_attacker_trains_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add("Add an attacker", tmp_path, monkeypatch)
    (name,) = attacker_names(["thumbnail"])
    model = ATTACKERS[name](AttackerSettings(RECOGNIZER, CLIP, outputs=5))
    video, keep, labels = torch.randn(6, 3, 4, 32, 32), (torch.rand(6, 2, 4) < 0.7).float(), torch.rand(6, 5).round()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def loss() -> torch.Tensor:
        logits = model(video, keep, ClipNoise(0, 0, range(6)))
        assert logits.shape == (6, 5)
        return nn.functional.binary_cross_entropy_with_logits(logits, labels)

    before = loss()
    before.backward()
    optimizer.step()
    assert loss() < before


def read_yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_citation_names_this_software_and_the_papers_ten_authors() -> None:
    citation = read_yaml("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert f"\nversion = {citation['version']}\n" in (ROOT / "setup.cfg").read_text(encoding="utf-8")
    (paper,) = citation["references"]
    assert paper["title"] == "STPrivacy: Spatio-Temporal Privacy-Preserving Action Recognition"
    assert len(paper["authors"]) == 10
    assert all(author["family-names"] and author["given-names"] for author in paper["authors"])


def test_the_workflow_runs_what_continuous_integration_runs() -> None:
    workflow = read_yaml(".github/workflows/ci.yml")
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    (setup,) = [step["with"] for step in job["steps"] if "setup-python" in step.get("uses", "")]
    assert setup["python-version"] == "3.11"
    assert (ROOT / setup["cache-dependency-path"]).is_file()


def test_the_hooks_are_those_of_make_lint_from_its_environment() -> None:
    (local,) = [repo for repo in read_yaml(".pre-commit-config.yaml")["repos"] if repo["repo"] == "local"]
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert recipe
    linters = re.findall(r"^\t\$\(BIN\)/([\w-]+)", recipe[1], re.MULTILINE)
    assert [hook["entry"].removeprefix(".venv/bin/").split()[0] for hook in local["hooks"]] == linters
