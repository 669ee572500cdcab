"""The stem that learns motion: what it computes of a tubelet, written down tubelet by tubelet."""

import torch
import torch.nn.functional as F
from einops import rearrange

from stprivacy.config import ClipConfig
from stprivacy.models.embedding import TubeletMLP

CLIP = ClipConfig(frames=6, height_px=16, width_px=24, tubelet_frames=3, patch_size=8)


def test_the_tubelet_stem_reads_the_mean_and_the_changes_from_frame_to_frame_of_each_cell() -> None:
    stem, video = TubeletMLP(CLIP, 10), torch.randn(2, 3, 6, 16, 24)
    frames = rearrange(video, "b c (l p) h w -> p b c l h w", p=3)
    mixed = torch.stack([frames.mean(0), 4 * (frames[1] - frames[0]), 4 * (frames[2] - frames[1])])
    cells = rearrange(mixed, "s b c l (h q u) (w r v) -> b l h w q r (s u v c)", q=2, u=4, r=2, v=4)
    features = rearrange(F.gelu(stem.cell(cells)), "b l h w q r f -> b (l h w) (q r f)")
    torch.testing.assert_close(stem(video), stem.join(features))
