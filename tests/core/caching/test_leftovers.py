"""Claims about what must not be left behind: old values, flights, foreign bytes, examples."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from core.caching.edge_kv import EdgeKV
from core.caching.kv import MemoryKV, StoreItem
from core.caching.memory import MemoryCache
from core.caching.policy import CachePolicy, CacheType, Text
from core.caching.tiered import TieredCache
from core.clock import ManualClock
from core.errors import InputError
from core.service.requests import parse_invalidation
from tests.conftest import ROOT

KIND = CacheType(name="page", ttl=10.0, codec=Text())


class World:
    """One cache whose loads find what the test says."""

    def __init__(self, policy: CachePolicy) -> None:
        self.clock = ManualClock()
        self.tasks: list[asyncio.Task[Any]] = []
        self.kv = MemoryKV(self.clock.now)
        self.cache = TieredCache(
            MemoryCache(max_entries=10, max_bytes=10**6),
            self.kv, self.clock, policy, retain=self.tasks.append,
        )  # fmt: skip
        self.value: bytes | None = b"old"
        self.loads = 0

    async def load(self) -> bytes | None:
        self.loads += 1
        return self.value

    async def read(self) -> bytes | None:
        found: bytes | None = await self.cache.get(KIND, "a", self.load)
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()
        return found


def test_a_renewed_absence_ends_the_old_value_though_absences_are_not_kept() -> None:
    async def main() -> None:
        world = World(CachePolicy(l1_ttl=5.0, negative_ttl=0.0, stale_while_revalidate=300.0))
        assert await world.read() == b"old"
        world.value = None
        world.clock.advance(11.0)
        assert await world.read() == b"old"  # stale, and renewed in the background
        assert await world.read() is None

    asyncio.run(main())


def test_a_refresh_that_is_cancelled_before_it_begins_leaves_nobody_waiting() -> None:
    async def main() -> None:
        world = World(CachePolicy(l1_ttl=60.0, stale_while_revalidate=300.0))
        await world.read()
        world.clock.advance(11.0)
        assert await world.cache.get(KIND, "a", world.load) == b"old"
        for task in world.tasks:
            task.cancel()
        await asyncio.gather(*world.tasks, return_exceptions=True)
        world.clock.advance(400.0)
        world.value = b"new"
        assert await asyncio.wait_for(world.cache.get(KIND, "a", world.load), 30.0) == b"new"

    asyncio.run(main())


def test_an_entry_served_stale_has_been_used() -> None:
    async def main() -> None:
        world = World(CachePolicy(l1_ttl=60.0, stale_while_revalidate=300.0))
        world.cache.l1 = l1 = MemoryCache(max_entries=2, max_bytes=10**6)
        await world.cache.get(KIND, "a", world.load)
        await world.cache.get(KIND, "b", world.load)
        world.clock.advance(11.0)
        await world.cache.get(KIND, "a", world.load)
        await asyncio.gather(*world.tasks)
        l1.touch(KIND.key("a"))
        await world.cache.get(KIND, "c", world.load)
        assert l1.get(KIND.key("a"), world.clock.now()) is not None
        assert l1.retained(KIND.key("b"), world.clock.now()) is None

    asyncio.run(main())


@pytest.mark.parametrize("foreign", [b"garbage of another program", b"\xff" * 40, b"{" * 12])
def test_foreign_bytes_in_an_edge_store_are_a_miss(foreign: bytes) -> None:
    async def main() -> None:
        clock = ManualClock()
        central = MemoryKV(clock.now)
        cache = TieredCache(
            MemoryCache(max_entries=10, max_bytes=10**6),
            EdgeKV(central, clock.now), clock, CachePolicy(l1_ttl=60.0, await_put=True),
            retain=lambda _: None,
        )  # fmt: skip

        async def load() -> bytes:
            return b"right"

        await central.put(StoreItem(KIND.key("a"), foreign, 900.0))
        assert await cache.get(KIND, "a", load) == b"right"

    asyncio.run(main())


def test_an_invalidation_of_a_key_that_no_store_takes_is_refused() -> None:
    body = b'{"keys": ["' + b"k" * 600 + b'"]}'
    with pytest.raises(InputError, match="a key is 1 to 512 printable characters"):
        parse_invalidation(body)


def test_invalidations_are_remembered_for_as_long_as_l2_keeps_a_value() -> None:
    async def main() -> None:
        world = World(CachePolicy(l1_ttl=60.0))
        kind = CacheType(name="page", ttl=7 * 86_400.0, codec=Text())
        await world.cache.get(kind, "a", world.load)
        log = world.cache.invalidator.log
        loaded_ms = world.clock.origin_ms
        await world.cache.delete_many(KIND, ["a"])
        world.clock.advance(6 * 86_400.0)
        await world.cache.delete_many(KIND, ["b"])
        assert log.refuses(KIND.key("a"), (), loaded_ms)

    asyncio.run(main())


def test_the_example_of_the_documentation_runs() -> None:
    text = Path(ROOT, "docs", "caching.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, "docs/caching.md", "exec"), names)

    async def load_site(site: str) -> dict[str, str]:
        return {"site": site}

    async def load_sites(keys: Sequence[str]) -> Mapping[str, Any]:
        return {key: {"site": key} for key in keys}

    site, both, removed = asyncio.run(names["use"](load_site, load_sites))
    assert site == {"site": "s1"}
    assert both == {"s1": {"site": "s1"}, "s2": {"site": "s2"}}
    assert removed.l1 == 2
    with pytest.raises(TypeError):
        site["site"] = "changed"
