"""The search for the smallest value of a field, or the cheapest of several, that does it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from core.metrics.sweep import SweepCell

RESOLUTION = 0.05
"""Of the value that is found: the next smaller one that was tried is at most so much below."""
SAME_PRICE = 0.01
"""Combinations whose prices differ by less are equally cheap; the smallest of them is taken."""
MOST_SCANNED = 17
SCANNED = {1: MOST_SCANNED, 2: 6, 3: 4}
"""Values of each field that the scan tries at most, by the number of fields."""
ROUNDS = 2

Point = tuple[float, ...]
CellsAt = Callable[[Sequence[Point]], Sequence[SweepCell]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """A field that is sized, and the bounds of its value, in SI units and more than 0."""

    name: str
    low: float
    high: float
    is_whole: bool = False

    def scan(self, most: int) -> tuple[float, ...]:
        """Return values from low to high, each about the same multiple of the one before.

        That is 2 where *most* values are enough for it.
        """
        steps = min(most - 1, max(2, math.ceil(math.log2(self.high / self.low) - 1e-9)))
        factor = (self.high / self.low) ** (1 / steps)
        values = [self.low, *(self._round(self.low * factor**n) for n in range(1, steps))]
        return tuple(sorted({*values, self.high}))

    def middle(self, bad: float, good: float) -> float | None:
        """Return a value between the two; None where they are near enough."""
        if good <= bad * (1 + RESOLUTION) or (self.is_whole and good - bad <= 1):
            return None
        return self._round(math.sqrt(bad * good), bad, good)

    def _round(self, value: float, low: float = 0.0, high: float = math.inf) -> float:
        if self.is_whole:
            return float(min(max(round(value), low + 1), high - 1))
        return min(max(float(f"{value:.3g}"), low), high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """What a search found.

    point: the value of each knob, None where none within the bounds meets every KPI. scan: the
    values that each knob was tried at first. smaller: for each knob the largest value below at
    which, with the others as found, not every KPI is met, None where the bound itself meets them.
    holes: values above the one found, with one knob, at which not every KPI is met.
    """

    point: Point | None
    scan: tuple[tuple[float, ...], ...]
    smaller: tuple[float | None, ...] = ()
    holes: tuple[float, ...] = ()


def find_size(knobs: Sequence[Knob], cells_at: CellsAt) -> Sized:
    """Return the smallest value of one of *knobs* that meets every KPI, or the cheapest of several.

    cells_at: returns what was found at points. A scan over all of the bounds comes first, because
    a KPI may improve and worsen again along a field; then the gap below the smallest value that
    meets every KPI is halved until it is RESOLUTION wide. Of several fields that is done for each
    in turn, from the cheapest combination of the scan on; prices within SAME_PRICE are the same.
    """
    known: dict[Point, SweepCell] = {}

    def look(points: Sequence[Point]) -> None:
        missing = [point for point in dict.fromkeys(points) if point not in known]
        known.update(zip(missing, cells_at(missing), strict=True) if missing else ())

    scan = tuple(knob.scan(SCANNED.get(len(knobs), 3)) for knob in knobs)
    points = list(product(*scan))
    look(points)
    met = [point for point in points if known[point].is_met]
    if not met:
        return Sized(point=None, scan=scan)
    if len(knobs) == 1:
        best = min(met)
        holes = tuple(p[0] for p in points if p > best and not known[p].is_met)
        limit = math.inf
    else:
        best, limit, holes = *_cheapest(met, known, knobs), ()
    smaller: list[float | None] = [None] * len(knobs)
    for _ in range(1 if len(knobs) == 1 else ROUNDS):
        before = best
        for place, knob in enumerate(knobs):
            best, smaller[place] = _lowered(best, place, knob, scan[place], known, look, limit)
        if best == before:
            break
    return Sized(point=best, scan=scan, smaller=tuple(smaller), holes=holes)


def _lowered(
    best: Point,
    place: int,
    knob: Knob,
    scan: Sequence[float],
    known: dict[Point, SweepCell],
    look: Callable[[Sequence[Point]], None],
    limit: float,
) -> tuple[Point, float | None]:
    """Return *best* with its knob at *place* as low as it may be, and the value that is too low."""

    def at(value: float) -> Point:
        return (*best[:place], value, *best[place + 1 :])

    def is_fine(value: float) -> bool:
        look([at(value)])
        cell = known[at(value)]
        return cell.is_met and (cell.cost is None or cell.cost <= limit)

    good = best[place]
    bad: float | None = None
    for value in sorted((value for value in scan if value < good), reverse=True):
        if not is_fine(value):
            bad = value
            break
        good = value
    if bad is None:
        return at(good), None
    while (middle := knob.middle(bad, good)) is not None:
        if is_fine(middle):
            good = middle
        else:
            bad = middle
    return at(good), bad


def _cheapest(
    met: Sequence[Point], known: dict[Point, SweepCell], knobs: Sequence[Knob]
) -> tuple[Point, float]:
    """Return the smallest of the cheapest points, and the most that as cheap a one costs."""

    def size(point: Point) -> float:
        return sum(
            math.log(value / knob.low) / math.log(knob.high / knob.low)
            for value, knob in zip(point, knobs, strict=True)
        )

    costs = [known[point].cost for point in met]
    priced = [cost for cost in costs if cost is not None]
    if len(priced) < len(met):
        return min(met, key=lambda point: (size(point), point)), math.inf
    limit = min(priced) * (1 + SAME_PRICE)
    cheap = [point for point in met if (known[point].cost or 0.0) <= limit]
    return min(cheap, key=lambda point: (size(point), point)), limit
