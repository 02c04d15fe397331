"""Credits of every model in one pass over flat arrays, in NumPy or compiled."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.attribution.models import DATA_DRIVEN, HEURISTICS, MODELS
from core.attribution.parameters import Parameters
from core.attribution.paths import Floats, Integers, Paths, under_direct_rule
from core.errors import InputError

Engine = Literal["auto", "numpy", "numba"]

RELATIVE_ERROR = 1e-12
"""How far apart two engines may be: they differ in the last bit of a power of two."""

_WORTH_COMPILED = 5_000_000  # touches; below, NumPy is done before numba is loaded


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Credit:
    """What channels get under each model.

    conversions, values: shape (models, channels). attributed: conversions of paths with a touch;
    their value; untouched: conversions of paths without one, which go to no channel. credits:
    shape (touches, models) of `paths`, the paths under the direct rule, if they were kept; rows of
    paths that did not convert are 0.
    """

    channels: tuple[str, ...]
    models: tuple[str, ...]
    conversions: Floats
    values: Floats
    attributed: float
    attributed_value: float
    untouched: float
    untouched_value: float
    credits: Floats | None = None
    paths: Paths | None = None


def has_numba() -> bool:
    """Return whether numba can be used; where it is installed it is loaded."""
    return numba_fault() == ""


def numba_fault() -> str:
    """Return why numba cannot be used: it is not installed, or its import fails; "" if it can."""
    if find_spec("numba") is None:
        return "not installed"
    try:
        importlib.import_module("numba")
    except ImportError as error:  # as with a NumPy that it does not know
        return f"installed, but its import fails: {error}"
    return ""


def chosen_engine(engine: Engine, touches: int) -> Literal["numpy", "numba"]:
    """Return which engine computes *touches*; InputError if numba is asked for and not there."""
    if engine == "numba" and (fault := numba_fault()):
        raise InputError(f"numba is {fault}; install it, or use the engine numpy")
    if engine != "auto":
        return engine
    is_ready = "numba" in sys.modules or touches >= _WORTH_COMPILED
    return "numba" if is_ready and has_numba() else "numpy"


def share_credit(
    paths: Paths,
    parameters: Parameters,
    *,
    weights: Floats | None = None,
    keep: bool = False,
    engine: Engine = "auto",
) -> Credit:
    """Return the credit of every model that *paths* allow, computed in one pass.

    Without times there is no time_decay; without *weights*, the removal effect of each channel,
    no data_driven. Per channel and model, the totals are the sums over the touches in their order.
    With *keep* the credit of every touch is kept too. Engines agree within RELATIVE_ERROR.
    """
    if weights is not None and len(weights) != len(paths.channels):
        raise ValueError("one weight per channel is needed")
    paths = under_direct_rule(paths, parameters.direct)
    if chosen_engine(engine, len(paths.codes)) == "numba":
        from core.attribution.compiled import seven_models

        totals, credits = seven_models(paths, parameters, weights, keep=keep)
    else:
        totals, credits = _seven_models(paths, parameters, weights, keep=keep)
    has_touch = paths.lengths > 0
    columns = [
        column
        for column, model in enumerate(MODELS)
        if (model != "time_decay" or paths.times_ms is not None)
        and (model != DATA_DRIVEN or weights is not None)
    ]
    is_complete = len(columns) == len(MODELS)
    return Credit(
        channels=paths.channels,
        models=tuple(MODELS[column] for column in columns),
        conversions=totals[0, columns],
        values=totals[1, columns],
        attributed=float(paths.conversions[has_touch].sum()),
        attributed_value=float(paths.values[has_touch].sum()),
        untouched=float(paths.conversions[~has_touch].sum()),
        untouched_value=float(paths.values[~has_touch].sum()),
        credits=credits if credits is None or is_complete else credits[:, columns],
        paths=paths if keep else None,
    )


def _seven_models(
    paths: Paths, parameters: Parameters, weights: Floats | None, *, keep: bool
) -> tuple[Floats, Floats | None]:
    """Return totals of shape (2, models, channels) and credits of shape (touches, models)."""
    chosen = _Converting(paths)
    totals = np.zeros((2, len(MODELS), len(paths.channels)))
    kept = np.zeros((len(paths.codes), len(MODELS))) if keep else None
    if not len(chosen.codes):
        return totals, kept
    conversions = np.repeat(chosen.conversions, chosen.lengths)
    values = np.repeat(chosen.values, chosen.lengths)
    for number, model in enumerate((*HEURISTICS, DATA_DRIVEN)):
        if model in ("last_click", "first_click"):
            ends = chosen.last if model == "last_click" else chosen.first
            codes, shares = chosen.codes[ends], (chosen.conversions, chosen.values)
            if kept is not None:
                kept[ends if chosen.touches is None else chosen.touches[ends], number] = 1.0
        else:
            credits = _credits(model, chosen, parameters, weights)
            if credits is None:
                continue
            codes, shares = chosen.codes, (credits * conversions, credits * values)
            if kept is not None:
                kept[slice(None) if chosen.touches is None else chosen.touches, number] = credits
        for kind, amounts in enumerate(shares):
            totals[kind, number] = np.bincount(
                codes, weights=amounts, minlength=len(paths.channels)
            )
    return totals, kept


class _Converting:
    """The paths that converted and have a touch, with the ends and the length of each."""

    def __init__(self, paths: Paths) -> None:
        lengths = paths.lengths
        is_chosen = (lengths > 0) & ((paths.conversions != 0) | (paths.values != 0))
        self.touches: Integers | None = None  # where they are among all; None: everywhere
        self.codes, self.times = paths.codes, paths.times_ms
        self.lengths, self.first = lengths, paths.offsets[:-1]
        self.conversions, self.values = paths.conversions, paths.values
        self.lead, self.opportunity = paths.lead, paths.opportunity
        if not is_chosen.all():
            self.touches = np.flatnonzero(np.repeat(is_chosen, lengths))
            self.codes = paths.codes[self.touches]
            self.times = None if paths.times_ms is None else paths.times_ms[self.touches]
            self.lengths = lengths[is_chosen]
            self.first = np.cumsum(self.lengths) - self.lengths
            self.conversions, self.values = paths.conversions[is_chosen], paths.values[is_chosen]
            self.lead = None if paths.lead is None else paths.lead[is_chosen]
            self.opportunity = None if paths.opportunity is None else paths.opportunity[is_chosen]
        self.last = self.first + self.lengths - 1

    @cached_property
    def owner(self) -> Integers:
        """The path of each touch."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def normalised(self, weights: Floats) -> Floats:
        """Return *weights* over their sum in each path; equal shares where all are 0."""
        # Added up one after the other, as the compiled engine does: reduceat adds in pairs.
        sums = np.bincount(self.owner, weights=weights, minlength=len(self.lengths))
        is_zero = sums <= 0
        if is_zero.any():
            weights = np.where(np.repeat(is_zero, self.lengths), 1.0, weights)
            sums = np.where(is_zero, self.lengths, sums)
        return weights / np.repeat(sums, self.lengths)


