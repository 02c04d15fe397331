"""Claims about the tiered cache: who is answered from where, when, and for how long."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.caching.kv import MemoryKV
from core.caching.memory import MemoryCache
from core.caching.tiered import (
    MISSED,
    CachePolicy,
    CacheType,
    Text,
    TieredCache,
    seal,
    unseal,
)
from core.clock import ManualClock
from core.errors import StoreError, StoreTimeout
from core.record import NEGATIVE, READ_OUTCOMES
from core.span import CURRENT, SLOTS, Span
from core.wire import BYPASS, COLLAPSED, L1_HIT, L2_HIT, MISS

TTL = 100.0
L1_TTL = 60.0
NEGATIVE_TTL = 30.0
KIND = CacheType(name="lookup_data", ttl=TTL, codec=Text())
KEY = "user:u1"


class Store(MemoryKV):
    """A store that writes down what it is asked, and fails or waits when the test says so."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now)
        self.gets: list[str] = []
        self.puts: list[tuple[str, float, int]] = []
        self.failure: StoreError | None = None
        self.put_gate: asyncio.Future[None] | None = None

    async def get(self, key: str) -> bytes | None:
        self.gets.append(key)
        if self.failure is not None:
            raise self.failure
        return await super().get(key)

    async def put(self, key: str, value: bytes, ttl: float) -> None:
        self.puts.append((key, ttl, CURRENT.get().slot))
        if self.put_gate is not None:
            await self.put_gate
        if self.failure is not None:
            raise self.failure
        await super().put(key, value, ttl)


class Loads:
    """Loads that end when the test says so."""

    def __init__(self) -> None:
        self.started: list[asyncio.Future[bytes | None]] = []

    async def __call__(self) -> bytes | None:
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self.started.append(future)
        return await future


@dataclass
class Rig:
    """Isolates above one store, on a clock that the test moves."""

    l1_ttl: float = L1_TTL
    negative_ttl: float = NEGATIVE_TTL
    single_flight: bool = True
    await_put: bool = False
    isolates: int = 2
    max_entries: int = 100
    clock: ManualClock = field(default_factory=ManualClock)
    writes: list[asyncio.Task[None]] = field(default_factory=list)
    span: Span = field(default_factory=Span)

    def __post_init__(self) -> None:
        self.store = Store(self.clock.now)
        policy = CachePolicy(
            l1_ttl=self.l1_ttl,
            negative_ttl=self.negative_ttl,
            single_flight=self.single_flight,
            await_put=self.await_put,
        )
        self.caches = [
            TieredCache(
                MemoryCache(max_entries=self.max_entries, max_bytes=10**6),
                self.store,
                self.clock,
                policy,
                retain=self.writes.append,
            )
            for _ in range(self.isolates)
        ]

    @property
    def codes(self) -> list[int]:
        """The outcome of every read so far."""
        return [code for _, code in self.span.reads]

    def get(
        self,
        load: Callable[[], Coroutine[Any, Any, bytes | None]],
        *,
        isolate: int = 0,
        key: str = KEY,
    ) -> Coroutine[Any, Any, bytes | None]:
        return self.caches[isolate].get(self.span, "lookup", KIND, key, load)

    async def read(
        self, value: bytes | None = b"v", *, isolate: int = 0, key: str = KEY, takes: float = 0.0
    ) -> bytes | None:
        """Read *key*; a load takes *takes* seconds and finds *value*. Writes are over after it."""

        async def load() -> bytes | None:
            self.clock.advance(takes)
            return value

        answer = await self.get(load, isolate=isolate, key=key)
        await settle()
        return answer


async def settle() -> None:
    """Let everything run that can run without the outside doing something."""
    for _ in range(10):
        await asyncio.sleep(0)


async def failing() -> bytes | None:
    raise RuntimeError("the database is on fire")


async def forbidden() -> bytes | None:
    raise AssertionError("nothing may be loaded here")


def test_a_thousand_concurrent_reads_of_a_cold_key_are_one_load_in_order_of_arrival() -> None:
    async def main() -> None:
        rig, loads, answered = Rig(), Loads(), list[tuple[int, bytes | None]]()

        async def ask(number: int) -> None:
            answered.append((number, await rig.get(loads)))

        tasks = [asyncio.create_task(ask(number)) for number in range(1_000)]
        await settle()
        assert len(loads.started) == 1
        assert rig.store.gets == [KEY]
        loads.started[0].set_result(b"v")
        await asyncio.gather(*tasks)
        assert answered == [(number, b"v") for number in range(1_000)]
        assert Counter(rig.codes) == {MISS: 1, COLLAPSED: 999}
        await settle()
        assert len(rig.store.puts) == 1

    asyncio.run(main())


