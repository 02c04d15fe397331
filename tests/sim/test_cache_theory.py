"""The shipped caches against closed forms, by |t| over replications, and the power of doing so."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from core.caching.flights import Flight, Flights
from core.caching.kv import KVStore, MemoryKV, StoreItem
from core.caching.lifetime import Lifetime
from core.caching.memory import MemoryCache
from core.caching.policy import CachePolicy, CacheType, Text
from core.caching.tiered import TieredCache
from core.clock import DATA_EPOCH_MS
from core.context import Purpose
from core.streams import Stream
from core.wire import L1_HIT, MISS
from sim.loop import SimLoop
from tests.sim.runs import simulated, t_statistic

REPLICATIONS = 20
LIMIT = 3.9
"""As in test_theory: a right simulation crosses it once in a thousand seeds."""

SEED = 29


class Forgetting:
    """A store that keeps nothing."""

    async def get(self, *keys: str) -> list[bytes | None]:
        return [None] * len(keys)

    async def put(self, *items: StoreItem) -> None:
        """Keep nothing."""

    async def delete(self, *keys: str) -> int:
        return 0

    async def delete_prefix(self, prefix: str) -> int:
        return 0

    async def delete_tag(self, tag: str) -> int:
        return 0

    async def close(self) -> None:
        """Nothing to close."""


@dataclass(kw_only=True)
class Rig:
    """W isolates above one store, and loads that take a constant time; L2 takes none."""

    loop: SimLoop
    policy: CachePolicy
    ttl: float
    isolates: int = 1
    max_entries: int = 10**6
    load_takes: float = 0.0
    replication: int = 0
    keeps_l2: bool = True
    loads: list[float] = field(default_factory=list)
    """When each load began."""
    tasks: dict[Any, None] = field(default_factory=dict)
    left: int = 0

    origin_ms = DATA_EPOCH_MS

    def __post_init__(self) -> None:
        self.now = self.loop.time
        store: KVStore = MemoryKV(self.now) if self.keeps_l2 else Forgetting()
        drawn = Stream(SEED, Purpose.EARLY_REFRESH, replication=self.replication)
        numbers = (drawn.at(row) for row in range(10**9))
        self.caches = [
            TieredCache(
                MemoryCache(max_entries=self.max_entries, max_bytes=10**9),
                store, self, self.policy,
                retain=self._retain, uniform=lambda _: next(numbers),
            )
            for _ in range(self.isolates)
        ]  # fmt: skip
        self.kind = CacheType(name="k", ttl=self.ttl, codec=Text())
        self.over = self.loop.create_future()

    def _retain(self, task: Any) -> None:
        self.tasks[task] = None
        task.add_done_callback(self.tasks.pop)

    async def load(self) -> bytes:
        self.loads.append(self.now())
        if self.load_takes:
            await self.loop.until(self.now() + self.load_takes)
        return b""

    async def _read(self, isolate: int, key: str) -> None:
        await self.caches[isolate].get(self.kind, key, self.load)
        self.left -= 1
        if not self.left:
            self.over.set_result(None)

    async def _main(self) -> None:
        await self.over
        while self.tasks:
            await asyncio.gather(*self.tasks)  # a done task alone would not let others run

    def read(self, times: Any, keys: Any, isolates: Any) -> None:
        """Read *keys* in *isolates* at *times*, and wait until all is done."""
        times, keys, isolates = times.tolist(), keys.tolist(), isolates.tolist()
        self.left = len(times)
        names = [f"k:{key}" for key in range(max(keys) + 1)]

        def arrive(row: int) -> None:
            self.loop.start_at(times[row], self._read(isolates[row], names[keys[row]]))

        self.loop.run(self._main(), times, arrive)

    def outcomes(self) -> Any:
        """Return the reads by outcome, over all isolates."""
        return np.sum([cache.statistics.outcomes["k"] for cache in self.caches], axis=0)


def poisson(rate: float, until: float, replication: int) -> tuple[Any, Any]:
    """Return the times of a Poisson process up to *until*, and two uniforms for each."""
    count = int(rate * until + 6 * math.sqrt(rate * until) + 10)
    drawn = Stream(SEED, Purpose.ARRIVALS, width=3, replication=replication).rows(0, count)
    times = np.cumsum(-np.log1p(-drawn[:, 0])) / rate
    assert times[-1] > until
    chosen = times <= until
    return times[chosen], drawn[chosen, 1:]


# Stampedes.


def stampede(policy: CachePolicy, *, isolates: int) -> int:
    """Return the loads of a cold key that 1,000 requests want within the time of its load."""
    with simulated() as loop:
        rig = Rig(loop=loop, policy=policy, ttl=60.0, isolates=isolates, load_takes=1.0)
        rows = np.arange(1000)
        rig.read(rows / 1024, rows * 0, rows % isolates)
        return len(rig.loads)


@pytest.mark.parametrize("isolates", [1, 4])
def test_thousand_reads_of_a_cold_key_are_one_load_per_isolate(isolates: int) -> None:
    assert stampede(CachePolicy(l1_ttl=60.0), isolates=isolates) == isolates


@pytest.mark.parametrize("isolates", [1, 4])
def test_thousand_reads_without_single_flight_are_a_thousand_loads(isolates: int) -> None:
    assert stampede(CachePolicy(l1_ttl=60.0, single_flight=False), isolates=isolates) == 1000


def test_flights_that_nobody_can_join_are_caught_by_the_same_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Flights, "begin", lambda _, key, tags: Flight(key, tags))
    assert stampede(CachePolicy(l1_ttl=60.0), isolates=4) == 1000


def fetches_per_miss(policy: CachePolicy) -> list[float]:
    """Return the mean number of loads of a key that is read at time 0 and 8 a second from then."""
    means = []
    for replication in range(1, REPLICATIONS + 1):
        with simulated() as loop:
            rig = Rig(loop=loop, policy=policy, ttl=60.0, load_takes=0.5)
            times, drawn = poisson(8.0 * 200, 1.5, replication)
            keys = np.floor(drawn[:, 0] * 200).astype(int)
            rig.read(
                np.concatenate([np.zeros(200), times]),
                np.concatenate([np.arange(200), keys]),
                np.zeros(200 + len(times), dtype=int),
            )
            means.append(len(rig.loads) / 200)
    return means


def test_uncoalesced_miss_fetches_once_and_for_each_read_of_its_load() -> None:
    means = fetches_per_miss(CachePolicy(l1_ttl=60.0, single_flight=False))
    assert abs(t_statistic(means, 1 + 8.0 * 0.5)) < LIMIT


def test_load_that_is_5_percent_shorter_is_caught_by_the_same_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = Rig.load

    def shorter(rig: Rig) -> Awaitable[bytes]:
        rig.load_takes = 0.5 * 0.95
        return load(rig)

    monkeypatch.setattr(Rig, "load", shorter)
    means = fetches_per_miss(CachePolicy(l1_ttl=60.0, single_flight=False))
    assert abs(t_statistic(means, 1 + 8.0 * 0.5)) > LIMIT


# The load of the origin below a shared, unbounded L2.

RATE = 1.0
"""Reads of a key per second, over all isolates."""
TTL = 2.0
KEYS = 40
WARM_UP = 10 * (TTL + 1 / RATE)
END = WARM_UP + 30 * (TTL + 1 / RATE)


def origin_loads(**given: Any) -> list[float]:
    """Return the loads per expected read of each replication, after ten renewals of each key."""
    policy = CachePolicy(l1_ttl=given.pop("l1_ttl", 60.0))
    ratios = []
    for replication in range(1, REPLICATIONS + 1):
        with simulated() as loop:
            rig = Rig(loop=loop, policy=policy, ttl=TTL, **given)
            times, drawn = poisson(RATE * KEYS, END, replication)
            keys = np.floor(drawn[:, 0] * KEYS).astype(int)
            rig.read(times, keys, np.floor(drawn[:, 1] * rig.isolates).astype(int))
            loads = sum(at >= WARM_UP for at in rig.loads)
            ratios.append(float(loads / np.count_nonzero(times >= WARM_UP)))
    return ratios


def loads_per_read(*, isolates: int, load_takes: float) -> float:
    """Return the share of reads that load, where a TTL starts with its load.

    A load takes D. The first read of a cycle loads; so does the first one of each other isolate
    in the D that follow, for L2 has nothing yet. The last of these sets when the cycle ends; then
    the next read starts another: renewal-reward. With one isolate, or D = 0, it is 1/(1 + r T).
    """
    others, rate = isolates - 1, RATE / isolates
    first = -math.expm1(-rate * load_takes)
    x = np.linspace(0.0, load_takes, 2001)
    none_after = (1 - np.exp(-rate * x) + math.exp(-rate * load_takes)) ** others
    last = float(np.trapezoid(1 - none_after, x))
    return (1 + others * first) / (1 + RATE * (TTL + last))


@pytest.mark.parametrize(
    "given",
    [
        {"isolates": 1},
        {"isolates": 4},
        {"isolates": 4, "l1_ttl": 0.5},
        {"isolates": 4, "max_entries": 5},
        {"isolates": 8, "max_entries": 1, "l1_ttl": 0.1},
    ],
    ids=str,
)
def test_origin_is_asked_once_a_ttl_whatever_lies_above_l2(given: dict[str, Any]) -> None:
    assert abs(t_statistic(origin_loads(**given), 1 / (1 + RATE * TTL))) < LIMIT


def test_time_of_a_load_is_part_of_the_ttl() -> None:
    # r / (1 + r T), not r / (1 + r (T + D)): an entry's life begins with its load.
    ratios = origin_loads(isolates=1, load_takes=0.5)
    assert abs(t_statistic(ratios, 1 / (1 + RATE * TTL))) < LIMIT
    assert abs(t_statistic(ratios, 1 / (1 + RATE * (TTL + 0.5)))) > LIMIT


def test_isolates_that_miss_during_a_load_add_theirs() -> None:
    ratios = origin_loads(isolates=4, load_takes=0.5)
    assert abs(t_statistic(ratios, loads_per_read(isolates=4, load_takes=0.5))) < LIMIT
    assert abs(t_statistic(ratios, 1 / (1 + RATE * TTL))) > LIMIT


def test_formula_of_the_oracle_has_its_limits() -> None:
    assert loads_per_read(isolates=1, load_takes=0.5) == pytest.approx(1 / 3)
    assert loads_per_read(isolates=9, load_takes=0.0) == pytest.approx(1 / 3)
    assert loads_per_read(isolates=4, load_takes=0.5) > 1 / 3


def test_promotion_with_a_full_ttl_is_caught_by_the_same_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TieredCache, "_fresh_until", lambda cache, envelope: cache.now() + TTL)
    ratios = origin_loads(isolates=4)
    assert abs(t_statistic(ratios, 1 / (1 + RATE * TTL))) > LIMIT


def test_ttl_that_starts_when_the_load_ends_is_caught_by_the_same_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lifetime = Lifetime.ttl
    monkeypatch.setattr(
        Lifetime,
        "ttl",
        lambda life, ttl, **given: lifetime(life, ttl, **given) + 0.5,  # the load takes so long
    )
    ratios = origin_loads(isolates=1, load_takes=0.5)
    assert abs(t_statistic(ratios, 1 / (1 + RATE * TTL))) > LIMIT
    assert abs(t_statistic(ratios, 1 / (1 + RATE * (TTL + 0.5)))) < LIMIT


# A bounded LRU with a TTL.

LRU_KEYS = 150
LRU_ENTRIES = 40
LRU_TTL = 0.5
LRU_RATE = 400.0
CHE_ERROR = 0.001
"""How far Che's approximation was off, at most, over 18 mixed cases."""


