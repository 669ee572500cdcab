import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stprivacy.checkpoint import CheckpointError, CheckpointStore, load_latest, save, weights_digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def weights(value: float) -> dict[str, Tensor]:
    return {"layer.weight": torch.full((3, 2), value), "layer.bias": torch.full((2,), value, dtype=torch.bfloat16)}


def save_two(folder: Path) -> None:
    save(folder, 20, weights(1.0), {"epoch": 1})
    save(folder, 40, weights(2.0), {"epoch": 2})


def numbers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_gives_back_weights_and_state_bit_for_bit(folder: Path) -> None:
    module = nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.randn(2, 4)).sum().backward()
    optimizer.step()
    generator = torch.Generator().manual_seed(3)
    state = {"optimizer": optimizer.state_dict(), "generator": generator.get_state(), "sums": {"loss": 0.1}}
    save(folder, 7, module.state_dict(), state)
    loaded = load_latest(folder, pytest.fail)
    assert loaded is not None
    assert loaded.number == 7
    assert loaded.path == folder / "000007"
    assert weights_digest(loaded.model) == weights_digest(module.state_dict())
    assert loaded.state["sums"] == {"loss": 0.1}
    assert torch.equal(loaded.state["generator"], generator.get_state())
    moments = loaded.state["optimizer"]["state"][0]["exp_avg_sq"]
    assert torch.equal(moments, optimizer.state_dict()["state"][0]["exp_avg_sq"])


def test_no_checkpoint_yet_is_none(folder: Path) -> None:
    assert load_latest(folder, pytest.fail) is None


def test_keeps_the_newest_ones(folder: Path) -> None:
    for number in (1, 2, 3, 4):
        save(folder, number, weights(number), {}, keep=2)
    assert numbers(folder) == ["000003", "000004"]


def test_tied_weights_are_saved(folder: Path) -> None:
    shared = torch.ones(2, 2)
    save(folder, 1, {"a": shared, "b": shared}, {})
    loaded = load_latest(folder, pytest.fail)
    assert loaded is not None
    assert torch.equal(loaded.model["b"], shared)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, Path.unlink])
@pytest.mark.parametrize("name", ["model.safetensors", "state.pt", "manifest.json"])
def test_damaged_newest_falls_back_to_the_one_before(folder: Path, name: str, damage: Callable[[Path], None]) -> None:
    save_two(folder)
    damage(folder / "000040" / name)
    said: list[str] = []
    loaded = load_latest(folder, said.append)
    assert loaded is not None
    assert loaded.number == 20
    assert loaded.state == {"epoch": 1}
    assert len(said) == 1
    assert "000040 is damaged" in said[0]
    assert name in said[0]
    assert "continuing from 000020" in said[0]


def test_all_damaged_is_one_clear_error(folder: Path) -> None:
    save_two(folder)
    file = folder / "000020" / "model.safetensors"
    whole = file.stat().st_size
    truncate(file)
    flip_a_bit(folder / "000040" / "state.pt")
    with pytest.raises(CheckpointError) as error:
        load_latest(folder, pytest.fail)
    cut_off = f"000020: model.safetensors has {whole - 10} of {whole} bytes"
    for part in (cut_off, "000040: state.pt does not match its checksum", str(folder), "start over"):
        assert part in str(error.value)


def test_a_manifest_of_another_number_is_damage(folder: Path) -> None:
    save_two(folder)
    (folder / "000040").rename(folder / "000060")
    said: list[str] = []
    loaded = load_latest(folder, said.append)
    assert loaded is not None
    assert loaded.number == 20
    assert "of checkpoint 40" in said[0]


def test_saving_replaces_a_damaged_checkpoint_of_the_same_number(folder: Path) -> None:
    save_two(folder)
    truncate(folder / "000040" / "state.pt")
    save(folder, 40, weights(2.0), {"epoch": 2})
    loaded = load_latest(folder, pytest.fail)
    assert loaded is not None
    assert loaded.number == 40
    assert numbers(folder) == ["000020", "000040"]


def test_a_damaged_later_checkpoint_does_not_push_out_good_ones(folder: Path) -> None:
    save_two(folder)
    truncate(folder / "000040" / "state.pt")
    save(folder, 30, weights(1.5), {})
    assert numbers(folder) == ["000020", "000030", "000040"]


class Killed(BaseException):
    """Stands for a kill: nothing after it runs."""


@pytest.mark.parametrize("calls_survived", range(7))
def test_dying_at_any_file_operation_leaves_a_usable_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch, calls_survived: int
) -> None:
    save_two(folder)
    calls = 0

    def deadly(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls > calls_survived:
                raise Killed
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for owner, name in ((os, "fsync"), (Path, "rename"), (shutil, "rmtree")):
            patch.setattr(owner, name, deadly(getattr(owner, name)))
        with pytest.raises(Killed):
            save(folder, 40, weights(3.0), {"epoch": 3})
    loaded = load_latest(folder, pytest.fail)
    assert loaded is not None
    assert loaded.state["epoch"] in (1, 2, 3)
    save(folder, 60, weights(4.0), {"epoch": 4})
    assert len(numbers(folder)) == 2


def test_digest_tells_names_types_shapes_and_bits_apart() -> None:
    one = {"a": torch.zeros(2, 3)}
    others: list[dict[str, Tensor]] = [
        {"b": torch.zeros(2, 3)},
        {"a": torch.zeros(3, 2)},
        {"a": torch.zeros(2, 3, dtype=torch.int32)},
        {"a": torch.full((2, 3), -0.0)},
    ]
    assert len({weights_digest(model) for model in [one, *others]}) == 5
    assert weights_digest({"a": torch.zeros(3, 2).T}) == weights_digest(one)


def test_only_rank_zero_writes_and_every_rank_reads(folder: Path) -> None:
    stores = [CheckpointStore(folder, keep=2, rank=rank, warn=pytest.fail) for rank in (1, 0)]
    stores[0].save(5, weights(1.0), {})
    assert stores[0].latest() is None
    stores[1].save(5, weights(1.0), {})
    loaded = stores[0].latest()
    assert loaded is not None
    assert loaded.number == 5


def test_manifest_names_sizes_and_checksums(folder: Path) -> None:
    path = save(folder, 3, weights(1.0), {})
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["number"] == 3
    for name, entry in manifest["files"].items():
        assert entry["bytes"] == (path / name).stat().st_size
        assert len(entry["sha256"]) == 64