def test_reads_of_other_keys_do_not_wait_for_a_load() -> None:
    async def main() -> None:
        rig, loads = Rig(), Loads()
        slow = asyncio.create_task(rig.get(loads))
        await settle()
        assert await rig.read(b"other", key="user:u2") == b"other"
        assert not slow.done()
        loads.started[0].set_result(b"v")
        assert await slow == b"v"

    asyncio.run(main())


def test_without_single_flight_every_miss_loads() -> None:
    async def main() -> None:
        rig, loads = Rig(single_flight=False), Loads()
        tasks = [asyncio.create_task(rig.get(loads)) for _ in range(20)]
        await settle()
        assert len(loads.started) == 20
        for number, load in enumerate(loads.started):
            load.set_result(b"%d" % number)
        assert await asyncio.gather(*tasks) == [b"%d" % number for number in range(20)]
        assert rig.codes == [MISS] * 20

    asyncio.run(main())


def test_two_isolates_do_not_share_a_flight() -> None:
    async def main() -> None:
        rig, loads = Rig(), Loads()
        tasks = [asyncio.create_task(rig.get(loads, isolate=i)) for i in (0, 1)]
        await settle()
        assert len(loads.started) == 2
        for load in loads.started:
            load.set_result(b"v")
        await asyncio.gather(*tasks)

    asyncio.run(main())


def test_when_the_leader_is_cancelled_the_next_in_line_loads_for_the_others() -> None:
    async def main() -> None:
        rig, loads, answered = Rig(), Loads(), list[int]()

        async def ask(number: int) -> None:
            assert await rig.get(loads) == b"v"
            answered.append(number)

        tasks = [asyncio.create_task(ask(number)) for number in range(6)]
        await settle()
        tasks[0].cancel()
        tasks[3].cancel()  # a follower that leaves takes nobody along
        await settle()
        assert len(loads.started) == 2
        assert loads.started[0].cancelled()
        tasks[1].cancel()
        await settle()
        assert len(loads.started) == 3
        loads.started[2].set_result(b"v")
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(r, asyncio.CancelledError) for r in results] == [
            *(True, True, False, True, False, False)
        ]
        assert answered == [2, 4, 5]
        assert rig.codes == [MISS, COLLAPSED, COLLAPSED]

    asyncio.run(main())


def test_a_cancelled_reader_without_followers_leaves_the_key_loadable() -> None:
    async def main() -> None:
        rig, loads = Rig(), Loads()
        task = asyncio.create_task(rig.get(loads))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await rig.read(b"later") == b"later"

    asyncio.run(main())


def test_a_failed_load_reaches_everybody_and_is_not_kept() -> None:
    async def main() -> None:
        rig, loads = Rig(), Loads()
        tasks = [asyncio.create_task(rig.get(loads)) for _ in range(5)]
        await settle()
        loads.started[0].set_exception(RuntimeError("no database"))
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(result) for result in results] == ["no database"] * 5
        assert len(loads.started) == 1
        assert len(rig.store) == 0
        assert await rig.read(b"fresh") == b"fresh"
        assert rig.codes == [MISS]  # what failed was no cache read that anybody answered

    asyncio.run(main())


def test_an_l1_hit_never_yields_to_the_loop() -> None:
    rig = Rig()
    asyncio.run(rig.read())
    coroutine = rig.get(forbidden)
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    assert stopped.value.value == b"v"
    assert rig.codes == [MISS, L1_HIT]


def test_promotion_gives_l1_the_rest_of_the_life_and_no_more() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.read(b"old", takes=10.0)  # the load starts at 0
        rig.clock.advance(85.0)
        assert await rig.read(isolate=1) == b"old"
        rig.clock.advance(4.5)  # 99.5: L1's own TTL would end at 155
        assert await rig.read(isolate=1) == b"old"
        rig.clock.advance(0.5)
        assert await rig.read(b"new", isolate=1) == b"new"
        assert rig.codes == [MISS, L2_HIT, L1_HIT, MISS]

    asyncio.run(main())


def test_l1_lets_go_of_an_entry_after_its_own_ttl() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.read()
        rig.clock.advance(L1_TTL)
        await rig.read()
        assert rig.codes == [MISS, L2_HIT]

    asyncio.run(main())


