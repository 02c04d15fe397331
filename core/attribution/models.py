"""Attribution models: how one conversion's credit is shared over its touches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from core.attribution.model import Model, Touches, Vectorised
from core.attribution.names import is_direct
from core.attribution.parameters import OTHER, Parameters
from core.errors import InputError

if TYPE_CHECKING:
    from core.attribution.paths import Floats
    from core.attribution.vectorised import Converting


def touch_credits(
    model: str | Model,
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
    described = known_model(model)
    if described.needs_weights and weights is None:
        raise InputError(f"{described.name} needs a fitted model; fit one first")
    asked = (model if isinstance(model, str) else described,)
    return credits_by_model(
        asked, times_ms, channels, converted_ms, parameters,
        weights=weights or {}, lead=lead, opportunity=opportunity,
    )[0]  # fmt: skip


def credits_by_model(
    models: Sequence[str | Model],
    times_ms: Sequence[int],
    channels: Sequence[str],
    converted_ms: int,
    parameters: Parameters,
    *,
    weights: Mapping[str, float],
    lead: int | None = None,
    opportunity: int | None = None,
) -> list[tuple[float, ...]]:
    """Return the result of `touch_credits` under each of *models*, known ones, in their order."""
    _check_times(times_ms, converted_ms)
    if parameters.direct == "own channel" or all(map(is_direct, channels)):
        whole = Touches(
            times_ms=times_ms, channels=channels, parameters=parameters, lead=lead,
            opportunity=opportunity,
        )  # fmt: skip
        return _credits_of(models, whole, weights)
    # The rule takes direct touches out of the path; they stay in the answer, without credit.
    kept = range(len(times_ms))
    touched = [position for position in kept if not is_direct(channels[position])]
    rest = Touches(
        times_ms=[times_ms[i] for i in touched],
        channels=[channels[i] for i in touched],
        parameters=parameters,
        lead=_closest(lead, touched, times_ms),
        opportunity=_closest(opportunity, touched, times_ms),
    )
    found = []
    for credits in _credits_of(models, rest, weights):
        shares = dict(zip(touched, credits, strict=True))
        found.append(tuple(shares.get(position, 0.0) for position in kept))
    return found


def _credits_of(
    models: Sequence[str | Model], touches: Touches, weights: Mapping[str, float]
) -> list[tuple[float, ...]]:
    count = len(touches.channels)
    if count <= 1:
        return [(1.0,) * count] * len(models)
    found: list[tuple[float, ...]] = []
    for model in models:
        if isinstance(model, str):
            credits, needs_weights = _PLAIN[model]
            if needs_weights:
                touches.weights = weights_of(weights, touches.channels)
            found.append(credits(touches))  # type: ignore[arg-type]  # tuples, all seven
            continue
        if model.needs_weights:
            touches.weights = weights_of(weights, touches.channels)
        found.append(model.shares(touches))
    return found


def weights_of(weights: Mapping[str, float], channels: Sequence[str]) -> list[float]:
    """Return the weight of each of *channels*: its own, else that of `OTHER`, or 0."""
    rest = weights.get(OTHER, 0.0)
    return [weights.get(name, rest) for name in channels]


def _check_times(times_ms: Sequence[int], converted_ms: int) -> None:
    if sorted(times_ms) != list(times_ms):
        raise ValueError("touches are given oldest first")
    if times_ms and times_ms[-1] > converted_ms:
        raise ValueError("a touch after the conversion cannot have led to it")


def _closest(marked: int | None, kept: Sequence[int], times_ms: Sequence[int]) -> int | None:
    """Return the position in *kept* of the touch at *marked*, or of the closest to it in time.

    If two are equally close, the earlier one counts.
    """
    if marked is None:
        return None
    if marked in kept:
        return kept.index(marked)
    return min(range(len(kept)), key=lambda i: (abs(times_ms[kept[i]] - times_ms[marked]), i))


def _last_click(touches: Touches) -> tuple[float, ...]:
    count = len(touches.channels)
    return (*(0.0,) * (count - 1), 1.0)


def _first_click(touches: Touches) -> tuple[float, ...]:
    count = len(touches.channels)
    return (1.0, *(0.0,) * (count - 1))


def _linear(touches: Touches) -> tuple[float, ...]:
    count = len(touches.channels)
    return (1.0 / count,) * count


def _evenly(count: int) -> tuple[float, ...]:
    return (1.0 / count,) * count


def _u_shape(touches: Touches) -> tuple[float, ...]:
    count = len(touches.channels)
    first, middle, last = touches.parameters.u_shape
    if count == 2:
        return _in_proportion((first, last))
    return (first, *(middle / (count - 2),) * (count - 2), last)


def _w_shape(touches: Touches) -> tuple[float, ...]:
    count, lead, opportunity = len(touches.channels), touches.lead, touches.opportunity
    first, middle, last, others = touches.parameters.w_shape
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


def _time_decay(touches: Touches) -> tuple[float, ...]:
    times_ms, half_life_ms = touches.times_ms, touches.parameters.half_life_ms
    # Counted from the youngest touch: its weight is 1, so the sum cannot underflow to 0.
    weights = [2.0 ** ((time - times_ms[-1]) / half_life_ms) for time in times_ms]
    return _in_proportion(weights)


def _data_driven(touches: Touches) -> tuple[float, ...]:
    return _in_proportion(touches.weights)


def _in_proportion(weights: Sequence[float]) -> tuple[float, ...]:
    """Return *weights* over their sum; equal shares where all are 0."""
    total = sum(weights)
    # 0.3 + 0.3 + 0.3 is not 0.9, but three equal shares are 1/3 to the last bit.
    if total <= 0 or min(weights) == max(weights):
        return _evenly(len(weights))
    return tuple(weight / total for weight in weights)


def _in_numpy(name: str) -> Vectorised:
    """Return the form *name* of `core.attribution.vectorised`; NumPy is loaded when it is used."""

    def credits(chosen: Converting, parameters: Parameters, weights: Floats | None) -> Floats:
        from core.attribution import vectorised

        form: Vectorised = getattr(vectorised, name)
        return form(chosen, parameters, weights)

    return credits


_SEVEN = (
    Model(
        name="last_click", title="the last touch gets all",
        credits=_last_click, vectorised=_in_numpy("last_click"),
    ),
    Model(
        name="first_click", title="the first touch gets all",
        credits=_first_click, vectorised=_in_numpy("first_click"),
    ),
    Model(
        name="linear", title="every touch gets the same",
        credits=_linear, vectorised=_in_numpy("linear"),
    ),
    Model(
        name="time_decay", title="a touch gets half as much a half-life earlier",
        credits=_time_decay, vectorised=_in_numpy("time_decay"),
        parameters=("half_life_ms",), needs_times=True,
    ),
    Model(
        name="u_shape", title="shares for the first touch, the middle ones and the last",
        credits=_u_shape, vectorised=_in_numpy("u_shape"), parameters=("u_shape",),
    ),
    Model(
        name="w_shape", title="shares for the first touch, the lead, the opportunity and the rest",
        credits=_w_shape, vectorised=_in_numpy("w_shape"), parameters=("w_shape", "milestones"),
    ),
    Model(
        name="data_driven", title="exact Markov removal effects",
        credits=_data_driven, vectorised=_in_numpy("data_driven"),
        parameters=("order",), needs_weights=True,
    ),
)  # fmt: skip

BUILT_IN: Mapping[str, Model] = MappingProxyType({model.name: model for model in _SEVEN})
"""The seven models by name, in the order of the columns that stored credits have."""

# Looked up for each conversion; an attribute of a model would cost more.
_PLAIN = {model.name: (model.credits, model.needs_weights) for model in _SEVEN}

MODELS = tuple(BUILT_IN)
HEURISTICS = tuple(model.name for model in _SEVEN if not model.needs_weights)
"""The models that need only the journey itself."""
DATA_DRIVEN = "data_driven"


def known_model(model: str | Model, own: Mapping[str, Model] = MappingProxyType({})) -> Model:
    """Return the model *model*: one of the seven or of *own* by its name, or *model* itself.

    Raise InputError, which lists the known ones, for another name, and for a custom model with the
    name of one of the seven.
    """
    if isinstance(model, Model):
        if BUILT_IN.get(model.name, model) is not model:
            raise InputError(f"model {model.name} is built in; give yours another name")
        return model
    found = BUILT_IN.get(model) or own.get(model)
    if found is None:
        raise InputError(f"model is {model[:40]!r}; use one of {', '.join((*MODELS, *own))}")
    return found


def check_model(model: str) -> str:
    """Return *model*; InputError, which lists the seven, if it is not one of them."""
    return known_model(model).name


def role_of(position: int, count: int) -> str:
    """Return the name of the touch at *position* of *count*: only, first, middle or last."""
    if count == 1:
        return "only"
    if position == 0:
        return "first"
    return "last" if position == count - 1 else "middle"
