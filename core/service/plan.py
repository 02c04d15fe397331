"""What the processes of a service are told, and the database that they share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.emulation.database import DelayedDatabase
from core.emulation.executions import Executions, SharedExecutions
from core.emulation.faults import FaultSchedule
from core.emulation.platform import Platform
from core.query.database import SqliteDatabase, Synchronous
from core.scenario.addresses import is_loopback
from core.scenario.distances import tiers_of
from core.scenario.file import parse_scenario
from core.scenario.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """What one process of the service is told.

    position: which of the scenario's processes it is; folder: where the database and what
    processes share lie; redis: URL of L2, None for an embedded one; emulate: whether the
    scenario's latencies stand in front of the stores; destination: URL that finished conversions
    are forwarded to, None for none; roster: the file that tells where the other workers are, None
    if there is none; is_public: whether others than this machine reach the service, so that its
    monitoring wants the token; populate: whether a database without users and events gets the
    scenario's; otlp: URL that traces are sent to, None for none;
    synchronous: whether a write waits for the disk; resumes: whether the process takes the place of
    one that has ended, while the others go on; database: "d1" for the one that the environment
    names, "" for a file.
    """

    scenario: Scenario
    position: int
    folder: Path
    redis: str | None
    emulate: bool
    destination: str | None = None
    roster: Path | None = None
    is_public: bool = False
    populate: bool = True
    otlp: str | None = None
    synchronous: Synchronous = "normal"
    resumes: bool = False
    database: str = ""


def shared_database(plan: WorkerPlan) -> SqliteDatabase:
    """Return the database of all processes of a service, with the limits of its scenario."""
    l3 = plan.scenario.tiers.l3
    return SqliteDatabase(
        plan.folder / "cdp.sqlite",
        timeout=l3.timeout,
        readers=l3.readers,
        synchronous=plan.synchronous,
    )


def emulated_database(
    plan: WorkerPlan, database: SqliteDatabase, faults: FaultSchedule, platform: Platform
) -> DelayedDatabase:
    """Return *database* behind the scenario's latencies; all processes queue for it together."""
    tier = tiers_of(plan.scenario, plan.position).l3
    queue = plan.folder / "executions"
    if plan.position == 0 and not plan.resumes:  # it starts before the others
        # What an earlier service left there may lie on the scale of another boot's clock.
        queue.unlink(missing_ok=True)
    executions = (
        Executions(tier.concurrency)
        if plan.scenario.topology.process_count == 1
        else SharedExecutions(queue, concurrency=tier.concurrency)
    )
    return DelayedDatabase(database, tier, faults, platform, executions, takes_time=True)


def plan_of(data: dict[str, Any]) -> WorkerPlan:
    """Return the plan that a launcher wrote; InputError if its scenario cannot be used."""
    return WorkerPlan(
        scenario=parse_scenario(data["scenario"], source=data["scenario"].get("name", "scenario")),
        position=data["position"],
        folder=Path(data["folder"]),
        redis=data["redis"],
        emulate=data["emulate"],
        destination=data["destination"],
        roster=Path(data["roster"]),
        is_public=not is_loopback(data["host"]),
        populate=data["populate"],
        otlp=data.get("otlp"),
        synchronous=data.get("synchronous", "normal"),
        resumes=data.get("resumes", False),
        database=data["database"],
    )
