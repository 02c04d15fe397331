"""The load plan: everything that a Locust process needs to replay exactly these requests."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.metrics.machine import description
from core.scenario.file import parse_scenario, scenario_data
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from core.texts import read_json
from scenarios.connections import checked_connections, needed_connections
from scenarios.hosts import MAX_DURATION, MAX_RATE, check_bounds, checked_hosts, peak_rate
from scenarios.rendering import compiled
from scenarios.routing import Routing
from scenarios.transport import Transport

PLAN_VERSION = 1
PLAN_FILE = "plan.json"
WORKLOAD_FILE = "workload.npz"
_FILES = (PLAN_FILE, WORKLOAD_FILE)
POOL_BOUNDS = (20, 1000)
_POOL_SECONDS = 2.0
_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_COLUMNS = ("intended_ns", "endpoint", "subject", "isolate", "profile_bytes", "follows")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """One load: the rows, where they go, and what bounds them.

    run_id: prefix of event and conversion ids, outside the compared hash. pool_size: users that
    wait for arrivals at the start; the load adds users up to *connections* when a service is slow.
    timeout: seconds from the intended start after which any request has failed. lag_limit: seconds
    from which a request is sent late. replication: which replication the workload is.
    allowed_hosts: names that may be loaded besides this machine. preflight: one request an endpoint
    is sent ahead. keep_going: a load whose requests all fail goes on. renews: whoever started the
    load fetches tokens again when it is asked. metrics: progress tells figures, too. machine: facts
    of the host.
    """

    scenario: Scenario
    workload: Workload
    hosts: tuple[str, ...]
    run_id: str
    pool_size: int
    connections: int
    timeout: float
    lag_limit: float
    replication: int = 0
    allowed_hosts: tuple[str, ...] = ()
    transport: Transport = field(default_factory=Transport)
    preflight: bool = False
    keep_going: bool = True
    renews: bool = False
    metrics: bool = False
    machine: Mapping[str, str | int] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write plan.json and workload.npz into *folder*, which must exist."""
        workload = self.workload
        columns = {name: getattr(workload, name) for name in _COLUMNS}
        with (folder / WORKLOAD_FILE).open("wb") as file:
            np.savez(file, **{n: column for n, column in columns.items() if column is not None})
        data = {
            "schema": "edgeproof/load-plan",
            "schema_version": PLAN_VERSION,
            "scenario": scenario_data(self.scenario),
            "workload": {
                "identity": workload.identity(),
                "rows": len(workload),
                "users": workload.users,
                "conversions": workload.conversions,
                "is_timed": workload.is_timed,
                "notes": list(workload.notes),
                "ids": {name: list(ids) for name, ids in workload.ids.items()},
            },
            "hosts": list(self.hosts),
            "run_id": self.run_id,
            "pool_size": self.pool_size,
            "connections": self.connections,
            "timeout": self.timeout,
            "lag_limit": self.lag_limit,
            "replication": self.replication,
            "allowed_hosts": list(self.allowed_hosts),
            "transport": self.transport.to_json(),
            "preflight": self.preflight,
            "keep_going": self.keep_going,
            "renews": self.renews,
            "metrics": self.metrics,
            "machine": dict(self.machine),
        }
        (folder / PLAN_FILE).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")

    def pack(self) -> dict[str, bytes]:
        """Return the files of `write`, to be sent."""
        with tempfile.TemporaryDirectory(prefix="edgeproof-") as folder:
            self.write(Path(folder))
            return {name: (Path(folder) / name).read_bytes() for name in _FILES}

    @classmethod
    def unpack(cls, files: Mapping[str, bytes]) -> LoadPlan:
        """Return the plan of `pack`; InputError if there is none."""
        with tempfile.TemporaryDirectory(prefix="edgeproof-") as folder:
            for name in _FILES:
                (Path(folder) / name).write_bytes(files[name])
            return cls.read(Path(folder))

    @classmethod
    def read(cls, folder: Path) -> LoadPlan:
        """Return the plan that `write` put into *folder*; InputError if there is none."""
        path = folder / PLAN_FILE
        try:
            data = read_json(path, "a load plan")
            if (data["schema"], data["schema_version"]) != ("edgeproof/load-plan", PLAN_VERSION):
                raise ValueError("another schema or version")
            told = data["workload"]
            with np.load(folder / WORKLOAD_FILE, allow_pickle=False) as columns:
                workload = Workload(
                    **{name: columns[name] for name in columns.files},
                    users=told["users"],
                    conversions=told["conversions"],
                    is_timed=told["is_timed"],
                    notes=tuple(told["notes"]),
                    ids={name: tuple(ids) for name, ids in told["ids"].items()},
                )
            if workload.identity() != told["identity"]:
                raise ValueError("the rows are not those of the plan")
            transport = Transport.from_json(data["transport"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: not a load plan ({error}); write it anew") from None
        return cls(
            scenario=parse_scenario(data["scenario"], source=str(path)),
            workload=workload,
            hosts=checked_hosts(data["hosts"], allowed=data["allowed_hosts"], transport=transport),
            run_id=data["run_id"],
            pool_size=data["pool_size"],
            connections=data["connections"],
            timeout=data["timeout"],
            lag_limit=data["lag_limit"],
            replication=data["replication"],
            allowed_hosts=tuple(data["allowed_hosts"]),
            transport=transport,
            preflight=data["preflight"],
            keep_going=data["keep_going"],
            renews=data["renews"],
            metrics=data["metrics"],
            machine=data["machine"],
        )


def make_plan(
    scenario: Scenario,
    workload: Workload,
    hosts: Sequence[str],
    *,
    run_id: str,
    allowed_hosts: Collection[str] = (),
    transport: Transport | None = None,
    preflight: bool = False,
    keep_going: bool = True,
    renews: bool = False,
    connections: int | None = None,
    processes: int = 1,
    replication: int = 0,
    max_rate: float = MAX_RATE,
    max_duration: float = MAX_DURATION,
) -> LoadPlan:
    """Return the plan that sends *workload* to *hosts*.

    processes: how many share it; each takes a connection at least.

    Raise InputError for a host that may not be loaded, a load above the bounds, a number of hosts
    that fits no routing, a faulty target or run id.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise InputError(f"run id {run_id[:80]!r}: use 1 to 64 letters, digits, - and _")
    check_bounds(scenario, workload, max_rate=max_rate, max_duration=max_duration)
    transport = transport or Transport()
    urls = checked_hosts(hosts, allowed=allowed_hosts, transport=transport)
    Routing.of(scenario.topology, urls)
    compiled(scenario)
    most = checked_connections(connections, max(processes, needed_connections(scenario, workload)))
    return LoadPlan(
        scenario=scenario,
        workload=workload,
        hosts=urls,
        run_id=run_id,
        pool_size=min(most, max(processes, default_pool_size(scenario, workload))),
        connections=most,
        timeout=scenario.longest_timeout,
        lag_limit=lag_limit(scenario),
        replication=replication,
        allowed_hosts=tuple(allowed_hosts),
        transport=transport,
        preflight=preflight,
        keep_going=keep_going,
        renews=renews,
        machine=description(),
    )


def default_pool_size(scenario: Scenario, workload: Workload) -> int:
    """Return how many users wait at the start: the highest rate times the timeout, or 2 s.

    Where clients try again all of the timeout counts: a storm needs its users at once.
    """
    smallest, largest = POOL_BOUNDS
    seconds = scenario.longest_timeout
    if not scenario.traffic.retries.is_on:
        seconds = min(seconds, _POOL_SECONDS)
    needed = peak_rate(scenario, workload) * seconds
    return max(smallest, min(largest, round(needed)))


def lag_limit(scenario: Scenario) -> float:
    """Return the lag in seconds above which a request is sent late.

    The larger of 5 ms and 5 % of the tightest latency target of an endpoint.
    """
    targets = [
        kpi.target.value
        for kpi in scenario.judged()
        if kpi.metric.unit == "seconds" and kpi.metric.series in scenario.endpoints
    ]
    return max(0.005, 0.05 * min(targets)) if targets else 0.005
