"""The search for the highest rate that a live service carries: steps, bisection, hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from core.errors import EdgeproofError, InputError
from core.metrics.audit import MAX_DROPPED
from core.metrics.capacity import CapacityPoint
from core.metrics.charge import CHARGES
from core.metrics.estimate import Estimate
from core.metrics.kpi import Kpi, Outcome, judge
from core.metrics.record import RunRecord, estimate_of_metric
from core.metrics.verdict import compare, outcome_at_ends
from scenarios.growth import LIMIT

RESOLUTION = 0.05
HALVINGS = 6
HOLDS = 3
"""Loads at the highest rate, beside those that found it: these were chosen for what they showed."""
_MOST_HOLDS = 4
"""Rates that are held, from the highest downwards."""

_Answer = Literal["holds", "breaks", "unsendable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One load at one rate: its record, and by how many requests/s those in flight grew."""

    record: RunRecord
    growth: float
    interrupted: bool = False


Loader = Callable[[float, int], Load]
"""Loads the service at a rate; the number is that of the load at this rate, for other arrivals."""


class Ended(Exception):  # no error: the search tells what it found by then
    """The search cannot go on; the text says why, "" for Ctrl-C."""


class LoadLost(Ended):
    """A load ended without a result; the text names it, and its cause is the error."""


class KneeSearch:
    """The rates that were tried, and the way from one to the next.

    kpis: what is judged. start: where the search begins, requests/s. bound: the highest rate tried.
    seconds: what a load takes; most_seconds: what all may take together.
    """

    def __init__(
        self,
        kpis: Sequence[Kpi],
        load: Loader,
        *,
        start: float,
        bound: float,
        seconds: float,
        most_seconds: float,
        on_point: Callable[[CapacityPoint], None] | None = None,
    ) -> None:
        self._kpis = tuple(kpis)
        self._load = load
        self._start, self._bound = start, bound
        self._seconds, self._left = seconds, most_seconds
        self._on_point = on_point
        self._numbers: dict[float, int] = {}
        self._count = 0
        self._unsendable: dict[float, str] = {}
        self._held: float | None = None
        self.unseen: set[str] | None = None
        self.points: dict[float, CapacityPoint] = {}
        self.ended = ""
        self.interrupted = False

    def run(self) -> None:
        """Search until the rates are close enough and the highest was held, or it cannot go on.

        Raise what a load raised if it was the first.
        """
        try:
            good, bad = self._bracket()
            while good is not None and bad is not None and bad / good > 1 + RESOLUTION:
                middle = (good * bad) ** 0.5
                if self._try(middle) == "holds":
                    good = middle
                else:
                    bad = middle
            if good is not None:
                self._hold(good)
        except KeyboardInterrupt:
            if not self.points:
                raise
            self.interrupted = True
        except Ended as reason:
            if isinstance(reason.__cause__, EdgeproofError) and not self.points:
                raise reason.__cause__ from None
            self.ended = str(reason)
            self.interrupted = not self.ended
        if not self.ended and not self.interrupted and self._unsendable:
            self.ended = self._unsent()

    @property
    def highest(self) -> float | None:
        """The rate that was held; without one the highest that holds and has none broken below."""
        if self._held is not None:
            return self._held
        broken = [rate for rate, point in self.points.items() if not point.holds]
        lowest = min(broken, default=float("inf"))
        return max((r for r, p in self.points.items() if p.holds and r < lowest), default=None)

    @property
    def breaking(self) -> float | None:
        """The lowest rate above the highest at which something breaks."""
        good = self.highest or 0.0
        return min((r for r, p in self.points.items() if not p.holds and r > good), default=None)

    def _bracket(self) -> tuple[float | None, float | None]:
        rate = self._start
        if self._try(rate) == "holds":
            while rate < self._bound:
                higher = min(2 * rate, self._bound)
                if self._try(higher) != "holds":
                    return rate, higher
                rate = higher
            return rate, None
        for _ in range(HALVINGS):
            if self._try(rate / 2) == "holds":
                return rate / 2, rate
            rate /= 2
        return None, rate

    def _hold(self, rate: float) -> None:
        for _ in range(_MOST_HOLDS):
            loads: list[Load] = []
            while len(loads) < HOLDS:
                try:
                    load = self._sent(rate)
                except LoadLost:
                    self._keep_broken(rate, loads)
                    raise
                if load is None:
                    return
                loads.append(load)
            if self._keep(rate, loads, is_held=True).holds:
                self._held = rate
                return
            rate /= 1 + RESOLUTION
        raise Ended(
            f"no rate held: what one load met, {HOLDS} further ones did not; the service varies "
            "too much for loads of this length, so give a longer --step"
        )

    def _try(self, rate: float) -> _Answer:
        """Load at *rate*. What breaks once is loaded again, and a third load decides between two.

        A machine has bad seconds, and one of them would otherwise end the search. A growing queue
        is no such thing.
        """
        loads: list[Load] = []
        verdicts: list[bool] = []
        while len(loads) < 3:
            try:
                load = self._sent(rate)
            except LoadLost:
                self._keep_broken(rate, loads)
                raise
            if load is None:
                break
            point = self._point(rate, [load], is_held=False)
            loads.append(load)
            verdicts.append(point.holds)
            if point.saturated or verdicts in ([True], [False, False]):
                break
        if not loads:
            return "unsendable"
        return "holds" if self._keep(rate, loads, is_held=False).holds else "breaks"

    def _sent(self, rate: float) -> Load | None:
        """Return a load at *rate*; None if the generator could not send it in two attempts."""
        for _ in range(2):
            if self._seconds > self._left:
                raise Ended("--max-duration ended the search")
            self._left -= self._seconds
            number = self._numbers.get(rate, 0)
            self._numbers[rate] = number + 1
            self._count += 1
            try:
                load = self._load(rate, number)
            except EdgeproofError as error:
                raise LoadLost(f"load {self._count} at {rate:.4g} requests/s: {error}") from error
            if load.interrupted:
                raise Ended("")
            reasons = _at_fault(load.record, self._kpis)
            if not reasons:
                return load
            self._unsendable[rate] = reasons[0]
        if not self.points and rate <= self._start / 2**HALVINGS:
            raise Ended(self._unsent())
        return None

    def _unsent(self) -> str:
        rate = min(self._unsendable)
        return f"at {rate:,.3g} requests/s the load itself was INVALID: {self._unsendable[rate]}"

    def _keep_broken(self, rate: float, loads: Sequence[Load]) -> None:
        """Keep *rate* if it broke in *loads*, after which the service was not there any more."""
        if loads and not self._point(rate, loads, is_held=False).holds:
            self._keep(rate, loads, is_held=False)

    def _keep(self, rate: float, loads: Sequence[Load], *, is_held: bool) -> CapacityPoint:
        point = self._point(rate, loads, is_held=is_held)
        self.points[rate] = point
        self._unsendable.pop(rate, None)
        if self._on_point is not None:
            self._on_point(point)
        return point

    def _point(self, rate: float, loads: Sequence[Load], *, is_held: bool) -> CapacityPoint:
        """Judge *loads* on their means and intervals if *rate* is held, on medians otherwise."""
        found = {kpi.name: _estimate(kpi, loads) for kpi in self._kpis}
        if self.unseen is None:
            self.unseen = {name for name, estimate in found.items() if estimate is None}
            if len(self.unseen) == len(self._kpis):
                raise InputError(
                    f"no KPI could be measured at {rate:g} requests/s ("
                    f"{', '.join(found)}); judge one that the service shows, such as "
                    "p95 of an endpoint or error_ratio (--kpi)"
                )
        judged = {}
        for kpi in self._kpis:
            estimate = found[kpi.name]
            if estimate is None:
                if kpi.name not in self.unseen:
                    judged[kpi.name] = judge(kpi, None)
                continue
            judged[kpi.name] = (
                judge(kpi, estimate.value, estimate.interval, runs=estimate.runs)
                if is_held
                else judge(kpi, median(_values(kpi, loads)))
            )
        grew = median(load.growth for load in loads) > LIMIT * rate
        is_full = any(_is_full(load.record) for load in loads)
        return CapacityPoint(
            rate=rate,
            values={name: v.value for name, v in judged.items() if v.value is not None},
            outcomes={name: str(v.outcome) for name, v in judged.items()},
            saturated=("service",) if grew or is_full else (),
            runs=len(loads),
            intervals={name: v.interval for name, v in judged.items() if v.interval is not None},
            costs=_costs(loads),
        )


