"""Warm starts: what the caches hold when a run begins, as data that is a function of the seed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.context import Purpose
from core.endpoint import Read
from core.scenario.distances import isolate_shares
from core.scenario.eviction import is_off
from core.scenario.lives import LifeBefore, LivesOfHistory, lives_before
from core.scenario.recorded import Effects
from core.scenario.replay import History, Prepared
from core.scenario.scenario import Scenario
from core.scenario.workload import isolates_at, subject_weights
from core.streams import Stream

REPLAYED = 100_000
"""Accesses of a trace before its window that are gone through one by one."""


class WarmL2(NamedTuple):
    """An L2 entry: residual life in seconds, and for how long its key stays hot (0: it is cold)."""

    cache_type: str
    subject: int
    residual: float
    hot: float


class WarmL1(NamedTuple):
    """An L1 entry of one isolate; entries of an isolate stand in the order of their last use."""

    isolate: int
    cache_type: str
    subject: int
    residual: float


@dataclass(frozen=True, slots=True)
class WarmState:
    """All entries that the caches hold at the start of a run.

    expired: what L1 still holds beyond its end, since nothing asked for it again or pushed it out:
    the subjects by cache type and isolate, those that ended first before the others. lives: the
    isolates that there are, none where nothing is said of their eviction or the start is cold.
    hot: with regions, for how long the key of each of *l2* stays hot in each process, in place of
    the one time for all.
    """

    l2: tuple[WarmL2, ...] = ()
    l1: tuple[WarmL1, ...] = ()
    expired: tuple[tuple[str, tuple[tuple[int, ...], ...]], ...] = ()
    lives: tuple[LifeBefore, ...] = ()
    hot: tuple[tuple[float, ...], ...] = ()

    @property
    def expired_count(self) -> int:
        """How many entries have ended and are still held, over all isolates."""
        return sum(len(subjects) for _, by_isolate in self.expired for subjects in by_isolate)

    def expired_of(self, isolate: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield cache types and the subjects of each that have ended in the L1 of *isolate*."""
        for cache_type, by_isolate in self.expired:
            yield cache_type, by_isolate[isolate]


def warm_state(scenario: Scenario, prepared: Prepared, *, replication: int = 0) -> WarmState:
    """Return what L1 and L2 hold at time 0: nothing on a cold start.

    From a trace: the accesses before its window. Without one: a sample of the steady state at
    the first stage's rate.
    """
    if scenario.start == "cold":
        return WarmState()
    if prepared.history is not None:
        return _replayed(scenario, prepared.history)
    return _sampled(scenario, replication)


