"""Claims about invalidation: what is forgotten in every tier of this process, and refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from core.caching.envelope import seal
from core.caching.invalidation import LIST_PAGE, Removed
from core.caching.invalidation_log import Selector
from core.caching.kv import StoreItem
from core.caching.policy import CacheType, Text
from core.errors import StoreError
from core.wire import COLLAPSED, L2_HIT, MISS
from tests.core.caching.rig import (
    KEY,
    KIND,
    TARGETS,
    TTL,
    Loads,
    Rig,
    always,
    settle,
    switched,
)

every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())


@every_target
def test_invalidation_reaches_the_l1_of_every_isolate_and_l2(target: Selector) -> None:
    rig = Rig(isolates=3)

    async def main() -> None:
        for isolate in range(3):
            await rig.read(b"old", isolate=isolate, tags=("users",))
        assert await rig.invalidator.invalidate(target) == Removed(3, 1)
        assert len(rig.store) == 0
        for isolate in range(3):
            assert await rig.read(b"new", isolate=isolate) == b"new"
        assert rig.codes == [MISS, L2_HIT, L2_HIT, MISS, L2_HIT, L2_HIT]
        assert rig.statistics.l2_refused == 0  # it was deleted, not only refused

    rig.run(main())


def test_deletes_and_lists_are_counted_as_the_platform_charges_them() -> None:
    rig = Rig()

    def counted() -> tuple[int, int]:
        return rig.invalidator.deletes, rig.invalidator.lists

    async def main() -> None:
        await rig.invalidate("user:u1", "user:none", "user:none")
        assert counted() == (2, 0)  # a key that is not there is charged, too
        await rig.invalidate(prefix="user:")
        assert counted() == (2, 1)
        for number in range(LIST_PAGE + 1):
            await rig.read(key=f"user:{number}", tags=("few",) if number < 3 else ())
        await rig.invalidate(tag="few")
        assert counted() == (5, 2)
        await rig.read(key="user:0")
        await rig.read(key="user:1")
        await rig.invalidate(prefix="user:")
        assert counted() == (5 + LIST_PAGE, 3)
        for number in range(LIST_PAGE + 1):
            await rig.read(key=f"user:{number}")
        await rig.invalidate(prefix="user:")
        assert counted() == (6 + 2 * LIST_PAGE, 5)

    rig.run(main())


def test_invalidation_leaves_what_it_does_not_name() -> None:
    rig = Rig(kind=replace(KIND, prefix="all"))

    async def main() -> None:
        for key in ("user:u1", "user:u2", "user*", "site:user:"):
            await rig.read(key=key, tags=("a",) if key == "site:user:" else ("b", "c"))
        assert await rig.invalidate("user:u1", "user:none") == Removed(1, 1)
        assert await rig.invalidate(prefix="all:user:") == Removed(1, 1)
        assert await rig.invalidate(tag="a") == Removed(1, 1)
        assert await rig.invalidate(tag="none") == Removed(0, 0)
        assert await rig.read(b"changed", key="user*") == b"v"

    rig.run(main())


@pytest.mark.parametrize("kind", ["keys", "prefix", "tag"])
def test_the_counts_of_2500_entries_are_true(kind: str) -> None:
    rig = Rig(max_entries=3_000, max_bytes=10**7)

    async def main() -> None:
        keys = [f"user:{number}" for number in range(2_500)]
        for number, key in enumerate(keys):
            await rig.caches[number % 2].get(rig.kind, key, always(b"v"), tags=("t",))
        other = CacheType(name="other", codec=Text())
        await rig.caches[0].get(other, "0", always(b"v"))
        await settle()
        if kind == "keys":
            removed = await rig.caches[0].delete_many(rig.kind, [*keys, *keys[:9], "none"])
        elif kind == "prefix":
            removed = await rig.invalidate(prefix="user:")
        else:
            removed = await rig.invalidate(tag="t")
        assert removed == Removed(2_500, 2_500)
        assert (len(rig.store), sum(len(cache.l1) for cache in rig.caches)) == (1, 1)
        assert [await rig.read(b"new", key=key) for key in ("user:0", "user:2499")] == [b"new"] * 2

    rig.run(main())


@pytest.mark.parametrize("bad", [{}, {"keys": ("a",), "tag": "t"}, {"prefix": "", "tag": ""}])
def test_an_invalidation_names_one_kind_of_thing(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one of them"):
        Selector(**bad)


@every_target
def test_a_load_that_began_before_an_invalidation_answers_who_waits_and_nobody_else(
    target: Selector,
) -> None:
    rig, loads = Rig(), Loads()

    async def main() -> None:
        early = [asyncio.create_task(rig.get(loads, tags=("users",))) for _ in range(3)]
        await settle()
        await rig.invalidator.invalidate(target)
        late = [asyncio.create_task(rig.get(loads, tags=("users",))) for _ in range(3)]
        await settle()
        assert len(loads.started) == 2
        loads.started[1].set_result(b"new")
        assert await asyncio.gather(*late) == [b"new"] * 3
        loads.started[0].set_result(b"old")  # ends last
        assert await asyncio.gather(*early) == [b"old"] * 3
        await settle()
        assert rig.codes == [MISS, COLLAPSED, COLLAPSED] * 2
        assert await rig.read(b"newest") == b"new"
        found = await rig.in_l2()
        assert found is not None
        assert found.value == b"new"
        assert rig.statistics.overtaken == 1

    rig.run(main())


@every_target
def test_a_background_load_that_an_invalidation_overtakes_is_not_kept(target: Selector) -> None:
    rig, loads = Rig(policy=switched(stale_while_revalidate=40.0)), Loads()

    async def main() -> None:
        await rig.read(b"old", tags=("users",))
        rig.clock.advance(TTL)
        assert await rig.get(loads, isolate=1, tags=("users",)) == b"old"
        await settle()
        await rig.invalidator.invalidate(target)
        loads.started[0].set_result(b"renewed")
        await settle()
        assert await rig.read(b"new", isolate=1) == b"new"
        assert rig.statistics.overtaken == 1

    rig.run(main())


@every_target
def test_a_put_that_an_invalidation_overtakes_is_removed_again(target: Selector) -> None:
    rig = Rig()

    async def main() -> None:
        rig.kv.latency["put"] = 1.0
        await rig.read(b"old", tags=("users",))
        assert len(rig.store) == 0  # on its way
        await rig.invalidator.invalidate(target)
        await asyncio.gather(*rig.background)
        assert len(rig.store) == 0
        assert rig.calls("delete")[-1:] == [1]

    rig.run(main())


@every_target
def test_a_put_that_has_not_begun_when_it_is_overtaken_is_not_sent(target: Selector) -> None:
    rig = Rig()

    async def main() -> None:
        await rig.get(always(b"old"), tags=("users",))
        rig.invalidator.forget(target)
        await settle()
        assert rig.calls("put") == []

    rig.run(main())


@every_target
def test_a_value_in_l2_that_is_older_than_an_invalidation_is_refused(target: Selector) -> None:
    rig = Rig()

    async def main() -> None:
        rig.clock.advance(10.0)
        await rig.invalidator.invalidate(target)
        for age, value in ((1, b"older"), (0, b"as old"), (-1, b"newer")):
            now = rig.clock.origin_ms + 10_000
            sealed = seal(value, loaded_ms=now - age, expires_ms=now + 60_000, tags=("users",))
            await rig.store.put(StoreItem(KEY, sealed, 60.0))
            found = await rig.caches[0].l2.read(rig.kind, KEY)
            assert (None if found is None else found.value) == (value if age < 0 else None)
        assert rig.statistics.l2_refused == 2
        assert rig.statistics.l2_corrupt == 0

    rig.run(main())


def test_loads_and_invalidations_of_the_same_millisecond_are_told_apart() -> None:
    rig, loads = Rig(), Loads()

    async def main() -> None:
        for number in range(5):  # the clock stands still
            early = asyncio.create_task(rig.get(loads))
            await settle()
            await rig.invalidate(KEY)
            loads.started[-1].set_result(b"overtaken")
            await early
            assert await rig.read(b"%d" % number) == b"%d" % number
            assert await rig.read(b"unused", isolate=1) == b"%d" % number
            await rig.invalidate(KEY)
        assert rig.statistics.overtaken == 5

    rig.run(main())


@every_target
def test_if_l2_does_not_delete_it_says_so_and_the_value_is_refused_here(target: Selector) -> None:
    rig = Rig()

    async def main() -> None:
        for isolate in (0, 1):
            await rig.read(b"old", isolate=isolate, tags=("users",))
        rig.kv.fail_next(1, "delete", "delete_prefix", "delete_tag")
        with pytest.raises(StoreError):
            await rig.invalidator.invalidate(target)
        assert len(rig.store) == 1
        for isolate in (0, 1):
            assert await rig.read(b"new", isolate=isolate) == b"new"
        assert rig.statistics.l2_refused == 1

    rig.run(main())


def test_an_overtaken_put_that_cannot_be_removed_is_counted_and_refused() -> None:
    rig = Rig()

    async def main() -> None:
        rig.kv.latency["put"] = 1.0
        await rig.read(b"old")
        await rig.invalidate(KEY)
        rig.kv.fail_next(1, "delete")
        await asyncio.gather(*rig.background)
        assert (len(rig.store), rig.statistics.l2_write_errors) == (1, 1)
        assert await rig.read(b"new", isolate=1) == b"new"

    rig.run(main())
