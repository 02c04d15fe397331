"""Which endpoints the accesses of a trace ask for: named in it, by their types, or the default."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.scenario.by_endpoint import listed
from core.scenario.scenario import Scenario
from core.scenario.trace import Trace
from core.scenario.trace_writes import Writes
from core.scenario.traffic import TraceType


def endpoints_of_trace(
    scenario: Scenario, trace: Trace, writes: Writes | None = None
) -> NDArray[np.uint8]:
    """Return the endpoint of each read of *trace*, or of each of its *writes*.

    Raise InputError for an endpoint that no key of a trace can ask for.
    """
    source, table = scenario.trace, scenario.endpoints
    accesses = trace if writes is None else writes
    default = table.index(source.default.endpoint)
    if accesses.endpoints is not None:
        for code, name in enumerate(trace.endpoint_names):
            if name not in table.keyed:
                at = np.flatnonzero(accesses.endpoints == code)
                where = f", first at access {at[0] + 1:,}" if at.size else ""
                raise InputError(
                    f"{trace.source}: endpoint is {name!r}{where}; a trace can ask for "
                    f"{listed(table.keyed, 'or')}: leave other accesses out of it"
                )
        codes = np.array([table.index(name) for name in trace.endpoint_names], dtype=np.uint8)
        return codes[accesses.endpoints]
    if accesses.types is None:
        return np.full(accesses.keys.size, default, dtype=np.uint8)
    types: dict[str, TraceType] = source.types
    codes = np.array(
        [table.index(types.get(name, source.default).endpoint) for name in trace.type_names],
        dtype=np.uint8,
    )
    return codes[accesses.types]


def type_notes(scenario: Scenario, trace: Trace) -> list[str]:
    """Return what of trace.types has no effect on the accesses of *trace* that were read."""
    types = scenario.trace.types
    if not types:
        return []
    if trace.endpoints is not None:
        return [f"trace.types is not used: {trace.source} names the endpoints itself."]
    if trace.types is None:
        return [f"trace.types is not used: {trace.source} has no types."]
    unknown = [name for name in types if name not in trace.type_names]
    if not unknown:
        return []
    told = f"No access that was read of {trace.source} has the type {', '.join(unknown)}"
    if len(unknown) < len(types):
        return [f"{told} of trace.types."]
    return [f"{told}: each is of trace.default, {scenario.trace.default.endpoint}."]
