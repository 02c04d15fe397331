"""Attribution models: how one conversion's credit is shared over its touches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from core.errors import InputError

MODELS = ("last_click", "first_click", "linear", "time_decay", "u_shape", "w_shape")
HALF_LIFE_MS = 7 * 24 * 3_600_000
"""Half-life of time_decay in milliseconds: 7 days."""

_LATER = {"data_driven": "it needs a fitted model, which this version cannot make yet"}


def check_model(model: str) -> str:
    """Return *model*; InputError that lists the models if it is none of MODELS."""
    if model in MODELS:
        return model
    reason = f" ({_LATER[model]})" if model in _LATER else ""
    raise InputError(f"model is {model[:40]!r}{reason}; use one of {', '.join(MODELS)}")


def credits_of(
    model: str, times_ms: Sequence[int], converted_ms: int, *, half_life_ms: int = HALF_LIFE_MS
) -> tuple[float, ...]:
    """Return the credit of each touch, oldest first; they sum to 1 (empty without touches).

    times_ms: epoch milliseconds of the touches, ascending, none after *converted_ms*, the time of
    the conversion. Sources: u_shape 40/20/40 and Adobe's rule for the short paths; w_shape of
    Marketo Measure; time_decay 2^(-(T - t)/h) normalised. Raise InputError for an unknown model,
    ValueError if the times are not ascending or lie after the conversion.
    """
    check_model(model)
    count = len(times_ms)
    if any(b < a for a, b in pairwise(times_ms)):
        raise ValueError("touches are given oldest first")
    if count and times_ms[-1] > converted_ms:
        raise ValueError("a touch after the conversion cannot have led to it")
    if count <= 1:
        return (1.0,) * count
    if model == "time_decay":
        return _time_decay(times_ms, half_life_ms)
    return _BY_POSITION[model](count)


def _last_click(count: int) -> tuple[float, ...]:
    return (*(0.0,) * (count - 1), 1.0)


def _first_click(count: int) -> tuple[float, ...]:
    return (1.0, *(0.0,) * (count - 1))


def _linear(count: int) -> tuple[float, ...]:
    return (1.0 / count,) * count


def _u_shape(count: int) -> tuple[float, ...]:
    if count == 2:
        return (0.5, 0.5)
    return (0.4, *(0.2 / (count - 2),) * (count - 2), 0.4)


def _w_shape(count: int) -> tuple[float, ...]:
    if count == 2:
        return (0.5, 0.5)
    if count == 3:
        return (1 / 3, 1 / 3, 1 / 3)
    shares = [0.1 / (count - 3)] * count
    shares[0] = shares[(count - 1) // 2] = shares[-1] = 0.3
    return tuple(shares)


def _time_decay(times_ms: Sequence[int], half_life_ms: int) -> tuple[float, ...]:
    if half_life_ms <= 0:
        raise ValueError(f"a half-life is more than 0 ms, not {half_life_ms}")
    # Counted from the youngest touch: its weight is 1, so the sum cannot underflow to 0.
    weights = [2.0 ** ((time - times_ms[-1]) / half_life_ms) for time in times_ms]
    total = sum(weights)
    return tuple(weight / total for weight in weights)


_BY_POSITION: dict[str, Callable[[int], tuple[float, ...]]] = {
    "last_click": _last_click,
    "first_click": _first_click,
    "linear": _linear,
    "u_shape": _u_shape,
    "w_shape": _w_shape,
}


def role_of(position: int, count: int) -> str:
    """Return what the touch at *position* of *count* is called: only, first, middle or last."""
    if count == 1:
        return "only"
    if position == 0:
        return "first"
    return "last" if position == count - 1 else "middle"
