"""Hours in minutes: `python -m bench.soak_service --minutes 30`.

Runs the reference service at 80 % of its knee with a Redis that is slow, silent, dead and back in
turns, and kills a worker or the consumer every 5 minutes. At the end every accepted conversion has
to be in the database once, memory must not have grown, and only requests that were in flight on a
killed worker may have failed. Exit code 1 if one of these is not so, 3 if the run was too short to
tell whether memory grows or its rate was too high. --plant puts in a fault that must be found.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from bench.flaky_redis import FlakyRedis
from bench.shoppers import Failure, Shoppers
from bench.slopes import Slope, slope_of
from core.errors import EdgeproofError, InputError
from core.metrics.histogram import LatencyHistogram
from core.scenario.file import load_scenario
from core.service.crew import RunningService
from core.service.launcher import running_service
from scenarios.catalogue import find_scenario

PLANTS = ("lost", "doubled", "failure", "leak")
_SHARE = 0.8
_P95_SECONDS = 0.1
_LATE_SHARE = 0.01
_STEP_SECONDS = 6.0
_READ_SECONDS = 1.0
_FLIGHT_SECONDS = 0.05
_SETTLE_SECONDS, _LEAST_SECONDS, _BLOCK_SECONDS = 120.0, 120.0, 15.0
"""Of each life: caches fill, and memory is read as means of blocks after that."""

_LIMIT = 1e6 / 60
"""Bytes/s: what memory may surely grow by, 1 MB a minute."""

_PLANTED_LEAK = 10e6 / 60
_VICTIMS = ("worker 1", "worker 0", "the consumer")


class Kill(NamedTuple):
    """When a process was killed, on the monotonic clock, and which worker it was, -1 for none."""

    at: float
    worker: int
    name: str


@dataclass(slots=True)
class Soak:
    """What was seen: kills, and memory by life of a process."""

    kills: list[Kill] = field(default_factory=list)
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=dict)


def kill_behind(failure: Failure, kills: Sequence[Kill]) -> Kill | None:
    """Return the kill that explains *failure*, None without one.

    It explains a connection that broke, was opened to the killed worker before and was in use
    after. A request may have been written to it before its client could know.
    """
    return next(
        (
            kill
            for kill in kills
            if kill.worker == failure.worker
            and failure.is_broken
            and failure.opened <= kill.at + _FLIGHT_SECONDS
            and failure.ended >= kill.at - _FLIGHT_SECONDS
        ),
        None,
    )


def resident(pid: int) -> float | None:
    """Return the resident bytes of process *pid*, None if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return next(
        (1024.0 * int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line), None
    )


def find_knee(urls: Sequence[str], say: Any) -> tuple[float, Shoppers]:
    """Return the highest rate at which p95 is under 100 ms and the client is on time."""
    shoppers = Shoppers(urls, rate=50.0, seed=1)
    shoppers.start()

    def holds(rate: float) -> bool:
        shoppers.rate = rate
        time.sleep(1.0)
        shoppers.take()
        time.sleep(_STEP_SECONDS)
        latency, sent, late = shoppers.take()
        p95 = latency.quantile(0.95) if latency.count else float("inf")
        is_well = p95 < _P95_SECONDS and late <= _LATE_SHARE * sent
        what = "" if is_well else ": too much"
        say(f"  {rate:,.0f}/s: p95 {1e3 * p95:.0f} ms, {late} late{what}")
        return is_well

    low, high = 0.0, 100.0
    while holds(high):
        low, high = high, 2 * high
    for _ in range(3):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    shoppers.rate = 50.0
    if low == 0:
        raise EdgeproofError("not even a few requests/s hold here: the machine is too busy")
    return low, shoppers


def soak(service: RunningService, options: argparse.Namespace, say: Any) -> Soak:
    """Kill, mend and read for as long as asked."""
    found = Soak()
    begun = time.monotonic()
    end, kill_at = begun + 60 * options.minutes, begun + options.kill_every
    failure_at = begun + 20.0 * options.minutes if options.plant == "failure" else end
    while (now := time.monotonic()) < end:
        _read(service, found, begun, leaks=options.plant == "leak")
        if now >= kill_at and end - now > 15:
            kill_at += options.kill_every
            found.kills.append(_kill(service, _VICTIMS[len(found.kills) % len(_VICTIMS)]))
            say(f"  {(now - begun) / 60:.1f} min: {service.mend()[0]}")
        if now >= failure_at:
            failure_at = end
            worker = service.workers[0]
            os.kill(worker.pid, signal.SIGSTOP)  # no kill, and yet nobody is answered
            time.sleep(options.timeout + 2)
            os.kill(worker.pid, signal.SIGCONT)
        time.sleep(_READ_SECONDS)
    return found


def _read(service: RunningService, found: Soak, begun: float, *, leaks: bool) -> None:
    for process in service.processes:
        if (size := resident(process.pid)) is not None:
            at = time.monotonic() - begun
            grown = _PLANTED_LEAK * at if leaks else 0.0
            life = f"{process.name} ({process.pid})"
            found.memory.setdefault(life, []).append((at, size + grown))


def _kill(service: RunningService, name: str) -> Kill:
    (process,) = (one for one in service.processes if one.name == name)
    worker = service.workers.index(process) if process in service.workers else -1
    at = time.monotonic()
    os.kill(process.pid, signal.SIGKILL)
    while not process.ended():
        time.sleep(0.001)
    return Kill(at, worker, name)


