"""What a request costs the service in several checkouts, in turns, against a real redis-server.

python -m bench.service_versions BASE [HEAD]: CPU of the service's process per request, HEAD (this
one) over BASE; median ratio with its 95 % interval. A version is a folder with a checkout:
git worktree add ../before REVISION.

--blocks N: sets of fresh processes, of 8 pairs each (8 at least; 12). --at-most X makes it a gate:
the exit code is 0 if no interval lies above X as a whole, 1 if one does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.checkouts import started_in
from bench.loopback import Spent, WrongAnswer, drive, request_bytes
from bench.paired import FEWEST_BLOCKS, Ratio, paired_ratio
from bench.redis_server import RedisServer, redis_server
from core.clock import DATA_EPOCH_MS
from core.errors import InputError
from core.wire import ISOLATE_HEADER

BLOCKS = 12
PAIRS = 8
"""Pairs of one block: what a process's memory and hash seed do to it ends with the block."""

REQUESTS = 150
CASES = ("miss", "L2 hit", "L1 hit", "tracked event")
NO_SLOWER = 1.02
"""The limit of "no slower": a shared machine cannot resolve a smaller difference."""

BEFORE = "7e10e27"
"""The revision that a miss and a tracked event are promised to be no slower than."""

_WRITE_SECONDS = 30.0
_POLL_SECONDS = 0.01

_HERE = Path(__file__).resolve().parent.parent
_ISOLATES = 2 * (PAIRS + 1)

# Runs on the checkout's own code, so that only what has long been there is used.
_CHILD = """
import json, sys
from scenarios.catalogue import shipped
try:
    from core.scenario.file import load_scenario
    from core.service.launcher import running_service
except ImportError:  # a version whose core has no rooms
    from core.launcher import running_service
    from core.scenario_file import load_scenario
scenario = load_scenario(shipped()["baseline"], overrides=sys.argv[2:])
with running_service(scenario, token=None, emulate=False, redis=sys.argv[1]) as service:
    print(json.dumps([service.urls[0], service.workers[0].pid]), flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A running service: its URL, its process, and its own redis-server."""

    url: str
    pid: int
    redis: RedisServer


def scenario_overrides(users: int) -> list[str]:
    """Return the overrides of the measured baseline: entries outlive the measurement."""
    lives = [
        f"tiers.l2.ttl.{name}=1h"
        for name in (
            "user_journeys", "attribution", "security_config", "lookup_data", "channel_metrics",
        )
    ]  # fmt: skip
    return [
        "topology.points_of_presence=1", "topology.processes=1",
        f"topology.isolates={_ISOLATES}", f"traffic.users={users}",
        f"traffic.conversions={users * 4 // 3}",  # journeys as long as the baseline's own
        "duration=5s", "warm_up=0s",
        "tiers.l1.ttl=1h", 'start="cold"', *lives,
    ]  # fmt: skip


@contextmanager
def running_version(folder: Path, users: int = REQUESTS) -> Iterator[Side]:
    """Run the service of the checkout in *folder* with a redis-server of its own.

    Baseline on one worker, without latencies in front, with entries that outlive the measurement.
    Raise InputError if *folder* is no checkout, or its service does not start.
    """
    folder = folder.resolve()
    if not (folder / "scenarios" / "catalogue.py").is_file():
        raise InputError(f"{folder}: no checkout of edgeproof; it has no scenarios/catalogue.py")
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeproof-bench-")))
        redis = stack.enter_context(redis_server(home))
        child = started_in(folder, _CHILD, redis.url, *scenario_overrides(users))
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            if not line:
                raise InputError(f"{folder}: its service does not start; see above")
            url, pid = json.loads(line)
            yield Side(url=url, pid=pid, redis=redis)
        finally:
            try:
                child.communicate(timeout=30)  # the end of its input stops the service
            except subprocess.TimeoutExpired:
                child.kill()
                child.communicate()


def _journey(user: int, isolate: int) -> bytes:
    return request_bytes("GET", f"/journey/u{user}", None, [(ISOLATE_HEADER, str(isolate))])


def requests_of(case: str, number: int, size: int) -> tuple[list[bytes], str]:
    """Return the requests of round *number* of *case*, and what each answer's head says.

    Cases run in the order of CASES: each relies on those before it. Versions differ in the name of
    the parameter of the read (`key`, then `read`), so requests do not use it.
    """
    if case == "miss":  # in an isolate that has read nothing, with L2 emptied before
        return [_journey(user, 2 * number) for user in range(size)], "L2; fwd=uri-miss; "
    if case == "L2 hit":
        return [_journey(user, 2 * number + 1) for user in range(size)], "L2; hit; "
    if case == "L1 hit":
        return [_journey(1, 2 * number)] * size, "L1; hit; "
    event = {
        "user_id": "u1", "site_id": "s1", "event_name": "page_view",
        "timestamp": DATA_EPOCH_MS, "utm_source": "email",
    }  # fmt: skip
    bodies = (event | {"event_id": f"r{number}-{index}"} for index in range(size))
    return [
        request_bytes("POST", "/track", json.dumps(body).encode()) for body in bodies
    ], "202 Accepted"


