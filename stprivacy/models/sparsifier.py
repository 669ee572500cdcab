"""Privacy sparsification: multi-level features, retaining probabilities and the selection of tubelets (Section 3.2)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from stprivacy.config import Select


class RetainPredictor(nn.Module):
    """Predicts for every token the log-probabilities of being kept (index 0) or abandoned (Eqs 1-5).

    As in the released code: one LayerNorm and linear layer serves the three features of Eqs 1-3, then
    D -> D/2 -> D/4 -> 2.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        # Where D is not a multiple of 3, the local feature takes the rest.
        self.split = (embed_dim - 2 * (embed_dim // 3), embed_dim // 3, embed_dim // 3)
        self.features = nn.Sequential(nn.LayerNorm(embed_dim, eps=1e-6), nn.Linear(embed_dim, embed_dim), nn.GELU())
        self.head = nn.Sequential(
            nn.Linear(embed_dim, embed_dim // 2),
            nn.GELU(),
            nn.Linear(embed_dim // 2, embed_dim // 4),
            nn.GELU(),
            nn.Linear(embed_dim // 4, 2),
        )

    def forward(self, x: Tensor, keep: Tensor, slots: Tensor, num_slots: int) -> Tensor:
        """Tokens x [b n d], keep [b n], slots [b n] (each token's temporal slot) -> log z [b n 2] (Eq 5)."""
        local, spatial, spatio_temporal = self.features(x).split(self.split, dim=-1)
        evidence = torch.cat(  # Eq 4
            [
                local,  # Eq 1
                slot_mean(spatial, keep, slots, num_slots),  # Eq 2
                slot_mean(spatio_temporal, keep, torch.zeros_like(slots), 1),  # Eq 3
            ],
            dim=-1,
        )
        return F.log_softmax(self.head(evidence).float(), dim=-1)


def slot_mean(x: Tensor, keep: Tensor, slots: Tensor, num_slots: int) -> Tensor:
    """Mean over the kept tokens of each token's slot, repeated to its tokens: Expd(Avg(x, keep)) of Eqs 2 and 3.

    x [b n d], keep [b n], slots [b n] -> [b n d]; zeros where a slot has no token left.
    """
    member = F.one_hot(slots, num_slots).to(x.dtype)  # b n l
    weight = member * keep.to(x.dtype).unsqueeze(-1)
    total = weight.transpose(1, 2) @ x  # b l d
    mean = total / weight.sum(1).clamp_min(1.0).unsqueeze(-1)
    return member @ mean


def gumbel_keep(log_z: Tensor, uniform: Tensor) -> Tensor:
    """Hard Gumbel-Softmax sample at temperature 1 with straight-through gradient (Eq 6).

    log_z [b n 2], uniform [b n 2] draws in [0, 1) -> I [b n] in {0, 1}; 1 keeps the token.
    """
    tiny = torch.finfo(log_z.dtype).tiny
    gumbel = -(-uniform.to(log_z).clamp_min(tiny).log()).clamp_min(tiny).log()
    soft = (log_z + gumbel).softmax(-1)[..., 0]
    hard = (soft >= 0.5).to(soft.dtype)
    return hard + (soft - soft.detach())  # in this order the value is exactly 0 or 1


def stage_count(tokens: int, keep_ratio: float, stage: int) -> int:
    """How many of `tokens` remain after stage 1, 2, ... in evaluation: floor(tokens * keep_ratio^stage), at least 1."""
    # Rounding first: 100 * .7 ** 2 must count as 49, not 48.999...
    return max(int(round(tokens * keep_ratio**stage, 9)), 1)


def select_tokens(log_z: Tensor, num_slots: int, count: int, select: Select) -> Tensor:
    """Indices of the survivors, in ascending order, by retaining probability.

    Args: log_z [b k 2] of the tokens still there, slot by slot; num_slots: slots, each with equally many tokens where
    `select` is "slot"; count: survivors per slot ("slot") or in all ("global"). Returns: [b kept] indices into k.
    """
    score = log_z[..., 0] - log_z[..., 1]
    if select == "global":
        chosen = score.topk(count, dim=1).indices
    else:
        per_slot = score.shape[1] // num_slots
        within = rearrange(score, "b (l n) -> b l n", l=num_slots).topk(count, dim=2).indices  # b l count
        first = torch.arange(num_slots, device=score.device)[None, :, None] * per_slot
        chosen = (within + first).flatten(1)
    return chosen.sort(dim=1).values


def top_k_keep(stage_log_z: Sequence[Tensor], keep_ratio: float, select: Select) -> Tensor:
    """The mask that evaluation would take after the last stage, had it the same log-probabilities.

    The value of every element is exactly 0 or 1; gradients go straight through to the probability of keeping it, as in
    `gumbel_keep`. In evaluation itself, a later stage's log-probabilities follow from the tokens that are left, and not
    from those that a sample left.

    Args: stage_log_z: log z [b l n 2] of all tokens, stage by stage. Returns: [b l n].
    """
    batch, num_slots, per_slot, _ = stage_log_z[0].shape
    places = torch.arange(num_slots * per_slot, device=stage_log_z[0].device).expand(batch, -1)
    keep = torch.ones_like(stage_log_z[0][..., 0])
    for stage, log_z in enumerate(stage_log_z, start=1):
        left = log_z.detach().flatten(1, 2).gather(1, places.unsqueeze(-1).expand(-1, -1, 2))
        count = stage_count(per_slot if select == "slot" else num_slots * per_slot, keep_ratio, stage)
        places = places.gather(1, select_tokens(left, num_slots, count, select))
        hard = torch.zeros_like(keep.flatten(1)).scatter_(1, places, 1.0).view_as(keep)
        soft = log_z[..., 0].exp()
        keep = keep * (hard + (soft - soft.detach()))
    return keep
