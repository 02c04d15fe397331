"""How fast the simulation is beside a plain queue in SimPy: `python -m bench.ratio`."""

from __future__ import annotations

import gc
import random  # noqa: TID251  # as SimPy's own examples draw; its numbers are not compared
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from statistics import median
from time import process_time
from typing import Any

import simpy

from bench.halves import Speeds
from core.scenario.file import load_scenario
from core.scenario.replay import Prepared, prepare
from core.scenario.scenario import Scenario
from core.scenario.warm_start import WarmState, warm_state
from scenarios.catalogue import shipped
from sim.model import Replication, SeededDatabase

CUSTOMERS = 40_000
ARRIVAL_RATE = 0.7
SERVICE_RATE = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Requests per second of CPU time, one entry for each round."""

    simpy: tuple[float, ...]
    simulation: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median over the rounds of the simulation's rate over SimPy's."""
        rounds = zip(self.simulation, self.simpy, strict=True)
        return median(simulation / plain for simulation, plain in rounds)


def simulation_ratio(rounds: int = 7, machine: Speeds | None = None) -> Ratio:
    """Measure both in turn, *rounds* times after a warm-up round, in this process.

    A request of the baseline makes up to two cache reads, a database write and answers; a
    customer of the queue waits and is served. Seeding and warm state are
    prepared outside. *machine* is sampled between rounds. Raise ValueError for less than one.
    """
    if rounds < 1:
        raise ValueError(f"{rounds} rounds; at least 1 is needed")
    scenario = load_scenario(shipped()["baseline"])
    prepared = prepare(scenario)
    state, seeded = warm_state(scenario, prepared), SeededDatabase(scenario, prepared)
    plain, full = [], []
    speeds = Speeds() if machine is None else machine
    for number in speeds.between(range(rounds + 1)):
        plain_rate = _simpy_rate(number)
        full_rate = simulation_rate(scenario, prepared, state, seeded)
        if number:
            plain.append(plain_rate)
            full.append(full_rate)
    return Ratio(simpy=tuple(plain), simulation=tuple(full))


def mm1(env: simpy.Environment, rng: random.Random, customers: int, waits: list[float]) -> None:
    """Send *customers* through one server: a process, a request and two timeouts for each."""
    server = simpy.Resource(env)

    def customer() -> Generator[simpy.Event, Any, None]:
        arrived = env.now
        with server.request() as request:
            yield request
            waits.append(env.now - arrived)
            yield env.timeout(rng.expovariate(SERVICE_RATE))

    def source() -> Generator[simpy.Event, Any, None]:
        for _ in range(customers):
            yield env.timeout(rng.expovariate(ARRIVAL_RATE))
            env.process(customer())

    env.process(source())


def _simpy_rate(seed: int) -> float:
    waits: list[float] = []
    env = simpy.Environment()
    mm1(env, random.Random(seed), CUSTOMERS, waits)
    gc.collect()
    started = process_time()
    env.run()
    seconds = process_time() - started
    assert len(waits) == CUSTOMERS
    return CUSTOMERS / seconds


def simulation_rate(
    scenario: Scenario, prepared: Prepared, state: WarmState, seeded: SeededDatabase
) -> float:
    """Return the requests that one replication simulates in a second of CPU time."""
    replication = Replication(scenario, prepared, state, seeded)
    gc.collect()
    started = process_time()
    outcome = replication.run()
    seconds = process_time() - started
    replication.loop.close()
    assert outcome.requests.intended.size == len(prepared.workload)
    return len(prepared.workload) / seconds


def main(arguments: Sequence[str]) -> int:
    """Print both rates and their ratio; the one argument is the number of rounds."""
    if {"-h", "--help"} & {*arguments}:
        print(__doc__)
        return 0
    try:
        machine = Speeds()
        rounds = int(arguments[0]) if arguments else 7
        found = simulation_ratio(rounds, machine)
    except ValueError as error:
        print(f"python -m bench.ratio [ROUNDS]: {error}", file=sys.stderr)
        return 2
    if note := machine.line():
        print(note)
    print(f"SimPy M/M/1, a process per customer: {median(found.simpy):,.0f} requests/s")
    print(f"baseline, one replication: {median(found.simulation):,.0f} requests/s")
    print(f"ratio: {found.median:.3f} (median of {len(found.simpy)} rounds, CPU time)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
