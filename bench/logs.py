"""How fast and in how much memory access logs are imported: `python -m bench.logs`.

Speed: the reader beside a plain loop of `re` over the same nginx log, both giving endpoint, hashed
key, time and status of each line; the outputs are compared. Memory: the command itself, in a
process of its own, on a log of `--gigabytes`.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np

from bench.halves import Speeds
from scenarios.intake.chunk import Left
from scenarios.intake.log_file import LogFile, Reading
from scenarios.intake.recognition import Stated
from scenarios.intake.rules import parse_rule

LINES = 900_000
ROUNDS = 5
LEAST = 5.0
"""Times as fast as the loop, in CPU time, that the reader is at least."""

GIGABYTES = 2.0
MOST_MB = 300.0

RULES = (
    "product = GET /product/{product_id}", "user = GET /users/{id}",
    "order = GET /users/{a}/orders/{b}",
    "track = POST /track", "search = GET /search", "cart = PUT /cart/{cart_id}", "home = GET /",
)  # fmt: skip
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    'odd \\"quoted\\" agent \\\\',
    "curl/8.5.0",
)  # fmt: skip
_START = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
_BLOCK = 50_000

_LINE = re.compile(
    rb'\S+ \S+ .*? \[([^\]]+)\] "(\S+) ([^ ?"]*)\S* [^"]*" (\d{3}) \S+ '
    rb'"(?:[^"\\]|\\.)*" "(?:[^"\\]|\\.)*"'
)
_RULES = re.compile(
    rb"(?:GET /product/(?P<a>[^/]+)|GET /users/(?P<b>[^/]+)|GET /users/(?P<c>[^/]+/orders/[^/]+)"
    rb"|(?P<d>POST /track)|(?P<e>GET /search)|PUT /cart/(?P<f>[^/]+)|(?P<g>GET /))/?"
)
_KEYED = {1, 2, 3, 6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Seconds of CPU of one round."""

    loop: float
    reader: float

    @property
    def ratio(self) -> float:
        """How many times as fast the reader was."""
        return self.loop / self.reader


def write_log(file: Path, *, lines: int | None = None, size: float = 0.0, seed: int = 1) -> int:
    """Write an nginx log of so many lines, or of *size* bytes; return the lines.

    Combined lines with $request_time behind them, 400 a second.
    """
    rng = np.random.default_rng(seed)
    written = count = 0
    with file.open("w", encoding="ascii", newline="") as stream:
        while count < lines if lines is not None else written < size:
            block = _BLOCK if lines is None else min(_BLOCK, lines - count)
            text = "".join(_lines(rng, block, count))
            written += stream.write(text)
            count += block
    return count


