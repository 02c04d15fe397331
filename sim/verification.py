"""The model against closed forms: theory, estimate, interval, t, and the power of the check."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from core.distributions import Distribution, parse_distribution
from core.metrics.estimate import estimate_of
from core.scenario.replay import prepare
from sim import verified_caches as caches
from sim.model import SeededDatabase
from sim.verified_queues import SERVICE, erlang_c, exponential, m_g_1, visits

REPLICATIONS = 20
LIMIT = 3.9
"""A right model crosses |t| = 3.9 with 19 degrees of freedom once in a thousand seeds."""
POWER = 1.7
"""Standard errors beyond the limit at which an error is caught 19 times in 20."""
START = 0.1
"""Share of a run's customers, the first ones, that are left out: the queue starts empty."""
LARGEST = 0.5
"""The largest planted error that is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model with a closed form.

    run: returns the figure of a replication, with service times (or TTLs) longer by a share.
    theory: the exact figure under the same error. what: the figure's name and unit; error: what an
    error is in.
    """

    name: str
    what: str
    run: Callable[[int, float], float]
    theory: Callable[[float], float]
    error: str = "service time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What replications of a case came to.

    caught: the smallest relative error that the check would have caught 19 times in 20, None if
    none up to 50 %.
    """

    case: Case
    theory: float
    estimate: float
    interval: tuple[float, float]
    t: float
    caught: float | None

    @property
    def holds(self) -> bool:
        """Whether theory and model agree."""
        return abs(self.t) < LIMIT


def verify(case: Case, *, planted: float = 0.0, replications: int = REPLICATIONS) -> Verified:
    """Compare replications of *case*, run with an error of *planted*, with theory without it."""
    values = [case.run(number, planted) for number in range(1, replications + 1)]
    found, theory = estimate_of(values), case.theory(0.0)
    assert found.interval is not None
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    distance = found.value - theory
    if error > 1e-9 * abs(theory):
        t = distance / error
    else:  # an identity
        t = 0.0 if abs(distance) <= 1e-9 * abs(theory) else math.copysign(math.inf, distance)
    return Verified(
        case=case, theory=theory, estimate=found.value, interval=found.interval, t=t,
        caught=_smallest(case, theory, max(error, 1e-9 * abs(theory))),
    )  # fmt: skip


def _smallest(case: Case, theory: float, error: float) -> float | None:
    needed = (LIMIT + POWER) * error

    def is_caught(share: float) -> bool:
        return abs(case.theory(share) - theory) >= needed

    if not is_caught(LARGEST):
        return None
    low, high = 0.0, LARGEST
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if is_caught(middle) else (middle, high)
    return high


def cases(customers: int = 12_000) -> Iterator[Case]:
    """Yield every case; *customers* of a queue in a replication."""
    yield from _queue_cases(customers)
    yield from _cache_cases(customers)


def _queue_cases(customers: int) -> Iterator[Case]:
    law = exponential(SERVICE)
    constant = Distribution((SERVICE, SERVICE), SERVICE)
    general = parse_distribution({"p50": "7ms", "p99": "40ms"})
    rate = 60.0

    def sojourns(
        laws: Sequence[Distribution], at: float, servers: int, number: int, slower: float
    ) -> np.ndarray:
        scaled = [each.scaled(1 + slower) if slower else each for each in laws]
        found = visits(scaled, rate=at, customers=customers, servers=servers, replication=number)
        return np.array(found.sojourns[int(START * customers) :])

    def mean(
        *laws: Distribution, at: float = rate, servers: int = 1
    ) -> Callable[[int, float], float]:
        return lambda number, slower: float(np.mean(sojourns(laws, at, servers, number, slower)))

    yield Case(
        name="M/M/1", what="mean sojourn, s", run=mean(law), theory=lambda e: m_g_1(rate, law, e)
    )
    mu = 1 / SERVICE
    yield Case(
        name="M/M/1 p99", what="p99 of the sojourn, s",
        run=lambda n, e: float(np.quantile(sojourns([law], rate, 1, n, e), 0.99)),
        theory=lambda e: math.log(100) / (mu / (1 + e) - rate),
    )  # fmt: skip

    def m_m_3(error: float) -> float:
        service, at = SERVICE * (1 + error), 3 * rate
        return service + erlang_c(3, at * service) / (3 / service - at)

    yield Case(
        name="M/M/3", what="mean sojourn, s", run=mean(law, at=3 * rate, servers=3), theory=m_m_3
    )
    yield Case(
        name="M/D/1", what="mean sojourn, s", run=mean(constant),
        theory=lambda e: m_g_1(rate, constant, e),
    )  # fmt: skip
    yield Case(
        name="M/G/1", what="mean sojourn, s", run=mean(general),
        theory=lambda e: m_g_1(rate, general, e),
    )  # fmt: skip
    yield Case(
        name="tandem", what="mean sojourn at two M/M/1, s", run=mean(law, law),
        theory=lambda e: 2 * m_g_1(rate, law, e),
    )  # fmt: skip

    def little(number: int, error: float) -> float:
        found = visits([law], rate=rate, customers=customers, replication=number)
        return found.area / math.fsum(found.sojourns) * (1 + error)

    yield Case(
        name="Little's law", what="area / sum of sojourns", run=little,
        theory=lambda e: 1 + e, error="sojourn",
    )  # fmt: skip


def _cache_cases(customers: int) -> Iterator[Case]:
    popularity = caches.zipf(1_000, 0.9)
    capacity = 100

    def lru(number: int, error: float) -> float:
        return caches.lru_hits(
            popularity, round(capacity * (1 + error)), requests=4 * customers, replication=number
        )

    yield Case(
        name="Che", what="hit ratio of an LRU", run=lru,
        theory=lambda e: caches.che(popularity, round(capacity * (1 + e))), error="capacity",
    )  # fmt: skip
    for isolates in (1, 6):
        name = "TTL" if isolates == 1 else f"{isolates} isolates over a shared L2"
        yield Case(
            name=name, what="misses of the origin", run=_Misses(isolates, customers / 2_000),
            theory=lambda e: 1 / (1 + 2.0 * 2.0 * (1 + e)), error="TTL",
        )  # fmt: skip


class _Misses:
    """Runs the whole simulation with keys that are read twice a second and live for 2 s in L2."""

    def __init__(self, isolates: int, seconds: float) -> None:
        self._isolates, self._seconds = isolates, seconds
        self._seeded: tuple[float, SeededDatabase] | None = None

    def __call__(self, number: int, error: float) -> float:
        scenario = caches.ttl_scenario(
            isolates=self._isolates, seconds=self._seconds, ttl=2.0 * (1 + error)
        )
        if self._seeded is None or self._seeded[0] != error:
            self._seeded = (error, SeededDatabase(scenario, prepare(scenario)))
        return caches.misses(scenario, replication=number, seeded=self._seeded[1])
