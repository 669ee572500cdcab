"""STPrivacy: sparsification blocks that abandon tubelets, an anonymization block that rewrites the rest."""

from dataclasses import dataclass, replace
from itertools import repeat

import torch
from einops import rearrange
from torch import Tensor, nn

from stprivacy.anonymized import Anonymized
from stprivacy.config import ModelConfig, check_keep_ratio
from stprivacy.models.embedding import PositionEmbedding, grid_of, make_embedding, slots_of
from stprivacy.models.sparsifier import RetainPredictor, gumbel_keep, select_tokens, stage_count
from stprivacy.models.transformer import branch_scales, initialise, make_layers, run_layers
from stprivacy.noise import Noise
from stprivacy.tubelets import from_tubelets, to_tubelets


@dataclass(frozen=True)
class Survivors:
    """Tokens that are left in evaluation: x [b k d], each one's temporal slot [b k] and place in the clip [b k]."""

    x: Tensor
    slots: Tensor
    places: Tensor

    def choose(self, chosen: Tensor) -> "Survivors":
        """Those at the indices [b c] into k; the others are abandoned."""
        x = self.x.gather(1, chosen.unsqueeze(-1).expand(-1, -1, self.x.shape[-1]))
        return Survivors(x, self.slots.gather(1, chosen), self.places.gather(1, chosen))

    def keep(self, grid: tuple[int, int, int]) -> Tensor:
        """The keep mask [b l n] of a clip of this grid (L, rows, columns)."""
        keep = self.x.new_zeros(self.x.shape[0], grid[0] * grid[1] * grid[2]).scatter_(1, self.places, 1.0)
        return rearrange(keep, "b (l n) -> b l n", l=grid[0])


def _all_tokens(x: Tensor, grid: tuple[int, int, int]) -> Survivors:
    batch, tokens, _ = x.shape
    places = torch.arange(tokens, device=x.device).expand(batch, -1)
    return Survivors(x, slots_of(grid, batch, x.device), places)


