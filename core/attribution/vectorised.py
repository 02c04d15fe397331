"""Forms of the models in NumPy: the credits of many paths at once."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from core.attribution.parameters import Parameters
from core.attribution.paths import Floats, Integers, Paths


class Converting:
    """The paths that converted and have a touch, with the ends and the length of each.

    codes, times: of their touches, in their order, times None if unknown; lengths: of the paths;
    first, last: where in codes the ends of each path are. conversions, values, lead, opportunity:
    per path, as `Paths` has them. touches: where the touches are among all, None: everywhere.
    """

    def __init__(self, paths: Paths) -> None:
        lengths = paths.lengths
        is_chosen = (lengths > 0) & ((paths.conversions != 0) | (paths.values != 0))
        self.touches: Integers | None = None
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
        # Summed one after the other, as in the compiled engine: reduceat adds in pairs.
        sums = np.bincount(self.owner, weights=weights, minlength=len(self.lengths))
        is_zero = sums <= 0
        if is_zero.any():
            weights = np.where(np.repeat(is_zero, self.lengths), 1.0, weights)
            sums = np.where(is_zero, self.lengths, sums)
        return weights / np.repeat(sums, self.lengths)


def last_click(chosen: Converting, parameters: Parameters, weights: Floats | None) -> Floats:
    """Return 1 for the last touch of each path."""
    return _of_ends(chosen, chosen.last)


def first_click(chosen: Converting, parameters: Parameters, weights: Floats | None) -> Floats:
    """Return 1 for the first touch of each path."""
    return _of_ends(chosen, chosen.first)


def _of_ends(chosen: Converting, ends: Integers) -> Floats:
    credits = np.zeros(len(chosen.codes))
    credits[ends] = 1.0
    return credits


def linear(chosen: Converting, parameters: Parameters, weights: Floats | None) -> Floats:
    """Return equal credits of the touches of each path."""
    return np.repeat(1.0 / chosen.lengths, chosen.lengths)


def time_decay(chosen: Converting, parameters: Parameters, weights: Floats | None) -> Floats:
    """Return credits that halve with each half-life before the youngest touch of a path."""
    assert chosen.times is not None  # a model that needs them is left out without
    # Counted from the youngest touch: its weight is 1, so no sum can underflow to 0.
    ages = chosen.times - np.repeat(chosen.times[chosen.last], chosen.lengths)
    return chosen.normalised(np.exp2(ages / float(parameters.half_life_ms)))


def data_driven(chosen: Converting, parameters: Parameters, weights: Floats | None) -> Floats:
    """Return credits in proportion to the removal effects of the channels of a path."""
    assert weights is not None  # a model that needs them is left out without
    return chosen.normalised(weights[chosen.codes])


def u_shape(chosen: Converting, parameters: Parameters, weights: Floats | None) -> Floats:
    """Return the shares of the first touch, all middle ones and the last."""
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


def w_shape(chosen: Converting, parameters: Parameters, weights: Floats | None) -> Floats:
    """Return the shares of the first touch, the lead's, the opportunity's and all others."""
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


class _Short(Converting):
    """Paths whose shape lacks a part: the others get its share in proportion."""

    def __init__(self, lengths: Integers) -> None:
        self.lengths = lengths
