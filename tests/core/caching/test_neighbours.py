"""Claims about what other processes learn of an invalidation, and what if they do not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.caching.channel import LocalBus, LocalChannel
from core.caching.envelope import seal
from core.caching.invalidation import Invalidator, Removed
from core.caching.invalidation_log import Selector
from core.caching.kv import StoreItem
from core.errors import StoreError
from core.wire import L1_HIT, MISS
from tests.core.caching.rig import KEY, L1_TTL, TARGETS, TTL, Loads, Rig, failing, settle, switched

every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())


class Deaf:
    """A channel that nothing can be sent over."""

    async def publish(self, message: bytes) -> int:
        raise StoreError("no connection")

    async def listen(self, on_message: Any, on_gap: Any) -> None:
        raise StoreError("no connection")

    async def close(self) -> None:
        """Nothing to let go of."""


class Neighbours:
    """Two processes of two isolates each, above one store."""

    def __init__(self, *, is_connected: bool = True, **switches: Any) -> None:
        bus = LocalBus()
        policy = switched(**switches)
        self.bus = bus
        self.here = Rig(policy=policy, channel=LocalChannel(bus) if is_connected else None)
        self.there = Rig(
            policy=policy,
            channel=LocalChannel(bus) if is_connected else None,
            name="there",
            beside=self.here,
        )

    async def listen(self) -> None:
        for rig in (self.here, self.there):
            await rig.invalidator.listen()


@every_target
def test_another_process_applies_what_is_invalidated_here(target: Selector) -> None:
    both = Neighbours()
    here, there = both.here, both.there

    async def main() -> None:
        await both.listen()
        for isolate in (0, 1):
            await there.read(b"old", isolate=isolate, tags=("users",))
        loads = Loads()
        there.kv.latency["put"] = 1.0
        await there.read(b"old", key="user:u2", tags=("users",))  # its put is on its way
        loading = asyncio.create_task(there.get(loads, key="user:u3", tags=("users",)))
        await settle()
        assert (await here.invalidator.invalidate(target)).l1 == 0
        assert (there.invalidator.received, here.invalidator.received) == (1, 0)
        for isolate in (0, 1):
            assert await there.read(b"new", isolate=isolate) == b"new"
        loads.started[0].set_result(b"old")
        await loading
        await asyncio.gather(*there.background)
        is_named = target != TARGETS["key"]
        for key in ("user:u2", "user:u3"):
            assert await there.read(b"new", key=key) == (b"new" if is_named else b"old")

    here.run(main())


def test_a_process_ignores_its_own_message() -> None:
    rig = Rig()

    async def main() -> None:
        await rig.read()
        message = {"from": "here", "keys": [KEY], "prefix": None, "tag": None}
        rig.invalidator.apply(json.dumps(message).encode())
        assert await rig.read() == b"v"
        assert (rig.codes, rig.invalidator.received) == ([MISS, L1_HIT], 0)

    rig.run(main())


def message(**changes: Any) -> bytes:
    return json.dumps({"from": "x", "keys": [], "prefix": None, "tag": None} | changes).encode()


UNREADABLE = [
    b"",
    b"\xff",
    b"null",
    b"[]",
    b"{}",
    b"[" * 200_000,
    message(),
    message(keys=["other"], tag="t"),
    message(keys=KEY),
    message(keys=[1]),
    message(keys=[[KEY]]),
    message(keys={KEY: 1}),
    message(prefix=5),
    message(tag=["t"]),
    message(tag={}),
]


@pytest.mark.parametrize("unreadable", UNREADABLE, ids=lambda data: repr(data[:40]))
def test_a_message_that_cannot_be_read_forgets_everything(unreadable: bytes) -> None:
    rig = Rig()

    async def main() -> None:
        await rig.read(b"old", tags=("t",))
        await rig.store.put(StoreItem("user:k", seal(b"", loaded_ms=0, expires_ms=2**60), 60.0))
        rig.invalidator.apply(unreadable)
        assert await rig.read(b"new") == b"new"
        assert await rig.read(b"new", key="k") == b"new"
        assert (rig.invalidator.received, rig.statistics.l2_refused) == (1, 2)

    rig.run(main())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", KEY, "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@given(keys=json_values, prefix=json_values, tag=json_values)
def test_no_message_breaks_later_reads(keys: Any, prefix: Any, tag: Any) -> None:
    rig = Rig()

    async def main() -> None:
        await rig.read(b"old", tags=("x",))
        rig.invalidator.apply(message(keys=keys, prefix=prefix, tag=tag))
        assert await rig.read(b"new") in (b"old", b"new")
        assert await rig.read(b"new", isolate=1) in (b"old", b"new")

    rig.run(main())


def test_a_gap_empties_every_l1_and_bars_what_is_being_loaded() -> None:
    both = Neighbours()
    there, loads = both.there, Loads()

    async def main() -> None:
        await both.listen()
        for isolate in (0, 1):
            await there.read(b"old", isolate=isolate)
        early = [asyncio.create_task(there.get(loads, key="k")) for _ in range(2)]
        await settle()
        await there.store.delete(KEY)  # by another process, whose message was lost
        both.bus.interrupt()
        assert sum(len(cache.l1) for cache in there.caches) == 0
        late = asyncio.create_task(there.get(loads, key="k"))
        await settle()
        loads.started[0].set_result(b"old")
        loads.started[1].set_result(b"new")
        assert await asyncio.gather(*early, late) == [b"old", b"old", b"new"]
        assert await there.read(b"unused", key="k", isolate=1) == b"new"
        for isolate in (0, 1):
            assert await there.read(b"new", isolate=isolate) == b"new"
        assert (there.invalidator.gaps, there.statistics.overtaken) == (1, 1)

    there.run(main())


def test_what_l2_answers_across_a_gap_is_not_kept() -> None:
    both = Neighbours()
    here, there = both.here, both.there

    async def main() -> None:
        await both.listen()
        await here.read(b"old")
        data = await here.store.get(KEY)
        there.kv.latency["get"] = 1.0
        reading = asyncio.create_task(there.read(b"new"))
        await settle()
        both.bus.interrupt()  # the value was invalidated after L2 had read it
        await here.store.delete(KEY)
        await here.store.put(StoreItem(KEY, data[0] or b"", 60.0))
        await reading
        there.kv.latency.clear()
        await here.store.delete(KEY)
        assert await there.read(b"new") == b"new"

    here.run(main())


@pytest.mark.parametrize("bound", [0.0, 40.0])
def test_without_a_channel_an_old_value_is_served_for_the_l1_ttl_and_the_bound_at_most(
    bound: float,
) -> None:
    both = Neighbours(is_connected=False, stale_while_revalidate=bound)
    here, there = both.here, both.there

    async def main() -> None:
        await here.read(b"old")
        here.clock.advance(TTL - L1_TTL)
        assert await there.read() == b"old"  # its stay in L1 ends with its TTL: the worst case
        await here.invalidate(KEY)
        assert await here.read(b"new") == b"new"
        here.clock.advance(L1_TTL + bound - 0.25)
        assert await there.get(failing) == b"old"  # the bound is reached
        await settle()
        here.clock.advance(0.25)
        assert await there.read(b"new") == b"new"  # and met

    here.run(main())


def test_a_channel_that_fails_is_counted_and_does_not_fail_the_invalidation() -> None:
    rig = Rig(channel=Deaf())

    async def main() -> None:
        await rig.read()
        assert await rig.invalidate(KEY) == Removed(1, 1)
        assert rig.invalidator.unsent == 1
        with pytest.raises(StoreError):
            await rig.invalidator.listen()
        await rig.invalidator.close()

    rig.run(main())


def test_other_processes_are_told_even_if_l2_fails() -> None:
    both = Neighbours()

    async def main() -> None:
        await both.listen()
        await both.there.read(b"old")
        both.here.kv.fail_next(1, "delete")
        with pytest.raises(StoreError):
            await both.here.invalidate(KEY)
        assert await both.there.read(b"new") == b"new"

    both.here.run(main())


def test_a_process_that_left_the_channel_hears_nothing() -> None:
    both = Neighbours()

    async def main() -> None:
        await both.listen()
        await both.there.invalidator.close()
        await both.here.invalidate(KEY)
        assert both.there.invalidator.received == 0

    both.here.run(main())


def test_a_process_on_a_channel_needs_a_name() -> None:
    rig = Rig()
    with pytest.raises(ValueError, match="name"):
        Invalidator(rig.kv, rig.invalidator.log, channel=LocalChannel(LocalBus()))
