"""On what the service spends a miss and a tracked event: `python -m bench.service --profile`.

A worker on a real redis-server and SQLite is driven without a profiler, for its CPU, and again
under cProfile, for the share of each layer. The profiler's cost per call is measured and
subtracted; the rest is scaled to the CPU without a profiler. Calls, statements and commands are
counts, nearly equal in every run.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.loopback import answer_of, request_bytes
from bench.redis_server import redis_server
from bench.service_versions import CASES, Side, scenario_overrides, spent_on
from core.errors import InputError
from core.scenario.file import load_scenario, scenario_data
from core.service.crew import ServiceProcess
from core.service.limits import DEFAULT_LIMITS
from scenarios.catalogue import shipped

REQUESTS = 300
ROUNDS = 3

Called = tuple[int, int, float]

_PROBES = ("/bench/profiled_worker.py", "/core/metrics/machine.py")
"""The profile itself, and the probe of the machine's speed: not caused by a request."""

_OURS = ("dbsize", "flushall", "info")
"""Commands that the measurement itself sends."""

LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("threads, hand-over", ("/core/query/lane.py", "/concurrent/futures/", "/threading.py",
                            "/asyncio/futures.py")),
    ("redis-py", ("/redis/", "/core/caching/redis_", "/asyncio/streams.py")),
    ("HTTP server", ("/uvicorn/", "/starlette/", "/core/service/protocol.py",
                     "/core/service/acceptor.py")),
    ("event loop", ("/asyncio/", "/selectors.py", "/contextlib.py")),
    ("SQLite statements", ("/core/query/database.py",)),
    ("cache", ("/core/caching/",)),
    ("documents, JSON", ("/core/application/documents.py", "/json/")),
    ("metrics", ("/core/metrics/", "/core/context.py", "/core/query/executor.py",
                 "/core/query/queries.py", "/core/clock.py", "/core/wire.py")),
    ("routing, validation", ("/core/",)),
    ("rest", ("",)),
)  # fmt: skip
"""Layers and the parts of paths that belong to them; the first match counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The cost of a layer in one request: function calls and seconds of CPU."""

    calls: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The cost of one request of a case.

    cpu: seconds without a profiler; layers: by name, which add up to cpu; commands: sent to Redis,
    by name; statements: of SQLite, by name; switches: how often a thread of the process began to
    wait.
    """

    cpu: float
    layers: Mapping[str, Share]
    commands: Mapping[str, float]
    statements: Mapping[str, float]
    switches: float


@contextmanager
def _worker(folder: Path, users: int, out: Path | None) -> Iterator[Side]:
    """Run one worker, with a profiler if *out* is given."""
    scenario = load_scenario(
        shipped()["baseline"], overrides=[*scenario_overrides(users), 'destination.url="none"']
    )
    with redis_server(folder) as redis, (folder / "service.log").open("wb") as log:
        plan = folder / "plan.json"
        plan.write_text(json.dumps({
            "scenario": scenario_data(scenario), "host": "127.0.0.1", "port": 0, "position": 0,
            "folder": str(folder), "redis": redis.url, "emulate": False, "destination": None,
            "roster": str(folder / "none"), "limits": DEFAULT_LIMITS.to_json(), "populate": True,
            "database": "",
        }), encoding="utf-8")  # fmt: skip
        (folder / "none").write_text("[]", encoding="utf-8")
        module = ["core.service.worker"] if out is None else ["bench.profiled_worker", str(out)]
        process = ServiceProcess("the worker", [*module, str(plan)], token=None, log=log)
        try:
            yield Side(url=process.ready(), pid=process.pid, redis=redis)
        finally:
            process.terminate()
            process.end_by(time.monotonic() + 15)


async def _statements(url: str) -> dict[str, int]:
    _, _, body = await answer_of(
        url, request_bytes("GET", "/api/performance/query-stats?scope=process")
    )
    found = json.loads(body)["data"]["statements"]
    return {name: figures["total"] for name, figures in found.items()}


def _switches(pid: int) -> int:
    """Return how often the threads of *pid* gave up the CPU to wait, so far."""
    count = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text(encoding="utf-8").splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                count += int(line.split()[1])
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The totals of a profiled worker at one time, and the profiler's cost per call then.

    functions: calls, calls of C functions and seconds by "file:function".
    """

    functions: Mapping[str, Called]
    call: float
    c_call: float


def _snapshot(pid: int, out: Path) -> Snapshot:
    out.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    deadline = time.monotonic() + 30
    while not out.is_file():
        if time.monotonic() > deadline:
            raise InputError(f"the profiled worker (process {pid}) wrote no profile within 30 s")
        time.sleep(0.02)
    data = json.loads(out.read_text(encoding="utf-8"))
    functions = {name: (found[0], found[1], found[2]) for name, found in data["functions"].items()}
    return Snapshot(functions=functions, call=data["call"], c_call=data["c_call"])


def layer_of(file: str) -> str:
    """Return the layer that a source file belongs to."""
    return next(name for name, parts in LAYERS if any(part in file for part in parts))


