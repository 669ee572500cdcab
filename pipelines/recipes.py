"""Full configurations by name. Variations are `dataclasses.replace`, or options of the jobs."""

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from pipelines.ablations import ABLATIONS, Ablation
from pipelines.recipe import Recipe
from pipelines.runs import RunConfig
from stprivacy.config import (
    AugmentConfig,
    ClipConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    PhaseConfig,
    RecognizerConfig,
    TestViewsConfig,
)


def demo() -> Recipe:
    """A model that two CPU cores train in minutes, for `make demo` and small data of your own.

    Command: python jobs/demo.py. Not the paper's, and named options all: bounded mask gradient, tubelet MLP stem,
    weight 10 on L_Spars, masked reconstruction in phase 1, normalised output, higher rates, no flip (walking left
    and right are classes), and in phase 2 a fiftieth of the recognizers' rate for STPrivacy: at their own rate its
    output forgets, within two epochs, the motion of actions that it was not trained on. Expected on vp-synth, on two
    cores: about ten minutes; scores in the README.
    """
    clip = ClipConfig(frames=8, height_px=64, width_px=64)
    base = RunConfig(
        phase="init",
        recipe="demo",
        model=ModelConfig(
            clip=clip,
            embed_dim=64,
            num_heads=4,
            stage_depths=(1, 1, 1),
            anonymizer_depth=2,
            stem="tubelet_mlp",
            mask_gradient="bounded",
            normalize_output=True,
            drop_path=0.0,
        ),
        recognizer=RecognizerConfig(
            embed_dim=64, num_heads=4, depth=3, stem="tubelet_mlp", mask_gradient="bounded", drop_path=0.0
        ),
        losses=LossConfig(lambda_sparsification=10.0, lambda_reconstruction=1.0),
        augment=AugmentConfig(crop_scale=(0.7, 1.0), crop_aspect=(0.85, 1 / 0.85), flip_probability=0.0),
        views=TestViewsConfig(clips=2, crops=1),
    )
    optim = OptimConfig(learning_rate=32e-3, warmup_epochs=0.5)
    train = PhaseConfig(batch_size=32, checkpoint_every_steps=150, optim=optim)
    return Recipe(
        init=replace(base, train=replace(train, epochs=7)),
        adversarial=replace(base, phase="adversarial", train=replace(train, epochs=2, anonymizer_rate_scale=0.02)),
        evaluate=replace(base, phase="evaluate", train=replace(train, epochs=7)),
        stride=3,
        short_side_px=72,
    )


def paper() -> Recipe:
    """The paper's model and schedule: ViT-S, 16 x 112 x 112, 80 + 40 + 80 epochs (Section 4.3).

    Command: python jobs/init.py --recipe paper --use-gpu. For GPUs: a step takes seconds on two CPU cores.

    From scratch, as no weights are at hand on a machine without network. The paper starts from an ImageNet ViT-S: add
    --model.pretrained vit_small_patch16_224 to jobs/init.py, and --recognizer.pretrained vit_small_patch16_224 to
    jobs/adv.py and jobs/evaluate.py; a .safetensors file in timm's format does as well. How it was tuned is
    unpublished. DynamicViT's practice, for jobs/init.py: --train.optim.backbone-rate-scale 0.01
    --train.optim.backbone-freeze-epochs 5. Not set here: they would hold random weights still.
    """
    base = RunConfig(phase="init", recipe="paper", train=PhaseConfig(amp=True), prefetch_batches=2)
    return Recipe(
        init=base,
        adversarial=replace(base, phase="adversarial", train=replace(base.train, epochs=40)),
        evaluate=replace(base, phase="evaluate"),
        stride=2,
        short_side_px=128,
    )


def _varied(base: str, name: str, ablation: Ablation) -> Recipe:
    """An ablation of a recipe, whose runs carry its name: a later phase finds it by that of the run it starts from."""
    recipe = ablation(_BASES[base]())
    init, adversarial, evaluate = (
        replace(run, recipe=f"{base}-{name}") for run in (recipe.init, recipe.adversarial, recipe.evaluate)
    )
    return replace(recipe, init=init, adversarial=adversarial, evaluate=evaluate)


_BASES: dict[str, Callable[[], Recipe]] = {"demo": demo, "paper": paper}
RECIPES: dict[str, Callable[[], Recipe]] = _BASES | {
    f"{base}-{name}": partial(_varied, base, name, ablation) for base in _BASES for name, ablation in ABLATIONS.items()
}


def describe_recipes() -> str:
    """Name and purpose of every recipe, one below the other."""
    purposes = {name: inspect.getdoc(recipe) for name, recipe in _BASES.items()}
    for name, ablation in ABLATIONS.items():
        function = ablation.func if isinstance(ablation, partial) else ablation
        purposes[", ".join(f"{base}-{name}" for base in _BASES)] = inspect.getdoc(function)
    return "\n".join(f"{names}\n{textwrap.indent(purpose or '', '    ')}" for names, purpose in purposes.items())
