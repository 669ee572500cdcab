"""Draws that depend on seed, epoch, clip, module and purpose, on each of them, and on nothing else."""

import pytest
import torch
from torch import Tensor

from stprivacy.noise import ClipNoise, derived_seed


def draws(seed: int = 1, epoch: int = 2, clip: int = 3, scope: str = "", purpose: str = "gumbel") -> Tensor:
    noise = ClipNoise(seed, epoch, [clip])
    return (noise.scoped(scope) if scope else noise).uniform(purpose, 1, 4)


def test_every_part_of_a_draws_name_changes_it_and_the_same_name_repeats_it() -> None:
    named = [
        draws(),
        draws(seed=9),
        draws(epoch=9),
        draws(clip=9),
        draws(scope="anonymizer"),
        draws(scope="action_recognizer"),
        draws(purpose="drop_path"),
        ClipNoise(1, 2, [3]).scoped("a").scoped("b").uniform("gumbel", 1, 4),
        draws(scope="b"),
    ]
    assert len(torch.cat(named).unique(dim=0)) == len(named)
    assert torch.equal(draws(scope="anonymizer"), draws(scope="anonymizer"))


def test_a_clips_draws_are_its_own_in_any_batch_and_cover_the_unit_interval() -> None:
    batch = ClipNoise(0, 0, range(500)).uniform("gumbel", 500, 2)
    assert torch.equal(ClipNoise(0, 0, [7, 3]).uniform("gumbel", 2, 2), batch[[7, 3]])
    assert batch.min() >= 0
    assert batch.max() < 1
    assert batch.mean().item() == pytest.approx(0.5, abs=0.04)  # standard error: .009


def test_the_rows_of_a_clips_frames_differ() -> None:
    rows = ClipNoise(0, 0, [5, 6]).for_frames(3).scoped("x").uniform("gumbel", 6, 2)
    assert len(rows.unique(dim=0)) == 6
    assert torch.equal(ClipNoise(0, 0, [6]).for_frames(3).scoped("x").uniform("gumbel", 3, 2), rows[3:])
    with pytest.raises(ValueError, match="batch_size is 2, but the noise is for 6 rows"):
        ClipNoise(0, 0, [5, 6]).for_frames(3).uniform("gumbel", 2)


def test_seeds_are_the_same_on_every_machine() -> None:
    assert derived_seed(0, "order") == 5541719180202367972
    assert len({derived_seed(1, 2), derived_seed(12), derived_seed("1", 2), derived_seed(2, 1)}) == 4
