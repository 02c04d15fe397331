"""The read replicas of a simulated database, with the lags of one replication."""

from __future__ import annotations

import numpy as np

from core.context import Purpose
from core.emulation.replicas import NOBODY, ReplicaSet
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from core.streams import Stream


def replicas_of(scenario: Scenario, asked: Workload, replication: int) -> ReplicaSet | None:
    """Return the replicas of *scenario* for the requests *asked*, None if it has none."""
    table, l3 = scenario.tiers.l3.replicas, scenario.tiers.l3
    if not table.count:
        return None
    about_users = [code for code, each in enumerate(scenario.endpoints) if each.subject == "user"]
    is_session = np.isin(asked.endpoint, about_users)
    sessions = np.where(is_session, asked.subject.astype(np.int64), NOBODY).tolist()
    request_of = scenario.traffic.retries.request
    lags = Stream(scenario.seed, Purpose.REPLICA_LAG, width=table.count, replication=replication)
    spread = Stream(scenario.seed, Purpose.REPLICAS, replication=replication)
    return ReplicaSet(
        table.count,
        concurrency=l3.concurrency,
        session_of=lambda row: sessions[request_of(row)],
        lag=lags.sampler(table.lag),
        spread=lambda row: int(spread.at(row) * table.count),
        waits=table.sessions == "wait",
        pinned=table.session if table.sessions == "primary" else 0.0,
    )
