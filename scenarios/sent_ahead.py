"""What a service was asked before a load: the preflight, and perhaps a calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from core.scenario.scenario import Scenario
from core.scenario.workload import Workload, after
from scenarios.routing import Routing

PREFLIGHT_SECONDS = 1.0
"""From the preflight to the start of its load."""


def preflight_requests(scenario: Scenario, workload: Workload, hosts: Sequence[str]) -> Workload:
    """Return the requests that are sent ahead of *workload*: one an endpoint and host, at 0 s.

    Those that are repeated for another subject, since the first was refused, are left out.
    """
    reached = Routing.of(scenario.topology, hosts).host[workload.isolate]
    _, first = np.unique(reached * len(scenario.endpoints) + workload.endpoint, return_index=True)
    return replace(
        workload,
        intended_ns=np.zeros(first.size, dtype=np.int64),
        endpoint=workload.endpoint[first],
        subject=workload.subject[first],
        isolate=workload.isolate[first],
        follows=None,
    )


def with_preflight(scenario: Scenario, workload: Workload, hosts: Sequence[str]) -> Workload:
    """Return *workload*, `PREFLIGHT_SECONDS` later, and before it what was sent ahead of it."""
    ahead = preflight_requests(scenario, workload, hosts)
    both = after(ahead, workload, -PREFLIGHT_SECONDS)
    order = np.argsort(both.intended_ns, kind="stable")
    return replace(
        both,
        intended_ns=both.intended_ns[order],
        endpoint=both.endpoint[order],
        subject=both.subject[order],
        isolate=both.isolate[order],
        follows=None,  # each comes at its time here: the rows of a calibration are not told apart
    )
