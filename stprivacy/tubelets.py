"""Video to tubelets and back: exact inverses, in the order of the tokens."""

from einops import rearrange, repeat
from torch import Tensor


def to_tubelets(video: Tensor, tubelet_frames: int, patch_size: int) -> Tensor:
    """Cut a video [b c t h w] into tubelets [b n v], slot by slot and row by row (Section 3.1).

    v = tubelet_frames * patch_size^2 * c, frames first and channels last.
    Raises: ValueError: a size that the tubelet does not divide.
    """
    frames, height, width = video.shape[-3:]
    if frames % tubelet_frames or height % patch_size or width % patch_size:
        raise ValueError(
            f"video of {frames} frames, {height}x{width} pixels (height x width) cannot be cut into tubelets of "
            f"{tubelet_frames} frames, {patch_size}x{patch_size} pixels: make each a multiple"
        )
    return rearrange(
        video, "b c (l p) (h q) (w r) -> b (l h w) (p q r c)", p=tubelet_frames, q=patch_size, r=patch_size
    )


def from_tubelets(tubelets: Tensor, grid: tuple[int, int, int], tubelet_frames: int, patch_size: int) -> Tensor:
    """The video [b c t h w] of tubelets [b n v]: the inverse of `to_tubelets`.

    Args: grid: (L, rows, columns) with L * rows * columns = n. Raises: ValueError: tubelets that do not fill it.
    """
    slots, rows, columns = grid
    values = tubelet_frames * patch_size**2
    if tubelets.shape[1] != slots * rows * columns or tubelets.shape[2] % values:
        raise ValueError(
            f"{tubelets.shape[1]} tubelets of {tubelets.shape[2]} values cannot fill "
            f"a grid of {slots}x{rows}x{columns} tubelets of {tubelet_frames} frames, {patch_size}x{patch_size} pixels"
        )
    sizes = {"p": tubelet_frames, "q": patch_size, "r": patch_size}
    return rearrange(tubelets, "b (l h w) (p q r c) -> b c (l p) (h q) (w r)", l=slots, h=rows, w=columns, **sizes)


def expand_keep(keep: Tensor, grid: tuple[int, int, int], tubelet_frames: int, patch_size: int) -> Tensor:
    """A keep mask [b l n] as a mask of pixels [b 1 t h w]; grid is (L, rows, columns) with rows * columns = n.

    Raises: ValueError: a mask of another grid.
    """
    slots, rows, columns = grid
    if tuple(keep.shape[1:]) != (slots, rows * columns):
        raise ValueError(
            f"keep mask of {tuple(keep.shape[1:])} (slots, tubelets in each) does not fit the grid "
            f"{slots}x{rows}x{columns}"
        )
    sizes = {"p": tubelet_frames, "q": patch_size, "r": patch_size}
    return repeat(keep, "b l (h w) -> b 1 (l p) (h q) (w r)", h=rows, w=columns, **sizes)