class STPrivacy(nn.Module):
    """The paper's transformation of a video (Figure 2).

    In training, masks are sampled (Eq 6) and pruned tokens stay in the batch, hidden by masked attention (Eqs 8-10);
    nothing in the video is zeroed. In evaluation the most probable tokens of every stage are kept, the others leave
    the computation, and their tubelets are exactly 0: the cost falls with the keep ratio.

    Figure 4's ablations are settings: without an anonymization block (depth 0) kept tubelets stay as they are
    (sparsification only); at a configured keep ratio of 1 nothing is abandoned in training (anonymization only).
    """

    output_std: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.embed_dim
        self.embedding = make_embedding(config.stem, config.clip, dim)
        self.position = PositionEmbedding(config.clip.grid, dim)
        self.stages = nn.ModuleList(make_layers(config, depth) for depth in config.stage_depths)
        self.predictors = nn.ModuleList(RetainPredictor(dim) for _ in config.stage_depths)
        self.anonymization = make_layers(config, config.anonymizer_depth)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.rewrites = config.anonymizer_depth > 0
        # Eq 11: a single linear layer, no activation.
        self.head = nn.Linear(dim, config.clip.tubelet_values) if self.rewrites else nn.Identity()
        self.apply(initialise)
        self.register_buffer("output_std", torch.zeros(()))

    def forward(
        self, video: Tensor, keep_ratio: float | None = None, noise: Noise = Noise(), person: Tensor | None = None
    ) -> Anonymized:
        """Transform a batch; where persons are, the network finds out itself.

        Args: video [b 3 t h w], normalised, any size that the tubelet divides; keep_ratio: alpha of each stage in
        (0, 1], in place of the configured one (in evaluation; in training the loss of Eq 7 sets it); noise: where the
        Gumbel and stochastic-depth draws of training come from. Raises: ValueError: a size or ratio that cannot be.
        """
        return self.features(video, keep_ratio, noise)[0]

    def features(
        self, video: Tensor, keep_ratio: float | None = None, noise: Noise = Noise()
    ) -> tuple[Anonymized, Tensor, Tensor]:
        """`forward`, and the last tokens [b k d] with their keep mask [b k], for phase 1's classification head."""
        ratio = check_keep_ratio(self.config.keep_ratio if keep_ratio is None else keep_ratio)
        grid = grid_of(video, self.config.clip)
        x = self.embedding(video) + self.position(grid)  # b n d
        return self._train(x, video, grid, noise) if self.training else self._eval(x, video, grid, ratio)

    def _train(
        self, x: Tensor, raw_video: Tensor, grid: tuple[int, int, int], noise: Noise
    ) -> tuple[Anonymized, Tensor, Tensor]:
        batch, tokens, _ = x.shape
        depth = sum(self.config.stage_depths) + self.config.anonymizer_depth
        scales = branch_scales(noise, x, depth, self.config.drop_path)
        slots = slots_of(grid, batch, x.device)
        uniform = noise.uniform("gumbel", batch, len(self.stages), tokens, 2).to(x.device)
        keep = x.new_ones(batch, tokens)
        stage_keeps, stage_log_z = [], []
        for stage, (layers, predictor) in enumerate(zip(self.stages, self.predictors, strict=True)):
            # All tokens are there before the first prune: plain attention is Eq 10 then.
            x = run_layers(layers, x, keep if stage else None, scales)
            if self.config.keep_ratio < 1:
                log_z = predictor(x, keep, slots, grid[0])
                keep = keep * gumbel_keep(log_z, uniform[:, stage])
                stage_log_z.append(rearrange(log_z, "b (l n) z -> b l n z", l=grid[0]))
            # Everything below uses the mask through the tensor that is returned: its gradient there is the whole one.
            stage_keeps.append(rearrange(keep, "b (l n) -> b l n", l=grid[0]))
            keep = rearrange(stage_keeps[-1], "b l n -> b (l n)")
        x = self.norm(run_layers(self.anonymization, x, keep, scales))
        places = torch.arange(tokens, device=x.device).expand(batch, -1)
        video = self._to_video(self._values(x, raw_video, places), grid, keep)
        return Anonymized(video, stage_keeps[-1], tuple(stage_keeps), tuple(stage_log_z)), x, keep

    def _eval(
        self, x: Tensor, raw_video: Tensor, grid: tuple[int, int, int], ratio: float
    ) -> tuple[Anonymized, Tensor, Tensor]:
        survivors = _all_tokens(x, grid)
        stage_keeps = []
        for stage in range(1, len(self.stages) + 1):
            survivors, log_z = self.score(survivors, stage, grid)
            count = self.count(grid, ratio, stage)
            survivors = survivors.choose(select_tokens(log_z, grid[0], count, self.config.select))
            stage_keeps.append(survivors.keep(grid))
        video, x = self.write(survivors, raw_video, grid)
        return Anonymized(video, stage_keeps[-1], tuple(stage_keeps)), x, x.new_ones(x.shape[:2])

    def survivors(self, video: Tensor) -> "Survivors":
        """All tokens of a video [b 3 t h w], before any stage: evaluation begins so.

        Who chooses the survivors of each stage otherwise than `forward` does calls `score` and `Survivors.choose` for
        one stage after another, then `write`.
        """
        grid = grid_of(video, self.config.clip)
        return _all_tokens(self.embedding(video) + self.position(grid), grid)

    def score(self, survivors: "Survivors", stage: int, grid: tuple[int, int, int]) -> tuple["Survivors", Tensor]:
        """What is left before stage 1, 2, ... after that stage's layers, and log z [b k 2] of keeping it (Eq 5)."""
        x = run_layers(self.stages[stage - 1], survivors.x, None, repeat(None))
        log_z = self.predictors[stage - 1](x, x.new_ones(x.shape[:2]), survivors.slots, grid[0])
        return replace(survivors, x=x), log_z

    def count(self, grid: tuple[int, int, int], ratio: float, stage: int) -> int:
        """How many tokens stage 1, 2, ... leaves, of each temporal slot or, where `select` is global, of the clip."""
        slots, rows, columns = grid
        tokens = rows * columns if self.config.select == "slot" else slots * rows * columns
        return stage_count(tokens, ratio, stage)

    def write(self, survivors: "Survivors", raw_video: Tensor, grid: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
        """The video [b 3 t h w] that the last survivors give, 0 elsewhere, and their tokens [b k d]."""
        x = self.norm(run_layers(self.anonymization, survivors.x, None, repeat(None)))
        values = self._values(x, raw_video, survivors.places)
        canvas = values.new_zeros(x.shape[0], grid[0] * grid[1] * grid[2], values.shape[-1])
        canvas = canvas.scatter(1, survivors.places.unsqueeze(-1).expand_as(values), values)
        return self._to_video(canvas, grid, survivors.keep(grid).flatten(1)), x

    def _values(self, x: Tensor, raw_video: Tensor, places: Tensor) -> Tensor:
        """What is written into the tubelets at `places` [b k]: Eq 11 of their tokens x [b k d], or the raw values."""
        if self.rewrites:
            written: Tensor = self.head(x)
            return written
        raw = to_tubelets(raw_video, self.config.clip.tubelet_frames, self.config.clip.patch_size)
        return raw.gather(1, places.unsqueeze(-1).expand(-1, -1, raw.shape[-1]))

    def _to_video(self, values: Tensor, grid: tuple[int, int, int], keep: Tensor) -> Tensor:
        """Tubelet values [b n v] as a video, divided by their training standard deviation where that is set."""
        if self.config.normalize_output and self.rewrites:
            if self.training:
                self._track_std(values.detach(), keep.detach())
            values = values / torch.where(self.output_std > 0, self.output_std, 1.0)
        return from_tubelets(values, grid, self.config.clip.tubelet_frames, self.config.clip.patch_size)

    @torch.no_grad()
    def _track_std(self, values: Tensor, keep: Tensor) -> None:
        """Exponential mean of the kept values' standard deviation; the first batch sets it."""
        kept = values.float()[keep > 0.5]
        if kept.numel() < 2:
            return
        std = kept.std()
        momentum = 0.99 if self.output_std > 0 else 0.0
        self.output_std.mul_(momentum).add_(std * (1 - momentum))
