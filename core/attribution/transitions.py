"""Transitions between channels, counted over paths: a Markov chain of order 1 to 3."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from core.attribution.parameters import MAX_ORDER, OTHER
from core.attribution.paths import Floats, Integers, Paths, merged_channels
from core.errors import InputError

_MOST_CODES = 2**62  # codes that are safe as 64-bit integers
_DENSE_CODES = 1_024  # state codes up to which transitions are counted in a square table


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Transitions:
    """Counts of the steps of paths from one state to the next, and of their ends.

    A state is the last *order* channels, fewer at the beginning of a path and none at the start.
    Its code has the number 1 + c of the newest channel as its last digit to the base 1 + number
    of channels, then the one before. states: the codes, ascending, 0 (the start) first; sources,
    targets: places in states; counts: of each such pair; converted, lost, value: per state, the
    conversions, the paths without one and the value of those conversions where paths left from it.
    """

    order: int
    channels: tuple[str, ...]
    states: Integers
    sources: Integers
    targets: Integers
    counts: Floats
    converted: Floats
    lost: Floats
    value: Floats

    @property
    def conversions(self) -> float:
        """The number of conversions."""
        return float(self.converted.sum())

    @property
    def paths(self) -> float:
        """The number of paths, converting or not."""
        return float(self.converted.sum() + self.lost.sum())


def count_transitions(
    paths: Paths, order: int, *, amounts: tuple[Floats, Floats, Floats] | None = None
) -> Transitions:
    """Return the transitions of *paths*, each path as often as it was walked.

    *amounts* replaces the conversions, nulls and values of the paths. Raise ValueError for an
    order outside 1 to 3.
    """
    if not 1 <= order <= MAX_ORDER:
        raise ValueError(f"order {order}: 1 to {MAX_ORDER} is needed")
    conversions, nulls, values = amounts or (paths.conversions, paths.nulls, paths.values)
    base = _base(len(paths.channels), order)
    lengths = paths.lengths
    codes = _codes(paths, order, base)
    has_touch = lengths > 0
    before = np.empty_like(codes)
    before[1:] = codes[:-1]
    before[paths.offsets[:-1][has_touch]] = 0
    walked = conversions + nulls
    weights = None if (walked == 1.0).all() else np.repeat(walked, lengths)
    if base**order < 2**31:
        sources, targets, counts = _pairs(before, codes, weights, base**order)
    else:  # pairs of codes do not fit into 64 bits, pairs of their ranks do
        ranked = np.union1d(codes, [0])
        ranks = np.searchsorted(ranked, before), np.searchsorted(ranked, codes)
        sources, targets, counts = _pairs(*ranks, weights, len(ranked))
        sources, targets = ranked[sources], ranked[targets]
    known = np.union1d(targets, [0])  # every state but the start is entered
    is_known = np.ones(len(paths), dtype=np.bool_) if weights is None else walked > 0
    ends = np.zeros(len(paths), dtype=np.int64)
    ends[has_touch] = codes[paths.offsets[1:][has_touch] - 1]
    ends = np.searchsorted(known, ends[is_known])
    conversions, nulls, values = conversions[is_known], nulls[is_known], values[is_known]
    return Transitions(
        order=order,
        channels=paths.channels,
        states=known,
        sources=np.searchsorted(known, sources),
        targets=np.searchsorted(known, targets),
        counts=counts,
        converted=_added(ends, conversions, len(known)),
        lost=_added(ends, nulls, len(known)),
        value=_added(ends, values, len(known)),
    )


def _codes(paths: Paths, order: int, base: int) -> Integers:
    """Return the code of the state that each touch leads to."""
    digits = paths.codes.astype(np.int64) + 1
    if order == 1:
        return digits
    codes = digits.copy()
    place = np.arange(len(digits)) - np.repeat(paths.offsets[:-1], paths.lengths)
    for back in range(1, order):
        has = np.flatnonzero(place >= back)
        codes[has] += digits[has - back] * base**back
    return codes


def _base(channels: int, order: int) -> int:
    """Return the base of the states' codes; InputError if codes would not fit into 64 bits."""
    base = channels + 1
    if base**order >= _MOST_CODES:
        raise InputError(
            f"{channels:,} channels are too many for order {order}; use a lower order, or merge "
            "rare channels into one"
        )
    return base


