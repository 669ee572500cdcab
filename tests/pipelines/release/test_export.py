"""Networks for other runtimes: the same as eager on clips they have not met, and no trace of this machine."""

import json
import sys
import zipfile
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import onnx
import pytest
import torch

from pipelines.cli.export import export_command
from pipelines.release.export import ExportFormat, FixedNetwork, Program, export, load_program
from stprivacy.checkpoint import weights_digest
from stprivacy.config import Select, Stem
from stprivacy.deploy.load import load_anonymizer
from stprivacy.models.anonymizer import STPrivacy
from stprivacy.models.sparsifier import stage_count
from stprivacy.plain import from_dict
from stprivacy.tubelets import to_tubelets
from tests.support.export_fixtures import METADATA, quick_run, unseen
from tests.support.launch_fixtures import TINY
from tests.support.places import ROOT
from tests.support.shard_fixtures import write_tiny_dataset
from tests.support.tiny import CLIP, MODEL

STEMS: tuple[Stem, ...] = ("conv3d", "tubelet_mlp")
SELECTS: tuple[Select, ...] = ("slot", "global")
FORMATS: tuple[ExportFormat, ...] = ("onnx", "torch-export")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An init run of each network."""
    data = write_tiny_dataset(tmp_path_factory.mktemp("data"), videos=8, test_videos=5)
    folder = tmp_path_factory.mktemp("runs")
    for stem, select in product(STEMS, SELECTS):
        quick_run(folder / f"{stem}-{select}", data, replace(TINY, model=replace(MODEL, stem=stem, select=select)))
    return folder


@dataclass(frozen=True)
class Written:
    """A file that the job has written, its program, and the network it stands for."""

    file: Path
    file_format: ExportFormat
    program: Program
    deployed: FixedNetwork


# Of the 16 combinations every second one, such that any three of the four settings meet in all ways.
CASES = [
    (stem, select, keep_ratio, file_format)
    for stem, select, keep_ratio, file_format in product(STEMS, SELECTS, (0.5, 1.0), FORMATS)
    if (stem == "conv3d") ^ (select == "slot") ^ (keep_ratio == 1) ^ (file_format == "onnx")
]


# One of each format is exported by the tests that take seconds.
PARAMETERS = [
    pytest.param(case, id="-".join(map(str, case)), marks=[] if case in CASES[:2] else pytest.mark.slow)
    for case in CASES
]


@pytest.fixture(scope="module", params=PARAMETERS)
def written(request: pytest.FixtureRequest, runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A network at a keep ratio in a format, checked by the exporter on 4 clips: batches of 1 and 3."""
    stem, select, keep_ratio, file_format = request.param
    run, file = runs / f"{stem}-{select}", tmp_path_factory.mktemp("export") / "network"
    export_command(run, file, file_format, keep_ratio, clips=4)
    network = load_anonymizer(run)
    assert isinstance(network, STPrivacy)
    return Written(file, file_format, load_program(file.read_bytes(), file_format), FixedNetwork(network, keep_ratio))


@pytest.mark.parametrize("batch", [2, 5])
@torch.no_grad()
def test_the_program_equals_the_network_on_clips_and_batch_sizes_that_the_exporter_did_not_use(
    written: Written, batch: int
) -> None:
    (video, keep), (own_video, own_keep) = written.program(unseen(batch)), written.deployed(unseen(batch))
    assert torch.equal(keep, own_keep)
    assert (video - own_video).abs().max() < 1e-4
    # So that the comparison says something: other clips give something else.
    assert (video - written.program(unseen(batch, seed=2))[0]).abs().max() > 1e-2


@torch.no_grad()
def test_each_clip_keeps_as_many_tubelets_as_the_ratio_says_and_the_others_are_exactly_0(written: Written) -> None:
    video, keep = written.program(unseen(3))
    ratio, slots, per_slot = written.deployed.keep_ratio, CLIP.grid[0], CLIP.grid[1] * CLIP.grid[2]
    assert set(keep.unique().tolist()) <= {0.0, 1.0}
    # 8 tubelets in 2 slots: what each slot keeps adds up to what the whole clip may keep.
    assert keep.sum((1, 2)).unique().tolist() == [stage_count(slots * per_slot, ratio, stage=2)]
    if written.deployed.network.config.select == "slot":
        assert keep.sum(2).unique().tolist() == [stage_count(per_slot, ratio, stage=2)]
    tubelets = to_tubelets(video, CLIP.tubelet_frames, CLIP.patch_size)
    pruned = keep.flatten(1) == 0
    assert pruned.any() == (ratio < 1)
    assert (tubelets[pruned] == 0).all()
    assert (tubelets[~pruned].abs().amax(-1) > 0).all()


def metadata_of(written: Written) -> dict[str, str]:
    if written.file_format == "onnx":
        return {prop.key: prop.value for prop in onnx.load(str(written.file)).metadata_props}
    archive = zipfile.ZipFile(written.file)
    extra = [name for name in archive.namelist() if "/extra/" in name]
    return {name.rpartition("/")[2]: archive.read(name).decode() for name in extra}


def test_the_file_tells_what_its_user_must_know_and_no_more(written: Written) -> None:
    found = metadata_of(written)
    assert set(found) == set(METADATA)
    assert from_dict(type(CLIP), json.loads(found["clip"])) == CLIP
    assert (found["format_version"], json.loads(found["value_range"])) == ("1", 3.0)
    assert json.loads(found["keep_ratio"]) == written.deployed.keep_ratio
    assert found["weights_sha256"] == weights_digest(written.deployed.network.state_dict())


def test_the_file_holds_no_path_and_no_source_of_this_machine(written: Written) -> None:
    content = written.file.read_bytes()
    if written.file_format == "torch-export":
        archive = zipfile.ZipFile(written.file)
        content = b"".join(name.encode() + archive.read(name) for name in archive.namelist())
    places = (ROOT, Path(sys.prefix), Path(sys.base_prefix), written.file.parent, Path.home() / ".")
    for place in (*map(str, places), "site-packages", 'File "', "stack_trace", "rearrange("):
        assert place.encode() not in content, place


def test_onnx_names_its_inputs_and_outputs_and_leaves_the_batch_open(written: Written) -> None:
    if written.file_format == "torch-export":
        return
    model = onnx.load(str(written.file))
    onnx.checker.check_model(model, full_check=True)
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"clip": ["batch", 3, 4, 32, 32], "video": ["batch", 3, 4, 32, 32], "keep": ["batch", 2, 4]}


@torch.no_grad()
def test_a_network_without_anonymization_block_hands_on_the_raw_values_it_keeps(tmp_path: Path) -> None:
    deployed = FixedNetwork(STPrivacy(replace(MODEL, anonymizer_depth=0)), 0.5)
    assert export(deployed, tmp_path / "a.onnx", "onnx", unseen(4)).holds
    video, _ = load_program((tmp_path / "a.onnx").read_bytes(), "onnx")(unseen(2))
    kept = video != 0
    assert 0 < kept.float().mean() < 0.5
    assert torch.equal(video[kept], unseen(2)[kept])
