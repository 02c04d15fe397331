"""Where the level of a series of figures changed, tested so that noise seldom reads as a change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05
"""The share of histories of unchanged code in which any change is seen."""
SHORTEST = 3
"""The fewest points on each side of a change: fewer are outliers."""
_ORDERS = 9_999
"""Fewer would know the line between noise and change too badly: its error is the same for all."""
_BATCH = 250
"""Orders in one batch: more would take memory without saving time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of level, from *index* on.

    before, after: the medians of the points between this change and its neighbours.
    probability: of so clear a change in figures without a real one.
    """

    index: int
    before: float
    after: float
    probability: float

    @property
    def ratio(self) -> float:
        """The ratio of the level after to the level before."""
        return self.after / self.before


def changes(
    series: Mapping[str, Sequence[float] | NDArray[np.float64]],
    *,
    level: float = LEVEL,
    at_least: float = 0.0,
    seed: int = 1,
) -> dict[str, tuple[Change, ...]]:
    """Return the changes of level in each of *series*, positive figures in order of time.

    The first change of a series is the one with the largest rank statistic over all places in
    seeded intervals (Kovács, Bühlmann, Li, Munk, "Seeded binary segmentation", Biometrika 2023;
    they find a rise that is followed by a fall). Its null distribution is that of the same
    statistic in random orders of the figures (as E-divisive does: Matteson, James, JASA 2014;
    Daly et al., ICPE 2020), which assumes nothing but that unchanged figures come in any order
    alike. Ranks keep outliers from making changes. Both sides are searched again.

    The tests of the series share *level* (Holm 1979): at most in that share of histories without
    any change, one is seen. Changes of less than *at_least*, as a share, are left out.
    Raise ValueError for a figure that is not a positive number.
    """
    values: dict[str, NDArray[np.float64]] = {}
    for name, figures in series.items():
        array = np.asarray(figures, dtype=float)
        if not (np.isfinite(array).all() and (array > 0).all()):
            raise ValueError(f"{name}: a figure is no positive number")
        values[name] = np.log(array)
    orders = max(_ORDERS, math.ceil(2 * len(values) / level))
    first = {name: _clearest(one, orders, seed) for name, one in values.items()}
    found: dict[str, tuple[Change, ...]] = dict.fromkeys(series, ())
    ordered = sorted(first, key=lambda name: first[name][1])
    for rank, name in enumerate(ordered):
        own_level = level / (len(ordered) - rank)
        if first[name][1] > own_level:
            break  # Holm: no less clear one is a change either
        split = _split(values[name], 0, first[name], own_level, orders, seed)
        places = _placed(values[name], split)
        figures = [float(figure) for figure in series[name]]
        found[name] = _changes(figures, places, at_least)
    return found


def _split(
    values: NDArray[np.float64],
    start: int,
    clearest: tuple[int, float],
    level: float,
    orders: int,
    seed: int,
) -> list[tuple[int, float]]:
    """Return the place and the probability of each change in *values*, which begin at *start*."""
    place, probability = clearest
    if probability > level:
        return []
    left, right = values[:place], values[place:]
    return [
        *_split(left, start, _clearest(left, orders, seed), level, orders, seed),
        (start + place, probability),
        *_split(right, start + place, _clearest(right, orders, seed), level, orders, seed),
    ]


def _placed(values: NDArray[np.float64], split: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Return the probability of each change by its place between its neighbours.

    Ranks detect a change well but locate it less well. Its place is where the absolute distances
    from the medians of both sides are smallest.
    """
    places = [place for place, _ in split]
    for index in range(len(places)):
        start = places[index - 1] if index else 0
        end = places[index + 1] if index + 1 < len(places) else len(values)

        def distance(place: int, start: int = start, end: int = end) -> float:
            sides = values[start:place], values[place:end]
            return math.fsum(float(np.abs(side - np.median(side)).sum()) for side in sides)

        places[index] = min(range(start + SHORTEST, end - SHORTEST + 1), key=distance)
    return {place: probability for place, (_, probability) in zip(places, split, strict=True)}


