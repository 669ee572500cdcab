"""Full configurations by name. Variations are `dataclasses.replace`, or options of the jobs."""

import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from pipelines.recipes.ablations import ABLATIONS, DEPARTURES
from pipelines.recipes.paper_tables import TABLE_ROWS
from pipelines.recipes.recipe import Recipe
from pipelines.runs.config import AdversarialRun, EvaluateRun, InitLosses, InitRun
from stprivacy.anonymizers import PURPOSES
from stprivacy.attackers import ATTACKERS
from stprivacy.config import (
    AugmentConfig,
    ClipConfig,
    ModelConfig,
    OptimConfig,
    PhaseConfig,
    RecognizerConfig,
    TestViewsConfig,
)
from stprivacy.phases.objectives.heads import PRIVACY_HEADS
from stprivacy.phases.objectives.vita import VITAConfig


def demo() -> Recipe:
    """A model that two CPU cores train in minutes, for `make demo` and small data of your own.

    Command: python jobs/demo.py. Not the paper's, and named options all: bounded mask gradient, tubelet MLP stem,
    weight 10 on L_Spars, masked reconstruction in phase 1, normalised output, higher rates, no flip (walking left
    and right are classes), and in phase 2 a fiftieth of the recognizers' rate for STPrivacy: at their own rate its
    output forgets, within two epochs, the motion of actions that it was not trained on. The networks of the rivals
    VITA and SPAct have a quarter and an eighth of their papers' widths, and VITA restarts each adversary once. Expected
    on vp-synth, on two cores: about ten minutes; scores in docs/results.md.
    """
    recognizer = RecognizerConfig(
        embed_dim=64, num_heads=4, depth=3, stem="tubelet_mlp", mask_gradient="bounded", drop_path=0.0
    )
    optim = OptimConfig(learning_rate=32e-3, warmup_epochs=0.5)
    train = PhaseConfig(epochs=7, batch_size=32, checkpoint_every_steps=150, optim=optim)
    init = InitRun(
        recipe="demo",
        model=_demo_model(),
        losses=InitLosses(lambda_sparsification=10.0, lambda_reconstruction=1.0),
        train=train,
        augment=AugmentConfig(crop_scale=(0.7, 1.0), crop_aspect=(0.85, 1 / 0.85), flip_probability=0.0),
    )
    return Recipe(
        init=init,
        adversarial=init.to(
            AdversarialRun,
            recognizer=recognizer,
            vita=VITAConfig(restart_steps=30),
            train=replace(train, epochs=2, anonymizer_rate_scale=0.02),
        ),
        evaluate=init.to(EvaluateRun, recognizer=recognizer, views=TestViewsConfig(clips=2, crops=1)),
        stride=3,
        short_side_px=72,
        init_epochs={"vita": 3, "spact": 3},
        rate_scales={"defended": 0.5},
    )


def _demo_model() -> ModelConfig:
    return ModelConfig(
        clip=ClipConfig(frames=8, height_px=64, width_px=64),
        embed_dim=64,
        num_heads=4,
        stage_depths=(1, 1, 1),
        anonymizer_depth=2,
        stem="tubelet_mlp",
        mask_gradient="bounded",
        normalize_output=True,
        vita_width=0.25,
        spact_width=0.125,
        drop_path=0.0,
    )


def paper() -> Recipe:
    """The paper's model and schedule: ViT-S from ImageNet weights, 16 x 112 x 112, 80 + 40 + 80 epochs (Section 4.3).

    Command: python jobs/init.py --recipe paper --use-gpu. For GPUs: a step takes seconds on two CPU cores.

    All networks start from timm's deit_small_patch16_224, which needs network: elsewhere give a .safetensors file
    (with its pixel scale, unless it is ImageNet's as DeiT's is) or '' to start from scratch, as --model.pretrained
    (jobs/init.py) and --recognizer.pretrained (jobs/adv.py, jobs/evaluate.py). Which weights the paper took, and how it
    tuned them, is unpublished. In phase 1 this follows DynamicViT's practice: backbone at a hundredth of the
    predictors' rate, frozen for five epochs.
    """
    weights: dict[str, Any] = {"pretrained": "deit_small_patch16_224", "pretrained_pixels": "imagenet"}
    recognizer, train = RecognizerConfig(**weights), PhaseConfig(amp=True)
    tuned = OptimConfig(backbone_rate_scale=0.01, backbone_freeze_epochs=5)
    init = InitRun(recipe="paper", model=ModelConfig(**weights), train=replace(train, optim=tuned), prefetch_batches=2)
    return Recipe(
        init=init,
        adversarial=init.to(AdversarialRun, recognizer=recognizer, train=replace(train, epochs=40)),
        evaluate=init.to(EvaluateRun, recognizer=recognizer, train=train),
        stride=2,
        short_side_px=128,
    )


def _varied(base: str, change: Callable[[Recipe], Recipe], name: str) -> Recipe:
    """A changed recipe, whose runs carry its name: a later phase finds it by that of the run it starts from."""
    return change(_BASES[base]()).in_all_phases(recipe=name)


_BASES: dict[str, Callable[[], Recipe]] = {"demo": demo, "paper": paper}
_CHANGES = {**ABLATIONS, **DEPARTURES}
RECIPES: dict[str, Callable[[], Recipe]] = {
    **_BASES,
    **{
        f"{base}-{name}": partial(_varied, base, ablation, f"{base}-{name}")
        for base in _BASES
        for name, ablation in _CHANGES.items()
    },
    **{name: partial(_varied, "paper", row, name) for name, row in TABLE_ROWS.items()},
}


def describe_recipes() -> str:
    """Name and purpose of every recipe, one below the other, and what an evaluation can be given."""
    from pipelines.runs.protocols import PROTOCOLS  # reads data sets: benchmarks/gpu.py runs where only PyTorch is

    entries = [_entry(name, recipe) for name, recipe in _BASES.items()]
    entries += [_entry(", ".join(f"{base}-{name}" for base in _BASES), change) for name, change in _CHANGES.items()]
    rows = [f"{name}\n{textwrap.indent(row.description, '    ')}" for name, row in TABLE_ROWS.items()]
    lines = [*entries, f"\n{_NOT_RUN}\n", *rows]
    options: dict[str, Mapping[Any, str | None]] = {
        "Protocols of jobs/evaluate.py": PROTOCOLS,
        "Anonymizers of jobs/evaluate.py": PURPOSES,
        "Attackers of jobs/evaluate.py": {name: inspect.getdoc(make) for name, make in ATTACKERS.items()},
        "Privacy heads of jobs/adv.py (--privacy-heads)": PRIVACY_HEADS,
    }
    for title, purposes in options.items():
        lines += [f"\n{title}:\n", *(f"{name}\n    {purpose}" for name, purpose in purposes.items())]
    return "\n".join(lines)


def _entry(names: str, function: Callable[..., Recipe]) -> str:
    purpose = inspect.getdoc(function.func if isinstance(function, partial) else function)
    return f"{names}\n{textwrap.indent(purpose or '', '    ')}"


_NOT_RUN = "Rows of the paper's tables, for jobs/paper.py, with the paper's values. None was run on the real data here."
