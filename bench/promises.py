"""This project's promises about its speed: the one list that `edgeproof bench promise` checks.

A further promise is an entry of PROMISES and a function that measures it in a fresh process.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from itertools import repeat
from time import thread_time_ns
from typing import TYPE_CHECKING, Any

from bench.importing import import_fault
from bench.promise import SERVICE_HIT, Pairs, Promise, Timer, Turns
from bench.service_versions import BEFORE, NO_SLOWER, lacks_revision

# Each measurement has its own imports, so its process loads nothing else.
if TYPE_CHECKING:
    from bench.peers import Cache


ENTRIES = 10_000
TOTALS = 50e6
KEPT = 5e6
"""The fewest touches that are shared out in a second of CPU time, with totals alone and with the
credit of each touch."""


def l1_hit(turns: Turns) -> Pairs:
    """Read the same keys from TLRUCache and L1, in an order of this process's own."""
    from bench.peers import LRU, TLRU
    from bench.turns import CHUNK, filled, keys_from
    from core.context import Purpose
    from core.streams import Stream

    keys = keys_from(0, ENTRIES)
    order = Stream(hash(keys[0]) & 0xFFFFFFFF, Purpose.DATA, width=ENTRIES).rows(0, 1).argsort()[0]
    shuffled = [keys[index] for index in order.tolist()]
    held = [_reading(filled(library, 2 * ENTRIES, keys), shuffled) for library in (TLRU, LRU)]
    return turns(held[0], held[1], calls=CHUNK)


def _reading(cache: Cache, keys: Sequence[str]) -> Timer:
    """Return a timed call that reads the next of *keys*, in CPU time."""
    at = 0

    def timed(calls: int) -> float:
        nonlocal at
        at = at if at + calls <= len(keys) else 0
        chunk = keys[at : at + calls]
        at += calls
        for key in chunk:
            hash(key)  # a caller has just made its key: it is in the processor's cache
        started = thread_time_ns()
        cache.read(chunk)
        return (thread_time_ns() - started) / len(chunk)

    return timed


def l2_hit(turns: Turns) -> Pairs:
    """Read a value of 2 kB from a redis-server through redis-py alone, and through the tiers.

    Client and server work in turn, so the CPU of both is the time of a read on an idle machine.
    """
    import tempfile
    from pathlib import Path

    import redis.asyncio as redis

    from bench.l2 import VALUE, tiered
    from bench.redis_server import redis_server

    with (
        tempfile.TemporaryDirectory(prefix="edgeproof-bench-") as folder,
        redis_server(Path(folder)) as server,
        asyncio.Runner() as runner,
    ):
        plain, (cache, kind, load) = redis.Redis.from_url(server.url), tiered(server.url)

        async def fill() -> None:
            await plain.set("plain", VALUE)
            await cache.get(kind, "bench:tiered", load)
            assert await plain.get("plain") == await cache.get(kind, "bench:tiered", load) == VALUE

        runner.run(fill())
        pid = int(server.ask("INFO", "server").partition(b"process_id:")[2].split()[0])
        pairs = turns(
            _awaiting(runner, pid, lambda: plain.get("plain")),
            _awaiting(runner, pid, lambda: cache.get(kind, "bench:tiered", load)),
        )
        assert cache.statistics.loads == 1  # every read was a hit
        runner.run(plain.aclose())
        runner.run(cache.l2.kv.close())
        return pairs


def _awaiting(runner: asyncio.Runner, server: int, call: Callable[[], Awaitable[Any]]) -> Timer:
    """Return a timed call of *call*, in CPU time of this thread and of the process *server*."""
    from bench.loopback import cpu_seconds

    async def timed(calls: int) -> float:
        started = thread_time_ns() + 1e9 * cpu_seconds(server)
        for _ in repeat(None, calls):
            await call()
        return (thread_time_ns() + 1e9 * cpu_seconds(server) - started) / calls

    return lambda calls: runner.run(timed(calls))


def span(turns: Turns) -> Pairs:
    """Time an empty span outside of any request."""
    from bench.spans import bare, spans

    return turns(bare, spans())