def popularity() -> Any:
    weights = np.arange(1, LRU_KEYS + 1) ** -0.9
    return weights / weights.sum()


def che_hit_ratio(rates: Any, entries: int, ttl: float) -> float:
    """Return the hit ratio of an LRU whose entries end at a TTL that no hit renews.

    Che, Tung, Wang, IEEE JSAC 20(7), 2002, for the time Tc that an entry stays without a hit; the
    hits per fill are M(T), M(t) = integral from 0 to min(t, Tc) of r exp(-rx) (1 + M(t-x)) dx.
    """
    low, high = 0.0, 1e4
    for _ in range(100):
        characteristic = (low + high) / 2
        if np.sum(-np.expm1(-rates * characteristic)) < entries:
            low = characteristic
        else:
            high = characteristic
    steps = 600
    x = np.linspace(0.0, ttl, steps + 1)
    # The mass of each step; M within a step is taken as the mean of its ends.
    edges = np.minimum(x, characteristic)
    mass = np.exp(-rates[:, None] * edges[:-1]) - np.exp(-rates[:, None] * edges[1:])
    hits = np.zeros((len(rates), steps + 1))
    for step in range(1, steps + 1):
        before = hits[:, step - 1 :: -1] if step > 1 else hits[:, :1]
        after = hits[:, step:0:-1]
        known = (mass[:, :step] * (1 + before / 2)).sum(axis=1)
        known += (mass[:, 1:step] * after[:, 1:] / 2).sum(axis=1)
        hits[:, step] = known / (1 - mass[:, 0] / 2)
    per_key = hits[:, -1] / (1 + hits[:, -1])
    return float(np.sum(per_key * rates) / np.sum(rates))


