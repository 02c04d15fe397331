"""One setting of a scenario's caches, and who answers its reads there: by passes or simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.context import Purpose
from core.metrics.record import count_reads
from core.scenario.file import parse_scenario, scenario_data
from core.scenario.replay import Prepared, prepare
from core.scenario.scenario import Scenario
from core.streams import Stream
from sim.curves.scenario_reads import drawn, reads_of, since, start_of, tiers_of
from sim.curves.tiered import Answered, answered
from sim.engines import Engine
from sim.replications import SeededDatabases, run_until_saturated, saturated_of

REQUEST = "request"
"""In place of a number of isolates: an L1 that dies with its request."""

AxisName = Literal["size", "ttl", "l2_ttl"]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A number of isolates (or REQUEST), and one setting in place of the scenario's, if any.

    axis and place: entries of L1, seconds of its TTL, or times the TTLs of L2. is_mixed: whether
    what is asked for comes in a random order.
    """

    isolates: str
    axis: AxisName | None = None
    place: float = 0.0
    is_mixed: bool = False

    @property
    def text(self) -> str:
        """What is counted, in a few words."""
        of = {None: "", "size": f", {self.place:,.0f} entries", "ttl": f", TTL {self.place:g} s",
              "l2_ttl": f", {self.place:g} times L2's TTLs"}[self.axis]  # fmt: skip
        return f"isolates: {self.isolates}{of}"

    def of(self, scenario: Scenario) -> Scenario:
        """Return *scenario* with this setting; InputError if it cannot have it."""
        data = scenario_data(scenario)
        tiers = data["tiers"]
        tiers["l1"]["scope"] = REQUEST if self.isolates == REQUEST else "isolate"
        if self.isolates != REQUEST:
            data["topology"]["isolates"] = int(self.isolates)
        if self.axis == "size":
            tiers["l1"]["max_entries"] = int(self.place)
        elif self.axis == "ttl":
            tiers["l1"]["ttl"] = f"{self.place!r}s"
        elif self.axis == "l2_ttl":
            ttls = scenario.tiers.l2.ttl
            tiers["l2"]["ttl"] = {n: f"{self.place * ttls.of(n)!r}s" for n in tiers["l2"]["ttl"]}
        return parse_scenario(data, source=scenario.name)


Found = dict[Point, list[Answered]]
"""Who answered at each point, an item a replication."""


def passed(
    scenario: Scenario, points: Sequence[Point], replications: int, mixes: int, tell: Tell
) -> Found:
    """Return who answers at *points* by passes over the reads, in *mixes* random orders each."""
    scenarios = {point: point.of(scenario) for point in points}
    longest = max(each.tiers.l1.ttl for each in scenarios.values())
    found: Found = {point: [] for point in points}
    turns = [(number, 0) for number in range(replications)]
    turns += [(number % replications, 1 + number // replications) for number in range(mixes)]
    held: dict[object, NDArray[np.float64]] = {}
    for number, order in turns:
        mine = [point for point in points if point.is_mixed == bool(order)]
        if not mine:
            continue
        asked = drawn(scenario, number, longest=longest, order=order, held=held)
        known = None
        for point in sorted(mine, key=lambda point: _likeness(scenarios[point])):
            changed = scenarios[point]
            tell(point.text)
            if known != _likeness(changed):
                known = _likeness(changed)
                near = since(asked, changed.tiers.l1.ttl)
                count = changed.topology.isolate_count
                reads, start = reads_of(near, count), start_of(near, changed, count)
            tiers = tiers_of(near, changed)
            room = 0 if changed.tiers.l1.scope == REQUEST else changed.tiers.l1.max_entries
            found[point].append(answered(reads, start, tiers, min(room, asked.key_count)))
    return found


def _likeness(scenario: Scenario) -> tuple[object, ...]:
    """Return what decides the reads and the caches' state before them."""
    tiers = scenario.tiers
    ttls = tuple(ttl for _, ttl in tiers.l2.ttl)
    return (scenario.topology.isolate_count, tiers.l1.ttl, ttls, tiers.l1.scope)


class Simulations:
    """Whole simulations of the settings of one scenario; databases are seeded once."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._databases = SeededDatabases()
        self._engine = Engine(asked="auto", requests=1e6)
        self.saturated: tuple[str, ...] = ()

    def answered(
        self, point: Point, numbers: Sequence[int], mixes: int, tell: Tell
    ) -> list[Answered]:
        """Return who answers at *point* in each of replications *numbers*."""
        found = []
        scenario = point.of(self._scenario)
        turns = [(number, 0) for number in numbers]
        if point.is_mixed:
            turns = [(numbers[n % len(numbers)], 1 + n // len(numbers)) for n in range(mixes)]
        for number, order in turns:
            tell(point.text)
            prepared = prepare(scenario, replication=number)
            if order:
                prepared = _mixed(scenario, prepared, number, order)
            run = run_until_saturated(
                scenario, prepared, self._databases.of(scenario, prepared, replication=number),
                replication=number, engine=self._engine,
            )  # fmt: skip
            if run.saturated is not None:
                self.saturated = saturated_of(run.saturated.loads)
            counts = count_reads(
                run.outcome.requests, after=run.scenario.warm_up, endpoints=scenario.endpoints
            )
            total = {name: sum(each[name] for each in counts.values())
                     for name in ("l1", "l2", "miss", "collapsed", "bypass")}  # fmt: skip
            found.append(
                Answered(
                    l1=total["l1"], l2=total["l2"], loaded=total["miss"] + total["bypass"],
                    joined=total["collapsed"], evicted=run.outcome.counters["l1_evicted"],
                )
            )  # fmt: skip
        return found

    def all(self, points: Sequence[Point], replications: int, mixes: int, tell: Tell) -> Found:
        """Return what `passed` does, of whole simulations."""
        numbers = range(replications)
        return {point: self.answered(point, numbers, mixes, tell) for point in points}


def _mixed(scenario: Scenario, prepared: Prepared, replication: int, order: int) -> Prepared:
    """Return *prepared* with what the run asks for in a random order; the times stay."""
    workload, history = prepared.workload, prepared.history
    before = 0 if history is None else history.seconds.size
    stream = Stream(scenario.seed, Purpose.SHUFFLES, replication=(replication << 8) + order)
    mixed = np.argsort(stream.rows(0, before + len(workload))[:, 0], kind="stable")
    endpoint, subject = workload.endpoint, workload.subject
    if history is not None:
        endpoint = np.concatenate((history.endpoint, endpoint))
        subject = np.concatenate((history.subject, subject))
        history = replace(
            history, endpoint=endpoint[mixed][:before], subject=subject[mixed][:before]
        )
    endpoint, subject = endpoint[mixed][before:], subject[mixed][before:]
    return replace(
        prepared, workload=replace(workload, endpoint=endpoint, subject=subject), history=history
    )