def _credits(
    model: str, chosen: _Converting, parameters: Parameters, weights: Floats | None
) -> Floats | None:
    """Return the credit of each touch, None if the model needs what is not known."""
    lengths = chosen.lengths
    if model == "linear":
        return np.repeat(1.0 / lengths, lengths)
    if model == "u_shape":
        return _u_shape(chosen, parameters)
    if model == "w_shape":
        return _w_shape(chosen, parameters)
    if model == "time_decay":
        if chosen.times is None:
            return None
        # Counted from the youngest touch: its weight is 1, so no sum can underflow to 0.
        ages = chosen.times - np.repeat(chosen.times[chosen.last], lengths)
        return chosen.normalised(np.exp2(ages / float(parameters.half_life_ms)))
    return None if weights is None else chosen.normalised(weights[chosen.codes])


def _u_shape(chosen: _Converting, parameters: Parameters) -> Floats:
    first, middle, last = parameters.u_shape
    lengths = chosen.lengths
    ends = [first, last]
    of_two = [end / sum(ends) for end in ends] if sum(ends) > 0 else [0.5, 0.5]
    credits = np.repeat(middle / np.maximum(lengths - 2, 1), lengths)
    # The last touch is written after the first: of a single one it is the last word.
    for places, share, pair in (
        (chosen.first, first, of_two[0]),
        (chosen.last, last, of_two[1]),
    ):
        credits[places] = np.where(lengths == 1, 1.0, np.where(lengths == 2, pair, share))
    return credits


def _w_shape(chosen: _Converting, parameters: Parameters) -> Floats:
    first, middle, last, others = parameters.w_shape
    lengths = chosen.lengths
    at_middle, has_middle = (lengths - 1) // 2, lengths > 2
    at_last = lengths - 1
    if chosen.lead is not None:
        at_middle = np.where(chosen.lead >= 0, chosen.lead, at_middle)
        has_middle = has_middle | (chosen.lead >= 0)
    if chosen.opportunity is not None:
        at_last = np.where(chosen.opportunity >= 0, chosen.opportunity, at_last)
    milestones = (
        1
        + (at_last != 0).astype(np.int64)
        + (has_middle & (at_middle != 0) & (at_middle != at_last))
    )
    rest = lengths - milestones
    credits = np.repeat(np.where(rest > 0, others / np.maximum(rest, 1), 0.0), lengths)
    marked = (chosen.first + at_middle)[has_middle]
    for places in (chosen.first, chosen.first + at_last, marked):
        credits[places] = 0.0
    credits[chosen.first] += first
    credits[chosen.first + at_last] += last
    credits[marked] += middle
    is_short: NDArray[np.bool_] = ~(has_middle & (rest > 0))
    if is_short.any():
        touches = np.repeat(is_short, lengths)
        short = _Short(lengths[is_short])
        credits[touches] = short.normalised(credits[touches])
    return credits


class _Short(_Converting):
    """Paths whose shape lacks a part: its share goes to the others in proportion."""

    def __init__(self, lengths: Integers) -> None:
        self.lengths = lengths