def test_the_store_is_given_what_is_left_of_the_life_when_it_is_written() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.read(takes=10.0)
        assert [ttl for _, ttl, _ in rig.store.puts] == [TTL - 10.0]

    asyncio.run(main())


def test_what_took_longer_to_load_than_it_may_live_is_answered_and_not_kept() -> None:
    async def main() -> None:
        rig = Rig()
        assert await rig.read(takes=TTL) == b"v"
        assert (len(rig.caches[0].l1), rig.store.puts) == (0, [])
        await rig.read()
        assert rig.codes == [MISS, MISS]

    asyncio.run(main())


def test_absence_is_a_hit_of_its_own_kind_in_both_tiers_and_ends_sooner() -> None:
    async def main() -> None:
        rig = Rig()
        for isolate in (0, 0, 1, 1):
            assert await rig.read(None, isolate=isolate) is None
        rig.clock.advance(NEGATIVE_TTL)
        assert await rig.read(b"born") == b"born"
        assert rig.codes == [MISS, L1_HIT | NEGATIVE, L2_HIT | NEGATIVE, L1_HIT | NEGATIVE, MISS]
        assert rig.caches[0].outcomes["lookup_data"][-1] == 1
        assert rig.caches[1].outcomes["lookup_data"][-1] == 2

    asyncio.run(main())


def test_with_a_negative_ttl_of_0_absence_is_never_kept() -> None:
    async def main() -> None:
        rig = Rig(negative_ttl=0.0)
        for _ in range(3):
            assert await rig.read(None) is None
        assert rig.codes == [MISS] * 3
        assert (len(rig.caches[0].l1), rig.store.puts) == (0, [])

    asyncio.run(main())


def test_absence_never_outlives_the_ttl_of_its_kind() -> None:
    async def main() -> None:
        rig = Rig(negative_ttl=10 * TTL)
        await rig.read(None)
        assert [ttl for _, ttl, _ in rig.store.puts] == [TTL]

    asyncio.run(main())


@pytest.mark.parametrize("failure", [StoreError("down"), StoreTimeout("silent")])
def test_a_failing_l2_is_bypassed_counted_and_not_written_to(failure: StoreError) -> None:
    async def main() -> None:
        rig = Rig()
        rig.store.failure = failure
        assert await rig.read() == b"v"
        assert await rig.read() == b"v"
        assert rig.codes == [BYPASS, L1_HIT]
        assert rig.store.puts == []

    asyncio.run(main())


@pytest.mark.parametrize("await_put", [False, True])
def test_a_failed_write_is_counted_and_does_not_reach_the_request(await_put: bool) -> None:
    async def main() -> None:
        rig = Rig(await_put=await_put)
        rig.store.put_gate = asyncio.get_running_loop().create_future()
        answer = asyncio.create_task(rig.get(always(b"v")))
        await settle()
        rig.store.failure = StoreError("down")
        rig.store.put_gate.set_result(None)
        assert await answer == b"v"
        await settle()
        assert (rig.caches[0].put_errors, len(rig.store)) == (1, 0)

    asyncio.run(main())


def always(value: bytes | None) -> Callable[[], Coroutine[Any, Any, bytes | None]]:
    async def load() -> bytes | None:
        return value

    return load


class Strict(Text):
    """Reads back values that start with v only."""

    def decode(self, data: bytes) -> bytes:
        if not data.startswith(b"v"):
            raise ValueError("not one of ours")
        return data


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"E",
        b"EP1",
        b"not ours at all, but longer than a header",
        b"EP2" + seal(KIND, b"v", 2**62)[3:],
        seal(KIND, b"v", 2**62)[:-2],  # shorter than its header
        b"EP1\x02" + seal(KIND, b"v", 2**62)[4:],
        seal(KIND, b"w", 2**62),  # a value that the codec refuses
    ],
)
def test_foreign_bytes_in_l2_are_a_counted_miss_and_overwritten(foreign: bytes) -> None:
    kind = CacheType(name="lookup_data", ttl=TTL, codec=Strict())

    async def main() -> None:
        rig = Rig()
        await MemoryKV.put(rig.store, KEY, foreign, TTL)
        for cache in rig.caches:
            assert await cache.get(rig.span, "lookup", kind, KEY, always(b"v")) == b"v"
            await settle()
        assert rig.codes == [MISS, L2_HIT]
        assert [cache.corrupt for cache in rig.caches] == [1, 0]

    asyncio.run(main())


