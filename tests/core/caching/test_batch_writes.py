"""Claims about writes of many keys: one round trip, seen at once, and not undone by older loads."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core.caching.channel import LocalBus, LocalChannel
from core.caching.invalidation import Removed
from core.wire import L1_HIT, L2_HIT
from tests.core.caching.rig import (
    KIND,
    NEGATIVE_TTL,
    TTL,
    Loads,
    Rig,
    forbidden,
    settle,
    switched,
)

VALUES = {"a": b"1", "b": b"2", "c": None}


def test_values_that_are_set_are_seen_at_once_by_every_isolate() -> None:
    rig = Rig()

    async def main() -> None:
        for isolate in (0, 1):
            await rig.read(b"old", key="a", isolate=isolate)
        rig.span.reads.clear()
        await rig.caches[0].set_many(KIND, VALUES, ("t",))
        for isolate in (0, 1):
            for key, value in VALUES.items():
                assert await rig.get(forbidden, key=key, isolate=isolate) == value
        assert [code & 15 for code in rig.codes] == [L1_HIT] * 3 + [L2_HIT] * 3
        assert rig.calls("put") == [1, 3]
        assert [item.ttl for item in rig.store.puts[1:]] == [TTL, TTL, NEGATIVE_TTL]
        assert await rig.invalidate(tag="t") == Removed(6, 3)

    rig.run(main())


def test_setting_nothing_does_nothing() -> None:
    rig = Rig()

    async def main() -> None:
        await rig.caches[0].set_many(KIND, {})
        assert await rig.caches[0].delete_many(KIND, []) == Removed(0, 0)
        assert rig.kv.calls == {}

    rig.run(main())


def test_a_load_that_began_before_a_value_was_set_does_not_replace_it() -> None:
    rig, loads = Rig(), Loads()

    async def main() -> None:
        early = [
            asyncio.create_task(rig.get(loads, key="a", isolate=isolate)) for isolate in (0, 1)
        ]
        await settle()
        await rig.caches[0].set_many(KIND, {"a": b"set"})
        for load in loads.started:
            load.set_result(b"old")
        assert await asyncio.gather(*early) == [b"old"] * 2
        await settle()
        for isolate in (0, 1):
            assert await rig.get(forbidden, key="a", isolate=isolate) == b"set"
        assert rig.statistics.overtaken == 2

    rig.run(main())


def test_a_put_on_its_way_is_not_left_behind_by_a_value_that_is_set() -> None:
    rig = Rig()

    async def main() -> None:
        rig.kv.latency["put"] = 1.0
        await rig.read(b"old", key="a")
        del rig.kv.latency["put"]
        await rig.caches[0].set_many(KIND, {"a": b"set"})
        await asyncio.gather(*rig.background)
        found = await rig.in_l2("a")
        assert found is None or found.value == b"set"
        assert await rig.read(b"new", key="a", isolate=1) in (b"set", b"new")

    rig.run(main())


def test_other_processes_forget_what_is_set_here() -> None:
    bus = LocalBus()
    here = Rig(channel=LocalChannel(bus))
    there = Rig(channel=LocalChannel(bus), name="there", beside=here)

    async def main() -> None:
        await here.invalidator.listen()
        await there.invalidator.listen()
        await there.read(b"old", key="a")
        await here.caches[0].set_many(KIND, {"a": b"set"})
        assert there.invalidator.received == 1
        assert await there.read(b"set", key="a") == b"set"
        assert await here.get(forbidden, key="a") == b"set"

    here.run(main())


@pytest.mark.parametrize("operation", ["put", "delete"])
def test_an_l2_that_fails_is_counted_and_what_it_holds_is_refused_here(operation: Any) -> None:
    rig = Rig(policy=switched(negative_ttl=0.0))
    value = b"set" if operation == "put" else None

    async def main() -> None:
        await rig.read(b"old", key="a")
        rig.kv.fail_next(1, operation)
        await rig.caches[0].set_many(KIND, {"a": value})
        assert rig.statistics.l2_write_errors == 1
        for isolate in (0, 1):
            assert await rig.read(value, key="a", isolate=isolate) == value

    rig.run(main())


def test_an_absence_that_is_not_kept_takes_the_place_of_what_was_there_nevertheless() -> None:
    here = Rig(policy=switched(negative_ttl=0.0))
    there = Rig(beside=here)

    async def main() -> None:
        await here.read(b"old", key="a")
        await here.caches[0].set_many(KIND, {"a": None, "b": b"2"})
        assert await there.read(None, key="a") is None
        assert await there.get(forbidden, key="b") == b"2"

    here.run(main())


def test_keys_are_deleted_from_every_tier_and_counted() -> None:
    rig = Rig()

    async def main() -> None:
        await rig.caches[0].set_many(KIND, VALUES)
        await rig.caches[1].set_many(KIND, {"b": b"2", "d": b"4"})
        assert await rig.caches[0].delete_many(KIND, ["a", "b", "d", "none", "a"]) == Removed(3, 3)
        assert rig.calls("delete") == [5]
        assert await rig.read(b"new", key="a") == b"new"

    rig.run(main())