class _Sampler:
    """Columns of random numbers, each a function of (seed, replication, section, its number)."""

    def __init__(self, scenario: Scenario, replication: int) -> None:
        self._seed, self._base, self._drawn = scenario.seed, replication << 20, 0

    def begin(self, section: int) -> None:
        """Start the columns of *section*, whatever number of them the last one took."""
        self._drawn = section << 16

    def uniforms(self, count: int) -> NDArray[np.float64]:
        self._drawn += 1
        stream = Stream(self._seed, Purpose.WARM_START, replication=self._base + self._drawn)
        return stream.rows(0, count)[:, 0]

    def exponentials(self, rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one exponential time for each rate per second, of any shape."""
        unit = np.round(-np.log1p(-self.uniforms(rates.size)) * 2.0**32) * 2.0**-32
        return unit.reshape(rates.shape) / rates


def read_rates(scenario: Scenario) -> dict[str, NDArray[np.float64]]:
    """Return reads per second of every subject at the first stage's rate, by cache type."""
    arrival_rate = scenario.traffic.stages[0].rate
    weights = np.asarray(scenario.traffic.mix.weights())
    shares = weights / weights.sum()
    rates: dict[str, NDArray[np.float64]] = {}
    each = zip(scenario.endpoints, shares, subject_weights(scenario), strict=True)
    for endpoint, share, subjects in each:
        for read in endpoint.reads:
            law: NDArray[np.float64] = subjects
            if read.key == "site":
                numbers = np.arange(law.size) % scenario.traffic.sites
                law = np.bincount(numbers, weights=law).astype(np.float64)
            elif read.key == "none":
                law = np.ones(1)
            asked = arrival_rate * share * law
            known = rates.get(read.cache_type)
            rates[read.cache_type] = asked if known is None else _sum(known, asked)
    return rates


def _sum(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of two columns, of which one may be longer."""
    total = np.zeros(max(first.size, second.size))
    total[: first.size] += first
    total[: second.size] += second
    return total


def _sampled(scenario: Scenario, replication: int) -> WarmState:
    """Sample the steady state of L1s that are filled from one L2.

    With Poisson reads at rate r, L2 holds a key with probability rT / (1 + rT) and a uniform
    residual life (Jung, Berger, Balakrishnan, INFOCOM 2003). Since that fill, an isolate's reads
    at rate r/W have refilled its L1 each time its entry ended, at L2's end at the latest.
    """
    sampler = _Sampler(scenario, replication)
    tiers, isolates = scenario.tiers, scenario.topology.isolate_count
    l2: list[WarmL2] = []
    l1: list[tuple[float, WarmL1]] = []
    ended_for: dict[str, NDArray[np.float64]] = {}
    lives: tuple[LifeBefore, ...] = ()
    ages, shares = np.full(isolates, np.inf), isolate_shares(scenario)
    hot_by_process: list[tuple[float, ...]] = []
    if not is_off(scenario.topology.eviction):
        lives = lives_before(scenario, scenario.traffic.stages[0].rate * shares, replication)
        ages = np.array([life.age for life in lives])
    for section, (cache_type, all_rates) in enumerate(read_rates(scenario).items()):
        sampler.begin(section)
        ttl = tiers.l2.ttl.of(cache_type)
        held = sampler.uniforms(all_rates.size) < all_rates * ttl / (1 + all_rates * ttl)
        residual = sampler.uniforms(all_rates.size) * ttl
        subjects = np.flatnonzero(held & (all_rates > 0))
        rates, ends = all_rates[subjects], residual[subjects]
        present = np.zeros((subjects.size, isolates), dtype=np.bool_)
        reads = np.empty((0, scenario.topology.process_count))
        if subjects.size:
            if scenario.regions:
                per_isolate = rates[:, None] * shares
            else:
                per_isolate = np.repeat(rates[:, None] / isolates, isolates, axis=1)
            if tiers.l1.scope == "request":
                # Every read goes to L2, the one that filled it too.
                last_read = np.maximum(ends - ttl, -_age(sampler, rates))
                if scenario.regions:
                    reads = -_age(sampler, _by_process(scenario, per_isolate, np.sum))
            else:
                filled, ended = _l1_fills(sampler, per_isolate, ends, ttl, tiers.l1.ttl, ages)
                read = np.where(filled < 0, filled, -np.inf)
                if lives:  # the isolates before these read from L2, too
                    before, _ = _l1_fills(
                        sampler, per_isolate, ends, ttl, tiers.l1.ttl, np.full(isolates, np.inf)
                    )
                    read = np.maximum(read, np.where(before < 0, before, -np.inf))
                last_read = read.max(axis=1)
                if scenario.regions:
                    reads = _by_process(scenario, read, np.max)
                present = (filled < 0) & (ended > 0)
                used = np.maximum(filled, -_age(sampler, per_isolate))
                for key, isolate in zip(*np.nonzero(present), strict=True):
                    entry = WarmL1(
                        int(isolate), cache_type, int(subjects[key]), float(ended[key, isolate])
                    )
                    l1.append((float(used[key, isolate]), entry))
            hot = np.maximum(last_read + tiers.l2.cache_ttl, 0.0)
            if scenario.regions:
                stays = np.maximum(reads + tiers.l2.cache_ttl, 0.0)
                hot_by_process += map(tuple, stays.tolist())
            l2 += [
                WarmL2(cache_type, *row)
                for row in zip(subjects.tolist(), ends.tolist(), hot.tolist(), strict=True)
            ]
        if tiers.l1.scope == "isolate":
            alone = all_rates[:, None] * shares if scenario.regions else None
            gone = _ended_for(sampler, all_rates / isolates, subjects, present, alone)
            # What was read before an isolate began is not in it.
            ended_for[cache_type] = np.where(gone < ages, gone, np.inf)
    l1.sort(key=lambda pair: pair[0])
    return WarmState(
        tuple(l2),
        tuple(entry for _, entry in l1),
        _newest(ended_for, tiers.l1.max_entries - _live(l1, isolates)),
        lives,
        tuple(hot_by_process),
    )


def _by_process(
    scenario: Scenario,
    by_isolate: NDArray[np.float64],
    together: Callable[..., NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Return what the isolates of each process are *together*, from a column for each isolate."""
    processes = scenario.topology.process_count
    return together(by_isolate.reshape(len(by_isolate), processes, -1), axis=2)


def _ended_for(
    sampler: _Sampler,
    rates: NDArray[np.float64],
    subjects: NDArray[np.int64],
    present: NDArray[np.bool_],
    by_isolate: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return for how long each (subject, isolate) has ended: infinite if its entry lives.

    rates: reads per second of an isolate by subject; by_isolate: the same with a column for each,
    where they differ. No read came since the end, and reads are Poisson.
    """
    ages = np.full((rates.size, present.shape[1]), np.inf)
    read = np.flatnonzero(rates > 0)
    if by_isolate is None:
        ages[read] = sampler.exponentials(np.repeat(rates[read, None], present.shape[1], axis=1))
    else:
        ages[read] = sampler.exponentials(by_isolate[read])
    ages[subjects] = np.where(present, np.inf, ages[subjects])
    return ages


def _live(l1: Sequence[tuple[float, WarmL1]], isolates: int) -> NDArray[np.int64]:
    """Return how many live entries each isolate has."""
    isolate_of = np.array([entry.isolate for _, entry in l1], dtype=np.int64)
    return np.bincount(isolate_of, minlength=isolates).astype(np.int64)


def _newest(
    ages: dict[str, NDArray[np.float64]], room: NDArray[np.int64]
) -> tuple[tuple[str, tuple[tuple[int, ...], ...]], ...]:
    """Return the entries that ended last, as many of each isolate as it has *room* for.

    In the form of `WarmState.expired`.
    """
    found: dict[str, list[tuple[int, ...]]] = {name: [] for name in ages}
    for isolate, most in enumerate(room.tolist()):
        columns = {name: of_type[:, isolate] for name, of_type in ages.items()}
        together = np.concatenate([*columns.values(), np.empty(0)])
        oldest = np.sort(together)[most - 1] if 0 < most < together.size else np.inf
        for name, column in columns.items():
            kept = np.flatnonzero(np.isfinite(column) & (column <= oldest) & (most > 0))
            order = np.argsort(-column[kept], kind="stable")
            found[name].append(tuple(kept[order].tolist()))
    return tuple((name, tuple(lists)) for name, lists in found.items() if any(lists))


def _age(sampler: _Sampler, rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how long ago each was last read: exponential, as reads are Poisson."""
    return sampler.exponentials(rates)


def _l1_fills(
    sampler: _Sampler,
    rates: NDArray[np.float64],
    l2_ends: NDArray[np.float64],
    l2_ttl: float,
    l1_ttl: float,
    ages: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return when each (key, isolate) was last filled from L2 and when that entry ends.

    Fills that would lie after time 0 are returned as they fall: there is no entry then. ages: for
    how long each isolate has been there.
    """
    keys, isolates = rates.shape
    start = np.maximum((l2_ends - l2_ttl)[:, None], -ages)
    filled = start + sampler.exponentials(rates)
    leader = np.floor(sampler.uniforms(keys) * isolates).astype(int)
    # The read that filled L2 filled its own L1, if that is not of an isolate since replaced.
    filling = (l2_ends - l2_ttl) > -ages[leader]
    filled[filling, leader[filling]] = (l2_ends - l2_ttl)[filling]
    goes_on = np.ones_like(filled, dtype=np.bool_)
    while True:
        ended = np.minimum(filled + l1_ttl, l2_ends[:, None])
        refilled = ended + sampler.exponentials(rates)
        # Once a next fill lies after time 0 it is not drawn again: that would favour early ones.
        goes_on &= (ended <= 0) & (refilled < 0)
        if not goes_on.any():
            return filled, ended
        filled = np.where(goes_on, refilled, filled)


class BeforeWindow(NamedTuple):
    """How the accesses before a trace's window are gone through.

    begins: the first that is; held: the ends of what L2 holds there, by cache type and subject;
    isolates: of the accesses from there on, as uniforms.
    """

    begins: int
    held: dict[tuple[str, int], float]
    isolates: NDArray[np.float64]


def before_window(scenario: Scenario, history: History) -> BeforeWindow:
    """Return how the accesses before the window of a trace are gone through; there are some."""
    total = int(history.seconds.size)
    sampler = _Sampler(scenario, 0)
    begins = max(0, total - REPLAYED)
    start = float(history.seconds[begins])
    span = -float(history.seconds[0])
    held = _held_before(scenario, history, start, span, sampler)
    return BeforeWindow(begins, held, sampler.uniforms(total - begins))


def _replayed(scenario: Scenario, history: History) -> WarmState:
    """Go through the accesses before the window, oldest first, as an instant tiered cache would.

    A key read before those that are gone through is held where they begin with probability
    rT / (1 + rT) at its own rate r over all accesses before the window, with a uniform residual
    life, so that entries do not all end together.
    """
    if not history.seconds.size:
        return WarmState()
    tiers, isolates = scenario.tiers, scenario.topology.isolate_count
    begins, l2, uniforms = before_window(scenario, history)
    hot: dict[tuple[str, int], float] = {}
    hot_in: dict[tuple[str, int], list[float]] = {}  # by process
    memory: list[OrderedDict[tuple[str, int], float]] = [OrderedDict() for _ in range(isolates)]
    drawn = isolates_at(scenario, uniforms).tolist()
    processes, in_each = scenario.topology.process_count, scenario.topology.isolates
    sites, ttls = scenario.traffic.sites, tiers.l2.ttl
    keeps_l1 = tiers.l1.scope == "isolate"
    reads_of = [endpoint.reads for endpoint in scenario.endpoints]
    recorded = history.effects
    own_ttls = None if recorded is None or recorded.ttls is None else recorded.ttls.tolist()
    written = {} if recorded is None else _written_behind(recorded)
    keyed = {read.cache_type for endpoint in scenario.endpoints for read in endpoint.primary}
    place = begins - 1
    lives = (
        None
        if is_off(scenario.topology.eviction)
        else LivesOfHistory(scenario, float(history.seconds[begins]))
    )
    reads = zip(
        history.seconds[begins:].tolist(),
        history.endpoint[begins:].tolist(),
        history.subject[begins:].tolist(),
        drawn,
        strict=True,
    )
    for now, endpoint, subject, isolate in reads:
        cache = memory[isolate]
        if lives is not None and lives.ask(isolate, now):
            cache.clear()
        place += 1
        ttl = 0.0 if own_ttls is None else own_ttls[place]
        for key in _keys(reads_of[endpoint], subject, sites):
            if cache.get(key, -np.inf) > now:
                cache.move_to_end(key)
                continue
            expires = l2.get(key, -np.inf)
            if expires <= now:
                expires = l2[key] = now + (ttl if ttl and key[0] in keyed else ttls.of(key[0]))
            hot[key] = now + tiers.l2.cache_ttl
            if scenario.regions:
                hot_in.setdefault(key, [0.0] * processes)[isolate // in_each] = hot[key]
            if keeps_l1:
                cache.pop(key, None)
                cache[key] = min(expires, now + tiers.l1.ttl)
                if len(cache) > tiers.l1.max_entries:
                    cache.popitem(last=False)
        for seconds, code, about, is_delete, own in written.get(place, ()):
            for read in scenario.endpoints.endpoints[code].primary:
                key = (read.cache_type, about)
                for other in memory:
                    other.pop(key, None)
                if is_delete:
                    l2.pop(key, None)
                    hot.pop(key, None)
                    hot_in.pop(key, None)
                    continue
                expires = l2[key] = seconds + (own or ttls.of(read.cache_type))
                if keeps_l1:
                    cache[key] = min(expires, seconds + tiers.l1.ttl)
    before = () if lives is None else lives.at_start()
    for isolate, life in enumerate(before):
        if not life.age:
            memory[isolate].clear()
    return WarmState(
        tuple(
            WarmL2(*key, expires, max(hot.get(key, 0.0), 0.0))
            for key, expires in l2.items()
            if expires > 0
        ),
        tuple(
            WarmL1(isolate, *key, expires)
            for isolate, cache in enumerate(memory)
            for key, expires in cache.items()
            if expires > 0
        ),
        _expired_in(memory),
        before,
        tuple(
            tuple(max(until, 0.0) for until in hot_in.get(key, [0.0] * processes))
            for key, expires in l2.items()
            if expires > 0 and scenario.regions
        ),
    )


def _expired_in(
    memory: Sequence[OrderedDict[tuple[str, int], float]],
) -> tuple[tuple[str, tuple[tuple[int, ...], ...]], ...]:
    """Return what the L1s in *memory* hold beyond its end, as `WarmState.expired`."""
    found: dict[str, list[list[int]]] = {}
    for isolate, cache in enumerate(memory):
        for (cache_type, subject), expires in cache.items():
            if expires <= 0:
                lists = found.setdefault(cache_type, [[] for _ in memory])
                lists[isolate].append(subject)
    return tuple((name, tuple(map(tuple, lists))) for name, lists in found.items())


def _written_behind(effects: Effects) -> dict[int, list[tuple[float, int, int, bool, float]]]:
    """Return the writes by the read that each stands behind, in their order."""
    found: dict[int, list[tuple[float, int, int, bool, float]]] = {}
    rows = zip(
        effects.after.tolist(), effects.seconds.tolist(), effects.endpoint.tolist(),
        effects.subject.tolist(), effects.is_delete.tolist(), effects.write_ttls.tolist(),
        strict=True,
    )  # fmt: skip
    for after, *write in rows:
        found.setdefault(after - 1, []).append((write[0], write[1], write[2], write[3], write[4]))
    return found


def _keys(reads: Sequence[Read], subject: int, sites: int) -> list[tuple[str, int]]:
    """Return the cache type and the number of what each of *reads* about *subject* asks for."""
    numbers = {"subject": subject, "site": subject % sites, "none": 0}
    return [(read.cache_type, numbers[read.key]) for read in reads]


def _held_before(
    scenario: Scenario, history: History, start: float, span: float, sampler: _Sampler
) -> dict[tuple[str, int], float]:
    """Return the end of every key that L2 holds at *start*, drawn from its rate over *span*."""
    held: dict[tuple[str, int], float] = {}
    readers: dict[str, list[int]] = {}
    for code, endpoint in enumerate(scenario.endpoints):
        for read in endpoint.primary:
            readers.setdefault(read.cache_type, []).append(code)
    for cache_type, codes in readers.items():
        chosen = np.isin(history.endpoint, codes) & (history.seconds < start)
        subjects, counts = np.unique(history.subject[chosen], return_counts=True)
        expected = counts / span * scenario.tiers.l2.ttl.of(cache_type)
        keep = sampler.uniforms(subjects.size) < expected / (1 + expected)
        ends = start + sampler.uniforms(subjects.size) * scenario.tiers.l2.ttl.of(cache_type)
        for subject, end in zip(subjects[keep].tolist(), ends[keep].tolist(), strict=True):
            held[cache_type, subject] = end
    return held