def test_an_entry_that_the_store_kept_too_long_is_a_miss_and_not_corrupt() -> None:
    async def main() -> None:
        rig = Rig()
        await MemoryKV.put(rig.store, KEY, seal(KIND, b"stale", rig.clock.origin_ms), 10 * TTL)
        assert await rig.read(b"fresh") == b"fresh"
        assert (rig.codes, rig.caches[0].corrupt) == ([MISS], 0)

    asyncio.run(main())


@given(value=st.none() | st.binary(), expires_ms=st.integers(-(2**63), 2**63 - 1))
def test_sealing_reads_back(value: bytes | None, expires_ms: int) -> None:
    assert unseal(KIND, seal(KIND, value, expires_ms)) == (value, expires_ms)


@given(data=st.binary(max_size=40))
def test_unsealing_anything_gives_an_entry_or_a_value_error(data: bytes) -> None:
    with suppress(ValueError):
        value, expires_ms = unseal(KIND, data)
        assert value is None or isinstance(value, bytes)
        assert isinstance(expires_ms, int)


def test_a_background_write_does_not_delay_the_answer() -> None:
    async def main() -> None:
        rig = Rig()
        gate = rig.store.put_gate = asyncio.get_running_loop().create_future()
        assert await rig.get(always(b"v")) == b"v"
        assert [task.done() for task in rig.writes] == [False]
        gate.set_result(None)
        await rig.writes[0]
        assert len(rig.store) == 1

    asyncio.run(main())


def test_an_awaited_write_delays_the_answer_until_it_is_done() -> None:
    async def main() -> None:
        rig = Rig(await_put=True)
        gate = rig.store.put_gate = asyncio.get_running_loop().create_future()
        answer = asyncio.create_task(rig.get(always(b"v")))
        await settle()
        assert not answer.done()
        gate.set_result(None)
        assert await answer == b"v"
        assert (len(rig.store), rig.writes) == (1, [])

    asyncio.run(main())


@pytest.mark.parametrize("name", ["config", "lookup"])
def test_a_background_write_runs_as_the_read_that_caused_it(name: str) -> None:
    async def main() -> None:
        rig = Rig()
        await rig.caches[0].get(rig.span, name, KIND, KEY, always(b"v"))
        await rig.caches[0].get(rig.span, "attribution", KIND, "k2", always(b"v"))
        await settle()
        assert [slot for *_, slot in rig.store.puts] == [SLOTS[name], SLOTS["attribution"]]

    asyncio.run(main())


def test_a_request_scoped_l1_dies_with_its_request() -> None:
    async def main() -> None:
        rig = Rig()
        isolate = rig.caches[0]
        for _ in range(2):
            request = isolate.request_scoped()
            for _ in range(2):
                await request.get(rig.span, "lookup", KIND, KEY, always(b"v"))
            await settle()
        assert rig.codes == [MISS, L1_HIT, L2_HIT, L1_HIT]
        assert len(isolate.l1) == 0
        assert sum(isolate.outcomes["lookup_data"][:-1]) == 4

    asyncio.run(main())


def test_request_scoped_caches_of_an_isolate_share_loads_and_counters() -> None:
    async def main() -> None:
        rig, loads = Rig(), Loads()
        isolate = rig.caches[0]
        await MemoryKV.put(rig.store, KEY, b"foreign", TTL)
        tasks = [
            asyncio.create_task(isolate.request_scoped().get(rig.span, "lookup", KIND, KEY, loads))
            for _ in range(3)
        ]
        await settle()
        assert len(loads.started) == 1
        rig.store.failure = StoreError("down by now")
        loads.started[0].set_result(b"v")
        await asyncio.gather(*tasks)
        await settle()
        assert (isolate.corrupt, isolate.put_errors) == (1, 1)

    asyncio.run(main())


def test_invalidation_reaches_both_tiers_and_counts_what_was_there() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.read(key="user:u1")
        await rig.read(key="user:u2")
        await rig.read(key="user:u3", isolate=1)
        assert await rig.caches[0].invalidate("user:u1", "user:u3", "user:none") == (1, 2)
        assert await rig.caches[0].invalidate("user:u1") == (0, 0)
        assert await rig.read(b"new", key="user:u1") == b"new"
        assert rig.codes == [MISS] * 4

    asyncio.run(main())