def _clearest(values: NDArray[np.float64], orders: int, seed: int) -> tuple[int, float]:
    """Return the place of the clearest change of *values*, and its probability without a change."""
    from scipy.stats import rankdata  # slow to import

    count = len(values)
    if count < 2 * SHORTEST:
        return 0, 1.0
    scores = rankdata(values)
    scores -= scores.mean()
    spread = float(scores.std())
    if spread == 0:
        return 0, 1.0  # all are equal
    scores /= spread
    statistic, place = _largest(scores[None, :], _intervals(count))
    null = _null(tuple(np.sort(scores)), orders, seed)
    observed = float(statistic[0]) - 1e-9  # sums in another order round differently
    as_large = len(null) - int(np.searchsorted(null, observed))
    return int(place[0]), (1 + as_large) / (1 + len(null))


@lru_cache(maxsize=256)  # without ties, all series of a length have the same ranks
def _null(scores: tuple[float, ...], orders: int, seed: int) -> NDArray[np.float64]:
    """Return the statistic of *scores* in random orders, sorted."""
    generator = np.random.Generator(np.random.Philox(seed))
    intervals = _intervals(len(scores))
    parts = []
    for done in range(0, orders, _BATCH):
        rows = np.tile(np.asarray(scores), (min(_BATCH, orders - done), 1))
        parts.append(_largest(generator.permuted(rows, axis=1), intervals)[0])
    return np.sort(np.concatenate(parts))


def _largest(
    rows: NDArray[np.float64], intervals: Sequence[tuple[int, int]]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return for each of *rows* the largest difference of two means, standardised, and its place.

    The means are those of an interval's parts before and from the place on. There are more short
    intervals than long ones, for which they pay: the penalty of Dümbgen and Spokoiny ("Multiscale
    testing of qualitative hypotheses", Annals of Statistics 2001).
    """
    sums = np.concatenate([np.zeros((len(rows), 1)), rows.cumsum(axis=1)], axis=1)
    best = np.full(len(rows), -math.inf)
    places = np.zeros(len(rows), dtype=np.int64)
    lines = np.arange(len(rows))
    for start, end in intervals:
        inside = np.arange(start + SHORTEST, end - SHORTEST + 1)
        before, whole = inside - start, end - start
        from_start = sums[:, inside] - sums[:, [start]]
        total = sums[:, [end]] - sums[:, [start]]
        off = np.abs(from_start - total * (before / whole))
        off /= np.sqrt(before * (whole - before) / whole)
        off -= math.sqrt(2 * math.log(math.e * rows.shape[1] / whole))
        at = off.argmax(axis=1)
        largest = off[lines, at]
        is_better = largest > best
        best[is_better] = largest[is_better]
        places[is_better] = inside[at[is_better]]
    return best, places


def _intervals(count: int) -> list[tuple[int, int]]:
    """Return seeded intervals of *count* points, the whole first: each half overlaps the next."""
    found = {(0, count): None}
    length = float(count)
    while length >= 2 * SHORTEST:
        number = 2 * math.ceil(count / length) - 1
        step = (count - length) / max(1, number - 1)
        for index in range(number):
            start = math.floor(index * step)
            end = min(count, math.ceil(index * step + length))
            found[start, end] = None
        length /= 2
    return list(found)


def _changes(
    figures: Sequence[float], places: Mapping[int, float], at_least: float
) -> tuple[Change, ...]:
    """Return the changes at *places*, without those whose levels differ by less than *at_least*.

    The smallest goes first, since its neighbours' levels change with it.
    """
    kept = sorted(places)
    while True:
        bounds = [0, *kept, len(figures)]
        levels = [median(figures[a:b]) for a, b in pairwise(bounds)]
        sizes = [abs(math.log(b / a)) for a, b in pairwise(levels)]
        smallest = min(range(len(kept)), key=sizes.__getitem__, default=None)
        if smallest is None or sizes[smallest] >= math.log1p(at_least):
            break
        del kept[smallest]
    return tuple(
        Change(index=place, before=levels[n], after=levels[n + 1], probability=places[place])
        for n, place in enumerate(kept)
    )
