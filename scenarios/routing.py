"""Which URL and which isolate within its process a request goes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.scenario.topology import Topology

ROUTING_UNKNOWN = "routing unknown, L1 figures are per reached isolate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """For each isolate of the topology the position of its host and the number that it has there.

    Arrays of shape (isolate_count,). note: what a reader of the report has to know, or None.
    """

    hosts: tuple[str, ...]
    host: NDArray[np.int64]
    header: NDArray[np.int64]
    note: str | None

    @classmethod
    def of(cls, topology: Topology, hosts: Sequence[str]) -> Routing:
        """Return the routing of *topology* over *hosts*, InputError if their number fits neither.

        One URL per process, one per isolate, or a single URL for everything.
        """
        isolates = np.arange(topology.isolate_count)
        note = None
        if len(hosts) == topology.process_count:
            host, header = np.divmod(isolates, topology.isolates)
        elif len(hosts) == topology.isolate_count:
            host, header = isolates, np.zeros_like(isolates)
        elif len(hosts) == 1:
            host, header, note = np.zeros_like(isolates), isolates, ROUTING_UNKNOWN
        else:
            raise InputError(
                f"{len(hosts)} hosts for {topology.process_count} processes of "
                f"{topology.isolates} isolates; give one --host per process "
                f"({topology.process_count}), one per isolate ({topology.isolate_count}), or one; "
                f"for a service of {len(hosts)} processes add --set topology.processes={len(hosts)}"
            )
        return cls(hosts=tuple(hosts), host=host, header=header, note=note)