def request_of_spans(turns: Turns) -> Pairs:
    """Time requests of ten spans each, per span."""
    from bench.spans import bare, requests

    return turns(bare, requests())


def service_l1_hit(turns: Turns) -> Pairs:
    """Request L1 hits from the service, and the same bytes from a bare route."""
    from bench.service import l1_hit_pairs

    return asyncio.run(l1_hit_pairs(rounds=max(2, turns.rounds // 10)))


def service_miss(turns: Turns) -> Pairs:
    """Request misses from the service, and from the service of an earlier revision."""
    return _beside_before("miss", turns)


def service_tracked(turns: Turns) -> Pairs:
    """Send events to the service, and to the service of an earlier revision."""
    return _beside_before("tracked event", turns)


def _beside_before(case: str, turns: Turns) -> Pairs:
    from bench.service_versions import checkout_of, pairs_beside

    with checkout_of(BEFORE) as folder:
        return pairs_beside(folder, case, rounds=max(2, turns.rounds // 10))


def totals(turns: Turns) -> Pairs:
    """Share a million touches out under seven models, keeping channel totals."""
    return _shared_out(turns, TOTALS, keep=False)


def credits_kept(turns: Turns) -> Pairs:
    """Share a million touches out under seven models, keeping each touch's credit."""
    return _shared_out(turns, KEPT, keep=True)


def _shared_out(turns: Turns, rate: float, *, keep: bool) -> Pairs:
    from bench.attribution import all_converting, synthetic_paths
    from core.attribution.fused import share_credit
    from core.attribution.markov import removal_effects
    from core.attribution.parameters import Parameters
    from core.attribution.transitions import count_transitions

    paths = synthetic_paths()
    weights = removal_effects(count_transitions(paths, 1)).conversions
    full, parameters, touches = all_converting(paths), Parameters(), len(paths.codes)
    found = []
    for number in range(max(3, turns.rounds // 10) + 1):
        started = thread_time_ns()
        share_credit(full, parameters, weights=weights, engine="numba", keep=keep)
        if number:  # the first call compiles or loads
            found.append((1e9 / rate, (thread_time_ns() - started) / touches))
    return found


def _lacks(module: str) -> str:
    fault = import_fault(module)
    return f"{module} is {fault}" if fault else ""


def _lacks_redis() -> str:
    return "" if shutil.which("redis-server") else "no redis-server on the PATH"


def _lacks_before() -> str:
    return _lacks_redis() or lacks_revision(BEFORE)


PROMISES = (
    Promise(
        name="l1-hit", limit=0.30, measure=l1_hit, lacks=lambda: _lacks("cachetools"),
        says="an L1 hit beside cachetools.TLRUCache's, CPU",
    ),
    Promise(
        name="l2-hit", limit=1.2, measure=l2_hit, lacks=_lacks_redis,
        says="an L2 hit beside redis-py's get, CPU of client and server",
    ),
    Promise(
        name="span", limit=5.0, measure=span,
        says="a span beside two readings of the clock",
    ),
    Promise(
        name="request-spans", limit=5.0, measure=request_of_spans,
        says="a span within a request, the request counted",
    ),
    Promise(
        name="service-hit", limit=SERVICE_HIT, measure=service_l1_hit,
        says="the service's L1 hit beside a bare route, CPU",
    ),
    Promise(
        name="service-miss", limit=NO_SLOWER, measure=service_miss, lacks=_lacks_before,
        says=f"the service's miss, on a redis-server, beside that of {BEFORE}, CPU",
    ),
    Promise(
        name="service-tracked", limit=NO_SLOWER, measure=service_tracked, lacks=_lacks_before,
        says=f"the service's tracked event beside that of {BEFORE}, CPU",
    ),
    Promise(
        name="attribution-totals", limit=1.0, measure=totals, rate=(TOTALS, "touches/s"),
        lacks=lambda: _lacks("numba"), says="seven models to channel totals, CPU",
    ),
    Promise(
        name="attribution-credits", limit=1.0, measure=credits_kept, rate=(KEPT, "touches/s"),
        lacks=lambda: _lacks("numba"), says="the same, each touch's credits kept, CPU",
    ),
)  # fmt: skip
"""The promises, in the order in which they are measured and shown."""