def _estimate(kpi: Kpi, loads: Sequence[Load]) -> Estimate | None:
    values = _values(kpi, loads)
    return estimate_of_metric(kpi.metric, values) if values else None


def _values(kpi: Kpi, loads: Sequence[Load]) -> list[float]:
    return [value for load in loads if (value := load.record.metric(kpi.metric)) is not None]


def _costs(loads: Sequence[Load]) -> dict[str, float]:
    """Return the means of the figures of cost, by name."""
    told = [load.record.cost.get("figures", {}) for load in loads]
    names = [each.alias for each in CHARGES if all(each.alias in figures for figures in told)]
    return {name: fmean(figures[name] for figures in told) for name in names}


def _is_full(record: RunRecord) -> bool:
    """Return whether arrivals found every connection taken by a service that did not answer."""
    audit = record.audit
    return audit is not None and audit.held > MAX_DROPPED * audit.planned


def _at_fault(record: RunRecord, kpis: Sequence[Kpi]) -> tuple[str, ...]:
    """Return why the load itself cannot be trusted; empty where its flaws decide nothing."""
    audit = record.audit
    if audit is None or not audit.invalid:
        return ()
    best, worst = outcome_at_ends(compare(kpis, None, record))
    # A rate breaks at its target: whether its alert line is crossed, too, changes nothing.
    is_told = best is worst or {best, worst} == {Outcome.WARN, Outcome.FAIL}
    return () if is_told and best is not Outcome.INVALID else audit.invalid
