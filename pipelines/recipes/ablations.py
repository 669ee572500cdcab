"""Changes of any recipe: the ablations of the paper's Figure 4, and departures from the paper.

None of them was run on the real data here.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from pipelines.recipes.recipe import Recipe
from stprivacy.phases.objectives.heads import PRIVACY_HEADS

Ablation = Callable[[Recipe], Recipe]
HEAD_START_EPOCHS = 5


def sparsification_only(recipe: Recipe) -> Recipe:
    """Figure 4, column 1, "spars": no anonymization block; kept tubelets stay as they are."""
    return _with_model(recipe, anonymizer_depth=0)


def anonymization_only(recipe: Recipe) -> Recipe:
    """Figure 4, column 1, "anony": alpha = 1, so that no tubelet is abandoned."""
    return _with_model(recipe, keep_ratio=1.0)


def keep_ratio(recipe: Recipe, value: float) -> Recipe:
    """Figure 4, column 2: alpha, the share of tubelets that each stage keeps (.7 elsewhere)."""
    return _with_model(recipe, keep_ratio=value)


def tubelet_frames(recipe: Recipe, value: int) -> Recipe:
    """Figure 4, column 3: delta T, the frames of a tubelet (2 elsewhere)."""
    return _with_model(recipe, clip=replace(recipe.init.model.clip, tubelet_frames=value))


def lambda_action(recipe: Recipe, value: float) -> Recipe:
    """Figure 4, column 4: the weight of L_Action in Eq 13 (.5 elsewhere)."""
    return _with_losses(recipe, lambda_action=value)


def lambda_privacy(recipe: Recipe, value: float) -> Recipe:
    """Figure 4, column 5: the weight of L_Privacy in Eq 13 (.5 elsewhere)."""
    return _with_losses(recipe, lambda_privacy=value)


def defended(recipe: Recipe) -> Recipe:
    """A departure from the paper: more adversaries than its one, who read what other attackers would.

    They learn alone for five epochs more before the anonymizer does: in two epochs at demo size, none learns to read.

    Besides the paper's, they are the privacy heads top-k (the mask of deployment), pooled, whitened and frame. The
    attackers standard, pooled and whitened of an evaluation have the form of a head, and never its weights: all are
    trained from scratch. Attackers of another form are those that this anonymizer has not met.
    """
    train = recipe.adversarial.train
    train = replace(
        train,
        epochs=train.epochs + HEAD_START_EPOCHS,
        head_start_epochs=HEAD_START_EPOCHS,
        anonymizer_rate_scale=recipe.rate_scales.get("defended", train.anonymizer_rate_scale),
    )
    return replace(recipe, adversarial=replace(recipe.adversarial, privacy_heads=tuple(PRIVACY_HEADS), train=train))


def _with_model(recipe: Recipe, **changes: Any) -> Recipe:
    return recipe.in_all_phases(model=replace(recipe.init.model, **changes))


def _with_losses(recipe: Recipe, **changes: Any) -> Recipe:
    losses = replace(recipe.adversarial.losses, **changes)
    return replace(recipe, adversarial=replace(recipe.adversarial, losses=losses))


# The values of columns 2, 4 and 5 can only be read off the figure's charts roughly: these lie around the default.
ABLATIONS: Mapping[str, Ablation] = {
    "sparsification-only": sparsification_only,
    "anonymization-only": anonymization_only,
    **{f"keep-ratio-{value}": partial(keep_ratio, value=value) for value in (0.5, 0.6, 0.8, 0.9)},
    **{f"tubelet-frames-{value}": partial(tubelet_frames, value=value) for value in (1, 4)},
    **{f"lambda-action-{value}": partial(lambda_action, value=value) for value in (0.25, 1.0)},
    **{f"lambda-privacy-{value}": partial(lambda_privacy, value=value) for value in (0.25, 1.0)},
}
DEPARTURES: Mapping[str, Ablation] = {"defended": defended}
