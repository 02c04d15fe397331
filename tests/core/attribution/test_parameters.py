"""Claims about the parameters of attribution: checked, stored, and part of every key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.attribution.parameters import Parameters
from core.errors import InputError

CHANGED: list[dict[str, Any]] = [
    {"half_life_ms": 1}, {"u_shape": (0.6, 0.2, 0.2)}, {"w_shape": (0.25, 0.25, 0.25, 0.25)},
    {"lookback_ms": 1}, {"direct": "ignore unless all direct"}, {"order": 2},
    {"milestones": ("signup", "")}, {"milestones": ("", "signup")},
]  # fmt: skip


def test_every_parameter_changes_the_key() -> None:
    keys = [Parameters().key(), *(Parameters(**change).key() for change in CHANGED)]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 16 and key.isalnum() for key in keys)


def test_key_is_the_same_in_every_process_and_version() -> None:
    assert Parameters().key() == Parameters().key() == "32a4b7d6acf44f65"


@pytest.mark.parametrize("change", CHANGED)
def test_parameters_survive_json(change: dict[str, Any]) -> None:
    parameters = Parameters(**change)
    assert Parameters.from_json(json.loads(json.dumps(parameters.to_json()))) == parameters


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"half_life_ms": 0}, "half_life_ms is 0"),
        ({"half_life_ms": 1.5}, "half_life_ms is 1.5"),
        ({"half_life_ms": True}, "half_life_ms is True"),
        ({"lookback_ms": -1}, "lookback_ms is -1"),
        ({"lookback_ms": 10**16}, "lookback_ms is 10000000000000000"),
        ({"u_shape": (0.5, 0.5)}, r"u_shape is \(0.5, 0.5\)"),
        ({"u_shape": (0.5, 0.1, 0.5)}, "sum to 1"),
        ({"u_shape": (1.5, -1.0, 0.5)}, "at least 0"),
        ({"u_shape": (float("nan"), 0.5, 0.5)}, "u_shape"),
        ({"w_shape": (0.3, 0.3, 0.3)}, "w_shape"),
        ({"direct": "ignored"}, "direct is 'ignored'"),
        ({"order": 0}, "order is 0; use 1, 2 or 3"),
        ({"order": 4}, "order is 4"),
        ({"order": "1"}, "order is '1'"),
        ({"milestones": ("a", "a")}, "milestones"),
        ({"milestones": ("a",)}, "milestones"),
    ],
)
def test_unusable_parameter_is_named_with_its_value(change: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        Parameters(**change)


def test_unknown_parameter_is_refused_by_name() -> None:
    with pytest.raises(
        InputError, match="parameter 'halflife' is unknown; use direct, half_life_ms"
    ):
        Parameters.from_json({"halflife": 3})
