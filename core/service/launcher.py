"""Start and end the reference service: its processes, and the L2 that several of them share."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import EdgeproofError, InputError
from core.files import write_whole
from core.query.database import Synchronous
from core.scenario.eviction import is_off
from core.scenario.file import scenario_data
from core.scenario.scenario import Scenario
from core.service.acceptor import bound
from core.service.crew import Begin, Crew, RunningService, ServiceProcess, begun
from core.service.folder_lock import held_folder
from core.service.l2 import check_l2
from core.service.limits import DEFAULT_LIMITS, ConnectionLimits
from core.service.remote import check_remote

MAX_WORKERS = 64
_WORKER, _CONSUMER = "core.service.worker", "core.service.consumer"


def check_served(scenario: Scenario) -> None:
    """Raise InputError where the reference service does not do what *scenario* says.

    It runs the code of its own endpoints. What a file says of an endpoint is no code.
    """
    if not is_off(scenario.topology.eviction):
        raise InputError(
            f"{scenario.name}: topology.eviction: the reference service's isolates live as long as "
            "it does; leave it out (--set topology.eviction={}), or simulate"
        )
    if scenario.tiers.l3.replicas.count:
        raise InputError(
            f"{scenario.name}: tiers.l3.replicas: the reference service has one database; leave "
            "them out (--set tiers.l3.replicas={}), or simulate"
        )
    if scenario.invalidation.is_on:
        raise InputError(
            f"{scenario.name}: invalidation: the reference service is told of writes through its "
            "own endpoint, by nobody here; leave it out (--set invalidation={}), or simulate"
        )
    stated = [each.name for each in scenario.endpoints if each.is_stated]
    if stated:
        raise InputError(
            f"{scenario.name}: endpoints.{stated[0]} says what a service of yours does, and the "
            "reference service has only the endpoints of the CDP; give --host URL of your service "
            "to load or prove"
        )


@contextmanager
def running_service(
    scenario: Scenario,
    *,
    token: str | None,
    host: str = "127.0.0.1",
    port: int = 0,
    folder: Path | None = None,
    redis: str | None = None,
    emulate: bool = True,
    limits: ConnectionLimits = DEFAULT_LIMITS,
    populate: bool = True,
    otlp: str | None = None,
    synchronous: Synchronous = "normal",
    mends: int = 0,
    database: str = "",
    begin: Begin = begun,
) -> Iterator[RunningService]:
    """Run the reference service for *scenario* as long as the context lasts.

    port: of the first process, the others take the next ones; 0 chooses free ones. folder: for
    the database, a temporary one if None. redis: URL of L2, whose scheme chooses the store
    (`core.caching.stores`); without one a single process embeds its own, and several share a fake
    one. limits: of each process's connections. populate: whether a database without users and
    events gets those of the scenario; else it gets its sites alone, and starts cold. otlp: URL that
    traces are sent to. synchronous: "full" answers a write once it is on the disk. mends: how
    many ends of processes within a minute `RunningService.mend` mends; the ports are then held, so
    that a worker that ends is no refused connection. database: "d1" for the D1 database that the
    environment names, which gets sites alone and its own latencies; "" for a file in *folder*.
    begin: how its processes begin.

    Raise InputError for what `check_served` refuses, if a port is taken, another service runs on
    the folder, the URL means no store or there are more than MAX_WORKERS processes, EdgeproofError
    with the last line of the log if the service does not start. Where others than this machine
    reach *host*, monitoring wants the token.

    Its end lets requests in flight and the queue be finished; an exception that comes meanwhile
    (a second Ctrl-C) ends every process at once.
    """
    check_served(scenario)
    check_l2(scenario.tiers.l2, redis)
    if database:
        check_remote(scenario)
    count = scenario.topology.process_count
    if count > MAX_WORKERS:
        raise InputError(
            f"{scenario.name} has {count} processes (topology); at most {MAX_WORKERS} run on one "
            "machine: lower them or give --workers"
        )
    if port + count - 1 > 65_535:
        raise InputError(
            f"--port {port}: {count} processes take the ports up to {port + count - 1}; choose "
            f"{65_536 - count} or lower"
        )
    with (
        tempfile.TemporaryDirectory(prefix="edgeproof-") as temporary,
        held_folder(Path(temporary) if folder is None else folder),
    ):
        home = Path(temporary)
        roster = home / "workers.json"
        plan = {
            "scenario": scenario_data(scenario),
            "host": host,
            "folder": str(home if folder is None else folder),
            "redis": redis,
            "emulate": emulate,
            "destination": scenario.destination.url,
            "roster": str(roster),
            "limits": limits.to_json(),
            "populate": populate and not database,
            "otlp": otlp,
            "synchronous": synchronous,
            "database": database,
        }
        crew = Crew()
        listeners: list[socket.socket] = []
        service: RunningService | None = None
        log_path = home / "service.log"
        with log_path.open("wb") as log:

            def child(name: str, module: str, position: int, **own: Any) -> ServiceProcess:
                path = home / f"plan-{position}.json"
                own |= {"position": position, "port": port + position if port else 0}
                held = [] if "descriptor" not in own else [own["descriptor"]]
                path.write_text(json.dumps(plan | own), encoding="utf-8")
                return ServiceProcess(
                    name, [module, str(path)], token=token if module == _WORKER else None, log=log,
                    descriptors=held, begin=begin,
                )  # fmt: skip

            def worker(position: int, **own: Any) -> ServiceProcess:
                if mends:
                    if len(listeners) == position:
                        listeners.append(bound(host, port + position if port else 0))
                    own["descriptor"] = listeners[position].fileno()
                return child(f"worker {position}", _WORKER, position, **own)

            def again(ended: ServiceProcess) -> ServiceProcess:
                if ended in crew.consumers:
                    return child(ended.name, _CONSUMER, count)
                return worker(crew.workers.index(ended), resumes=True)

            def store(name: str, module: str) -> str:
                process = ServiceProcess(name, [module], token=None, log=log, begin=begin)
                crew.stores.append(process)
                return process.ready()

            try:
                try:
                    if redis is None and count > 1:
                        plan["redis"] = store("the shared L2", "core.service.fake_redis")
                    if scenario.destination.is_local:
                        plan["destination"] = store(
                            "the destination", "core.service.local_destination"
                        )
                    for position in range(count):
                        crew.workers.append(worker(position))
                        if position == 0:
                            urls = [crew.workers[0].ready()]  # seeds the database they share
                    if count > 1:
                        crew.consumers.append(child("the consumer", _CONSUMER, count))
                        crew.consumers[0].ready()
                    urls += [each.ready() for each in crew.workers[1:]]
                except InputError:
                    raise
                except EdgeproofError as error:
                    text = log_path.read_text(encoding="utf-8", errors="replace").strip()
                    detail = f": {text.splitlines()[-1]}" if text else ""
                    raise EdgeproofError(f"{error}{detail}") from None
                write_whole(roster, json.dumps(urls))
                service = RunningService(urls, crew, log_path, again, mends=mends)
                yield service
            finally:
                for listener in listeners:  # what nobody will accept is refused from here on
                    listener.close()
                faults = crew.end()
                if service is not None:
                    service.faults += faults
                    service.cut_off = sum(process.cut_off for process in crew.workers)
                    service.last_news = service.news()
