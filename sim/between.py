"""What lies between a client and the service, drawn for every request of a replication."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.context import Purpose
from core.scenario.calibration import DEPTHS, Calibration
from core.scenario.idling import pauses_of
from core.scenario.outside import ages_of
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from core.streams import Stream
from core.wire import BYPASS, L2_HIT, MISS, NEGATIVE

_DATABASE = (MISS, BYPASS)


class StoreRequests:
    """The seconds between client and service of requests that asked a store, by their depth."""

    __slots__ = ("_by_depth", "_writers")

    def __init__(self, by_depth: Sequence[list[float]], writers: frozenset[int]) -> None:
        self._by_depth = by_depth
        self._writers = writers

    def of(self, index: int, endpoint: int, reads: Sequence[tuple[str, int]]) -> float:
        """Return those of request *index*, which made *reads*."""
        depth = 2 if endpoint in self._writers else 0
        for _, flagged in reads:
            code = flagged & (NEGATIVE - 1)
            if code in _DATABASE:
                depth = 2
            elif code == L2_HIT and depth == 0:
                depth = 1
        return self._by_depth[depth][index]


class Between:
    """The seconds of each request: `quick` without a store, `stored` with one.

    stored: None where all depths are alike. outside: codes of the endpoints of which the whole
    latency is what `quick` holds, since nothing else is known of them. Where the calibration tells
    nothing, it is the scenario's network.round_trip.
    """

    __slots__ = ("outside", "quick", "stored")

    def __init__(
        self,
        scenario: Scenario,
        workload: Workload,
        calibration: Calibration | None,
        replication: int,
    ) -> None:
        n = len(workload)
        self.quick = [0.0] * n
        self.stored: StoreRequests | None = None
        self.outside: frozenset[int] = frozenset()
        usual = scenario.network.round_trip
        if calibration is None and usual.mean == 0:
            return
        known = calibration or Calibration()
        stream = Stream(scenario.seed, Purpose.OVERHEAD, width=2, replication=replication)
        u = stream.rows(0, n)
        uniforms, endpoints = u[:, 0].tolist(), workload.endpoint.tolist()
        longer = known.idling.seconds(pauses_of(workload.intended_ns)).tolist()
        names = scenario.endpoints.names

        def drawn(depth: str) -> list[float]:
            tables = [known.overhead(name, depth) or usual for name in names]
            return [
                tables[endpoint].sample(uniform) + idle
                for endpoint, uniform, idle in zip(endpoints, uniforms, longer, strict=True)
            ]

        self.quick = drawn("l1")
        if not known.between and not known.outside:
            return
        table = enumerate(scenario.endpoints)
        writers = frozenset(code for code, each in table if each.asks_database)
        self.stored = StoreRequests([self.quick, *map(drawn, DEPTHS[1:])], writers)
        order = np.argsort(workload.intended_ns, kind="stable")
        for name, mixture in known.outside.items():
            code = names.index(name)
            mine = order[workload.endpoint[order] == code]
            ages = ages_of(workload.intended[mine], workload.subject[mine])
            latencies, _ = mixture.latencies(ages, u[mine])
            for index, latency in zip(mine.tolist(), latencies.tolist(), strict=True):
                self.quick[index] = latency
            self.outside |= {code}