def by_layer(before: Snapshot, after: Snapshot, requests: int) -> dict[str, Share]:
    """Return each layer's cost per request between two snapshots, without the profiler."""
    call, c_call = (before.call + after.call) / 2, (before.c_call + after.c_call) / 2
    calls = dict.fromkeys((name for name, _ in LAYERS), 0)
    seconds = dict.fromkeys(calls, 0.0)
    for name, now in after.functions.items():
        if any(part in name for part in _PROBES):
            continue
        then = before.functions.get(name, (0, 0, 0.0))
        layer = layer_of(name.rpartition(":")[0])
        own, of_c = now[0] - then[0], now[1] - then[1]
        calls[layer] += own + of_c
        seconds[layer] += now[2] - then[2] - call * own - c_call * of_c
    return {
        name: Share(calls=calls[name] / requests, seconds=max(0.0, seconds[name]) / requests)
        for name in calls
    }


def scaled(layers: Mapping[str, Share], cpu: float) -> dict[str, Share]:
    """Return *layers* so that they add up to *cpu* seconds; the profiled run met another speed."""
    whole = sum(share.seconds for share in layers.values())
    factor = cpu / whole if whole else 0.0
    return {
        name: Share(calls=share.calls, seconds=share.seconds * factor)
        for name, share in layers.items()
    }


def _per_request(
    before: Mapping[str, int], after: Mapping[str, int], requests: int
) -> dict[str, float]:
    found = {name: (count - before.get(name, 0)) / requests for name, count in after.items()}
    return {name: count for name, count in found.items() if count >= 0.01}


def profile(size: int = REQUESTS, rounds: int = ROUNDS) -> dict[str, Taken]:
    """Return the cost of a request of each case; InputError without a redis-server."""
    plain, counted = _plainly(size, rounds)
    layers = _profiled(size)
    return {
        case: Taken(
            cpu=plain[case],
            layers=scaled(layers[case], plain[case]),
            commands=counted[case][0],
            statements=counted[case][1],
            switches=counted[case][2],
        )
        for case in CASES
    }


_Counts = tuple[dict[str, float], dict[str, float], float]


def _plainly(size: int, rounds: int) -> tuple[dict[str, float], dict[str, _Counts]]:
    """Return the least CPU of a request of each case, and its commands, statements and waits."""
    cpu: dict[str, list[float]] = {case: [] for case in CASES}
    counted: dict[str, _Counts] = {}
    with (
        tempfile.TemporaryDirectory(prefix="edgeproof-bench-") as name,
        _worker(Path(name), size, None) as side,
    ):
        for number in range(rounds + 1):
            for case in CASES:
                if case == "miss":
                    side.redis.empty()
                commands, statements = side.redis.calls(), asyncio.run(_statements(side.url))
                switches = _switches(side.pid)
                spent = asyncio.run(spent_on(side, case, number, size))
                switched = (_switches(side.pid) - switches) / size
                time.sleep(0.1)  # writes to L2 in the background
                sent = _per_request(commands, side.redis.calls(), size)
                sent = {name: count for name, count in sent.items() if name not in _OURS}
                asked = _per_request(statements, asyncio.run(_statements(side.url)), size)
                if number:
                    cpu[case].append(spent.cpu_seconds / size)
                    counted[case] = sent, asked, switched
    return {case: min(seconds) for case, seconds in cpu.items()}, counted


def _profiled(size: int) -> dict[str, dict[str, Share]]:
    """Return each layer's cost in a request of each case, under the profiler."""
    layers: dict[str, dict[str, Share]] = {}
    with tempfile.TemporaryDirectory(prefix="edgeproof-bench-") as name:
        out = Path(name) / "profile.json"
        with _worker(Path(name), size, out) as side:
            for number in range(2):
                for case in CASES:
                    before = _snapshot(side.pid, out)
                    asyncio.run(spent_on(side, case, number, size))
                    time.sleep(0.1)  # writes to L2 in the background
                    layers[case] = by_layer(before, _snapshot(side.pid, out), size)
    return layers


def table(taken: Mapping[str, Taken]) -> str:
    """Return a line for each layer: microseconds of CPU and function calls of a request."""
    lines = [f"{'us of CPU (calls)':<20}" + "".join(f"{case:>18}" for case in taken)]

    def line(name: str, cells: Sequence[str]) -> None:
        lines.append(f"{name:<20}" + "".join(f"{cell:>18}" for cell in cells))

    for name, _ in LAYERS:
        shares = [found.layers[name] for found in taken.values()]
        line(name, [f"{1e6 * share.seconds:.0f} ({share.calls:.0f})" for share in shares])
    totals = [sum(share.calls for share in found.layers.values()) for found in taken.values()]
    line("all", [f"{1e6 * found.cpu:.0f} ({calls:.0f})"
                 for found, calls in zip(taken.values(), totals, strict=True)])  # fmt: skip
    line("waits of threads", [f"{found.switches:.1f}" for found in taken.values()])
    lines.append("")
    for case, found in taken.items():
        asked = [f"{name} {count:.2f}" for name, count in found.commands.items()]
        asked += [f"{name} {count:.2f}" for name, count in found.statements.items()]
        lines.append(f"{case}: {', '.join(asked) or 'no command, no statement'}")
    return "\n".join(lines)