def hit_ratios(*, entries: int = LRU_ENTRIES) -> list[float]:
    """Return the share of reads that L1 answers, for each replication."""
    edges = np.cumsum(popularity())
    ratios = []
    for replication in range(1, 11):
        with simulated() as loop:
            rig = Rig(
                loop=loop, policy=CachePolicy(l1_ttl=60.0), ttl=LRU_TTL,
                max_entries=entries, keeps_l2=False,
            )  # fmt: skip
            times, drawn = poisson(LRU_RATE, 30.0, replication)
            keys = np.searchsorted(edges, drawn[:, 0] * edges[-1])
            rig.read(times, keys, keys * 0)
            outcomes = rig.outcomes()
            ratios.append(float(outcomes[L1_HIT] / outcomes.sum()))
    return ratios


def beyond_che(ratios: list[float]) -> float:
    """Return |t| of what is left when the approximation's own error is taken off."""
    expected = che_hit_ratio(LRU_RATE * popularity(), LRU_ENTRIES, LRU_TTL)
    mean = sum(ratios) / len(ratios)
    nearest = min(max(mean, expected - CHE_ERROR), expected + CHE_ERROR)
    return abs(t_statistic(ratios, nearest)) if nearest != mean else 0.0


LIMIT_OF_TEN = 4.8
"""The same chance with 9 degrees of freedom."""


