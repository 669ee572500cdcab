"""Early stopping: who has fallen behind."""

from pipelines.tune.stopping import Standing, fallen_behind

MIDDLE = Standing(loss_action=1.0, loss_privacy=0.5)
AHEAD = Standing(0.5, 0.6)
BETTER_ACTION_ONLY = Standing(0.1, 0.5)
BETTER_PRIVACY_ONLY = Standing(1.0, 0.69)


def test_a_trial_behind_half_of_its_peers_in_both_is_stopped() -> None:
    assert fallen_behind(MIDDLE, [AHEAD, AHEAD, BETTER_ACTION_ONLY, BETTER_PRIVACY_ONLY])
    assert not fallen_behind(MIDDLE, [AHEAD, BETTER_ACTION_ONLY, BETTER_PRIVACY_ONLY])


def test_action_alone_or_privacy_alone_never_stops_a_trial() -> None:
    assert not fallen_behind(MIDDLE, [BETTER_ACTION_ONLY] * 9)
    assert not fallen_behind(MIDDLE, [BETTER_PRIVACY_ONLY] * 9)


def test_the_first_trials_are_not_stopped() -> None:
    assert not fallen_behind(MIDDLE, [AHEAD, AHEAD])
