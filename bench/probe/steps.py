"""The steps of a probe: one kind of operation each, at a growing number under way at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any, Protocol

from core.clock import Clock
from core.errors import EdgeproofError
from core.scenario.calibration import Calibration
from core.scenario.prices import Prices

LEVELS = (1, 2, 4, 8, 16, 32)
"""Operations under way at a time, level by level."""

METERS = {
    "rows read": ("d1", "rows_read"),
    "rows written": ("d1", "rows_written"),
    "KV reads": ("kv", "reads"),
    "KV writes and deletes": ("kv", "writes"),
}
"""The product and the unit, in the list of prices, of what an operation may cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of operation; *ask* runs the one of a number, which no other operation has.

    keys: which keys it asks for. bill: units of METERS that an operation costs, at most.
    operations: that it makes, those of taking away what it wrote included.
    """

    name: str
    keys: str
    ask: Callable[[int], Awaitable[Any]]
    bill: Mapping[str, float] = field(default_factory=dict)
    operations: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What one kind took at one number of operations at a time; seconds of those that succeeded."""

    kind: Kind
    concurrency: int
    seconds: tuple[float, ...]
    elapsed: float
    failures: Mapping[str, int]

    @property
    def per_second(self) -> float:
        """Operations that succeeded in a second."""
        return len(self.seconds) / self.elapsed

    def percentiles(self) -> tuple[float, float, float]:
        """Return p50, p95 and p99 in seconds; there have to be two operations or more."""
        cuts = quantiles(self.seconds, n=100, method="inclusive")
        return cuts[49], cuts[94], cuts[98]


class Target(Protocol):
    """What is probed."""

    name: str
    kinds: Sequence[Kind]
    spare: int
    """Operations beside those of the kinds: what is put there first and taken away afterwards."""
    spare_bill: Mapping[str, float]

    async def prepare(self) -> None:
        """Put there what is asked for; EdgeproofError if the target cannot be asked."""
        ...

    async def close(self) -> None:
        """Take away what was put there, and close the connections."""
        ...

    def learned(self, levels: Sequence[Level]) -> Calibration:
        """Return what *levels* teach."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many operations are made of each kind: *samples* one at a time, half of that a level."""

    samples: int
    most: int

    @property
    def levels(self) -> tuple[tuple[int, int], ...]:
        """The operations at a time, and how many operations, level by level."""
        return tuple(
            (at_a_time, self.samples if at_a_time == 1 else max(at_a_time, self.samples // 2))
            for at_a_time in LEVELS
            if at_a_time <= self.most
        )

    def operations(self, target: Target) -> int:
        """Return the number of operations on *target*."""
        each = sum(kind.operations for kind in target.kinds)
        return target.spare + each * sum(number for _, number in self.levels)

    def bill(self, target: Target) -> dict[str, float]:
        """Return the units of METERS that *target* costs, at most."""
        units: dict[str, float] = dict(target.spare_bill)
        for kind in target.kinds:
            for name, each in kind.bill.items():
                units[name] = units.get(name, 0.0) + each * sum(n for _, n in self.levels)
        return units


def dollars(bill: Mapping[str, float]) -> float:
    """Return what *bill* costs at the price list, without what a plan includes."""
    prices = {(product, unit): meter.price for product, unit, meter in Prices().meters()}
    return sum(prices[METERS[name]] * units / 1e6 for name, units in bill.items())


async def probe(
    target: Target,
    plan: Plan,
    clock: Clock,
    *,
    seconds: float,
    on_level: Callable[[Level], None] = lambda level: None,
) -> list[Level]:
    """Return each level of each kind, as far as they come in *seconds*.

    What was put into the target is taken away, whatever happens. Raise EdgeproofError if the
    target cannot be asked, or no operation of a kind succeeds.
    """
    levels: list[Level] = []
    until, number = clock.now() + seconds, 0
    try:
        await target.prepare()
        for at_a_time, count in plan.levels:
            for kind in target.kinds:
                if clock.now() >= until:
                    return levels
                level = await _level(kind, at_a_time, count, number, clock, until)
                number += count
                if len(level.seconds) < 2:
                    why = next(iter(level.failures), "the time was up")
                    raise EdgeproofError(f"probe {target.name}: {kind.name} failed: {why}")
                levels.append(level)
                on_level(level)
    finally:
        await target.close()
    return levels


async def _level(
    kind: Kind, at_a_time: int, count: int, first: int, clock: Clock, until: float
) -> Level:
    numbers = iter(range(first, first + count))
    taken: list[float] = []
    failures: Counter[str] = Counter()

    async def work() -> None:
        for number in numbers:
            began = clock.now()
            if began >= until:
                return
            try:
                await kind.ask(number)
            except EdgeproofError as error:
                failures[str(error)] += 1
            else:
                taken.append(clock.now() - began)

    began = clock.now()
    await asyncio.gather(*(work() for _ in range(at_a_time)))
    return Level(
        kind=kind,
        concurrency=at_a_time,
        seconds=tuple(taken),
        elapsed=max(clock.now() - began, 1e-9),
        failures=failures,
    )
