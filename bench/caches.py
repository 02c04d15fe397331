"""Our caches beside other libraries': `python -m bench.caches`."""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from bench.halves import Speeds
from bench.importing import NOT_INSTALLED, import_fault
from bench.peers import LIBRARIES, LRU, TLRU, YARDSTICK, Library
from bench.replays import RATE, REAL_STEP, TTLS, Accesses, FakePace, hit_ratio, recorded, synthetic
from bench.turns import CHUNK, beside, filled, keys_from, timed_pair
from core.context import Purpose
from core.errors import InputError
from core.metrics.machine import resident_bytes
from core.streams import Stream

OPERATIONS = ("hit", "miss", "overwrite", "insert+evict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The amount of measurement."""

    entries: int = 10_000
    rounds: int = 11
    held: int = 100_000
    """Entries of the caches whose memory is measured."""


DEFAULT = Sizes()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRow:
    """One library's figures; None: it cannot be used here, or has no such operation.

    nanoseconds and ratios (to the yardstick beside it) have one entry per round and operation.
    """

    name: str
    version: str | None
    nanoseconds: dict[str, tuple[float, ...]]
    ratios: dict[str, tuple[float, ...]]
    entry_bytes: float | None
    hit_ratio: float | None
    note: str
    is_usable: bool = True


def entry_bytes(library: Library, entries: int) -> float:
    """Return the resident bytes per entry beyond the objects of key and value.

    Measured in a separate process, because tracemalloc cannot see the allocations of Rust.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_held_bytes, library.name, entries).result()


def _held_bytes(name: str, entries: int) -> float:
    library = next(library for library in LIBRARIES if library.name == name)
    warm_up = library.open(16, None)
    warm_up.write(["warm-up"])
    keys = [f"lookup:u{number:06d}" for number in range(entries)]
    cache = library.open(entries, None)
    gc.collect()
    before = resident_bytes()
    cache.write(keys)
    gc.collect()
    held = resident_bytes() - before
    cache.close()
    warm_up.close()
    return held / entries


def absence(library: Library) -> str:
    """Return why *library* cannot be used here, "" if it can."""
    name = library.distribution
    return "" if name is None else import_fault(name.replace("-", "_"))


def speeds(
    libraries: Iterable[Library], sizes: Sizes, machine: Speeds
) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """Return nanoseconds and ratios by library and operation, one of each per round.

    In each round each operation of a library is measured in turns with the yardstick's. Each round
    has a new order of keys; the keys of inserts are new. *machine* is sampled between rounds.
    """
    keys = keys_from(0, sizes.entries)
    absent = [f"absent:u{number:06d}" for number in range(sizes.entries)]
    orders = Stream(2, Purpose.DATA, width=sizes.entries).rows(0, sizes.rounds + 1).argsort(axis=1)
    # Twice the room: libraries with an admission policy have to hold every key for hits.
    held = {library.name: filled(library, 2 * sizes.entries, keys) for library in libraries}
    full = {library.name: filled(library, sizes.entries, keys) for library in libraries}
    yardstick = filled(YARDSTICK, 0, keys)
    found: dict[str, dict[str, tuple[list[float], list[float]]]] = {
        library.name: {name: ([], []) for name in _operations(library)} for library in libraries
    }
    for number, order in enumerate(machine.between(orders.tolist()), start=1):
        shuffled = [keys[index] for index in order]
        new = keys_from((2 * number - 1) * sizes.entries, sizes.entries)
        newer = keys_from(2 * number * sizes.entries, sizes.entries)
        gc.collect()
        for library in libraries:
            cache = held[library.name]
            for name, (nanoseconds, ratios) in found[library.name].items():
                if name == "hit":
                    plain, taken = timed_pair(yardstick.read, cache.read, shuffled, shuffled)
                elif name == "miss":
                    plain, taken = timed_pair(yardstick.read, cache.read, absent, absent)
                elif name == "overwrite":
                    plain, taken = timed_pair(yardstick.write, cache.write, shuffled, shuffled)
                else:
                    base = filled(YARDSTICK, 0, keys)
                    cache = full[library.name] if library.is_bounded else filled(library, 0, keys)
                    plain, taken = timed_pair(base.write, cache.write, new, newer)
                if number > 1:  # the first round warms
                    nanoseconds.append(taken / sizes.entries * 1e9)
                    ratios.append(taken / plain)
    for cache in (*held.values(), *full.values()):
        cache.close()
    return found


def _operations(library: Library) -> tuple[str, ...]:
    if not library.is_whole:
        return OPERATIONS[:2]
    return OPERATIONS if library.is_bounded or library is YARDSTICK else OPERATIONS[:3]


def measure(accesses: Accesses, sizes: Sizes, machine: Speeds) -> list[CacheRow]:
    """Measure every library that can be used; return a row for each, usable or not."""
    absent = {library.name: absence(library) for library in LIBRARIES}
    there = [library for library in LIBRARIES if not absent[library.name]]
    for library in there:
        _check(library, sizes.entries)
    timed = speeds(there, sizes, machine)
    return [
        _row(library, timed[library.name], accesses, sizes)
        if library in there
        else _absent(library, absent[library.name])
        for library in LIBRARIES
    ]


def _row(
    library: Library,
    timed: dict[str, tuple[list[float], list[float]]],
    accesses: Accesses,
    sizes: Sizes,
) -> CacheRow:
    is_replayed = library.is_whole and (library.is_bounded or library is YARDSTICK)
    return CacheRow(
        name=library.name,
        version=version(library.distribution) if library.distribution else None,
        nanoseconds={name: tuple(found[0]) for name, found in timed.items()},
        ratios={name: tuple(found[1]) for name, found in timed.items()},
        entry_bytes=entry_bytes(library, sizes.held) if library.is_whole else None,
        hit_ratio=hit_ratio(library, accesses) if is_replayed else None,
        note=library.note,
    )


def _absent(library: Library, why: str) -> CacheRow:
    remedy = "; pip install 'edgeproof[peers]'" if why == NOT_INSTALLED else ""
    return CacheRow(
        name=library.name,
        version=None,
        nanoseconds={},
        ratios={},
        entry_bytes=None,
        hit_ratio=None,
        note=f"{why}{remedy}",
        is_usable=False,
    )


def _check(library: Library, entries: int) -> None:
    """Raise AssertionError unless *library* misses new keys and hits stored ones."""
    cache = library.open(2 * entries, None)
    pairs = [(key, max(TTLS)) for key in keys_from(0, entries)]
    for expected in (False, True):
        answers = cache.replay(pairs, FakePace(RATE))
        if answers.count(expected) < 0.99 * entries:
            raise AssertionError(f"{library.name}: {answers.count(True)} hits of {entries}")
    cache.close()


def table(rows: Sequence[CacheRow], *, markdown: bool = False) -> list[str]:
    """Return the lines of the table, medians over the rounds."""
    head = ["library"]
    for name in OPERATIONS:
        head += [f"{name} ns", "×"]
    head += ["bytes/entry", "hit ratio"]
    body = []
    for row in rows:
        name = row.name if row.version is None else f"{row.name} {row.version}"
        why = NOT_INSTALLED if row.note.startswith(NOT_INSTALLED) else "import fails"
        cells = [name if row.is_usable else f"{name}: {why}"]
        for operation in OPERATIONS:
            times = row.nanoseconds.get(operation)
            cells += (
                [f"{median(times):,.0f}", f"{median(row.ratios[operation]):.2f}"]
                if times
                else ["–", "–"]
            )
        cells.append("–" if row.entry_bytes is None else f"{row.entry_bytes:,.0f}")
        cells.append("–" if row.hit_ratio is None else f"{row.hit_ratio:.4f}")
        body.append(cells)
    if markdown:
        rule = ["---", *["---:"] * (len(head) - 1)]
        return [f"| {' | '.join(cells)} |" for cells in (head, rule, *body)]
    widths = [max(len(cells[i]) for cells in (head, *body)) for i in range(len(head))]
    return [
        "  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])])
        for cells in (head, *body)
    ]


def notes(rows: Sequence[CacheRow], accesses: Accesses, sizes: Sizes, drift: float) -> list[str]:
    """Return notes for the table's reader, one line each."""
    timeless = [library.name for library in LIBRARIES if not library.takes_time]
    real = [row.name for row in rows if row.name in timeless and row.hit_ratio is not None]
    return [
        f"Python {platform.python_version()}, {platform.machine()}. Medians of {sizes.rounds} "
        f"rounds in one process, {sizes.entries:,} entries, a new random order of keys in each, "
        "CPU time without garbage collection. Each write gives a TTL, all values are one object. "
        f"×: median ratio to the {YARDSTICK.name}, measured in turns of {CHUNK:,} keys.",
        f"bytes/entry: resident memory with {sizes.held:,} entries beyond the objects of key and "
        "value, in a process of its own.",
        f"hit ratio: second half of {accesses.description}. TTLs "
        f"{', '.join(f'{ttl:g}' for ttl in TTLS)} s, {RATE:g} accesses per second, room for "
        f"{accesses.capacity:,} entries.",
        f"Replayed in real time, an access each {REAL_STEP * 1e6:g} µs and TTLs on that scale, as "
        f"they take no clock: {', '.join(real) or 'none'}. That way {LRU.name} differs from its "
        f"exact ratio by {drift:+.4f}.",
        *(f"{row.name}: {row.note}." for row in rows if row.note),
    ]


def _limits(sizes: Sizes) -> str:
    found = beside(LRU, TLRU, entries=sizes.entries, rounds=sizes.rounds)
    ratios = [
        f"{name} {median(each):.3f} ({min(each):.3f} to {max(each):.3f})"
        for name, each in found.items()
    ]
    return (
        f"{LRU.name} in turns with {TLRU.name} itself, what it takes of the time: "
        f"{', '.join(ratios)}."
    )


def main(arguments: Sequence[str]) -> int:
    """Measure and print the table; return 0, or 2 with one line if an argument cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m bench.caches", description=__doc__)
    parser.add_argument("--trace", type=Path, help="replay this file instead of a Zipf law")
    parser.add_argument("--json", type=Path, help="write every round's figures to this file")
    parser.add_argument("--markdown", action="store_true", help="print a table for documents")
    parser.add_argument("--entries", type=int, default=DEFAULT.entries, help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=DEFAULT.rounds, help="default %(default)s")
    parser.add_argument("--held", type=int, default=DEFAULT.held, help="default %(default)s")
    options = parser.parse_args(arguments)
    sizes = Sizes(entries=options.entries, rounds=options.rounds, held=options.held)
    if min(sizes.entries, sizes.rounds, sizes.held) < 1:
        parser.error("--entries, --rounds and --held are at least 1")
    try:
        accesses = synthetic() if options.trace is None else recorded(options.trace)
        if options.json is not None:
            options.json.touch()  # fail now, not after the measurement
    except (InputError, OSError) as error:
        print(f"python -m bench.caches: {error}", file=sys.stderr)
        return 2
    machine = Speeds()
    rows = measure(accesses, sizes, machine)
    exact = next(row.hit_ratio for row in rows if row.name == LRU.name) or 0.0
    drift = hit_ratio(LRU, accesses, in_real_time=True) - exact
    lines = notes(rows, accesses, sizes, drift)
    if not absence(TLRU):
        lines.append(_limits(sizes))
    if note := machine.line():
        lines.insert(0, note)
        print(f"{note}\n")
    print("\n".join(table(rows, markdown=options.markdown)))
    print()
    print("\n".join(f"- {line}" if options.markdown else line for line in lines))
    if options.json is not None:
        record = {"notes": lines, "sizes": asdict(sizes), "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
