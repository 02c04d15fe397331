"""Attribution models: how one conversion's credit is shared over its touches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from core.attribution.names import is_direct
from core.attribution.parameters import OTHER, Parameters
from core.errors import InputError

HEURISTICS = ("last_click", "first_click", "linear", "time_decay", "u_shape", "w_shape")
"""The models that need nothing but the journey itself."""
DATA_DRIVEN = "data_driven"
MODELS = (*HEURISTICS, DATA_DRIVEN)


_UNFITTED = "data_driven needs a fitted model; fit one first"


def check_model(model: str) -> str:
    """Return *model*; InputError that lists the seven if it is none of them."""
    if model in MODELS:
        return model
    raise InputError(f"model is {model[:40]!r}; use one of {', '.join(MODELS)}")


def touch_credits(
    model: str,
    times_ms: Sequence[int],
    channels: Sequence[str],
    converted_ms: int,
    parameters: Parameters,
    *,
    weights: Mapping[str, float] | None = None,
    lead: int | None = None,
    opportunity: int | None = None,
) -> tuple[float, ...]:
    """Return the credit of each touch, oldest first; they sum to 1 (empty without touches).

    times_ms: epoch milliseconds of the touches, ascending, none after *converted_ms*, the time of
    the conversion. channels: of the touches. weights: removal effects by channel, which
    data_driven needs; a channel that the fit never saw weighs 0. lead, opportunity: positions of
    the touches that an event marks, for w_shape. Sources: u_shape 40/20/40 and Adobe's rule for
    the short paths; w_shape of Marketo Measure; time_decay 2^(-(T - t)/h) normalised; data_driven
    of Anderl et al., IJRM 33(3), 2016. Raise InputError for an unknown model or missing weights,
    ValueError if the times are not ascending or lie after the conversion.
    """
    check_model(model)
    if model == DATA_DRIVEN and weights is None:
        raise InputError(_UNFITTED)
    return credits_by_model(
        (model,), times_ms, channels, converted_ms, parameters,
        weights=weights or {}, lead=lead, opportunity=opportunity,
    )[0]  # fmt: skip


def credits_by_model(
    models: Sequence[str],
    times_ms: Sequence[int],
    channels: Sequence[str],
    converted_ms: int,
    parameters: Parameters,
    *,
    weights: Mapping[str, float],
    lead: int | None = None,
    opportunity: int | None = None,
) -> list[tuple[float, ...]]:
    """Return what `touch_credits` gives under each of *models*, known ones, in their order."""
    _check_times(times_ms, converted_ms)
    if parameters.direct == "own channel" or all(map(is_direct, channels)):
        return [
            _credits(model, times_ms, parameters, _weights(model, weights, channels),
                     lead, opportunity)
            for model in models
        ]  # fmt: skip
    # The rule takes direct touches out of the path; they stay in the answer, without credit.
    kept = range(len(times_ms))
    touched = [position for position in kept if not is_direct(channels[position])]
    lead = _closest(lead, touched, times_ms)
    opportunity = _closest(opportunity, touched, times_ms)
    times, names = [times_ms[i] for i in touched], [channels[i] for i in touched]
    found = []
    for model in models:
        own = _weights(model, weights, names)
        shares = dict(
            zip(touched, _credits(model, times, parameters, own, lead, opportunity), strict=True)
        )
        found.append(tuple(shares.get(position, 0.0) for position in kept))
    return found


def _weights(model: str, weights: Mapping[str, float], channels: Sequence[str]) -> Sequence[float]:
    return weights_of(weights, channels) if model == DATA_DRIVEN else ()


def weights_of(weights: Mapping[str, float], channels: Sequence[str]) -> list[float]:
    """Return what each of *channels* weighs: without a weight of its own, that of `OTHER`, or 0."""
    rest = weights.get(OTHER, 0.0)
    return [weights.get(name, rest) for name in channels]


def _check_times(times_ms: Sequence[int], converted_ms: int) -> None:
    if any(b < a for a, b in pairwise(times_ms)):
        raise ValueError("touches are given oldest first")
    if times_ms and times_ms[-1] > converted_ms:
        raise ValueError("a touch after the conversion cannot have led to it")


def _closest(marked: int | None, kept: Sequence[int], times_ms: Sequence[int]) -> int | None:
    """Return where in *kept* the touch at *marked* is, or the one closest to it in time.

    Of two that are equally close, the earlier one.
    """
    if marked is None:
        return None
    if marked in kept:
        return kept.index(marked)
    return min(range(len(kept)), key=lambda i: (abs(times_ms[kept[i]] - times_ms[marked]), i))


def _credits(
    model: str,
    times_ms: Sequence[int],
    parameters: Parameters,
    weights: Sequence[float] = (),
    lead: int | None = None,
    opportunity: int | None = None,
) -> tuple[float, ...]:
    count = len(times_ms)
    if count <= 1:
        return (1.0,) * count
    if model == "time_decay":
        return _time_decay(times_ms, parameters.half_life_ms)
    if model == "u_shape":
        return _u_shape(count, parameters.u_shape)
    if model == "w_shape":
        return _w_shape(count, parameters.w_shape, lead, opportunity)
    if model == DATA_DRIVEN:
        return _in_proportion(weights)
    return _BY_POSITION[model](count)


def _last_click(count: int) -> tuple[float, ...]:
    return (*(0.0,) * (count - 1), 1.0)


def _first_click(count: int) -> tuple[float, ...]:
    return (1.0, *(0.0,) * (count - 1))


def _linear(count: int) -> tuple[float, ...]:
    return (1.0 / count,) * count


def _u_shape(count: int, shares: tuple[float, float, float]) -> tuple[float, ...]:
    first, middle, last = shares
    if count == 2:
        return _in_proportion((first, last))
    return (first, *(middle / (count - 2),) * (count - 2), last)


def _w_shape(
    count: int,
    shares: tuple[float, float, float, float],
    lead: int | None,
    opportunity: int | None,
) -> tuple[float, ...]:
    first, middle, last, others = shares
    has_middle = lead is not None or count > 2  # of two touches neither lies in the middle
    at_middle = (count - 1) // 2 if lead is None else lead
    at_last = count - 1 if opportunity is None else opportunity
    milestones = {0, at_last, at_middle} if has_middle else {0, at_last}
    rest = count - len(milestones)
    credits = [others / rest if rest else 0.0] * count
    for position in milestones:
        credits[position] = 0.0
    # One touch may be two milestones: it gets both shares.
    credits[0] += first
    credits[at_last] += last
    if has_middle:
        credits[at_middle] += middle
    if has_middle and rest:
        return tuple(credits)
    return _in_proportion(credits)


def _time_decay(times_ms: Sequence[int], half_life_ms: int) -> tuple[float, ...]:
    # Counted from the youngest touch: its weight is 1, so the sum cannot underflow to 0.
    weights = [2.0 ** ((time - times_ms[-1]) / half_life_ms) for time in times_ms]
    return _in_proportion(weights)


def _in_proportion(weights: Sequence[float]) -> tuple[float, ...]:
    """Return *weights* over their sum; equal shares where all are 0."""
    total = sum(weights)
    # 0.3 + 0.3 + 0.3 is not 0.9, but three equal shares are 1/3 to the last bit.
    if total <= 0 or min(weights) == max(weights):
        return _linear(len(weights))
    return tuple(weight / total for weight in weights)


_BY_POSITION: dict[str, Callable[[int], tuple[float, ...]]] = {
    "last_click": _last_click,
    "first_click": _first_click,
    "linear": _linear,
}


def role_of(position: int, count: int) -> str:
    """Return what the touch at *position* of *count* is called: only, first, middle or last."""
    if count == 1:
        return "only"
    if position == 0:
        return "first"
    return "last" if position == count - 1 else "middle"
