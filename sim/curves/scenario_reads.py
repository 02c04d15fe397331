"""The cache reads of a scenario's replication, and what the caches hold before them.

They depend on the scenario's traffic and seed, not on its caches, so that one drawing serves every
size and TTL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.context import Purpose
from core.errors import InputError
from core.scenario.replay import History, Prepared, prepare
from core.scenario.scenario import Scenario
from core.scenario.warm_start import before_window, read_rates
from core.scenario.workload import choose, subject_weights
from core.streams import Stream
from sim.coverage import counts_of
from sim.curves.theory import Popularity
from sim.curves.tiered import Reads, Start, Tiers

MOST_REQUESTS = 5_000_000
"""Of a run; they are held in memory."""
_MOST_BEFORE = 3_000_000
"""Reads before the run that a steady state is reached by, at most."""
_BEFORE = 1 << 19  # the columns of Purpose.WARM_START from here on; `warm_start` takes the others


# Arrays have no single truth value: a generated __eq__ could only raise.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """The requests of one replication, those before the run first, and the keys of their reads.

    keys_of: dense numbers of the keys of each request's reads, -1 for none, shape (n, width);
    takes: of those that the run itself asks for, the seconds as `sim.curves.tiered.Reads` has
    them, shape (m, width, 4). uniforms: which isolate answers, as a share. bases: the first number
    of each cache type. rates: reads/s of each key, drawn, or counted over all of these requests;
    seen: those that a read meets beside itself. history: what comes before a trace's window; held:
    the ends of what L2 holds there, by its TTLs, as far as they are known.
    """

    scenario: Scenario
    times: NDArray[np.float64]
    keys_of: NDArray[np.int32]
    takes: NDArray[np.float32]
    uniforms: NDArray[np.float64]
    bases: dict[str, int]
    key_count: int
    rates: NDArray[np.float64]
    seen: NDArray[np.float64]
    history: History | None
    held: dict[object, NDArray[np.float64]]
    replication: int

    @property
    def kinds(self) -> NDArray[np.int64]:
        """The cache type of each key, as a number in the order of `bases`."""
        sizes = np.diff([*self.bases.values(), self.key_count])
        return np.repeat(np.arange(len(self.bases)), sizes)

    @property
    def popularity(self) -> Popularity:
        """How often each key is asked for, as theory takes it."""
        asked = self.rates > 0
        rates = self.rates[asked]
        return Popularity(
            keys=np.ones(rates.size), shares=rates / rates.sum(), rates=rates,
            seen=self.seen[asked], kinds=self.kinds[asked],
        )  # fmt: skip


def drawn(
    scenario: Scenario,
    replication: int,
    *,
    longest: float,
    order: int = 0,
    held: dict[object, NDArray[np.float64]] | None = None,
) -> Drawn:
    """Return the requests of *replication*, with those that warm L1s up whose TTL is *longest*.

    order: 0 for the scenario's own; from 1 on, random orders of what is asked for, in which the
    times stay. held: as in `Drawn`, known of another replication. Raise InputError if the requests
    cannot be made, or are too many.
    """
    prepared = prepare(scenario, replication=replication)
    workload = prepared.workload
    if len(workload) > MOST_REQUESTS:
        raise InputError(
            f"{scenario.name}: {len(workload):,} requests; a curve takes {MOST_REQUESTS:,} at most:"
            " shorten the duration, or lower the rate"
        )
    counts = counts_of(scenario, prepared)
    bases, key_count = {}, 0
    for name, count in counts.items():
        bases[name] = key_count
        key_count += count
    uniforms = Stream(scenario.seed, Purpose.ISOLATES, replication=replication)
    isolate_of = uniforms.rows(0, len(workload))[:, 0]
    before = _before(scenario, prepared, replication, longest)
    times = np.concatenate((before[0], workload.intended))
    endpoint = np.concatenate((before[1], workload.endpoint))
    subject = np.concatenate((before[2], workload.subject))
    share = np.concatenate((before[3], isolate_of))
    if order:
        stream = Stream(scenario.seed, Purpose.SHUFFLES, replication=(replication << 8) + order)
        mixed = np.argsort(stream.rows(0, times.size)[:, 0], kind="stable")
        endpoint, subject = endpoint[mixed], subject[mixed]
    keys_of = np.full((times.size, scenario.endpoints.read_width), -1, np.int32)
    first = times.size - len(workload)
    places = []
    for code, described in enumerate(scenario.endpoints):
        mine = np.flatnonzero(endpoint == code)
        for slot, read in enumerate(described.reads):
            number = subject[mine].astype(np.int64)
            if read.key == "site":
                number %= scenario.traffic.sites
            elif read.key == "none":
                number[:] = 0
            keys_of[mine, slot] = bases[read.cache_type] + number
            queries = 1 if read.queries is None else read.queries
            own = mine[mine >= first] - first
            places.append(_Place(own, slot, described.slots[read.name], queries))
    takes = _takes(scenario, places, (len(workload), keys_of.shape[1]), replication)
    rates, seen = _rates(scenario, prepared, keys_of, times, bases, key_count)
    return Drawn(
        scenario=scenario, times=times, keys_of=keys_of, takes=takes, uniforms=share, bases=bases,
        key_count=key_count, rates=rates, seen=seen, history=prepared.history,
        held={} if held is None else held,
        replication=replication,
    )  # fmt: skip


class _Place(NamedTuple):
    """Requests whose read number *read* draws under *slot*, and the queries of its load."""

    rows: NDArray[np.int64]
    read: int
    slot: int
    queries: int


def _takes(
    scenario: Scenario, places: Sequence[_Place], shape: tuple[int, int], replication: int
) -> NDArray[np.float32]:
    """Return the seconds of L2, hot and cold, of a load, and of a write, shape (*shape*, 4)."""
    l2, l3 = scenario.tiers.l2, scenario.tiers.l3
    takes = np.zeros((*shape, 4), np.float32)
    draws = (
        (Purpose.L2_READ, ((0, l2.read), (1, l2.cold_read))),
        (Purpose.L3_ROUND_TRIP, ((2, l3.round_trip),)),
        (Purpose.L3_EXECUTION, ((2, l3.read_execution),)),
        (Purpose.L2_WRITE, ((3, l2.write),)),
    )
    for purpose, columns in draws:
        stream = Stream(
            scenario.seed, purpose, width=scenario.endpoints.slot_count, replication=replication
        )
        uniforms = stream.rows(0, shape[0])
        for place in places:
            u = uniforms[place.rows, place.slot]
            for column, law in columns:
                drawn = np.interp(u, np.linspace(0, 1, len(law.table)), law.table)
                takes[place.rows, place.read, column] += drawn
    for place in places:
        takes[place.rows, place.read, 2] *= place.queries
    return takes


_Rows = tuple[
    NDArray[np.float64], NDArray[np.uint8], NDArray[np.uint32], NDArray[np.float64]
]  # times, endpoints, subjects, isolates as shares


def _before(scenario: Scenario, prepared: Prepared, replication: int, longest: float) -> _Rows:
    nothing = (np.empty(0), np.empty(0, np.uint8), np.empty(0, np.uint32), np.empty(0))
    if scenario.start == "cold":
        return nothing
    if (history := prepared.history) is not None:
        if not history.seconds.size:
            return nothing
        begins, _, shares = before_window(scenario, history)
        return (
            history.seconds[begins:], history.endpoint[begins:], history.subject[begins:], shares
        )  # fmt: skip
    rate = scenario.traffic.stages[0].rate
    seconds = min(longest, _MOST_BEFORE / max(rate, 1e-9) / scenario.endpoints.read_width)
    expected = rate * seconds
    count = int(expected + 6 * np.sqrt(expected) + 10) if rate else 0

    def uniforms(column: int, rows: int) -> NDArray[np.float64]:
        place = (replication << 20) + _BEFORE + column
        return Stream(scenario.seed, Purpose.WARM_START, replication=place).rows(0, rows)[:, 0]

    times = np.cumsum(-np.log1p(-uniforms(0, count))) / max(rate, 1e-9)
    times = times[times < seconds][::-1] * -1.0
    n = times.size
    endpoint = choose(scenario.traffic.mix.weights(), uniforms(1, n)).astype(np.uint8)
    subject, u = np.zeros(n, np.uint32), uniforms(2, n)
    for code, weights in enumerate(subject_weights(scenario)):
        mine = endpoint == code
        if weights.size and mine.any():
            subject[mine] = choose(weights, u[mine])
    return times, endpoint, subject, uniforms(3, n)


def _rates(
    scenario: Scenario, prepared: Prepared, keys_of: NDArray[np.int32], times: NDArray[np.float64],
    bases: dict[str, int], key_count: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    if prepared.history is None:
        rates = np.zeros(key_count)
        for name, known in read_rates(scenario).items():
            rates[bases[name] : bases[name] + known.size] = known
        first, after = scenario.traffic.stages[0].rate, scenario.warm_up
        counted = int(np.count_nonzero(prepared.workload.intended >= after))
        mean = counted / scenario.duration
        if first > 0:
            rates *= mean / first
        return rates, rates
    found = keys_of[keys_of >= 0]
    often = np.bincount(found, minlength=key_count).astype(np.float64)
    span = max(float(times[-1] - times[0]), 1e-9) if times.size else 1.0
    # A read meets the other reads of its key: one less than there are.
    return often / span, np.maximum(often - 1, 0) / span


def since(drawn: Drawn, seconds: float) -> Drawn:
    """Return *drawn* without the requests that come more than so long before the run.

    Those before the window of a trace all stay.
    """
    if drawn.history is not None:
        return drawn
    first = int(np.searchsorted(drawn.times, -seconds))
    return replace(
        drawn, times=drawn.times[first:], keys_of=drawn.keys_of[first:],
        uniforms=drawn.uniforms[first:],
    )  # fmt: skip


def reads_of(drawn: Drawn, isolate_count: int) -> Reads:
    """Return the reads of *drawn* where so many isolates share them out."""
    width = drawn.keys_of.shape[1]
    flat = drawn.keys_of.ravel()
    real = np.flatnonzero(flat >= 0)
    row = real // width
    isolates = np.floor(drawn.uniforms * isolate_count).astype(np.int32)
    times = drawn.times[row]
    own = drawn.keys_of[drawn.times.size - len(drawn.takes) :].ravel() >= 0
    return Reads(
        times=times, keys=flat[real], isolates=isolates[row],
        counted=times >= drawn.scenario.warm_up, takes=drawn.takes.reshape(-1, 4)[own],
        goes_on=np.append(row[1:] == row[:-1], False),
        key_count=drawn.key_count, isolate_count=isolate_count,
    )  # fmt: skip


def tiers_of(drawn: Drawn, scenario: Scenario) -> Tiers:
    """Return the tiers of *scenario*, which may differ from the drawn one in its tiers alone."""
    tiers = scenario.tiers
    ttls = np.array([tiers.l2.ttl.of(name) for name in drawn.bases])
    return Tiers(
        l1_ttl=tiers.l1.ttl, ttls=ttls[drawn.kinds],
        cache_ttl=tiers.l2.cache_ttl, per_process=scenario.topology.isolates,
    )  # fmt: skip


def start_of(drawn: Drawn, scenario: Scenario, isolate_count: int) -> Start:
    """Return what the caches of *scenario* hold at the first of the drawn reads.

    L2 holds a key with probability rT / (1 + rT) and a uniform residual life. An L1 has every key
    in the order of its last read, and likewise an end within L2's.
    """
    keys, nothing = drawn.key_count, np.full(drawn.key_count, -np.inf)
    empty = Start(
        l2_until=nothing, hot_until=nothing, order=np.empty((isolate_count, 0), np.int32),
        l1_until=np.empty((isolate_count, 0)),
    )  # fmt: skip
    if scenario.start == "cold" or not drawn.times.size:
        return empty
    if drawn.history is not None:
        if not drawn.history.seconds.size:
            return empty
        ttls = tuple(scenario.tiers.l2.ttl)
        if ttls not in drawn.held:  # it takes longer than a pass
            until = nothing.copy()
            for (name, subject), end in before_window(scenario, drawn.history).held.items():
                until[drawn.bases[name] + subject] = end
            drawn.held[ttls] = until
        return replace(empty, l2_until=drawn.held[ttls])
    tiers = tiers_of(drawn, scenario)
    at = float(drawn.times[0])
    # At the first stage's rate, as warm starts are sampled.
    rates = np.zeros(keys)
    for name, known in read_rates(scenario).items():
        rates[drawn.bases[name] : drawn.bases[name] + known.size] = known

    def uniforms(column: int, count: int) -> NDArray[np.float64]:
        place = (drawn.replication << 20) + _BEFORE + column
        return Stream(scenario.seed, Purpose.WARM_START, replication=place).rows(0, count)[:, 0]

    held = uniforms(8, keys) < rates * tiers.ttls / (1 + rates * tiers.ttls)
    ends = uniforms(9, keys) * tiers.ttls
    l2_until = np.where(held, at + ends, -np.inf)
    asked = np.flatnonzero(rates > 0).astype(np.int32)
    each = rates[asked] / isolate_count
    lives = np.minimum(tiers.l1_ttl, tiers.ttls[asked])
    shape = (isolate_count, asked.size)
    ages = (-np.log1p(-uniforms(10, isolate_count * asked.size))).reshape(shape) / each
    alive = uniforms(11, ages.size).reshape(shape) < each * lives / (1 + each * lives)
    left = np.minimum(uniforms(12, ages.size).reshape(shape) * lives, ends[asked])
    until = np.where(alive & held[asked], at + left, at - 1.0)
    order = np.argsort(-ages, axis=1, kind="stable")
    of_l2 = rates / (1 + rates * (tiers.l1_ttl if scenario.tiers.l1.scope == "isolate" else 0.0))
    last = np.full(keys, np.inf)
    last[asked] = -np.log1p(-uniforms(13, asked.size)) / of_l2[asked]
    return Start(
        l2_until=l2_until, hot_until=np.where(held, at + tiers.cache_ttl - last, -np.inf),
        order=asked[order], l1_until=np.take_along_axis(until, order, axis=1),
    )  # fmt: skip
