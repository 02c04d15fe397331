"""Shapley values of channels: the fair shares of a game whose worth is the conversion rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.attribution.paths import Floats, Paths
from core.context import Purpose
from core.streams import Stream

SHAPLEY = "shapley"
MOST_EXACT = 12
"""Channels of a journey up to which its Shapley values are exact; beyond, orders are sampled."""
PRIOR_JOURNEYS = 30.0
"""Journeys of the overall rate that each set gets: the rate of a rare set is mostly noise."""
_ORDERS = 512  # sampled orders of the channels of a set, half of them the reverse of the others
_CHUNK = 2_000_000  # numbers in a table of sampled orders

Masks = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shapley:
    """The credit of each channel, and how it was found.

    conversions, values: per channel; errors: the standard error of the conversions, 0 where no set
    was sampled. exact, sampled: the numbers of sets with a conversion or a value.
    """

    channels: tuple[str, ...]
    conversions: Floats
    values: Floats
    errors: Floats
    exact: int
    sampled: int

    def notices(self) -> list[str]:
        """Return what a reader has to know."""
        if not self.sampled:
            return []
        return [
            f"shapley: {self.sampled:,} of {self.exact + self.sampled:,} sets have more than "
            f"{MOST_EXACT} channels and are sampled; the largest standard error of a channel "
            f"is {float(self.errors.max()):.3g} conversions"
        ]

    def to_json(self) -> dict[str, Any]:
        """Return how the values were found as JSON data."""
        return {
            "exact_sets": self.exact,
            "sampled_sets": self.sampled,
            "errors": dict(zip(self.channels, self.errors.tolist(), strict=True)),
        }


def shapley(sets: Paths, *, seed: int = 1, prior: float = PRIOR_JOURNEYS) -> Shapley:
    """Return the Shapley credit of the channels of *sets*, as `channel_sets` gives them.

    The conversions of each set T are shared out by the game over the channels of T in which a
    coalition S is worth the highest conversion rate of any seen set within S. That makes a game in
    which no channel does harm, so no credit is negative, and the credits of a conversion sum to 1.
    prior: journeys at the overall conversion rate that are added to each set's own, so that the
    highest rate is not that of a set that was seen once. Where no set within T converts, channels
    share alike. Source: Shapley 1953; the game on conversion rates as in Zhao et al.,
    arXiv:1804.05327, 2018.
    """
    channels = len(sets.channels)
    found = np.zeros((2, channels))
    variance = np.zeros(channels)
    walks = np.maximum(sets.conversions, 0.0) + sets.nulls
    converted = np.maximum(sets.conversions, 0.0)
    seen = np.flatnonzero((walks > 0) & (sets.lengths > 0))
    total = float(walks[seen].sum())
    overall = float(converted[seen].sum()) / total if total else 0.0
    rates = (converted[seen] + prior * overall) / (walks[seen] + prior)
    members = np.zeros((len(seen), channels), dtype=np.bool_)
    for row, place in enumerate(seen.tolist()):
        members[row, sets.codes[sets.offsets[place] : sets.offsets[place + 1]]] = True
    sizes = members.sum(axis=1)
    exact = sampled = 0
    generator = Stream(seed, Purpose.COALITIONS).generator()
    for place in np.flatnonzero((sets.conversions != 0) | (sets.values != 0)).tolist():
        codes = sets.codes[sets.offsets[place] : sets.offsets[place + 1]]
        if not len(codes):
            continue
        own = members[:, codes]
        inside = np.flatnonzero(own.sum(axis=1) == sizes)
        spread = np.zeros(len(codes))
        if not len(inside) or not rates[inside].any():
            shares = np.full(len(codes), 1.0 / len(codes))
        elif len(codes) <= MOST_EXACT:
            shares = _exact(own[inside], rates[inside])
        else:
            shares, spread = _sampled(own[inside], rates[inside], generator)
        if len(codes) <= MOST_EXACT:
            exact += 1
        else:
            sampled += 1
        found[0, codes] += sets.conversions[place] * shares
        found[1, codes] += sets.values[place] * shares
        variance[codes] += (sets.conversions[place] * spread) ** 2
    return Shapley(
        channels=sets.channels, conversions=found[0], values=found[1], errors=np.sqrt(variance),
        exact=exact, sampled=sampled,
    )  # fmt: skip


def _exact(members: NDArray[np.bool_], rates: Floats) -> Floats:
    """Return the shares of the channels, columns of *members*, from all coalitions."""
    count = members.shape[1]
    masks: Masks = members @ (1 << np.arange(count))
    worth = np.zeros(1 << count)
    np.maximum.at(worth, masks, rates)
    for channel in range(count):  # a coalition is worth the most of what lies within it
        pairs = worth.reshape(-1, 2, 1 << channel)
        np.maximum(pairs[:, 1], pairs[:, 0], out=pairs[:, 1])
    sizes = np.array([mask.bit_count() for mask in range(1 << (count - 1))])
    weight = np.array(
        [1.0 / (count * math.comb(count - 1, size)) for size in range(count)]
    )[sizes]  # fmt: skip
    values = np.empty(count)
    for channel in range(count):
        pairs = worth.reshape(-1, 2, 1 << channel)
        gain = (pairs[:, 1] - pairs[:, 0]).reshape(-1)
        values[channel] = float(weight @ gain)  # the rest of the mask keeps its bits in order
    total = values.sum()
    return values / total if total > 0 else np.full(count, 1.0 / count)


def _sampled(
    members: NDArray[np.bool_], rates: Floats, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return the shares from sampled orders, and their standard errors."""
    count = members.shape[1]
    half = generator.permuted(np.tile(np.arange(count), (_ORDERS // 2, 1)), axis=1)
    gains = np.zeros((_ORDERS // 2, count))
    for places in (half, count - 1 - half):  # an order and its reverse: their errors cancel
        curve = np.zeros((len(places), count))
        step = max(1, _CHUNK // (len(places) * count))
        rows = np.arange(len(places))[:, None]
        for first in range(0, len(members), step):
            some = members[first : first + step]
            # A set is complete when the last of its channels has come.
            ends = np.where(some[None], places[:, None, :], 0).max(axis=2)
            np.maximum.at(curve, (rows, ends), rates[None, first : first + step])
        curve = np.maximum.accumulate(curve, axis=1)
        steps = np.diff(curve, axis=1, prepend=0.0)
        gains += np.take_along_axis(steps, places, axis=1) / 2
    means, total = gains.mean(axis=0), float(rates.max())
    errors = gains.std(axis=0, ddof=1) / math.sqrt(len(gains))
    return means / total, errors / total