def test_prefix_invalidation_reaches_both_tiers_and_leaves_other_keys() -> None:
    async def main() -> None:
        rig = Rig()
        for key in ("user:u1", "user:u2", "user*", "site:s1"):
            await rig.read(key=key)
        await rig.read(key="user:u3", isolate=1)
        assert await rig.caches[0].invalidate_prefix("user:") == (2, 3)
        assert await rig.read(b"changed", key="user*") == b"v"
        assert await rig.read(b"changed", key="site:s1") == b"v"
        assert await rig.read(b"changed", key="user:u1") == b"changed"

    asyncio.run(main())


def test_stages_tell_how_long_each_tier_took() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.read(takes=3.0)
        await rig.read()
        assert rig.span.stages == [("l1", 0.0), ("l2", 0.0), ("l1", 0.0)]

    asyncio.run(main())


Step = tuple[float, int, int, float]


class Model:
    """The same tiers, the slow and plain way: one list of entries per tier, searched."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.l1: list[list[tuple[str, bytes | None, float]]] = [[] for _ in rig.caches]
        self.l2: dict[str, tuple[bytes | None, float]] = {}

    def read(
        self, now: float, isolate: int, key: str, value: bytes | None, takes: float
    ) -> tuple[int, bytes | None]:
        tier = self.l1[isolate]
        for entry in tier:
            if entry[0] == key and entry[2] > now:
                tier.remove(entry)
                tier.append(entry)
                return L1_HIT | (NEGATIVE if entry[1] is None else 0), entry[1]
        tier[:] = [entry for entry in tier if entry[0] != key]
        if key in self.l2 and self.l2[key][1] > now:
            found, expires = self.l2[key]
            code = L2_HIT | (NEGATIVE if found is None else 0)
        else:
            found, code = value, MISS
            expires = now + (TTL if value is not None else self.rig.negative_ttl)
            now += takes
            if expires <= now:
                return code, found
            self.l2[key] = (found, expires)
        tier.append((key, found, min(expires, now + self.rig.l1_ttl)))
        del tier[: -self.rig.max_entries]
        return code, found


@settings(max_examples=300)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.5, 7.0, 30.0, 60.0, 100.0]),
            st.integers(0, 2),
            st.integers(0, 4),
            st.sampled_from([0.0, 0.5, 29.5, 30.0, 110.0]),
        ),
        max_size=40,
    ),
    negative_ttl=st.sampled_from([0.0, 30.0]),
    l1_ttl=st.sampled_from([0.5, 60.0, 500.0]),
)
def test_sequential_reads_agree_with_a_plain_model_and_nothing_is_older_than_its_ttl(
    steps: list[Step], negative_ttl: float, l1_ttl: float
) -> None:
    rig = Rig(isolates=3, negative_ttl=negative_ttl, l1_ttl=l1_ttl, max_entries=3)
    model = Model(rig)

    async def main() -> None:
        for wait, isolate, number, takes in steps:
            rig.clock.advance(wait)
            now, key = rig.clock.now(), f"k{number}"
            fresh = None if number == 0 else repr(now).encode()  # says when its load started
            expected = model.read(now, isolate, key, fresh, takes)
            answer = await rig.read(fresh, isolate=isolate, key=key, takes=takes)
            assert (rig.codes[-1], answer) == expected
            if answer is not None and rig.codes[-1] != MISS:
                assert now - float(answer) < TTL

    asyncio.run(main())
    counted = [0] * (len(READ_OUTCOMES) + 1)
    for cache in rig.caches:
        for outcomes in cache.outcomes.values():
            counted = [a + b for a, b in zip(counted, outcomes, strict=True)]
    assert sum(counted[:-1]) == len(steps) == len(rig.codes)
    assert counted[-1] == sum(code & NEGATIVE > 0 for code in rig.codes)
    assert counted[: len(READ_OUTCOMES)] == [
        sum(code & ~NEGATIVE == outcome for code in rig.codes)
        for outcome in range(len(READ_OUTCOMES))
    ]


def test_peek_answers_from_l1_only_and_counts_nothing_else() -> None:
    async def main() -> None:
        rig = Rig()
        cache = rig.caches[0]
        assert cache.peek(rig.span, "lookup", KIND, KEY) is MISSED
        assert (rig.codes, rig.store.gets) == ([], [])
        assert await cache.fetch(rig.span, "lookup", KIND, KEY, always(None)) is None
        assert cache.peek(rig.span, "lookup", KIND, KEY) is None
        assert rig.codes == [MISS, L1_HIT | NEGATIVE]

    asyncio.run(main())