async def spent_on(side: Side, case: str, number: int, size: int) -> Spent:
    """Drive one round; WrongAnswer if another tier answers than the case's.

    A miss is written to L2 after its answer. The round ends when all of its keys are there: a
    write after the next round's FLUSHALL would turn a miss into a hit.
    """
    if case == "miss":
        side.redis.empty()
    requests, expected = requests_of(case, number, size)
    spent = await drive(side.url, side.pid, requests, expected)
    if case == "miss":
        await _written(side.redis, len(set(requests)))
    return spent


async def _written(redis: RedisServer, keys: int, *, limit: float = _WRITE_SECONDS) -> None:
    """Wait until *redis* holds *keys* keys; WrongAnswer if it does not within *limit* seconds."""
    end = time.monotonic() + limit
    while (found := redis.keys()) < keys:
        if time.monotonic() >= end:
            raise WrongAnswer(
                f"L2 holds {found} of the {keys} keys that were missed, {limit:g} s after the "
                "last answer; measure on a machine that is less busy"
            )
        await asyncio.sleep(_POLL_SECONDS)


def ratios_of_block(
    base: Path, head: Path, *, size: int = REQUESTS, turned: bool = False
) -> dict[str, list[float]]:
    """Return PAIRS ratios of each case, of fresh processes: CPU per request, head over base.

    Both take turns after a warm-up round, every other pair in the reverse order;
    *turned* starts with the reverse order.
    """
    found: dict[str, list[float]] = {case: [] for case in CASES}
    with ExitStack() as stack:
        sides = [stack.enter_context(running_version(folder, size)) for folder in (base, head)]
        for number in range(PAIRS + 1):
            order = (1, 0) if turned ^ bool(number % 2) else (0, 1)
            for case in CASES:
                spent = {side: asyncio.run(spent_on(sides[side], case, number, size))
                         for side in order}  # fmt: skip
                if number:
                    found[case].append(spent[1].cpu_seconds / spent[0].cpu_seconds)
    return found


def pairs_beside(
    base: Path, case: str, *, rounds: int = PAIRS, size: int = REQUESTS
) -> list[tuple[float, float]]:
    """Return CPU seconds of a request of *case* in *rounds* turns: the checkout *base*'s, ours.

    One block: fresh processes, which take turns as in `ratios_of_block`. *rounds*: at most PAIRS.
    """
    asked = ("miss", case) if case.endswith("hit") else (case,)  # hits need loaded entries
    pairs = []
    with ExitStack() as stack:
        sides = [stack.enter_context(running_version(folder, size)) for folder in (base, _HERE)]
        for number in range(min(rounds, PAIRS) + 1):
            for of_round in asked:
                spent = {
                    side: asyncio.run(spent_on(sides[side], of_round, number, size)).cpu_seconds
                    for side in ((1, 0) if number % 2 else (0, 1))
                }
            if number:
                pairs.append((spent[0] / size, spent[1] / size))
    return pairs


@contextmanager
def checkout_of(revision: str) -> Iterator[Path]:
    """Give a folder with the files of *revision* of this repository; InputError if it has none."""
    with tempfile.TemporaryDirectory(prefix="edgeproof-bench-") as folder:
        archive = subprocess.run(
            ["git", "archive", revision], cwd=_HERE, capture_output=True, check=False
        )
        if archive.returncode:
            raise InputError(f"revision {revision}: {archive.stderr.decode().strip()}; fetch it")
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def lacks_revision(revision: str) -> str:
    """Return why *revision* cannot be measured here, "" if it can."""
    try:
        found = subprocess.run(
            ["git", "cat-file", "-e", f"{revision}^{{commit}}"],
            cwd=_HERE, capture_output=True, check=False,
        )  # fmt: skip
    except OSError:
        return "no git"
    return "" if found.returncode == 0 else f"no revision {revision} in a git repository here"


def compared(base: Path, head: Path = _HERE, *, count: int = BLOCKS) -> dict[str, Ratio]:
    """Return the median ratio of each case with its interval, over *count* blocks."""
    found: dict[str, list[Sequence[float]]] = {case: [] for case in CASES}
    for number in range(count):
        for case, ratios in ratios_of_block(base, head, turned=bool(number % 2)).items():
            found[case].append(ratios)
        print(f"{number + 1} of {count} blocks", file=sys.stderr)
    return {case: paired_ratio(ratios) for case, ratios in found.items()}


def main(arguments: Sequence[str]) -> int:
    """Print the ratio of each case; return the gate's exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.service_versions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("base", type=Path, metavar="BASE")
    parser.add_argument("head", type=Path, nargs="?", default=_HERE, metavar="HEAD")
    parser.add_argument("--blocks", type=int, default=BLOCKS, metavar="N")
    parser.add_argument("--at-most", type=float, metavar="X")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:  # help, or an error line
        return int(end.code or 0)
    if options.blocks < FEWEST_BLOCKS:
        print(f"python -m bench.service_versions: --blocks {options.blocks}: an interval needs at "
              f"least {FEWEST_BLOCKS}", file=sys.stderr)  # fmt: skip
        return 2
    try:
        ratios = compared(options.base, options.head, count=options.blocks)
    except (InputError, WrongAnswer, OSError) as error:
        print(f"python -m bench.service_versions: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("python -m bench.service_versions: interrupted", file=sys.stderr)
        return 130
    for case, ratio in ratios.items():
        print(f"{case:<14} {ratio} times the first, {ratio.pairs} pairs")
    if options.at_most is None:
        return 0
    slower = [case for case, ratio in ratios.items() if ratio.low > options.at_most]
    print(f"above {options.at_most:g}: {', '.join(slower) or 'none'}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
