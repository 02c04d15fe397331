"""What a request costs the service beside a bare Starlette route: `python -m bench.service`.

python -m bench.service [ROUNDS] prints the table; python -m bench.service --profile prints on what
a miss, the hits and a tracked event spend it, against a real redis-server.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.halves import Speeds
from bench.loopback import Spent, WrongAnswer, answer_of, drive, request_bytes
from bench.promise import SERVICE_HIT
from core.clock import DATA_EPOCH_MS
from core.endpoints import CDP
from core.errors import EdgeproofError, InputError
from core.scenario.file import load_scenario
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from core.service.crew import ServiceProcess
from core.service.launcher import running_service
from core.wire import ISOLATE_HEADER
from scenarios.catalogue import shipped
from scenarios.rendering import Renderer, Request
from scenarios.routing import Routing

ROUNDS = 30
REQUESTS = 500

_TOKEN = "of-this-benchmark-only"
_ISOLATES = 50
_MIXED_ISOLATES = 4
_ORIGIN = "http://127.0.0.1"
_PATHS = {
    each.name: f"/{each.segment}/{{id:path}}" if each.identifier else f"/{each.segment}"
    for each in CDP
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Requests of one kind.

    requests: those of a round, from its number; expected: what each answer's head says;
    routes: the endpoints of the bare route; isolates: of the measured service.
    """

    name: str
    requests: Callable[[int], list[bytes]]
    expected: str
    routes: tuple[str, ...]
    isolates: int = _ISOLATES


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One case, an entry for each round."""

    name: str
    service: tuple[Spent, ...]
    bare: tuple[Spent, ...]

    @property
    def ratio(self) -> float:
        """The median over the rounds of the service's CPU per request over the bare route's."""
        rounds = zip(self.service, self.bare, strict=True)
        return median(_cpu(service) / _cpu(bare) for service, bare in rounds)


def _cpu(spent: Spent) -> float:
    return spent.cpu_seconds / spent.requests


def _scenario(isolates: int, users: int) -> Scenario:
    """Return the baseline on one worker, with entries that outlive the measurement."""
    lives = [f"tiers.l2.ttl.{name}=1h" for name in ("user_journeys", "attribution",
             "security_config", "lookup_data", "channel_metrics")]  # fmt: skip
    return load_scenario(
        shipped()["baseline"],
        overrides=[
            "topology.points_of_presence=1", "topology.processes=1",
            f"topology.isolates={isolates}", f"traffic.users={users}",
            "tiers.l1.ttl=1h", "queue.wait=50ms", 'start="cold"', *lives,
        ],
    )  # fmt: skip


def cases(size: int) -> list[Case]:
    """Return the cases in the order of a round: each relies on those before.

    size: requests of a round, besides those that provide the bare route's answers.
    """
    users = size + 1
    scenario = _scenario(_MIXED_ISOLATES, users)
    workload = prepare(scenario).workload
    routing = Routing.of(scenario.topology, [_ORIGIN])
    per_isolate = size // (_ISOLATES - 1) + 1

    def journey(user: int, isolate: int) -> bytes:
        return request_bytes("GET", f"/journey/u{user}", None, [(ISOLATE_HEADER, str(isolate))])

    def at_l2(number: int) -> list[bytes]:
        # Isolate 0 has loaded every user in the case before; each of the others reads some once.
        first = number * per_isolate
        return [
            journey((first + user) % users, isolate)
            for isolate in range(1, _ISOLATES)
            for user in range(per_isolate)
        ][: size + 1]

    def tracked(number: int) -> list[bytes]:
        event = {
            "user_id": "u1", "site_id": "s1", "event_name": "page_view",
            "timestamp": DATA_EPOCH_MS, "utm_source": "email",
        }  # fmt: skip
        bodies = (event | {"event_id": f"r{number}-{index}"} for index in range(size + 1))
        return [request_bytes("POST", "/track", json.dumps(body).encode()) for body in bodies]

    def mixed(number: int) -> list[bytes]:
        # The warm-up round reads every row once, which fills the caches.
        count = len(workload) if number == 0 else size + len(CDP)
        renderer = Renderer(scenario, workload, routing, run_id=f"m{number}")
        rows = (np.arange(count) + number * size) % len(workload)
        return [_rendered(renderer.request(int(row))) for row in rows]

    return [
        Case(
            name="miss",
            requests=lambda _: [journey(user, 0) for user in range(users)],
            expected="L2; fwd=uri-miss; read=journey",
            routes=("journey",),
        ),
        Case(name="L2 hit", requests=at_l2, expected="L2; hit; read=journey", routes=("journey",)),
        Case(
            name="L1 hit",
            requests=lambda _: [journey(1, 0)] * (size + 1),
            expected="L1; hit; read=journey",
            routes=("journey",),
        ),
        Case(name="tracked event", requests=tracked, expected="202 Accepted", routes=("track",)),
        Case(
            name="mixed",
            requests=mixed,
            expected="server-timing",
            routes=CDP.names,
            isolates=_MIXED_ISOLATES,
        ),
    ]


def _rendered(request: Request) -> bytes:
    headers = [pair for pair in request.headers.items() if pair[0] != "Content-Type"]
    return request_bytes(request.method, request.url.removeprefix(_ORIGIN), request.body, headers)


@contextmanager
def bare_route(folder: Path, name: str, routes: list[dict[str, Any]]) -> Iterator[tuple[str, int]]:
    """Run a bare route for as long as the context lasts; give its URL and process id."""
    plan = folder / f"{name}.json"
    plan.write_text(json.dumps(routes), encoding="utf-8")
    with (folder / f"{name}.log").open("wb") as log:
        process = ServiceProcess(
            "the bare route", ["bench.bare_route", str(plan)], token=None, log=log
        )
        try:
            yield process.ready(), process.pid
        finally:
            process.kill()  # it keeps nothing


async def _sample(url: str, requests: list[bytes], endpoint: str) -> dict[str, Any]:
    """Take a request to *endpoint* from *requests*; return the bare route that answers it as the
    service at *url* does."""
    chosen = next(
        text for text in requests if text.split(b" ", 2)[1].startswith(b"/" + endpoint.encode())
    )
    requests.remove(chosen)
    status, headers, body = await answer_of(url, chosen)
    kept = {name: headers[name] for name in ("server-timing", "cache-status") if name in headers}
    return {
        "path": _PATHS[endpoint],
        "method": CDP[endpoint].method,
        "status": status,
        "headers": kept,
        "body": body.decode(),
    }


async def measure(
    rounds: int = ROUNDS, size: int = REQUESTS, machine: Speeds | None = None
) -> list[Measured]:
    """Drive the service and the bare route in turn, *rounds* times after a warm-up round.

    One worker with fakeredis and SQLite, no latencies in front. Raise ValueError for less than
    one round, WrongAnswer if a request was not answered by the tier that its case is about.
    """
    if rounds < 1:
        raise ValueError(f"{rounds} rounds; at least 1 is needed")
    spent: dict[str, tuple[list[Spent], list[Spent]]] = {}
    chosen = cases(size)
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="edgeproof-bench-")))
        # Mixed requests have a service of their own: its caches are not emptied.
        services: dict[int, tuple[str, int]] = {}
        for isolates in {case.isolates: None for case in chosen}:
            scenario = _scenario(isolates, size + 1)
            service = running.enter_context(running_service(scenario, token=_TOKEN, emulate=False))
            services[isolates] = service.urls[0], service.workers[0].pid
        bare: dict[str, tuple[str, int]] = {}
        for number in (machine or Speeds()).between(range(rounds + 1)):
            await _empty_caches(services[_ISOLATES][0])
            for case in chosen:
                url, pid = services[case.isolates]
                requests = case.requests(number)
                answers = [await _sample(url, requests, name) for name in case.routes]
                if case.name not in bare:
                    bare[case.name] = running.enter_context(bare_route(folder, case.name, answers))
                of_service = await drive(url, pid, requests, case.expected)
                of_bare = await drive(*bare[case.name], requests, case.expected)
                if number:
                    kept = spent.setdefault(case.name, ([], []))
                    kept[0].append(of_service)
                    kept[1].append(of_bare)
    return [
        Measured(name=name, service=tuple(service), bare=tuple(bare))
        for name, (service, bare) in spent.items()
    ]


async def l1_hit_pairs(*, rounds: int, size: int = 200) -> list[tuple[float, float]]:
    """Return the CPU of an L1 hit in *rounds* turns: the bare route's and the service's.

    The figures are seconds of CPU per request. Each turn sends *size* requests to both; the order
    changes with every turn. A warm-up turn does not count.
    """
    case = next(case for case in cases(size) if case.name == "L1 hit")
    pairs = []
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="edgeproof-bench-")))
        scenario = _scenario(_ISOLATES, size + 1)
        service = running.enter_context(running_service(scenario, token=_TOKEN, emulate=False))
        ours = service.urls[0], service.workers[0].pid
        requests = case.requests(0)
        await answer_of(ours[0], requests[0])  # a miss, which fills L1
        answers = [await _sample(ours[0], requests, name) for name in case.routes]
        bare = running.enter_context(bare_route(folder, "hit", answers))
        for number in range(rounds + 1):
            order = (bare, ours) if number % 2 else (ours, bare)
            found = {
                server: _cpu(await drive(*server, requests, case.expected)) for server in order
            }
            if number:
                pairs.append((found[bare], found[ours]))
    return pairs


async def _empty_caches(url: str) -> None:
    body = json.dumps({"prefix": "journey:"}).encode()
    authorisation = [("Authorization", f"Bearer {_TOKEN}")]
    path = "/api/performance/cache-invalidate"
    status, _, _ = await answer_of(url, request_bytes("POST", path, body, authorisation))
    if status != 200:
        raise WrongAnswer(f"{path} answered {status}")


def table(measured: Sequence[Measured]) -> str:
    """Return a line for each case: medians over the rounds, and the ratio to the bare route."""
    lines = [f"{'':<14} {'CPU/request':>12} {'bare route':>12} {'ratio':>6} {'requests/s':>11}"
             f" {'bare route':>11}"]  # fmt: skip
    for case in measured:
        cpu, bare = (1e6 * median(map(_cpu, spent)) for spent in (case.service, case.bare))
        rate, bare_rate = (
            median(entry.requests / entry.seconds for entry in spent)
            for spent in (case.service, case.bare)
        )
        lines.append(
            f"{case.name:<14} {cpu:>9.0f} us {bare:>9.0f} us {case.ratio:>6.2f} {rate:>11,.0f}"
            f" {bare_rate:>11,.0f}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Print a table; return the exit code."""
    if {"-h", "--help"} & {*arguments}:
        print(__doc__)
        return 0
    if "--profile" in arguments:
        return _print_profile()
    try:
        machine = Speeds()
        rounds = int(arguments[0]) if arguments else ROUNDS
        measured = asyncio.run(measure(rounds, machine=machine))
    except InputError as error:
        print(f"python -m bench.service: {error}", file=sys.stderr)
        return 2
    except (ValueError, EdgeproofError, WrongAnswer, OSError) as error:
        print(f"python -m bench.service [ROUNDS]: {error}", file=sys.stderr)
        return 2
    if note := machine.line():
        print(note)
    print(table(measured))
    hit = next(case for case in measured if case.name == "L1 hit")
    print(
        f"an L1 hit: {hit.ratio:.2f} times the bare route's CPU, at most {SERVICE_HIT} is asked for"
    )
    return 0


def _print_profile() -> int:
    from bench import service_profile  # only this needs a redis-server

    try:
        print(service_profile.table(service_profile.profile()))
    except (EdgeproofError, WrongAnswer, OSError) as error:
        print(f"python -m bench.service --profile: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
