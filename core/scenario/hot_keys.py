"""Hot keys: a share of an endpoint's requests turns to one subject that nobody knew before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.context import Purpose
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from core.streams import Stream


def with_hot_keys(scenario: Scenario, workload: Workload, *, replication: int = 0) -> Workload:
    """Return *workload* with the requests that the scenario's hot_key faults redirect.

    The hot subject of each fault is one more than those that there are, so that no cache holds it
    when it becomes hot. Which requests are redirected follows from the seed, by their index.
    """
    faults = [fault for fault in scenario.faults if fault.kind == "hot_key"]
    if not faults:
        return workload
    subject = workload.subject.copy()
    intended = workload.intended
    stream = Stream(
        scenario.seed, Purpose.HOT_KEYS, width=len(faults), replication=replication
    ).rows(0, len(workload))
    users, conversions = workload.users, workload.conversions
    for column, fault in enumerate(faults):
        endpoint = fault.endpoint or scenario.endpoints.keyed[0]
        is_due = (intended >= fault.at) & (intended < fault.at + fault.for_)
        turned = is_due & (workload.endpoint == scenario.endpoints.index(endpoint))
        turned &= stream[:, column] < fault.value
        if scenario.endpoints[endpoint].subject == "conversion":
            subject[turned] = conversions
            conversions += 1
        else:
            subject[turned] = users
            users += 1
    sizes = workload.profile_bytes
    if sizes is not None and users > sizes.size:
        sizes = np.append(sizes, np.zeros(users - sizes.size, dtype=sizes.dtype))
    return replace(
        workload, subject=subject, users=users, conversions=conversions, profile_bytes=sizes
    )
