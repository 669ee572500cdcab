"""Configurations out of plain values: each of its setting's type, or refused by name."""

import math
from dataclasses import replace
from typing import Any

import pytest

from stprivacy.config import OptimConfig, PhaseConfig
from stprivacy.plain import from_dict, to_dict


def test_what_was_written_is_read() -> None:
    config = replace(PhaseConfig(epochs=3), optim=OptimConfig(learning_rate=1e38))
    assert from_dict(PhaseConfig, to_dict(config)) == config


def test_a_whole_number_is_a_number_too() -> None:
    assert from_dict(OptimConfig, {"learning_rate": 1}).learning_rate == 1


@pytest.mark.parametrize("value", [math.inf, math.nan, True, "1", None, 10**400, [1.0]], ids=repr)
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^optim\.learning_rate must be a number, got "):
        from_dict(PhaseConfig, {"optim": {"learning_rate": value}})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"epochs": 1.5}, "epochs must be a whole number, got 1.5"),
        ({"epochs": 2**64}, "epochs must be a whole number, got 18446744073709551616"),
        ({"optim": []}, r"optim must be an object, got \[\]"),
        ({"epoch": 1}, "unknown setting epoch; PhaseConfig has: epochs, "),
    ],
)
def test_a_value_of_another_type_or_name_is_told(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_dict(PhaseConfig, values)
