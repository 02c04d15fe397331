"""The simulation's queues, alone: customers at the emulated database, as theory has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simpy

from core.context import Purpose, Span, begin
from core.distributions import Distribution
from core.emulation.database import DelayedDatabase
from core.emulation.executions import Executions
from core.emulation.faults import FaultSchedule
from core.query import statements
from core.query.database import Command, Row
from core.query.statement import Statement
from core.scenario.file import parse_scenario
from core.streams import Stream
from sim.loop import SimLoop
from sim.process import RandomNumbers, SimulatedPlatform

STEPS = 100_000
SERVICE = 0.01
"""Mean seconds of a service."""


class EmptyDatabase:
    """A database in which nothing is found, at once."""

    async def read(self, statement: Statement, parameters: Any) -> list[Row]:
        """Return nothing."""
        return []

    async def write(self, *commands: Command) -> list[int]:
        """Change nothing."""
        return [0] * len(commands)

    async def close(self) -> None:
        """Nothing to close."""


def exponential(mean: float) -> Distribution:
    """Return the exponential law as a table, cut at its 99.999 % quantile, with this mean."""
    shares = np.arange(STEPS) / STEPS
    table = np.append(-np.log1p(-shares), math.log(STEPS) + 1)
    table *= mean / float(np.mean((table[1:] + table[:-1]) / 2))
    return Distribution(table.tolist(), None)


def moments(law: Distribution) -> tuple[float, float]:
    """Return the mean and the second moment of *law*, uniform between points of its table."""
    table = np.array(law.table)
    low, high = table[:-1], table[1:]
    return float(np.mean((low + high) / 2)), float(np.mean((low**2 + low * high + high**2) / 3))


@dataclass(slots=True)
class Visits:
    """The seconds that customers spent, in order of arrival, and Little's law of the run.

    area: the integral over time of the number of customers, taken event by event.
    """

    sojourns: list[float] = field(default_factory=list)
    area: float = 0.0


def visits(
    laws: Sequence[Distribution],
    *,
    rate: float,
    customers: int,
    servers: int = 1,
    replication: int,
) -> Visits:
    """Send a Poisson stream through databases in a row, of which each has one of *laws*."""
    scenario = parse_scenario(
        {"name": "verify", "seed": 1, "tiers": {"l3": {"cpu": "0s"}}}, source="verify"
    )
    drawn = Stream(scenario.seed, Purpose.ARRIVALS, replication=replication).rows(0, customers)
    times = (np.cumsum(-np.log1p(-drawn[:, 0])) / rate).tolist()
    loop = SimLoop(simpy.Environment())
    found = Visits(sojourns=[0.0] * customers)
    in_system, last, left = 0, 0.0, customers
    stations = []
    for place, law in enumerate(laws):
        tier = scenario.tiers.l3.model_copy(
            update={
                "round_trip": Distribution((0.0, 0.0), 0.0), "read_execution": law, "timeout": 1e9,
            }
        )  # fmt: skip
        # Each station has random numbers of its own.
        numbers = RandomNumbers(scenario, replication + (place << 16))
        platform = SimulatedPlatform(loop, numbers, scenario, 0)
        stations.append(
            DelayedDatabase(EmptyDatabase(), tier, FaultSchedule(()), platform, Executions(servers))
        )

    def step(by: int) -> None:
        nonlocal in_system, last
        found.area += in_system * (loop.env.now - last)
        in_system, last = in_system + by, loop.env.now

    async def customer(row: int) -> None:
        nonlocal left
        step(+1)
        arrived, span = loop.env.now, Span(row)
        begin(span, "lookup")
        for station in stations:
            await station.read(statements.USER, ("u0",))
        found.sojourns[row] = loop.env.now - arrived
        step(-1)
        left -= 1
        if not left:
            over.set_result(None)

    async def main() -> None:
        await over

    over = loop.create_future()
    try:
        loop.run(main(), times, lambda row: loop.start_at(times[row], customer(row)))
    finally:
        loop.close()
    return found


def erlang_c(servers: int, load: float) -> float:
    """Return the probability that a customer waits in M/M/c (Erlang 1917)."""
    terms = [load**k / math.factorial(k) for k in range(servers)]
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (math.fsum(terms) + last)


def m_g_1(rate: float, law: Distribution, slower: float = 0.0) -> float:
    """Return the mean sojourn of M/G/1 in seconds (Pollaczek 1930, Khinchine 1932)."""
    mean, second = moments(law)
    mean, second = mean * (1 + slower), second * (1 + slower) ** 2
    return mean + rate * second / (2 * (1 - rate * mean))
