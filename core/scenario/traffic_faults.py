"""Faults of the traffic: a share of an endpoint's requests asks for something else for a while."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from core.context import Purpose
from core.endpoints import EndpointTable
from core.errors import InputError
from core.scenario.fault_kinds import Asked
from core.scenario.faults import Fault
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from core.streams import Stream


def with_traffic_faults(
    scenario: Scenario, workload: Workload, *, replication: int = 0
) -> Workload:
    """Return *workload* with the requests that the scenario's faults of the traffic turn.

    Which requests are turned follows from the seed, by their index. Raise InputError if a kind
    returns requests that cannot be made.
    """
    faults = [fault for fault in scenario.faults if fault.kind.is_of_traffic]
    if not faults:
        return workload
    stream = Stream(
        scenario.seed, Purpose.HOT_KEYS, width=len(faults), replication=replication
    ).rows(0, len(workload))
    asked = Asked(
        endpoints=scenario.endpoints,
        endpoint=workload.endpoint,
        subject=workload.subject,
        users=workload.users,
        conversions=workload.conversions,
    )
    for column, fault in enumerate(faults):
        effect = fault.kind.traffic
        assert effect is not None
        struck = due(fault, workload, scenario.endpoints) & (stream[:, column] < fault.value)
        asked = effect(asked, fault.asked_of, struck)
        _check(asked, len(workload), fault)
    sizes = workload.profile_bytes
    if sizes is not None and asked.users > sizes.size:
        sizes = np.append(sizes, np.zeros(asked.users - sizes.size, dtype=sizes.dtype))
    return replace(
        workload,
        endpoint=asked.endpoint,
        subject=asked.subject,
        users=asked.users,
        conversions=asked.conversions,
        profile_bytes=sizes,
    )


def due(fault: Fault, workload: Workload, endpoints: EndpointTable) -> NDArray[np.bool_]:
    """Return which requests of *workload* arrive while *fault* lasts, at its endpoint."""
    intended = workload.intended
    found: NDArray[np.bool_] = (intended >= fault.at) & (intended < fault.at + fault.for_)
    if fault.asked_of is not None:
        found &= workload.endpoint == endpoints.index(fault.asked_of)
    return found


def _check(asked: Asked, count: int, fault: Fault) -> None:
    subjects = [each.subject for each in asked.endpoints]
    asks = {
        kind: np.isin(asked.endpoint, [i for i, of in enumerate(subjects) if of == kind])
        for kind in ("conversion", "user")
    }
    if asked.endpoint.shape != (count,) or asked.subject.shape != (count,):
        wrong = f"columns of another length than the {count:,} requests"
    elif int(asked.endpoint.max(initial=0)) >= len(subjects):
        wrong = "an endpoint that there is not"
    elif int(asked.subject[asks["conversion"]].max(initial=0)) >= max(1, asked.conversions):
        wrong = f"a conversion beyond the {asked.conversions:,} of the database"
    elif int(asked.subject[asks["user"]].max(initial=0)) >= max(1, asked.users):
        wrong = f"a user beyond the {asked.users:,} of the database"
    else:
        return
    raise InputError(f"fault kind {fault.kind.name!r} returned {wrong}; mend its effect")
