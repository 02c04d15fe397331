"""Claims about the tiered cache: who is answered from where, when, and for how long."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from core.caching.envelope import HEADER_BYTES
from core.caching.memory import ENTRY_OVERHEAD
from core.caching.policy import CacheType, Json
from core.caching.read import MISSED
from core.context import SLOTS
from core.errors import StoreError, StoreTimeout
from core.wire import BYPASS, COLLAPSED, L1_HIT, L2_HIT, MISS, NEGATIVE
from tests.core.caching.rig import (
    KEY,
    KIND,
    L1_TTL,
    NEGATIVE_TTL,
    TTL,
    Loads,
    Rig,
    always,
    forbidden,
    settle,
    switched,
)


def test_a_thousand_concurrent_reads_of_a_cold_key_are_one_load_in_order_of_arrival() -> None:
    rig, loads, answered = Rig(), Loads(), list[tuple[int, bytes | None]]()

    async def ask(number: int) -> None:
        answered.append((number, await rig.get(loads)))

    async def main() -> None:
        tasks = [asyncio.create_task(ask(number)) for number in range(1_000)]
        await settle()
        assert len(loads.started) == 1
        assert rig.calls("get") == [1]
        loads.started[0].set_result(b"v")
        await asyncio.gather(*tasks)
        assert answered == [(number, b"v") for number in range(1_000)]
        assert Counter(rig.codes) == {MISS: 1, COLLAPSED: 999}
        await settle()
        assert rig.calls("put") == [1]
        assert rig.caches[0].flights == {}

    rig.run(main())


def test_reads_of_other_keys_do_not_wait_for_a_load() -> None:
    rig, loads = Rig(), Loads()

    async def main() -> None:
        slow = asyncio.create_task(rig.get(loads))
        await settle()
        assert await rig.read(b"other", key="user:u2") == b"other"
        assert not slow.done()
        loads.started[0].set_result(b"v")
        assert await slow == b"v"

    rig.run(main())


def test_without_single_flight_every_miss_loads() -> None:
    rig, loads = Rig(policy=switched(single_flight=False)), Loads()

    async def main() -> None:
        tasks = [asyncio.create_task(rig.get(loads)) for _ in range(20)]
        await settle()
        assert len(loads.started) == 20
        for number, load in enumerate(loads.started):
            load.set_result(b"%d" % number)
        assert await asyncio.gather(*tasks) == [b"%d" % number for number in range(20)]
        assert rig.codes == [MISS] * 20

    rig.run(main())


def test_two_isolates_do_not_share_a_flight() -> None:
    rig, loads = Rig(), Loads()

    async def main() -> None:
        tasks = [asyncio.create_task(rig.get(loads, isolate=isolate)) for isolate in (0, 1)]
        await settle()
        assert len(loads.started) == 2
        for load in loads.started:
            load.set_result(b"v")
        await asyncio.gather(*tasks)

    rig.run(main())


def test_when_the_leader_is_cancelled_the_next_in_line_loads_for_the_others() -> None:
    rig, loads, answered = Rig(), Loads(), list[int]()

    async def ask(number: int) -> None:
        assert await rig.get(loads) == b"v"
        answered.append(number)

    async def main() -> None:
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

    rig.run(main())


def test_a_cancelled_reader_without_followers_leaves_the_key_loadable() -> None:
    rig, loads = Rig(), Loads()

    async def main() -> None:
        task = asyncio.create_task(rig.get(loads))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await rig.read(b"later") == b"later"

    rig.run(main())


def test_a_failed_load_reaches_everybody_is_not_kept_and_is_no_hit() -> None:
    rig, loads = Rig(), Loads()

    async def main() -> None:
        tasks = [asyncio.create_task(rig.get(loads)) for _ in range(5)]
        await settle()
        loads.started[0].set_exception(RuntimeError("no database"))
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(result) for result in results] == ["no database"] * 5
        assert len(loads.started) == 1
        assert len(rig.store) == 0
        assert await rig.read(b"fresh") == b"fresh"
        assert rig.codes == [MISS, *[COLLAPSED] * 4, MISS]
        assert (rig.statistics.loads, rig.statistics.load_errors) == (2, 1)

    rig.run(main())


def test_an_l1_hit_never_yields_to_the_loop() -> None:
    rig = Rig()
    rig.run(rig.read())
    coroutine = rig.get(forbidden)
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    assert stopped.value.value == b"v"
    assert rig.codes == [MISS, L1_HIT]


def test_promotion_gives_l1_the_rest_of_the_life_and_no_more() -> None:
    rig = Rig()

    async def main() -> None:
        await rig.read(b"old", takes=10.0)  # the load starts at 0
        rig.clock.advance(75.0)
        assert await rig.read(isolate=1) == b"old"
        rig.clock.advance(14.5)  # 99.5: L1's own TTL would end at 145
        assert await rig.read(isolate=1) == b"old"
        rig.clock.advance(0.5)
        assert await rig.read(b"new", isolate=1) == b"new"
        assert rig.codes == [MISS, L2_HIT, L1_HIT, MISS]

    rig.run(main())


def test_l1_lets_go_of_an_entry_after_its_own_ttl() -> None:
    rig = Rig()

    async def main() -> None:
        await rig.read()
        rig.clock.advance(L1_TTL)
        await rig.read()
        assert rig.codes == [MISS, L2_HIT]

    rig.run(main())


def test_the_life_of_an_entry_is_counted_from_the_start_of_its_load() -> None:
    rig = Rig()

    async def main() -> None:
        await rig.read(takes=10.0)
        assert [item.ttl for item in rig.store.puts] == [TTL - 10.0]
        envelope = await rig.in_l2()
        assert envelope is not None
        assert envelope.loaded_ms == rig.clock.origin_ms
        assert envelope.expires_ms == rig.clock.origin_ms + TTL * 1000
        assert envelope.load_seconds == pytest.approx(10.0)

    rig.run(main())


def test_what_took_longer_to_load_than_it_may_live_is_answered_and_not_kept() -> None:
    rig = Rig()

    async def main() -> None:
        assert await rig.read(takes=TTL) == b"v"
        assert (len(rig.caches[0].l1), rig.store.puts) == (0, [])
        await rig.read()
        assert rig.codes == [MISS, MISS]

    rig.run(main())


def test_absence_is_a_hit_of_its_own_kind_in_both_tiers_and_ends_sooner() -> None:
    rig = Rig()

    async def main() -> None:
        for isolate in (0, 0, 1, 1):
            assert await rig.read(None, isolate=isolate) is None
        rig.clock.advance(NEGATIVE_TTL)
        assert await rig.read(b"born") == b"born"
        assert rig.codes == [MISS, L1_HIT | NEGATIVE, L2_HIT | NEGATIVE, L1_HIT | NEGATIVE, MISS]

    rig.run(main())


def test_with_a_negative_ttl_of_0_absence_is_never_kept() -> None:
    rig = Rig(policy=switched(negative_ttl=0.0))

    async def main() -> None:
        for _ in range(3):
            assert await rig.read(None) is None
        assert rig.codes == [MISS] * 3
        assert (len(rig.caches[0].l1), rig.store.puts) == (0, [])

    rig.run(main())


def test_absence_never_outlives_the_ttl_of_its_kind() -> None:
    rig = Rig(policy=switched(negative_ttl=10 * TTL))
    rig.run(rig.read(None))
    assert [item.ttl for item in rig.store.puts] == [TTL]


@pytest.mark.parametrize("failure", [StoreError, StoreTimeout])
def test_a_failing_l2_is_bypassed_counted_and_not_written_to(failure: type[StoreError]) -> None:
    rig = Rig()

    async def main() -> None:
        rig.kv.fail_next(1, "get", error=failure)
        assert await rig.read() == b"v"
        assert await rig.read() == b"v"
        assert rig.codes == [BYPASS, L1_HIT]
        assert rig.calls("put") == []

    rig.run(main())


@pytest.mark.parametrize("await_put", [False, True])
def test_a_failed_write_is_counted_and_does_not_reach_the_request(await_put: bool) -> None:
    rig = Rig(policy=switched(await_put=await_put))

    async def main() -> None:
        rig.kv.fail_next(1, "put")
        assert await rig.read() == b"v"
        assert (rig.statistics.l2_write_errors, len(rig.store)) == (1, 0)
        assert rig.codes == [MISS]

    rig.run(main())


def test_a_background_write_does_not_delay_the_answer() -> None:
    rig = Rig()

    async def main() -> None:
        rig.kv.latency["put"] = 5.0
        assert await rig.get(always(b"v")) == b"v"
        assert (rig.clock.now(), len(rig.store)) == (0.0, 0)
        await asyncio.gather(*rig.background)
        assert (rig.clock.now(), len(rig.store)) == (5.0, 1)

    rig.run(main())


def test_an_awaited_write_delays_the_answer_until_it_is_done() -> None:
    rig = Rig(policy=switched(await_put=True))

    async def main() -> None:
        rig.kv.latency["put"] = 5.0
        assert await rig.get(always(b"v")) == b"v"
        assert (rig.clock.now(), len(rig.store), rig.background) == (5.0, 1, [])

    rig.run(main())


@pytest.mark.parametrize("name", ["config", "lookup"])
def test_a_background_write_runs_as_the_read_that_caused_it(name: str) -> None:
    rig = Rig()

    async def main() -> None:
        await rig.caches[0].get(KIND, KEY, always(b"v"), rig.span, name)
        await rig.caches[0].get(KIND, "k2", always(b"v"), rig.span, "attribution")
        await settle()
        assert rig.store.slots == [SLOTS[name], SLOTS["attribution"]]

    rig.run(main())


def test_a_request_scoped_l1_dies_with_its_request() -> None:
    rig = Rig()

    async def main() -> None:
        isolate = rig.caches[0]
        for _ in range(2):
            request = isolate.request_scoped()
            for _ in range(2):
                await request.get(KIND, KEY, always(b"v"), rig.span, "lookup")
            await settle()
        assert rig.codes == [MISS, L1_HIT, L2_HIT, L1_HIT]
        assert len(isolate.l1) == 0
        assert rig.statistics.outcomes[KIND.name][1:5] == [2, 1, 1, 0]

    rig.run(main())


def test_request_scoped_caches_of_an_isolate_share_loads_counters_and_invalidations() -> None:
    rig, loads = Rig(), Loads()

    async def main() -> None:
        isolate = rig.caches[0]
        tasks = [
            asyncio.create_task(isolate.request_scoped().get(KIND, KEY, loads, rig.span, "lookup"))
            for _ in range(3)
        ]
        await settle()
        assert len(loads.started) == 1
        await rig.invalidate(KEY)
        loads.started[0].set_result(b"v")
        assert await asyncio.gather(*tasks) == [b"v"] * 3
        await settle()
        assert (isolate.statistics.overtaken, len(rig.store)) == (1, 0)

    rig.run(main())


def test_stages_tell_how_long_each_tier_took() -> None:
    rig = Rig()

    async def main() -> None:
        rig.kv.latency["get"] = 0.25
        await rig.read(takes=3.0)
        await rig.read()
        assert rig.span.stages == [("l1", 0.0), ("l2", 0.25), ("l1", 0.0)]

    rig.run(main())


def test_peek_answers_from_l1_only_and_counts_nothing_else() -> None:
    rig = Rig()

    async def main() -> None:
        cache = rig.caches[0]
        assert cache.peek(KIND, KEY, rig.span, "lookup") is MISSED
        assert (rig.codes, rig.calls("get")) == ([], [])
        assert await cache.fetch(KIND, KEY, always(None), rig.span, "lookup") is None
        assert cache.peek(KIND, KEY, rig.span, "lookup") is None
        assert rig.codes == [MISS, L1_HIT | NEGATIVE]

    rig.run(main())


def test_a_warmed_l1_answers_as_if_the_entry_had_been_read_before() -> None:
    rig = Rig()

    async def main() -> None:
        cache = rig.caches[0]
        rig.clock.advance(10.0)
        await rig.read(b"read", key="user:u2")
        size = cache.l1.bytes
        cache.warm_l1(
            KEY, b"warm", l1_until=40.0, fresh_until=90.0, load_seconds=1.0, encoded_size=4
        )
        assert cache.l1.bytes == 2 * size == 2 * (ENTRY_OVERHEAD + len(KEY) + HEADER_BYTES + 4)
        rig.clock.advance(29.5)
        assert await rig.read() == b"warm"
        rig.clock.advance(0.5)
        assert await rig.read(b"loaded") == b"loaded"

    rig.run(main())


def test_values_are_the_same_immutable_objects_from_every_tier() -> None:
    rig = Rig(kind=CacheType(name="config", ttl=TTL, codec=Json()))
    value = {"name": "é", "items": [1, {"deep": None}]}

    async def main() -> None:
        answers = []
        for isolate in (0, 0, 1, 1):
            answers.append(await rig.get(always(value), isolate=isolate))
            await settle()
        assert rig.codes == [MISS, L1_HIT, L2_HIT, L1_HIT]
        for answer in answers:
            assert answer == answers[0]
            assert type(answer) is type(answers[0])
            assert answer["items"] == (1, {"deep": None})
            with pytest.raises(TypeError):
                answer["items"][1]["deep"] = "changed"
        value["name"] = "changed by who loaded it"
        assert (await rig.get(forbidden))["name"] == "é"

    rig.run(main())


def test_what_callers_could_change_is_not_taken_from_a_load() -> None:
    rig = Rig()

    async def main() -> None:
        with pytest.raises(TypeError):
            await rig.get(always(object()))
        assert (rig.codes, rig.statistics.load_errors) == ([MISS], 1)
        assert rig.caches[0].flights == {}

    rig.run(main())
