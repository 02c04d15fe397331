"""Shapley values of channels: the fair shares of a game whose worth is the conversion rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.attribution.paths import Floats, Integers, Paths
from core.context import Purpose
from core.errors import InputError
from core.streams import Stream
from core.texts import count_of

SHAPLEY = "shapley"
MOST_EXACT = 12
"""Channels of a journey up to which its Shapley values are exact; beyond, orders are sampled."""
PRIOR_JOURNEYS = 30.0
"""Journeys of the overall rate that each set gets: the rate of a rare set is mostly noise."""
_ORDERS = 512  # sampled orders of the channels of a set, half of them the reverse of the others
_CHUNK = 2_000_000  # numbers in a table of sampled orders
_MOST_CHANNELS = 20_000  # of a set: its sampled orders take 200 MB


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
            f"shapley: of {count_of(self.exact + self.sampled, 'set')} {self.sampled:,} with more "
            f"than {MOST_EXACT} channels are sampled; the largest standard error of a channel is "
            f"{float(self.errors.max()):.3g} conversions"
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
    share alike. Memory grows with the sets and with the channels, not with their product. Raise
    InputError for a set of over _MOST_CHANNELS. Source: Shapley 1953; the game on conversion rates
    as in Zhao et al., arXiv:1804.05327, 2018.
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
    index = _Index(sets, seen, rates)
    exact = sampled = 0
    generator = Stream(seed, Purpose.COALITIONS).generator()
    for place in np.flatnonzero((sets.conversions != 0) | (sets.values != 0)).tolist():
        codes = sets.codes[sets.offsets[place] : sets.offsets[place + 1]]
        if not len(codes):
            continue
        if len(codes) > _MOST_CHANNELS:
            raise InputError(
                f"--shapley: a journey has {len(codes):,} channels, more than {_MOST_CHANNELS:,}; "
                "give channels, not campaigns or pages, or leave --shapley out"
            )
        own = index.within(codes)
        spread = np.zeros(len(codes))
        if not own.rates.any():
            shares = np.full(len(codes), 1.0 / len(codes))
        elif len(codes) <= MOST_EXACT:
            shares = _exact(own, len(codes))
        else:
            shares, spread = _sampled(own, len(codes), generator)
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Within:
    """Seen sets that lie within another: places of their channels in it, flat, and their rates."""

    places: Integers
    starts: Integers
    rates: Floats


class _Index:
    """The seen sets by their rarest channel, so that those within a set are found among few."""

    def __init__(self, sets: Paths, seen: Integers, rates: Floats) -> None:
        self._codes, self._rates = sets.codes, rates
        self._begins, self._lengths = sets.offsets[:-1][seen], sets.lengths[seen]
        channels = len(sets.channels)
        self._place = np.full(channels, -1, dtype=np.int64)  # of a channel in the set asked for
        flat = self._flat(np.arange(len(seen)))
        codes = self._codes[flat].astype(np.int64)
        often = np.bincount(codes, minlength=channels)
        starts = np.cumsum(self._lengths) - self._lengths
        ranks = often[codes] * channels + codes
        rarest = np.minimum.reduceat(ranks, starts) % channels if len(seen) else starts
        self._by_rarest = np.argsort(rarest, kind="stable")
        self._bounds = np.searchsorted(rarest[self._by_rarest], np.arange(channels + 1))

    def _flat(self, rows: Integers) -> Integers:
        """Return the positions of the channels of the sets *rows*, set by set."""
        lengths = self._lengths[rows]
        skipped = np.cumsum(lengths) - lengths
        ahead: Integers = np.repeat(self._begins[rows] - skipped, lengths)
        return np.arange(len(ahead)) + ahead

    def within(self, codes: NDArray[np.int32]) -> _Within:
        """Return the seen sets that hold no channel but *codes*."""
        self._place[codes] = np.arange(len(codes))
        near = [self._by_rarest[self._bounds[c] : self._bounds[c + 1]] for c in codes.tolist()]
        rows = np.concatenate(near)
        rows = rows[self._lengths[rows] <= len(codes)]
        places = self._place[self._codes[self._flat(rows)]]
        starts = np.cumsum(self._lengths[rows]) - self._lengths[rows]
        if len(rows):
            is_inside = np.minimum.reduceat(places, starts) >= 0
            places = places[np.repeat(is_inside, self._lengths[rows])]
            rows = rows[is_inside]
            starts = np.cumsum(self._lengths[rows]) - self._lengths[rows]
        self._place[codes] = -1
        return _Within(places=places, starts=starts, rates=self._rates[rows])


def _exact(own: _Within, count: int) -> Floats:
    """Return the shares of *count* channels from all coalitions."""
    masks = np.add.reduceat(1 << own.places, own.starts)
    worth = np.zeros(1 << count)
    np.maximum.at(worth, masks, own.rates)
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


def _sampled(own: _Within, count: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the shares of *count* channels from sampled orders, and their standard errors."""
    half = generator.permuted(np.tile(np.arange(count), (_ORDERS // 2, 1)), axis=1)
    gains = np.zeros((_ORDERS // 2, count))
    for places in (half, count - 1 - half):  # an order and its reverse: their errors cancel
        curve = np.zeros((len(places), count))
        rows = np.arange(len(places))[:, None]
        for first, last in _chunks(own, _CHUNK // len(places)):
            begin, end = own.starts[first], _end(own, last)
            # A set is complete when the last of its channels has come.
            ends = np.maximum.reduceat(
                places[:, own.places[begin:end]], own.starts[first:last] - begin, axis=1
            )
            np.maximum.at(curve, (rows, ends), own.rates[None, first:last])
        curve = np.maximum.accumulate(curve, axis=1)
        steps = np.diff(curve, axis=1, prepend=0.0)
        gains += np.take_along_axis(steps, places, axis=1) / 2
    means, total = gains.mean(axis=0), float(own.rates.max())
    errors = gains.std(axis=0, ddof=1) / math.sqrt(len(gains))
    return means / total, errors / total


def _chunks(own: _Within, most: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of sets with about *most* channels together, at least one set each."""
    first = 0
    while first < len(own.starts):
        last = int(np.searchsorted(own.starts, own.starts[first] + most, side="left"))
        yield first, (last := max(last, first + 1))
        first = last


def _end(own: _Within, last: int) -> int:
    return len(own.places) if last == len(own.starts) else int(own.starts[last])
