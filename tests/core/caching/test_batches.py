"""Claims about reads and writes of many keys: round trips, order, and who is answered by whom."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from core.caching.batches import LoadMany
from core.caching.breaker import CircuitBreaker
from core.context import SLOTS
from core.wire import BYPASS, COLLAPSED, L1_HIT, L2_HIT, MISS, NEGATIVE, STALE
from tests.core.caching.rig import (
    KIND,
    L1_TTL,
    NEGATIVE_TTL,
    TTL,
    Draws,
    Loads,
    ManyLoads,
    Rig,
    settle,
    switched,
)

KEYS = ("a", "b", "c")


def finds(**values: Any) -> LoadMany[Any]:
    """Return a load that finds *values* and writes down what it was asked for."""

    async def load(keys: Sequence[str]) -> Mapping[str, Any]:
        return {key: values[key] for key in keys if key in values}

    return load


async def forbidden_many(keys: Sequence[str]) -> Mapping[str, Any]:
    raise AssertionError(f"nothing may be loaded here: {keys}")


async def failing_many(keys: Sequence[str]) -> Mapping[str, Any]:
    raise RuntimeError(f"no database for {','.join(keys)}")


async def get_many(
    rig: Rig,
    keys: Sequence[str],
    load: LoadMany[Any],
    *,
    isolate: int = 0,
    tags: tuple[str, ...] = (),
) -> dict[str, Any]:
    cache = rig.caches[isolate]
    answer = await cache.get_many(KIND, keys, load, rig.span, "lookup", tags)
    await settle()
    return answer


def test_what_is_missing_is_asked_of_l2_and_of_the_loader_at_once() -> None:
    rig, loads = Rig(), ManyLoads()

    async def main() -> None:
        reading = asyncio.create_task(get_many(rig, KEYS, loads))
        await settle()
        assert loads.asked == [KEYS]
        loads.started[0].set_result({"c": b"3", "a": b"1", "b": b"2"})
        assert list((await reading).items()) == [("a", b"1"), ("b", b"2"), ("c", b"3")]
        assert (rig.calls("get"), rig.calls("put")) == ([3], [3])
        assert rig.codes == [MISS] * 3
        assert rig.statistics.loads == 1
        for isolate, code in ((0, L1_HIT), (1, L2_HIT)):
            rig.span.reads.clear()
            assert len(await get_many(rig, KEYS, forbidden_many, isolate=isolate)) == 3
            assert rig.codes == [code] * 3
        assert rig.calls("get") == [3, 3]

    rig.run(main())


def test_l1_l2_and_the_loader_each_give_what_they_have_in_the_order_asked_for() -> None:
    rig, loads = Rig(), ManyLoads()

    async def main() -> None:
        await rig.read(b"in L1", key="a")
        await rig.read(b"in L2", key="b", isolate=1)
        rig.span.reads.clear()
        reading = asyncio.create_task(get_many(rig, ("d", "b", "a", "c"), loads))
        await settle()
        assert loads.asked == [("d", "c")]
        loads.started[0].set_result({"c": b"loaded", "d": b"too"})
        assert list((await reading).items()) == [
            *(("d", b"too"), ("b", b"in L2"), ("a", b"in L1"), ("c", b"loaded"))
        ]
        assert rig.calls("get") == [1, 1, 3]
        assert sorted(rig.codes) == [L1_HIT, L2_HIT, MISS, MISS]

    rig.run(main())


def test_a_key_asked_for_twice_is_read_once() -> None:
    rig, loads = Rig(), ManyLoads()

    async def main() -> None:
        reading = asyncio.create_task(get_many(rig, ("a", "b", "a"), loads))
        await settle()
        assert loads.asked == [("a", "b")]
        loads.started[0].set_result({"a": b"1", "b": b"2"})
        assert await reading == {"a": b"1", "b": b"2"}
        assert rig.codes == [MISS] * 2
        assert await get_many(rig, (), forbidden_many) == {}

    rig.run(main())


def test_what_the_loader_leaves_out_is_known_to_be_absent() -> None:
    rig = Rig()

    async def main() -> None:
        assert await get_many(rig, ("a", "b"), finds(a=b"1")) == {"a": b"1", "b": None}
        assert await get_many(rig, ("b",), forbidden_many) == {"b": None}
        assert await get_many(rig, ("b",), forbidden_many, isolate=1) == {"b": None}
        assert rig.codes == [MISS, MISS, L1_HIT | NEGATIVE, L2_HIT | NEGATIVE]
        assert [item.ttl for item in rig.store.puts] == [TTL, NEGATIVE_TTL]

    rig.run(main())


def test_a_batch_joins_loads_in_flight_and_is_joined() -> None:
    rig, single, many = Rig(), Loads(), ManyLoads()

    async def main() -> None:
        first = asyncio.create_task(rig.get(single, key="a"))
        await settle()
        batch = asyncio.create_task(get_many(rig, KEYS, many))
        await settle()
        follower = asyncio.create_task(rig.get(single, key="c"))
        other = asyncio.create_task(get_many(rig, ("b", "c"), many))
        await settle()
        assert (many.asked, len(single.started)) == ([("b", "c")], 1)
        many.started[0].set_result({"b": b"2", "c": b"3"})
        assert await follower == b"3"
        assert await other == {"b": b"2", "c": b"3"}
        assert not batch.done()
        single.started[0].set_result(b"1")
        assert await first == b"1"
        assert await batch == {"a": b"1", "b": b"2", "c": b"3"}
        # By the time that the other batch had got b, c was in L1.
        assert sorted(rig.codes) == [L1_HIT] + [MISS] * 3 + [COLLAPSED] * 3

    rig.run(main())


def test_a_load_that_ends_while_the_rest_of_the_batch_is_loaded_is_not_done_again() -> None:
    rig, single, many = Rig(), Loads(), ManyLoads()

    async def main() -> None:
        rig.kv.latency["put"] = 10.0
        first = asyncio.create_task(rig.get(single, key="a"))
        await settle()
        batch = asyncio.create_task(get_many(rig, ("a", "b"), many))
        await settle()
        single.started[0].set_result(b"1")
        assert await first == b"1"
        many.started[0].set_result({"b": b"2"})
        assert await batch == {"a": b"1", "b": b"2"}
        assert many.asked == [("b",)]
        assert rig.calls("get") == [1, 1]
        assert sorted(rig.codes) == [L1_HIT, MISS, MISS]

    rig.run(main())


def test_if_the_leader_of_a_joined_load_leaves_the_batch_loads_that_key() -> None:
    rig, single, many = Rig(), Loads(), ManyLoads()

    async def main() -> None:
        first = asyncio.create_task(rig.get(single, key="a"))
        await settle()
        batch = asyncio.create_task(get_many(rig, ("a", "b"), many))
        await settle()
        first.cancel()
        many.started[0].set_result({"b": b"2"})
        await settle()
        assert many.asked == [("b",), ("a",)]
        many.started[1].set_result({"a": b"1"})
        assert await batch == {"a": b"1", "b": b"2"}

    rig.run(main())


def test_if_a_batch_is_cancelled_those_who_wait_for_its_keys_load_them() -> None:
    rig, single, many = Rig(), Loads(), ManyLoads()

    async def main() -> None:
        batch = asyncio.create_task(get_many(rig, KEYS, many))
        await settle()
        follower = asyncio.create_task(rig.get(single, key="c"))
        await settle()
        batch.cancel()
        await settle()
        single.started[0].set_result(b"3")
        assert await follower == b"3"
        assert rig.caches[0].flights == {}

    rig.run(main())


def test_without_single_flight_batches_share_nothing() -> None:
    rig, many = Rig(policy=switched(single_flight=False)), ManyLoads()

    async def main() -> None:
        batches = [asyncio.create_task(get_many(rig, KEYS, many)) for _ in range(2)]
        await settle()
        assert many.asked == [KEYS] * 2
        for number, load in enumerate(many.started):
            load.set_result(dict.fromkeys(KEYS, b"%d" % number))
        assert [answer["a"] for answer in await asyncio.gather(*batches)] == [b"0", b"1"]

    rig.run(main())


def test_a_failed_load_reaches_the_batch_and_who_waits_for_what_was_missing_only() -> None:
    rig, many, single = Rig(), ManyLoads(), Loads()

    async def main() -> None:
        await rig.read(b"in L2", key="a", isolate=1)
        rig.span.reads.clear()
        rig.kv.latency["get"] = 1.0
        batch = asyncio.create_task(get_many(rig, ("a", "b"), many))
        await settle()
        followers = [asyncio.create_task(rig.get(single, key=key)) for key in ("a", "b")]
        await asyncio.sleep(1.0)
        await settle()
        many.started[0].set_exception(RuntimeError("no database"))
        results = await asyncio.gather(batch, *followers, return_exceptions=True)
        assert results[1] == b"in L2"
        assert [str(result) for result in (results[0], results[2])] == ["no database"] * 2
        assert rig.caches[0].flights == {}
        assert sorted(rig.codes) == [L2_HIT, MISS, COLLAPSED, COLLAPSED]
        assert rig.statistics.load_errors == 1

    rig.run(main())


def test_a_failed_batch_leaves_no_waiter_behind() -> None:
    rig, single = Rig(), Loads()

    async def main() -> None:
        first = asyncio.create_task(rig.get(single, key="a"))
        await settle()
        with pytest.raises(RuntimeError, match="no database for b"):
            await get_many(rig, ("a", "b"), failing_many)
        single.started[0].set_exception(RuntimeError("nor for a"))
        with pytest.raises(RuntimeError, match="nor for a"):
            await first

    unheard: list[dict[str, Any]] = []

    async def watched() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: unheard.append(context))
        await main()
        await settle()

    rig.run(watched())
    assert unheard == []


def test_a_batch_whose_load_fails_falls_back_on_older_values_if_all_have_one() -> None:
    rig = Rig(policy=switched(stale_if_error=40.0))

    async def main() -> None:
        await get_many(rig, ("a", "b"), finds(a=b"1", b=b"2"))
        rig.clock.advance(TTL)
        rig.span.reads.clear()
        with pytest.raises(RuntimeError, match="no database"):
            await get_many(rig, KEYS, failing_many)
        assert sorted(rig.codes) == sorted([MISS, L1_HIT | STALE, L1_HIT | STALE])
        rig.clock.advance(2.0)
        answer = await get_many(rig, ("a", "b"), failing_many)
        assert answer == {"a": b"1", "b": b"2"}
        assert await get_many(rig, ("a",), failing_many, isolate=1) == {"a": b"1"}  # from L2
        rig.clock.advance(38.0)
        with pytest.raises(RuntimeError, match="no database"):
            await get_many(rig, ("a",), failing_many)

    rig.run(main())


def test_a_stale_value_of_l1_is_served_while_it_is_renewed_and_one_of_l2_is_loaded_anew() -> None:
    rig = Rig(policy=switched(stale_while_revalidate=40.0))

    async def main() -> None:
        await get_many(rig, ("a", "b"), finds(a=b"1", b=b"2"))
        rig.clock.advance(TTL - L1_TTL)
        await get_many(rig, ("a",), forbidden_many, isolate=1)
        rig.clock.advance(L1_TTL)
        rig.span.reads.clear()
        fresh = finds(a=b"new", b=b"new")
        assert await get_many(rig, ("a", "b"), fresh, isolate=1) == {"a": b"1", "b": b"new"}
        assert rig.codes == [L1_HIT | STALE, MISS]
        assert await get_many(rig, ("a",), forbidden_many, isolate=1) == {"a": b"new"}

    rig.run(main())


def test_a_batch_near_the_end_of_values_draws_as_the_read_that_it_is() -> None:
    draws = Draws(0.99)
    rig = Rig(policy=switched(early_refresh=1.0), uniform=draws)

    async def slow(keys: Sequence[str]) -> Mapping[str, Any]:
        await asyncio.sleep(2.0)
        return dict.fromkeys(keys, b"v")

    async def main() -> None:
        await get_many(rig, ("a",), slow)
        rig.clock.advance(50.0)
        await get_many(rig, ("a",), forbidden_many, isolate=1)
        rig.clock.advance(47.0)
        await rig.caches[1].get_many(KIND, ("a",), slow, rig.span, "config")
        await asyncio.gather(*rig.background)
        assert rig.statistics.refreshes == 1
        assert rig.store.slots == [SLOTS["lookup"], SLOTS["config"]]

    rig.run(main())


def test_while_l2_fails_a_batch_goes_on_with_what_l1_holds_within_its_ttl() -> None:
    rig = Rig(policy=switched(stale_if_error=40.0))

    async def main() -> None:
        await get_many(rig, ("a", "b"), finds(a=b"1", b=b"2"))
        rig.clock.advance(L1_TTL)
        rig.span.reads.clear()
        rig.kv.fail_next(1, "get")
        answer = await get_many(rig, KEYS, finds(c=b"3"))
        assert answer == {"a": b"1", "b": b"2", "c": b"3"}
        assert sorted(rig.codes) == [L1_HIT, L1_HIT, BYPASS]
        assert (rig.statistics.l1_extended, rig.statistics.l2_errors) == (2, 1)

    rig.run(main())


def test_a_batch_bypasses_a_failing_l2_and_writes_nothing_to_it() -> None:
    rig = Rig(breaker=CircuitBreaker(failures=1, open_for=5.0))

    async def main() -> None:
        rig.kv.fail_next(1, "get")
        assert await get_many(rig, ("a",), finds(a=b"1")) == {"a": b"1"}
        assert await get_many(rig, ("b",), finds(b=b"2")) == {"b": b"2"}
        assert (rig.codes, rig.calls("put")) == ([BYPASS] * 2, [])
        assert (rig.statistics.l2_errors, rig.statistics.l2_skipped) == (1, 1)

    rig.run(main())


def test_a_batch_that_an_invalidation_overtakes_is_kept_but_for_what_was_named() -> None:
    rig, many = Rig(), ManyLoads()

    async def main() -> None:
        batch = asyncio.create_task(get_many(rig, KEYS, many))
        await settle()
        await rig.invalidate("b")
        many.started[0].set_result(dict.fromkeys(KEYS, b"old"))
        assert await batch == dict.fromkeys(KEYS, b"old")
        answer = await get_many(rig, KEYS, finds(b=b"new"))
        assert answer == {"a": b"old", "b": b"new", "c": b"old"}
        assert rig.statistics.overtaken == 1

    rig.run(main())
