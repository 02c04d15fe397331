"""Claims about the store that fails on demand; what it keeps is in the contract of test_kv."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from core.caching.faulty_kv import FaultyKV, Operation
from core.caching.kv import MemoryKV, StoreItem
from core.clock import ManualClock
from core.errors import StoreError, StoreTimeout

ITEM = StoreItem("k", b"v", 60.0, ("t",))

OPERATIONS: dict[Operation, Callable[[FaultyKV], Coroutine[Any, Any, object]]] = {
    "get": lambda store: store.get("k"),
    "put": lambda store: store.put(ITEM),
    "delete": lambda store: store.delete("k"),
    "delete_prefix": lambda store: store.delete_prefix("k"),
    "delete_tag": lambda store: store.delete_tag("t"),
}


class Faulty:
    """A faulty store over memory, and the clock that its latencies move."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.memory = MemoryKV(self.clock.now)
        self.store = FaultyKV(self.memory, self.wait)

    async def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_next_operations_fail_without_an_effect_and_then_no_more(operation: Operation) -> None:
    async def main() -> None:
        faulty = Faulty()
        await faulty.memory.put(ITEM._replace(value=b"old"))
        faulty.store.fail_next(2)
        for _ in range(2):
            with pytest.raises(StoreError, match=f"injected fault: {operation}"):
                await OPERATIONS[operation](faulty.store)
            assert await faulty.memory.get("k") == [b"old"]
        await OPERATIONS[operation](faulty.store)

    asyncio.run(main())


def test_a_fault_may_be_for_some_operations_only_and_of_a_kind() -> None:
    async def main() -> None:
        store = Faulty().store
        store.fail_next(1, "put", "delete", error=StoreTimeout)
        assert await store.get("k") == [None]
        with pytest.raises(StoreTimeout):
            await store.put(ITEM)
        assert await store.delete("k") == 0

    asyncio.run(main())


def test_a_share_of_operations_fails_as_the_generator_says() -> None:
    async def main() -> None:
        store = Faulty().store
        numbers = iter([0.0, 0.2, 0.1999, 0.9])
        store.fail_share(0.2, numbers.__next__)
        failed = []
        for _ in range(4):
            try:
                await store.get("k")
            except StoreError:
                failed.append(True)
            else:
                failed.append(False)
        assert failed == [True, False, True, False]
        store.fail_share(0.0, numbers.__next__)
        assert await store.get("k") == [None]

    asyncio.run(main())


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share is"):
        Faulty().store.fail_share(share, lambda: 0.5)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_takes_its_latency(operation: Operation) -> None:
    async def main() -> None:
        faulty = Faulty()
        faulty.store.latency[operation] = 0.25
        for run in OPERATIONS.values():
            await run(faulty.store)
        assert faulty.clock.now() == 0.25

    asyncio.run(main())


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_hang_until_they_are_released(operation: Operation) -> None:
    async def main() -> None:
        store = Faulty().store
        store.hang()
        tasks = [asyncio.create_task(OPERATIONS[operation](store)) for _ in range(3)]
        await asyncio.sleep(0)
        assert store.hanging == 3
        tasks[0].cancel()
        assert [task.done() for task in tasks] == [False] * 3
        store.release()
        await asyncio.wait(tasks)
        assert [task.cancelled() for task in tasks] == [True, False, False]
        assert store.hanging == 0
        await OPERATIONS[operation](store)

    asyncio.run(main())


def test_the_next_answers_that_have_a_value_are_corrupted() -> None:
    async def main() -> None:
        store = Faulty().store
        await store.put(ITEM, StoreItem("empty", b"", 60.0))
        store.corrupt_next()
        assert await store.get("none") == [None]
        assert await store.get("k", "none", "empty") == [b"\x89", None, b"\xff"]
        assert await store.get("k") == [b"v"]
        store.corrupt_next(1, lambda value: value[:0])
        assert await store.get("k") == [b""]

    asyncio.run(main())


def test_calls_are_counted_with_their_keys() -> None:
    async def main() -> None:
        store = Faulty().store
        await store.put(ITEM, ITEM)
        await store.get("a", "b", "c")
        await store.get("a")
        await store.delete("a", "b")
        await store.delete_tag("t")
        store.fail_next()
        with pytest.raises(StoreError):
            await store.delete_prefix("")
        assert store.calls == {
            "put": [2], "get": [3, 1], "delete": [2], "delete_tag": [1], "delete_prefix": [1],
        }  # fmt: skip

    asyncio.run(main())