def plant(file: Path, what: str) -> None:
    """Lose a conversion of the database *file*, or count one twice."""
    with closing(sqlite3.connect(file)) as connection, connection:
        (key,) = connection.execute("SELECT max(conversion_id) FROM credits").fetchone()
        if what == "lost":
            connection.execute("DELETE FROM conversions WHERE conversion_id = ?", (key,))
        elif what == "doubled":
            connection.execute(
                "UPDATE channel_totals SET linear_conversions = linear_conversions + 1"
                " WHERE utm_source ="
                " (SELECT utm_source FROM touch_credits WHERE conversion_id = ?)", (key,),
            )  # fmt: skip


def judged(found: Soak, shoppers: Shoppers, file: Path) -> tuple[list[str], dict[str, Any]]:
    """Return what is wrong, and the figures."""
    faults = shoppers.accepted.faults(file)
    behind = [(failure, kill_behind(failure, found.kills)) for failure in shoppers.failures]
    bad = [failure for failure, kill in behind if kill is None]
    if bad:
        faults.append(
            f"{len(bad):,} requests failed on no connection to a killed worker, such as on "
            f"worker {bad[0].worker}: {bad[0].why}"
        )
    slopes: dict[str, str] = {}
    for name in ("worker", "the consumer"):
        lives = {life: read for life, read in found.memory.items() if life.startswith(name)}
        slope: Slope | None = slope_of(
            lives, settle=_SETTLE_SECONDS, block=_BLOCK_SECONDS, least=_LEAST_SECONDS
        )
        if slope is None:
            slopes[name] = "too short to tell"
            continue
        verdict = slope.verdict(_LIMIT)
        slopes[name] = f"{slope.text}, {slope.lives} lives: {verdict}"
        if verdict == "FAIL":
            faults.append(f"memory of {name}s grows: {slope.text}")
    return faults, {
        "accepted_conversions": len(shoppers.accepted.conversions),
        "accepted_touches": len(shoppers.accepted.touches),
        "kills": [kill.name for kill in found.kills],
        "failed_on_connections_to_killed": len(shoppers.failures) - len(bad),
        "of_these_sent_after_the_kill": sum(
            kill is not None and failure.sent > kill.at + _FLIGHT_SECONDS
            for failure, kill in behind
        ),
        "failed_otherwise": dict(Counter(one.why.partition(":")[0] for one in bad)),
        "sent_again": shoppers.again,
        "stayed_away": shoppers.stayed_away,
        "rss_slope": slopes,
    }


def _milliseconds(latency: LatencyHistogram, q: float) -> float | None:
    """Return a quantile, None where it falls on a request that failed."""
    value = latency.quantile(q)
    return round(1e3 * value, 2) if math.isfinite(value) else None


def main(arguments: Sequence[str]) -> int:
    """Run the soak and print what was found; return 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak_service", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--kill-every", type=float, default=300.0, help="seconds")
    parser.add_argument("--redis-part", type=float, default=10.0,
                        help="seconds of each part of a turn of Redis")  # fmt: skip
    parser.add_argument("--rate", type=float, help="requests/s; by default 80 %% of the knee")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds a client waits")
    parser.add_argument("--plant", choices=PLANTS, help="a fault that must be found")
    options = parser.parse_args(arguments)

    def say(text: str) -> None:
        print(text, flush=True)

    scenario = load_scenario(
        find_scenario("baseline"),
        overrides=[f"topology.processes={options.workers}", "topology.isolates=1",
                   "tiers.l1.max_bytes=2MB"],
    )  # fmt: skip
    try:
        with (
            TemporaryDirectory(prefix="edgeproof-soak-") as temporary,
            FlakyRedis(Path(temporary), part=options.redis_part) as redis,
        ):
            folder = Path(temporary) / "data"
            folder.mkdir()
            with running_service(
                scenario, token=None, folder=folder, redis=redis.url, emulate=False,
                populate=False, mends=100,
            ) as service:  # fmt: skip
                rate = options.rate
                if rate is None:
                    say("the knee, with Redis well:")
                    knee, shoppers = find_knee(service.urls, say)
                    rate = _SHARE * knee
                else:
                    shoppers = Shoppers(service.urls, rate=rate, seed=1, timeout=options.timeout)
                    shoppers.start()
                shoppers.rate = rate
                say(f"{options.minutes:g} min at {rate:,.0f} requests/s, {options.workers} workers")
                shoppers.failures.clear()
                shoppers.stayed_away = 0
                shoppers.take()
                redis.begin()
                found = soak(service, options, say)
                shoppers.stop()
                latency, sent, late = shoppers.take()
            file = folder / "cdp.sqlite"
            if options.plant in ("lost", "doubled"):
                plant(file, options.plant)
            faults, figures = judged(found, shoppers, file)
            figures |= {
                "requests": sent, "late_sent": late, "turns_of_redis": redis.turns,
                "p50_ms": _milliseconds(latency, 0.5),
                "p95_ms": _milliseconds(latency, 0.95),
                "p99_ms": _milliseconds(latency, 0.99),
            }  # fmt: skip
    except InputError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    say(json.dumps(figures, indent=1))
    for fault in (faults := [*faults, *service.faults]):
        say(f"FAIL: {fault}")
    if faults:
        return 1
    if unsure := [name for name, text in figures["rss_slope"].items() if "PASS" not in text]:
        say(f"UNDECIDED: whether memory grows ({', '.join(unsure)}); run it for longer")
        return 3
    if shoppers.stayed_away:
        say(f"UNDECIDED: {shoppers.stayed_away:,} visitors stayed away behind thousands that "
            "waited; the rate was too high here, so give a lower --rate")  # fmt: skip
        return 3
    say("PASS: nothing accepted is lost or doubled, no memory grows, no other request failed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