def _lines(rng: np.random.Generator, count: int, before: int) -> list[str]:
    kinds = rng.random(count)
    ids = (rng.pareto(0.9, count) * 50).astype(np.int64) % 2_000_000
    others = rng.integers(0, 10**6, count)
    found = []
    for number, (kind, key, other) in enumerate(
        zip(kinds.tolist(), ids.tolist(), others.tolist(), strict=True), start=before
    ):
        if kind < 0.45:
            request = f"GET /product/{key}"
        elif kind < 0.6:
            request = f"GET /users/{key}?from={other}"
        elif kind < 0.65:
            request = f"GET /users/{key}/orders/{other}"
        elif kind < 0.8:
            request = "POST /track"
        elif kind < 0.85:
            request = f"GET /search?q=word{other}"
        elif kind < 0.88:
            request = f"PUT /cart/{other:x}-{key}"
        elif kind < 0.9:
            request = "GET /"
        else:
            request = f"GET /static/app.{other % 50}.js"
        at = datetime.fromtimestamp(_START + number // 400, UTC)
        status = 200 if other % 50 else 404
        found.append(
            f"203.0.113.{other % 256} - - [{at:%d/%b/%Y:%H:%M:%S} +0000] "
            f'"{request} HTTP/1.1" {status} {other % 9000} "https://shop.example/p/{key}" '
            f'"{_AGENTS[other % len(_AGENTS)]}" 0.{3 + other % 40:03d}\n'
        )
    return found


def loop(file: Path) -> tuple[list[int], list[bytes], list[int], list[int]]:
    """Return endpoint, hashed key, time and status of each access, by a plain loop of `re`."""
    numbers: list[int] = []
    keys: list[bytes] = []
    at: list[int] = []
    statuses: list[int] = []
    match, rule_of = _LINE.match, _RULES.fullmatch
    times: dict[bytes, int] = {}
    with file.open("rb") as stream:
        for line in stream:
            parsed = match(line)
            if parsed is None:
                continue
            text, method, path, status = parsed.groups()
            rule = rule_of(method + b" " + path)
            if rule is None:
                continue
            time = times.get(text)
            if time is None:
                when = datetime.strptime(text.decode(), "%d/%b/%Y:%H:%M:%S %z")
                time = times[text] = int(when.timestamp())
            number = rule.lastindex or 0
            numbers.append(number)
            name = rule[number] if number in _KEYED else None
            keys.append(blake2b(name, digest_size=8, key=b"salt").digest() if name else b"")
            at.append(time)
            statuses.append(int(status))
    return numbers, keys, at, statuses


def read(file: Path) -> list[Any]:
    """Return the chunks of the compiled reader."""
    rules = [parse_rule(text, "bench") for text in RULES]
    reading = Reading(rules=rules, agents=(), salt=(1, 2), is_compiled=True)
    log = LogFile(file, Stated(format="combined"))
    return [piece.chunk for piece in log.pieces(reading)]


def same(chunks: Sequence[Any], rows: tuple[list[int], list[bytes], list[int], list[int]]) -> bool:
    """Return whether both sides found the same accesses; keys as far as they are equal or not."""
    rule = np.concatenate([chunk.rule for chunk in chunks])
    kept = rule >= 0
    time = np.concatenate([chunk.time for chunk in chunks])[kept]
    status = np.concatenate([chunk.status for chunk in chunks])[kept]
    key = np.concatenate([chunk.key for chunk in chunks])[kept]
    numbers, keys, times, statuses = rows
    if kept.sum() != len(numbers) or (rule == Left.BAD_LINE).any():
        return False
    pairs = len(set(zip(keys, key.tolist(), numbers, strict=True)))
    return bool(
        (rule[kept] == np.array(numbers) - 1).all()
        and (time == np.array(times) * 10**6).all()
        and (status == np.array(statuses)).all()
        and pairs == len(set(zip(keys, numbers, strict=True)))
        and pairs == len(set(zip(key.tolist(), numbers, strict=True)))
    )


def measure(file: Path, rounds: int, machine: Speeds) -> list[Round]:
    """Return the rounds, the two sides in turns; the first one warms and compares."""
    found = []
    for number in machine.between(range(rounds + 1)):
        began = process_time()
        rows = loop(file)
        halfway = process_time()
        chunks = read(file)
        ended = process_time()
        if not number and not same(chunks, rows):
            raise AssertionError("the loop and the reader found different accesses")
        if number:
            found.append(Round(loop=halfway - began, reader=ended - halfway))
    return found


def command(file: Path, folder: Path) -> tuple[float, float]:
    """Return the peak of memory in MB and the seconds of CPU of `edgeproof import log`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "edgeproof", "import", "log", str(file), "--out",
         str(folder / "big.toml"), "--plain"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return after.ru_maxrss * 1024 / 1e6, seconds


def main(arguments: Sequence[str]) -> int:
    """Measure and print; return 0, or 1 if the reader is too slow or takes too much memory."""
    parser = argparse.ArgumentParser(prog="python -m bench.logs", description=__doc__)
    parser.add_argument("--lines", type=int, default=LINES, help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default %(default)s")
    parser.add_argument(
        "--gigabytes", type=float, default=GIGABYTES, help="0: no memory; default %(default)s"
    )
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="write a log of --lines, and measure nothing"
    )
    options = parser.parse_args(arguments)
    if min(options.lines, options.rounds) < 1 or options.gigabytes < 0:
        parser.error("--lines and --rounds are at least 1, --gigabytes at least 0")
    if options.write is not None:
        print(f"{options.write}: {write_log(options.write, lines=options.lines):,} lines")
        return 0
    machine = Speeds()
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "access.log"
        # Memory first: a child's peak is at least that of the process that it was forked from.
        if options.gigabytes:
            count = write_log(file, size=options.gigabytes * 1e9)
            most, seconds = command(file, folder)
            failed |= most > MOST_MB
            print(
                f"memory  {file.stat().st_size / 1e9:.2f} GB, {count:,} lines: {most:.0f} MB, at "
                f"most {MOST_MB:g}; the whole import {seconds:.1f} s of CPU, "
                f"{count / seconds / 1e6:.2f} M lines/s"
            )
        write_log(file, lines=options.lines)
        rounds = measure(file, options.rounds, machine)
    ratio = median(each.ratio for each in rounds)
    failed |= ratio < LEAST
    slow, fast = (median(getattr(each, side) for each in rounds) for side in ("loop", "reader"))
    print(
        f"speed   {options.lines:,} lines: reader {options.lines / fast / 1e6:.2f} M lines/s, loop "
        f"of re {options.lines / slow / 1e6:.2f}; ratio {ratio:.1f} "
        f"({min(r.ratio for r in rounds):.1f} to {max(r.ratio for r in rounds):.1f}), "
        f"at least {LEAST:g}"
    )
    if note := machine.line():
        print(note)
    print("Seconds of CPU, medians; both sides in turns over the same file.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
