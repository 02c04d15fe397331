"""Load a warm state into caches: the values come from the database, at no cost in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from core.application.behaviour import behaviours_of, entries_of
from core.application.cache_entries import (
    CacheEntries,
    attribution_key,
    channels_key,
    journey_key,
    site_key,
    user_key,
)
from core.attribution.scheme import Scheme
from core.caching.envelope import HEADER_BYTES, seal
from core.caching.kv import KVStore, StoreItem
from core.caching.memory import Entry, expired_entry
from core.caching.policy import CacheType
from core.caching.tiered import TieredCache
from core.clock import Clock, ManualClock
from core.emulation.kv import DelayedKV
from core.endpoint import Endpoint, Read
from core.metrics.profiler import LatencyProfiler
from core.query.cache import RULES, QueryCache
from core.query.database import Database
from core.query.executor import QueryExecutor
from core.query.queries import Queries
from core.scenario.population import argument_of, conversion_id, model_name, site_id, user_id
from core.scenario.scenario import Scenario
from core.scenario.warm_start import WarmState

_PAGE = 1_000

_Entry = tuple[str, Any, bytes | None, tuple[str, ...]]
"""Key, value, encoded value and tags; None is the absence of a value."""


def load_seconds_of(scenario: Scenario) -> float:
    """Return what the load of every warm entry is taken to have taken, in seconds."""
    l3 = scenario.tiers.l3
    return l3.round_trip.sample(0.5) + l3.read_execution.sample(0.5)


class Warmer:
    """Knows the key and the value of every warm entry; values are loaded once and kept.

    scheme: of the model that entries of data_driven come from.
    """

    def __init__(self, database: Database, scenario: Scenario, scheme: Scheme) -> None:
        clock, profiler = ManualClock(), LatencyProfiler()
        queries = Queries(database, clock, profiler, parameters=scheme.parameters)
        self._scheme = scheme
        tiers = scenario.tiers
        self._own = entries_of(behaviours_of(scenario.endpoints))
        self._database, self._tiers = database, tiers
        self._processes = scenario.topology.process_count
        self._parameters = scheme.parameters
        self._entries = self._entries_over(queries)
        self._arguments = {
            read.cache_type: _arguments(endpoint, read)
            for endpoint in scenario.endpoints
            for read in endpoint.reads
        }
        self._types = self._entries.types
        self.ttls = {name: kind.ttl for name, kind in self._types.items()}
        """How long an entry lives, in seconds, by its cache type."""
        self._stale_bound = scenario.tiers.stale_bound
        self.load_seconds = load_seconds_of(scenario)
        self._known: dict[tuple[str, int], _Entry] = {}
        self._expired: dict[str, dict[int, tuple[str, Entry]]] = {}

    def _entries_over(self, queries: Queries) -> CacheEntries:
        tiers = self._tiers
        return CacheEntries(queries, ttls=tiers.l2.ttl, tags=tiers.tags, own=self._own)

    def adopt(self, scheme: Scheme) -> None:
        """Warm by *scheme* from now on; load values that depend on another scheme anew."""
        if scheme is not self._scheme:
            self._scheme = scheme
            for place in [*self._known]:
                if place[0] in ("attribution", "channel_metrics"):
                    del self._known[place]
                    self._expired.pop(place[0], None)

    async def load(self, state: WarmState) -> None:
        """Load every value of *state* from the database, so that warming is quick."""
        for held in state.l2:
            await self._entry(held.cache_type, held.subject)
        for kept in state.l1:
            await self._entry(kept.cache_type, kept.subject)
        for cache_type, by_isolate in state.expired:
            for subject in set().union(*by_isolate):
                await self._expired_entry(cache_type, subject)

    async def warm_l2(self, state: WarmState, kv: KVStore, clock: Clock, origin: float) -> None:
        """Put the L2 entries of *state* into *kv*; StoreError if it fails.

        origin: the time of *clock* that residual lives count from.
        """
        origin_ms = clock.origin_ms + int(origin * 1000)
        items, load_seconds = [], self.load_seconds
        left = origin - clock.now() + self._stale_bound
        lives = {name: int(1000 * kind.ttl) for name, kind in self._types.items()}
        for cache_type, subject, residual, _ in state.l2:
            known = self._known.get((cache_type, subject))
            key, _, encoded, tags = known or await self._entry(cache_type, subject)
            expires_ms = origin_ms + int(residual * 1000)
            sealed = seal(
                encoded,
                loaded_ms=expires_ms - lives[cache_type],
                expires_ms=expires_ms,
                load_seconds=load_seconds,
                tags=tags,
            )
            if residual + left > 0:
                # Half the time of StoreItem(...), for each of many thousands.
                items.append(tuple.__new__(StoreItem, (key, sealed, residual + left, tags)))
        for start in range(0, len(items), _PAGE):
            await kv.put(*items[start : start + _PAGE])

    async def warm_process(
        self,
        state: WarmState,
        caches: Sequence[TieredCache],
        view: DelayedKV | None,
        *,
        first_isolate: int,
        origin: float,
        rows: QueryCache | None = None,
        is_own: bool = False,
    ) -> None:
        """Put the L1 entries of *state* into *caches*, and tell *view* the hot keys.

        caches: those of one process, whose isolates are numbered from *first_isolate* on. rows: the
        process's query cache, which gets the rows behind the youngest entries of L2. is_own:
        whether entries that have ended are objects of their own in each cache, as in a service
        whose memory is measured; otherwise all caches share them, which takes no time.
        """
        if rows is not None:
            await self._warm_rows(state, rows, first_isolate // len(caches), origin)
        for number, cache in enumerate(caches if state.expired else ()):
            if not len(cache.l1):  # a second try finds them there
                isolate = first_isolate + number
                cache.l1.fill_with_expired(await self._gone(state, isolate, is_own=is_own))
        evicted = [cache.l1.statistics.evicted for cache in caches]
        ends: dict[tuple[str, int], float] = {}
        if caches and caches[0].keeps:  # L1 needs the times at which TTLs end
            ends = {(kind, subject): residual for kind, subject, residual, _ in state.l2}
        for isolate, cache_type, subject, residual in state.l1:
            if first_isolate <= isolate < first_isolate + len(caches):
                known = self._known.get((cache_type, subject))
                key, value, encoded, tags = known or await self._entry(cache_type, subject)
                caches[isolate - first_isolate].warm_l1(
                    key,
                    value,
                    l1_until=origin + residual,
                    fresh_until=origin + max(residual, ends.get((cache_type, subject), 0.0))
                    if ends
                    else origin + residual,
                    load_seconds=self.load_seconds,
                    encoded_size=len(encoded or b""),
                    tags=tags,
                )
        for cache, before in zip(caches, evicted, strict=True):
            cache.l1.statistics.evicted = before
        if view is not None:
            position = first_isolate // len(caches)
            for row, (cache_type, subject, _, hot_anywhere) in enumerate(state.l2):
                hot = state.hot[row][position] if state.hot else hot_anywhere
                if hot > 0:
                    known = self._known.get((cache_type, subject))
                    key, *_ = known or await self._entry(cache_type, subject)
                    view.touch(key, origin + hot)

    async def _gone(self, state: WarmState, isolate: int, *, is_own: bool) -> dict[str, Entry]:
        """Return by key the entries of *isolate* that have ended, those that ended first first."""
        gone: dict[str, Entry] = {}
        for cache_type, subjects in state.expired_of(isolate):
            pairs = self._expired.setdefault(cache_type, {})
            if missing := set(subjects).difference(pairs):
                for subject in sorted(missing):
                    await self._expired_entry(cache_type, subject)
            if not is_own:
                gone.update(map(pairs.__getitem__, subjects))  # there are many thousands
                continue
            decode = self._types[cache_type].codec.decode
            for subject in subjects:
                key, _, encoded, _ = self._known[cache_type, subject]
                key = key.encode().decode()  # an object of its own, as the value
                value = None if encoded is None else decode(bytes(bytearray(encoded)))
                gone[key] = expired_entry(key, value, HEADER_BYTES + len(encoded or b""))
        return gone

    async def _warm_rows(
        self, state: WarmState, cache: QueryCache, position: int, origin: float
    ) -> None:
        """Put the rows into *cache* that loads of L2's entries have read within its TTL.

        Any process may have loaded an entry: each has its share of them, by their subjects.
        """
        young = []
        for cache_type, subject, residual, _ in state.l2:
            age = self._types[cache_type].ttl - residual
            if age < cache.ttl and subject % self._processes == position % self._processes:
                young.append((-age, cache_type, subject))
        hits = cache.hits
        clock = ManualClock(origin - cache.ttl)
        entries = self._entries_behind(cache, clock)
        for loaded, cache_type, subject in sorted(young):
            clock.advance(max(0.0, origin + loaded - clock.now()))
            await self._load(entries, cache_type, subject)
        cache.hits = hits

    def _entries_behind(self, cache: QueryCache, clock: Clock) -> CacheEntries:
        executor = QueryExecutor(self._database, clock, cache=cache, rules=RULES)
        queries = Queries(executor, clock, LatencyProfiler(), parameters=self._parameters)
        return self._entries_over(queries)

    async def load_through(self, cache: QueryCache, cache_type: str, subject: int) -> bytes | None:
        """Return the encoded value of an entry; its rows are in *cache* then."""
        entries = self._entries_behind(cache, ManualClock())
        _, value, _ = await self._load(entries, cache_type, subject)
        return None if value is None else self._types[cache_type].codec.encode(value)

    async def entry(
        self, cache_type: str, subject: int
    ) -> tuple[CacheType[Any], str, Any, tuple[str, ...]]:
        """Return the type, whole key, value and tags of an entry, at no cost in time."""
        key, value, _, tags = await self._entry(cache_type, subject)
        return self._types[cache_type], key, value, tags

    async def _entry(self, cache_type: str, subject: int) -> _Entry:
        known = self._known.get((cache_type, subject))
        if known is None:
            key, value, tags = await self._load(self._entries, cache_type, subject)
            encoded = None if value is None else self._types[cache_type].codec.encode(value)
            known = self._known[cache_type, subject] = (key, value, encoded, tags)
        return known

    async def _expired_entry(self, cache_type: str, subject: int) -> tuple[str, Entry]:
        """Return the key of an entry and the entry, long ended; all caches share it."""
        known = self._expired.setdefault(cache_type, {}).get(subject)
        if known is None:
            key, value, encoded, _ = await self._entry(cache_type, subject)
            entry = expired_entry(key, value, HEADER_BYTES + len(encoded or b""))
            known = self._expired[cache_type][subject] = (key, entry)
        return known

    async def _load(
        self, entries: CacheEntries, cache_type: str, subject: int
    ) -> tuple[str, Any, tuple[str, ...]]:
        scheme = self._scheme
        if (own := entries.own.get(cache_type)) is not None:
            arguments = tuple(of(subject) for of in self._arguments[cache_type])
            value = await entries.load_own(own, arguments)
            return entries.own_key(cache_type, arguments), value, entries.tags_of(own, arguments)
        if cache_type == "security_config":
            site = site_id(subject)
            return site_key(site), await entries.load_site(site), entries.tags("site", site)
        user, model = user_id(subject), model_name(subject)
        if cache_type == "lookup_data":
            return user_key(user), await entries.load_user(user), entries.tags("user", user)
        if cache_type == "user_journeys":
            return journey_key(user), await entries.load_journey(user), entries.tags("user", user)
        if cache_type == "channel_metrics":
            document = await entries.load_channels(model, scheme)
            return channels_key(scheme.key_end(model)), document, entries.tags("model", model)
        conversion = conversion_id(subject)
        credits = await entries.load_attribution(conversion, model, scheme)
        key = attribution_key(conversion, scheme.key_end(model))
        return key, credits, entries.tags("conversion", conversion)


def _arguments(endpoint: Endpoint, read: Read) -> tuple[Callable[[int], str], ...]:
    """Return a function that makes the arguments of *read* from the number of its subject."""
    if read.key == "subject":
        return tuple(argument_of(name) for name in endpoint.arguments)
    return (site_id,) if read.key == "site" else ()