def _pairs(
    sources: Integers, targets: Integers, weights: Floats | None, size: int
) -> tuple[Integers, Integers, Floats]:
    """Return each pair of numbers below *size* once, by source and target, with its weight."""
    pairs = sources * size + targets
    if size <= _DENSE_CODES:
        counts = _added(pairs, weights, size * size)
        found = np.flatnonzero(counts)
        return found // size, found % size, counts[found]
    found, where = np.unique(pairs, return_inverse=True)
    counts = _added(where, weights, len(found))
    is_walked = counts > 0
    return found[is_walked] // size, found[is_walked] % size, counts[is_walked]


def _added(places: Integers, amounts: Floats | None, size: int) -> Floats:
    """Return the sum of *amounts*, by default 1 each, at each of *size* places."""
    found = np.bincount(places, weights=amounts, minlength=size)
    return np.asarray(found, dtype=np.float64)


def merge(parts: Sequence[Transitions]) -> Transitions:
    """Return the transitions of all *parts* together; ValueError if their orders differ."""
    channels, places = merged_channels([part.channels for part in parts])
    return _together(parts, channels, places)


def with_rare_merged(transitions: Transitions, most: int) -> Transitions:
    """Return *transitions* with all but the *most* most frequent channels merged into `OTHER`.

    The result is that of counting the paths with these channels merged. If channels are equally
    frequent, the first by name are kept.
    """
    names = transitions.channels
    if len(names) <= most:
        return transitions
    newest = transitions.states % (len(names) + 1)
    touches = _added(newest[transitions.targets], transitions.counts, len(names) + 1)[1:].tolist()
    ranked = sorted(
        (place for place, name in enumerate(names) if name != OTHER),
        key=lambda place: (-touches[place], names[place]),
    )
    return with_others_merged(transitions, {names[place] for place in ranked[:most]})


def with_others_merged(transitions: Transitions, kept: Collection[str]) -> Transitions:
    """Return *transitions* with all channels but *kept* merged into `OTHER`."""
    names = transitions.channels
    channels = tuple(sorted({OTHER, *(name for name in names if name in kept)}))
    position = {name: number for number, name in enumerate(channels)}
    moved = np.array([position.get(name, position[OTHER]) for name in names], dtype=np.int64)
    return _together([transitions], channels, [moved])


def _together(
    parts: Sequence[Transitions], channels: tuple[str, ...], places: Sequence[Integers]
) -> Transitions:
    """Return the transitions of all *parts*, whose channels have *places* among *channels*."""
    orders = {part.order for part in parts}
    if len(orders) != 1:
        raise ValueError("transitions of one order are needed")
    (order,) = orders
    base = _base(len(channels), order)
    codes = [_recoded(part, place, base) for part, place in zip(parts, places, strict=True)]
    states = np.unique(np.concatenate(codes))
    at = [np.searchsorted(states, own) for own in codes]
    sources, targets, counts = _pairs(
        np.concatenate([a[part.sources] for a, part in zip(at, parts, strict=True)]),
        np.concatenate([a[part.targets] for a, part in zip(at, parts, strict=True)]),
        np.concatenate([part.counts for part in parts]),
        len(states),
    )

    def gathered(name: str) -> Floats:
        amounts = np.concatenate([getattr(part, name) for part in parts])
        return _added(np.concatenate(at), amounts, len(states))

    return Transitions(
        order=order, channels=channels, states=states, sources=sources, targets=targets,
        counts=counts, converted=gathered("converted"), lost=gathered("lost"),
        value=gathered("value"),
    )  # fmt: skip


def _recoded(part: Transitions, place: Integers, base: int) -> Integers:
    """Return the codes of the states of *part* for the new places of its channels."""
    own = len(part.channels) + 1
    digit = np.concatenate(([0], place + 1))
    codes = np.zeros_like(part.states)
    for back in range(part.order):
        codes += digit[part.states // own**back % own] * base**back
    return codes
