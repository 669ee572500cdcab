"""What a sweep varies: values to choose from, or a range, for each of four parameters of the paper's Figure 4."""

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.recipes.ablations import keep_ratio, lambda_action, lambda_privacy, tubelet_frames
from pipelines.recipes.recipe import Recipe

Parameters = dict[str, float]
CHANGES: Mapping[str, Callable[[Recipe, float], Recipe]] = {
    "keep_ratio": keep_ratio,
    "lambda_action": lambda_action,
    "lambda_privacy": lambda_privacy,
    "tubelet_frames": lambda recipe, value: tubelet_frames(recipe, int(value)),
}
_WHOLE = ("tubelet_frames",)
_LOGARITHMIC = ("lambda_action", "lambda_privacy")


@dataclass(frozen=True)
class Values:
    """The values of one parameter: `choices`, or all from `low` to `high`."""

    choices: tuple[float, ...] = ()
    low: float = math.nan
    high: float = math.nan

    @property
    def is_range(self) -> bool:
        """Whether there are no choices."""
        return not self.choices

    @property
    def examples(self) -> tuple[float, ...]:
        """Values which, if they can be, all can."""
        return (self.low, self.high) if self.is_range else self.choices


Space = dict[str, Values]


def parse_space(texts: dict[str, tuple[str, ...]]) -> Space:
    """The space out of each parameter's texts: numbers to choose from, or one LOW:HIGH.

    Raises: ValueError: a text that is neither, a range of whole numbers, or one that is empty.
    """
    return {name: _parse(name, given) for name, given in texts.items()}


def _parse(name: str, texts: tuple[str, ...]) -> Values:
    option = f"--{name.replace('_', '-')}"
    low, colon, high = texts[0].partition(":") if texts else ("", "", "")
    try:
        if not colon:
            values = Values(tuple(dict.fromkeys(map(float, texts))))
        elif len(texts) == 1:
            values = Values(low=float(low), high=float(high))
        else:
            raise ValueError("a range stands alone")
    except ValueError as error:
        raise ValueError(f"{option} takes numbers, or one LOW:HIGH, got {' '.join(texts)} ({error})") from None
    if not texts:
        raise ValueError(f"{option} needs a value")
    if name in _WHOLE and (values.is_range or any(value != int(value) for value in values.choices)):
        raise ValueError(f"{option} takes whole numbers to choose from, got {' '.join(texts)}")
    if values.is_range and not values.low < values.high:
        raise ValueError(f"{option}: a range goes up, got {texts[0]}")
    if values.is_range and name in _LOGARITHMIC and values.low <= 0:
        raise ValueError(f"{option}: a range of weights is searched by their logarithm and begins above 0")
    return values


def changed(recipe: Recipe, parameters: Parameters) -> Recipe:
    """The recipe with these parameters. Raises: ValueError: one is out of its range."""
    for name, value in parameters.items():
        recipe = CHANGES[name](recipe, value)
    return recipe


def check_space(space: Space, recipe: Recipe) -> None:
    """See before anything runs whether every value can be. Raises: ValueError: one cannot."""
    for name, values in space.items():
        for value in values.examples:
            changed(recipe, {name: value})


def grid(space: Space) -> Iterator[Parameters]:
    """All combinations, the last parameter moving first. Raises: ValueError: there is a range."""
    ranges = [name for name, values in space.items() if values.is_range]
    if ranges:
        raise ValueError(f"--search grid needs values to choose from, but {', '.join(ranges)} has a range: list values")
    for chosen in itertools.product(*(values.choices for values in space.values())):
        yield dict(zip(space, chosen, strict=True))


def draws(space: Space, seed: int) -> Iterator[Parameters]:
    """Random combinations, no two alike; ends when there are no others."""
    if not any(values.is_range for values in space.values()):
        combinations = list(grid(space))
        random.Random(seed).shuffle(combinations)
        yield from combinations
        return
    generator = random.Random(seed)
    while True:
        yield {name: _draw(name, values, generator) for name, values in space.items()}


def _draw(name: str, values: Values, generator: random.Random) -> float:
    if not values.is_range:
        return generator.choice(values.choices)
    if name in _LOGARITHMIC:
        return rounded(math.exp(generator.uniform(math.log(values.low), math.log(values.high))))
    return rounded(generator.uniform(values.low, values.high))


def rounded(value: float) -> float:
    """Four digits: enough to tell trials apart, and short in tables."""
    return float(f"{value:.4g}")


def tune_space(space: Space) -> dict[str, Any]:
    """The same as Ray Tune's domains, for its searchers."""
    from ray import tune

    def domain(name: str, values: Values) -> Any:
        if not values.is_range:
            return tune.choice(list(values.choices))
        return (tune.loguniform if name in _LOGARITHMIC else tune.uniform)(values.low, values.high)

    return {name: domain(name, values) for name, values in space.items()}


def described(parameters: Parameters) -> str:
    """Parameters in a line."""
    return ", ".join(f"{name} {value:g}" for name, value in parameters.items())