def test_bounded_l1_hits_as_che_says() -> None:
    assert beyond_che(hit_ratios()) < LIMIT_OF_TEN


def test_che_of_an_endless_cache_or_an_endless_ttl_is_the_textbook() -> None:
    rates = LRU_RATE * popularity()
    endless = rates * LRU_TTL / (1 + rates * LRU_TTL)
    assert che_hit_ratio(rates, LRU_KEYS - 1, LRU_TTL) == pytest.approx(
        float(np.sum(endless * rates) / rates.sum()), abs=2e-3
    )


def test_l1_that_holds_a_tenth_more_is_caught_by_the_same_test() -> None:
    assert beyond_che(hit_ratios(entries=LRU_ENTRIES + 4)) > LIMIT_OF_TEN


def test_ttl_that_hits_renew_is_caught_by_the_same_test(monkeypatch: pytest.MonkeyPatch) -> None:
    get = MemoryCache.get

    def renewing(l1: MemoryCache, key: str, now: float) -> Any:
        entry = get(l1, key, now)
        if entry is not None:
            l1.set(key, entry.value, expires=now + LRU_TTL, size=1)
        return entry

    monkeypatch.setattr(MemoryCache, "get", renewing)
    assert beyond_che(hit_ratios()) > LIMIT_OF_TEN


# Early refresh.

LOAD_TAKES = 0.125


def foreground_shares(
    reads_per_load: float, *, until: float = 200.0, beta: float = 1.0
) -> list[float]:
    """Return the share of loads that a request had to wait for, for each replication.

    reads_per_load: rate x beta x the time of a load. The TTL is long beside the time of drawing.
    """
    rate = reads_per_load / (beta * LOAD_TAKES)
    keys, shares = 4, []
    for replication in range(1, REPLICATIONS + 1):
        with simulated() as loop:
            policy = CachePolicy(l1_ttl=60.0, early_refresh=beta)
            rig = Rig(
                loop=loop, policy=policy, ttl=4.0, load_takes=LOAD_TAKES, replication=replication
            )
            times, drawn = poisson(rate * keys, until / keys, replication)
            rig.read(times, np.floor(drawn[:, 0] * keys).astype(int), np.zeros(len(times), int))
            # The first load of a key follows nothing.
            shares.append((rig.outcomes()[MISS] - keys) / (len(rig.loads) - keys))
    return shares


@pytest.mark.parametrize("reads_per_load", [0.5, 1.0, 2.0])
def test_early_refresh_leaves_the_share_of_misses_that_xfetch_predicts(
    reads_per_load: float,
) -> None:
    # Reads at rate r renew at a gap s before the end with probability exp(-s / (beta D)); that
    # none does has the probability exp(-r beta D) (Vattani et al., VLDB 2015).
    shares = foreground_shares(reads_per_load, until=800.0)
    assert abs(t_statistic(shares, math.exp(-reads_per_load))) < LIMIT


def test_hot_keys_are_hardly_ever_missed_with_early_refresh() -> None:
    assert max(foreground_shares(10.0, until=100.0)) == 0.0


def test_early_refresh_that_starts_half_as_early_is_caught_by_the_same_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    renews: Callable[..., bool] = Lifetime.renews_early
    monkeypatch.setattr(
        Lifetime,
        "renews_early",
        lambda life, now, fresh, seconds: renews(life, now, fresh, seconds / 2),
    )
    shares = foreground_shares(1.0, until=800.0)
    assert abs(t_statistic(shares, math.exp(-1.0))) > LIMIT
