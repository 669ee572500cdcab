import pytest
import torch

from stprivacy.tubelets import expand_keep, from_tubelets, to_tubelets


@pytest.mark.parametrize(
    ("frames", "height", "width", "slot", "patch"), [(4, 8, 12, 2, 4), (3, 6, 4, 1, 2), (8, 4, 4, 8, 4)]
)
def test_cutting_and_joining_are_exact_inverses(frames: int, height: int, width: int, slot: int, patch: int) -> None:
    video = torch.randn(2, 3, frames, height, width)
    grid = (frames // slot, height // patch, width // patch)
    tubelets = to_tubelets(video, slot, patch)
    assert tubelets.shape == (2, grid[0] * grid[1] * grid[2], 3 * slot * patch**2)
    assert torch.equal(from_tubelets(tubelets, grid, slot, patch), video)
    assert torch.equal(to_tubelets(from_tubelets(tubelets, grid, slot, patch), slot, patch), tubelets)


def test_tubelets_come_slot_by_slot_and_row_by_row_with_channels_last() -> None:
    video = torch.arange(2 * 3 * 4 * 4 * 6).reshape(2, 3, 4, 4, 6)
    tubelets = to_tubelets(video, 2, 2)
    # Grid 2 x 2 x 3: slot 1, row 0, column 2 is token 6 + 2.
    expected = [
        int(video[1, c, 2 + p, q, 4 + r]) for p in range(2) for q in range(2) for r in range(2) for c in range(3)
    ]
    assert tubelets[1, 8].tolist() == expected


def test_expanded_mask_selects_exactly_the_kept_tubelets() -> None:
    video = torch.randn(2, 3, 4, 4, 6)
    keep = torch.randint(0, 2, (2, 2, 6)).float()
    tubelets = to_tubelets(video, 2, 2) * keep.reshape(2, 12, 1)
    masked = video * expand_keep(keep, (2, 2, 3), 2, 2)
    assert torch.equal(masked, from_tubelets(tubelets, (2, 2, 3), 2, 2))


@pytest.mark.parametrize("shape", [(3, 4, 4), (4, 5, 4), (4, 4, 6)])
def test_sizes_that_the_tubelet_does_not_divide_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot be cut into tubelets of 2 frames, 4x4 pixels"):
        to_tubelets(torch.zeros(1, 3, *shape), 2, 4)


def test_tubelets_and_masks_of_another_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="5 tubelets of 24 values cannot fill a grid of 2x2x3"):
        from_tubelets(torch.zeros(1, 5, 24), (2, 2, 3), 2, 2)
    with pytest.raises(ValueError, match="does not fit the grid 2x2x3"):
        expand_keep(torch.zeros(1, 3, 4), (2, 2, 3), 2, 2)
