"""Start and end the Worker on workerd: its isolates, a process each, and its stores."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import EdgeproofError, InputError
from core.scenario.scenario import Scenario
from core.service.crew import MOST_ENDS, Crew, RunningService, ServiceProcess
from edgeproof.workerd.adapted import latencies_of, queue_of, settings_of
from edgeproof.workerd.tether import write_tethered
from scenarios.node import MODULES_VARIABLE, WORKER, Node, find_node

_RUNTIME_VARIABLE = "EDGEPROOF_WORKERD"
_STOP_SECONDS = 15.0
_LAST_PORT = 65_535
_IN_MEMORY = "/dev/shm"
_ROOM = 500_000_000
"""Bytes that a folder in memory has free, at least."""

_SEED_SECONDS = 120.0


@contextmanager
def running_on_workerd(
    scenario: Scenario, *, token: str | None, host: str = "127.0.0.1", port: int = 0
) -> Iterator[RunningService]:
    """Run the Worker for *scenario*, of `adapted.on_workerd`, as long as the context lasts.

    port: of the first isolate, the others take the next ones; 0 chooses free ones. Raise InputError
    where Node.js or its packages are missing or a port is taken, EdgeproofError if it does not
    start. Its end ends every process; the stores and what they hold go with them.
    """
    from edgeproof.workerd.content import Content  # NumPy and more, which few commands need

    node = find_node()
    if port:
        _check_ports(host, port, scenario.topology.isolate_count)
    with (
        tempfile.TemporaryDirectory(prefix="edgeproof-workerd-") as temporary,
        tempfile.TemporaryDirectory(prefix="edgeproof-stores-", dir=_memory()) as scratch,
    ):
        home = Path(temporary)
        content = Content(scenario)
        (home / "warm.json").write_text(json.dumps(content.warm()), encoding="utf-8")
        secret = secrets.token_urlsafe(24)
        plan = _plan(
            scenario, node, home, scratch, host=host, port=port, secret=secret, token=token
        )
        log_path = home / "workerd.log"
        with log_path.open("wb") as log:
            process = ServiceProcess(
                "the runtime", ["edgeproof.workerd.tether", str(plan)], token=token, log=log
            )
            service: RunningService | None = None
            try:
                ready = _ready(process, log_path)
                for seed in content.seeds():
                    _ask(f"{ready['db']}/seed", seed, secret)
                crew = Crew()
                crew.stores.append(process)  # it holds the stores, so that none can replace it
                service = RunningService(ready["urls"], crew, log_path, _another, mends=MOST_ENDS)
                yield service
            finally:
                try:
                    process.terminate()
                    fault = process.end_by(time.monotonic() + _STOP_SECONDS)
                finally:
                    process.kill()
                if service is not None:
                    service.faults += [fault] if fault else []
                    service.last_news = service.news()


def _another(process: ServiceProcess) -> ServiceProcess:
    raise EdgeproofError(f"{process.name} holds the stores and cannot be started again")


def _check_ports(host: str, port: int, count: int) -> None:
    """Raise InputError unless *count* ports from *port* on are free."""
    if port + count - 1 > _LAST_PORT:
        raise InputError(
            f"--port {port}: {count} isolates take the ports up to {port + count - 1}; choose "
            f"{_LAST_PORT + 1 - count} or lower"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for each in range(port, port + count):
        with socket.socket(family, socket.SOCK_STREAM) as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                taken.bind((host, each))
            except OSError as error:
                raise InputError(
                    f"{host}:{each}: {error.strerror}; choose another --port"
                ) from None


def _memory() -> str | None:
    """Return a folder in memory with room for the stores; None where there is none.

    The stores write through to the disk, and a load would measure that.
    """
    if os.access(_IN_MEMORY, os.W_OK) and shutil.disk_usage(_IN_MEMORY).free >= _ROOM:
        return _IN_MEMORY
    return None


def _plan(
    scenario: Scenario, node: Node, home: Path, scratch: str, *, host: str, port: int, secret: str,
    token: str | None,
) -> Path:  # fmt: skip
    """Write what the runtime is to run; return the file that the tether takes."""
    config = {
        "host": host,
        "port": port,
        "isolates": scenario.topology.isolate_count,
        "token": token,
        "warm": str(home / "warm.json"),
        "queue": queue_of(scenario),
        "worker": {
            "seed": scenario.seed,
            "secret": secret,
            "kv_cache_ttl": scenario.tiers.l2.cache_ttl,
            "latencies": latencies_of(scenario),
            "settings": json.dumps(settings_of(scenario)),
        },
    }
    path = home / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    path.chmod(0o600)
    runtime = home / "workerd"
    write_tethered(runtime, _RUNTIME_VARIABLE)
    plan = home / "plan.json"
    arguments = [str(WORKER / "local" / "start.mjs"), str(path)]
    environment = {
        MODULES_VARIABLE: str(node.modules),
        "MINIFLARE_WORKERD_PATH": str(runtime),
        "TMPDIR": scratch,
    }
    plan.write_text(
        json.dumps(
            {"program": str(node.program), "arguments": arguments, "environment": environment}
        ),
        encoding="utf-8",
    )
    return plan


def _ready(process: ServiceProcess, log: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(process.ready())
        return found
    except InputError:
        raise
    except EdgeproofError as error:
        last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
        raise EdgeproofError(f"{error}{last and f': {last}'}") from None


def _ask(url: str, data: object, secret: str) -> None:
    request = urllib.request.Request(
        url,
        data=json.dumps(data).encode(),
        headers={"Authorization": f"Bearer {secret}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_SEED_SECONDS) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        raise EdgeproofError(
            f"{url} answered {error.code}: {error.read().decode()[:200]}"
        ) from None
