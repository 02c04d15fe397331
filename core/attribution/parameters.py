"""The parameters of attribution: checked once, stored with results, part of every cache key."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any, Literal, get_args

from core.attribution.journeys import LOOKBACK_MS
from core.errors import InputError

HALF_LIFE_MS = 7 * 24 * 3_600_000
"""Half-life of time_decay in milliseconds: 7 days."""

OTHER = "(other)"
"""Rare channels, together, in a model that was fitted on a sample."""

MAX_ORDER = 3
_LONGEST_MS = 100 * 366 * 24 * 3_600_000  # a century: longer times are mistakes of units

DirectRule = Literal["own channel", "ignore unless all direct"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The parameters of journeys and of the models that share their credit.

    half_life_ms: of time_decay. u_shape: shares of the first touch, all middle ones, the last.
    w_shape: shares of the first touch, the lead's, the opportunity's, all others. Shares sum to 1.
    lookback_ms: touches older than this before the conversion do not count. direct: whether
    direct traffic (see `is_direct`) is a channel of its own, or ignored unless all touches are
    direct (the rule of Google Analytics 4). order: of the Markov model behind data_driven.
    milestones: the names of the events that mark the lead and the opportunity of w_shape, "" for
    none: then these are the middle and the last touch. own_event: whether a conversion's own
    event is a touch of it.

    Raise InputError that names the parameter, its value and the valid values.
    """

    half_life_ms: int = HALF_LIFE_MS
    u_shape: tuple[float, float, float] = (0.4, 0.2, 0.4)
    w_shape: tuple[float, float, float, float] = (0.3, 0.3, 0.3, 0.1)
    lookback_ms: int = LOOKBACK_MS
    direct: DirectRule = "own channel"
    order: int = 1
    milestones: tuple[str, str] = ("", "")
    own_event: bool = False

    def __post_init__(self) -> None:
        _check_time("half_life_ms", self.half_life_ms)
        _check_time("lookback_ms", self.lookback_ms)
        _check_shares("u_shape", self.u_shape, 3)
        _check_shares("w_shape", self.w_shape, 4)
        if self.direct not in get_args(DirectRule):
            known = " or ".join(repr(rule) for rule in get_args(DirectRule))
            raise InputError(f"direct is {_short(self.direct)}; use {known}")
        if not _is_integer(self.order) or not 1 <= self.order <= MAX_ORDER:
            raise InputError(f"order is {_short(self.order)}; use 1, 2 or 3")
        if not isinstance(self.own_event, bool):
            raise InputError(f"own_event is {_short(self.own_event)}; use true or false")
        names = self.milestones
        if (
            not isinstance(names, tuple)
            or len(names) != 2
            or not all(isinstance(name, str) and len(name) <= 200 for name in names)
            or (names[0] != "" and names[0] == names[1])
        ):
            raise InputError(
                f"milestones is {_short(names)}; give the event names of lead and opportunity, two "
                "different ones of at most 200 characters, '' for none"
            )

    @property
    def has_milestones(self) -> bool:
        """Whether events mark the lead or the opportunity."""
        return any(self.milestones)

    def key(self) -> str:
        """Return 16 characters that equal parameters share, for cache keys and stored results."""
        data = self.to_json()
        if self.direct != "own channel":
            data["direct_names"] = 1  # recomputes results from when only "(direct)" was one
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        return sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return the parameters as JSON data.

        own_event is included only if it is on, so older keys and models stay as they are.
        """
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name != "own_event" or value
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Parameters:
        """Return the parameters of `to_json`; InputError if they cannot be used."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise InputError(
                f"parameter {_short(unknown[0])} is unknown; use {', '.join(sorted(known))}"
            )
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        return cls(**values)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _short(value: object) -> str:
    return repr(value)[:60]


def _check_time(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _LONGEST_MS:
        raise InputError(
            f"{name} is {_short(value)}; a whole number of milliseconds from 1 to a century is "
            "needed"
        )


def _check_shares(name: str, value: object, count: int) -> None:
    is_usable = (
        isinstance(value, tuple)
        and len(value) == count
        and all(isinstance(x, int | float) and not isinstance(x, bool) for x in value)
        and all(math.isfinite(x) and x >= 0 for x in value)
        and abs(math.fsum(value) - 1) <= 1e-12
    )
    if not is_usable:
        raise InputError(
            f"{name} is {_short(value)}; {count} shares of at least 0 that sum to 1 are needed"
        )
