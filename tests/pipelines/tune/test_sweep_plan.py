"""What a sweep tries, and in which order."""

import itertools
import math
from typing import Any

import pytest

from pipelines.recipes.named import RECIPES
from pipelines.tune.plan import Plan, Planned, make_plan
from pipelines.tune.space import changed, check_space, draws, grid, parse_space

CHOICES = parse_space({"keep_ratio": ("0.5", "0.9"), "lambda_privacy": ("0.25", "1", "4")})
RANGES = parse_space({"keep_ratio": ("0.5:0.9",), "lambda_privacy": ("0.1:10",), "tubelet_frames": ("1", "2")})


def test_a_grid_has_every_combination_once_the_last_moving_first() -> None:
    combinations = list(grid(CHOICES))
    assert combinations[:2] == [
        {"keep_ratio": 0.5, "lambda_privacy": 0.25},
        {"keep_ratio": 0.5, "lambda_privacy": 1.0},
    ]
    assert len(combinations) == len({tuple(x.items()) for x in combinations}) == 6
    named_twice = parse_space({"keep_ratio": ("0.5", "0.9", "0.50")})
    assert [x["keep_ratio"] for x in grid(named_twice)] == [0.5, 0.9]


def test_random_draws_are_the_same_for_a_seed_and_never_repeat_a_finite_space() -> None:
    assert list(draws(CHOICES, 3)) == list(draws(CHOICES, 3)) != list(draws(CHOICES, 4))
    assert sorted(map(str, draws(CHOICES, 3))) == sorted(map(str, grid(CHOICES)))


def test_draws_stay_in_their_ranges_and_weights_are_drawn_by_their_logarithm() -> None:
    drawn = list(itertools.islice(draws(RANGES, 0), 400))
    assert all(0.5 <= x["keep_ratio"] <= 0.9 and 0.1 <= x["lambda_privacy"] <= 10 for x in drawn)
    assert {x["tubelet_frames"] for x in drawn} == {1.0, 2.0}
    assert all(value == float(f"{value:.4g}") for x in drawn for value in x.values())  # short enough for a table
    below_one = sum(x["lambda_privacy"] < 1 for x in drawn)  # half of them, where even draws would give a tenth
    assert abs(below_one - 200) < 4 * math.sqrt(100)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"keep_ratio": ("half",)}, "--keep-ratio takes numbers, or one LOW:HIGH, got half"),
        ({"keep_ratio": ("0.9:0.5",)}, "a range goes up"),
        ({"keep_ratio": ("0.5:0.7", "0.9")}, "a range stands alone"),
        ({"lambda_action": ("0:1",)}, "begins above 0"),
        ({"tubelet_frames": ("1:4",)}, "whole numbers"),
        ({"tubelet_frames": ("1.5",)}, "whole numbers"),
        ({"lambda_action": ()}, "needs a value"),
    ],
)
def test_values_that_cannot_be_are_named(given: dict[str, tuple[str, ...]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_space(given)


def test_values_that_the_model_cannot_have_are_found_before_anything_runs() -> None:
    recipe = RECIPES["demo"]()
    check_space(CHOICES, recipe)
    with pytest.raises(ValueError, match="keep_ratio"):
        check_space(parse_space({"keep_ratio": ("0.5", "1.5")}), recipe)
    with pytest.raises(ValueError, match="tubelet"):
        check_space(parse_space({"tubelet_frames": ("3",)}), recipe)


def test_parameters_reach_the_phases_that_they_belong_to() -> None:
    recipe = changed(RECIPES["demo"](), {"keep_ratio": 0.5, "lambda_privacy": 2.0, "tubelet_frames": 4.0})
    for run in (recipe.init, recipe.adversarial, recipe.evaluate):
        assert (run.model.keep_ratio, run.model.clip.tubelet_frames) == (0.5, 4)
    assert recipe.adversarial.losses.lambda_privacy == 2.0
    assert recipe.init.losses == RECIPES["demo"]().init.losses  # so that trials of other weights share phase 1


def _score(planned: Planned) -> dict[str, float]:
    keep = planned.parameters["keep_ratio"]
    return {"action_top1": 100 * keep, "privacy_cmap": 50 + 50 * keep**2, "privacy_f1": keep}


def _play(plan: Plan, order: int) -> list[dict[str, float]]:
    """All that a plan tries if of each round the `order`-th trial is always the first to end."""
    tried: list[dict[str, float]] = []
    waiting: list[Planned] = []
    while True:
        while planned := plan.next():
            waiting.append(planned)
            tried.append(planned.parameters)
        if not waiting:
            return tried
        done = waiting.pop(order % len(waiting))
        plan.tell(done.number, _score(done))


def test_a_grid_may_end_early_and_a_random_search_has_as_many_trials_as_asked_for() -> None:
    assert _play(make_plan("grid", CHOICES, 4, 1, 0), 0) == list(grid(CHOICES))[:4]
    assert _play(make_plan("grid", CHOICES, 0, 1, 0), 0) == list(grid(CHOICES))
    assert _play(make_plan("random", RANGES, 5, 1, 7), 0) == list(itertools.islice(draws(RANGES, 7), 5))


def _asked(space: Any = RANGES, num_trials: int = 9) -> Plan:
    return make_plan("optuna", space, num_trials, 3, seed=1)


def test_what_optuna_proposes_does_not_depend_on_which_trial_ends_first() -> None:
    first = _play(_asked(), 0)
    assert len(first) == 9
    assert _play(_asked(), 1) == _play(_asked(), 2) == first


def test_optuna_learns_from_what_it_is_told() -> None:
    plan, other = _asked(num_trials=30), _asked(num_trials=30)
    told = _play(plan, 0)
    tried = []
    while planned := other.next():
        tried.append(planned.parameters)
        other.tell(planned.number, None)
    assert tried[:3] == told[:3]
    assert tried != told


def test_optuna_gives_a_small_space_once_and_ends() -> None:
    tried = _play(_asked(CHOICES, num_trials=20), 0)
    assert len(tried) == len({tuple(sorted(x.items())) for x in tried}) <= 6
    assert len(tried) >= 4


def test_optuna_is_told_of_a_proposal_that_it_repeats_what_came_of_it_before() -> None:
    plan: Any = _asked(CHOICES, num_trials=20)
    _play(plan, 0)
    told = [trial for trial in plan._search._ot_study.trials if trial.values]  # its own memory
    assert len(told) > len({tuple(sorted(trial.params.items())) for trial in told})
    for trial in told:
        assert trial.values == pytest.approx(list(_score(Planned(0, trial.params)).values()))


def test_a_round_waits_for_its_slowest_trial() -> None:
    plan = _asked()
    given = [plan.next() for _ in range(3)]
    assert all(given)
    assert plan.next() is None
    assert not plan.ended
    for planned in given[:2]:
        assert planned
        plan.tell(planned.number, _score(planned))
    assert plan.next() is None
    plan.tell(2, None)  # failed
    following = plan.next()
    assert following
    assert following.number == 3


def test_searches_that_have_no_end_need_a_number_of_trials() -> None:
    for search in ("random", "optuna"):
        with pytest.raises(ValueError, match="needs --num-trials"):
            make_plan(search, CHOICES, 0, 1, 0)
    with pytest.raises(ValueError, match="keep_ratio, lambda_privacy has a range: list values"):
        make_plan("grid", RANGES, 4, 1, 0)
