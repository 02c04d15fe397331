"""What an L2 hit costs beside the bare client: `python -m bench.l2 redis://127.0.0.1:6379/0`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from time import perf_counter
from typing import Any

import redis.asyncio as redis

from bench.halves import Speeds
from core.caching.kv import StoreItem
from core.caching.memory import MemoryCache
from core.caching.policy import CachePolicy, CacheType, Text
from core.caching.redis_kv import redis_kv
from core.caching.tiered import TieredCache
from core.clock import SystemClock
from core.errors import EdgeproofError

ROUNDS = 60
CALLS = 200
VALUE = bytes(2_000)
MANY = tuple(f"bench:k{number}" for number in range(20))

Call = Callable[[], Awaitable[Any]]


def tiered(url: str) -> tuple[TieredCache, CacheType[bytes], Call]:
    """Return a cache over the Redis at *url* whose L1 keeps nothing, a type and its loader."""
    cache = TieredCache(
        MemoryCache(max_entries=10, max_bytes=1_000_000),
        redis_kv(url, timeout=5.0, namespace="edgeproof-bench:"),
        SystemClock(),
        CachePolicy(l1_ttl=0.0, await_put=True),
        retain=lambda _: None,
    )

    async def load() -> bytes:
        return VALUE

    return cache, CacheType(name="bench", ttl=600.0, codec=Text()), load


async def measure(url: str, machine: Speeds) -> dict[str, list[float]]:
    """Return microseconds per call of each way to read, one entry a round, taken in turns.

    Raise StoreError if there is no Redis at *url*. Keys lie under "edgeproof-bench:" and go.
    """
    plain = redis.Redis.from_url(url)
    cache, kind, load = tiered(url)
    kv = cache.l2.kv
    await cache.get(kind, "bench:tiered", load)
    await kv.put(*(StoreItem(key, VALUE, 600.0) for key in MANY))
    await plain.set("edgeproof-bench:plain", VALUE, ex=600)
    await plain.mset({f"edgeproof-bench:plain:{key}": VALUE for key in MANY})
    plain_keys = [f"edgeproof-bench:plain:{key}" for key in MANY]
    calls: dict[str, Call] = {
        "redis-py get": lambda: plain.get("edgeproof-bench:plain"),
        "RedisKV.get": lambda: kv.get(MANY[0]),
        "TieredCache, L2 hit": lambda: cache.get(kind, "bench:tiered", load),
        "redis-py mget of 20": lambda: plain.mget(plain_keys),
        "RedisKV.get of 20": lambda: kv.get(*MANY),
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in machine.between(range(ROUNDS)):
        for name, call in calls.items():
            started = perf_counter()
            for _ in range(CALLS):
                await call()
            taken[name].append((perf_counter() - started) / CALLS * 1e6)
    await kv.delete_prefix("")
    await plain.aclose()
    await kv.close()
    return taken


def main(arguments: Sequence[str]) -> int:
    """Print the medians and their ratios to the bare client's; the one argument is the URL."""
    if {"-h", "--help"} & {*arguments}:
        print(__doc__)
        return 0
    if len(arguments) != 1:
        print("python -m bench.l2 URL: give a Redis, such as redis://127.0.0.1:6379/0 or")
        print("unix:///run/redis.sock")
        return 2
    try:
        machine = Speeds()
        taken = asyncio.run(measure(arguments[0], machine))
    except (EdgeproofError, redis.RedisError, OSError, ValueError) as error:
        print(f"python -m bench.l2 {arguments[0]}: {error}", file=sys.stderr)
        return 2
    if note := machine.line():
        print(note)
    for name, base in (
        ("redis-py get", "redis-py get"),
        ("RedisKV.get", "redis-py get"),
        ("TieredCache, L2 hit", "redis-py get"),
        ("redis-py mget of 20", "redis-py mget of 20"),
        ("RedisKV.get of 20", "redis-py mget of 20"),
    ):
        ratio = median(a / b for a, b in zip(taken[name], taken[base], strict=True))
        print(f"{name:<22} {median(taken[name]):7.1f} us  {ratio:.2f} x {base}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
