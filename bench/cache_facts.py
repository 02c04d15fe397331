"""What cache libraries do beside the figures of `bench.caches`: `python -m bench.cache_facts`.

Two questions that a replay of a trace does not answer: what a cache makes of keys that are asked
for again soon and then never, and what cashews' sweep, which is switched off in the replays, costs.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from time import perf_counter, process_time

from bench.caches import absence
from bench.peers import LIBRARIES, LONG, VALUE, YARDSTICK
from bench.replays import Accesses, hit_ratio
from bench.turns import keys_from

ROOM = 1_000
GAPS = (50, 200)
SWEPT = (1_000, 10_000, 100_000)


def moving(keys: int, gap: int) -> Accesses:
    """Return accesses to keys that are asked for twice, *gap* new keys apart, and never again.

    A cache of ROOM entries that keeps what was used last answers every second access.
    """
    order = sorted(
        [(number + turn * gap, turn, number) for number in range(keys) for turn in (0, 1)]
    )
    names = keys_from(0, keys)
    return Accesses(
        pairs=tuple((names[number], LONG) for _, _, number in order),
        capacity=ROOM,
        description=f"{keys:,} keys, each asked for twice, {gap} new keys apart",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One pass of cashews' sweep over *entries*, and what expired entries hold without it.

    cpu: seconds of CPU time of a pass; pause: the longest time in seconds for which it holds the
    event loop; kept: expired entries that the memory still holds, with the sweep and without.
    """

    entries: int
    cpu: float
    pause: float
    kept: tuple[int, int]


def sweep(entries: int, *, ttl: float = 0.05) -> Sweep:
    """Measure cashews' sweep over *entries* that do not expire, then over as many that did."""
    memory = importlib.import_module("cashews.backends.memory").Memory

    async def held(interval: float, expire: float) -> tuple[float, float, int]:
        cache = memory(size=2 * entries, check_interval=interval)
        for key in keys_from(0, entries):
            await cache.set(key, VALUE, expire=expire)
        if expire == ttl:
            await asyncio.sleep(2 * ttl)
        cpu, last, pause = process_time(), perf_counter(), 0.0
        await cache.init()  # begins with a pass
        for _ in range(3):
            await asyncio.sleep(0)
            now = perf_counter()
            last, pause = now, max(pause, now - last)
        spent = process_time() - cpu
        await cache.close()
        return spent, pause, len(cache.store)

    cpu, pause, _ = asyncio.run(held(LONG, LONG))
    kept = asyncio.run(held(LONG, ttl))[2], asyncio.run(held(0, ttl))[2]
    return Sweep(entries=entries, cpu=cpu, pause=pause, kept=kept)


def main(arguments: Sequence[str]) -> int:
    """Print both facts for the libraries that are installed."""
    parser = argparse.ArgumentParser(prog="python -m bench.cache_facts", description=__doc__)
    parser.add_argument("--keys", type=int, default=50_000, help="default %(default)s")
    options = parser.parse_args(arguments)
    if options.keys <= max(GAPS):
        parser.error(f"--keys is over {max(GAPS)}")
    print(f"Hit ratio, room for {ROOM:,} entries, {options.keys:,} keys that are asked for twice:")
    print(f"{'':28}" + "".join(f"{gap:>6} new keys apart" for gap in GAPS))
    for library in LIBRARIES:
        if not library.is_whole or not library.is_bounded or library is YARDSTICK:
            continue
        if why := absence(library):
            print(f"{library.name:28}  {why}")
            continue
        name = f"{library.name} {version(library.distribution) if library.distribution else ''}"
        ratios = [hit_ratio(library, moving(options.keys, gap)) for gap in GAPS]
        print(f"{name:28}" + "".join(f"{ratio:21.4f}" for ratio in ratios))
    print("\ncashews' sweep (check_interval, 1 s by default; 0, as bench.caches has it, is off):")
    cashews = next(library for library in LIBRARIES if library.distribution == "cashews")
    if why := absence(cashews):
        print(f"  {why}")
        return 0
    for entries in SWEPT:
        found = sweep(entries)
        print(
            f"  {entries:>7,} entries: {found.cpu * 1e3:7.1f} ms of CPU time a pass, the event "
            f"loop is held for {found.pause * 1e3:.1f} ms; expired entries kept: "
            f"{found.kept[0]:,} with it, {found.kept[1]:,} without"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
