"""Loads of a simulated service: what its answers would have told a load generator."""

from __future__ import annotations

import numpy as np

from core.context import Span
from core.scenario.idling import pauses_of
from core.scenario.replay import Prepared, prepare
from core.scenario.scenario import Scenario
from core.scenario.warm_start import warm_state
from core.scenario.workload import Workload
from scenarios.result import Kind, LoadResult, Rows
from sim.model import Replication, SeededDatabase


def load_of(
    truth: Scenario,
    workload: Workload,
    *,
    tells_wait: bool = True,
    noise: float = 0.0,
    sleep: float = 0.0,
    step: float = 0.0,
) -> LoadResult:
    """Return what a load of *workload* would measure at a service that is as *truth* says.

    tells_wait: whether Server-Timing has l3wait apart; else l3 holds it. noise: seconds of an
    exponential time that the client waits on top of each answer. sleep: seconds that it waits
    longer after a pause of 50 ms or more, and in proportion after a shorter one. step: of the
    clock that stages are timed by, in seconds, as on a Worker.
    """
    prepared = Prepared(workload=workload)
    seeded = SeededDatabase(truth, prepared)
    run = Replication(truth, prepared, warm_state(truth, prepare(truth)), seeded)
    spans: dict[int, Span] = {}

    def kept(kind: type[Span]) -> type[Span]:
        def begin(self: Span, row: int = 0, *, is_batch: bool = False) -> None:
            Span.__init__(self, row, is_batch=is_batch)
            spans.setdefault(row, self)  # later ones are of work in the background

        return type("Kept", (kind,), {"__init__": begin})

    run._spans = [kept(kind) for kind in run._spans]
    try:
        requests = run.run().requests
    finally:
        run.loop.close()
    samples: dict[str, tuple[list[int], list[float]]] = {
        stage: ([], []) for stage in ("l1", "l2", "l3", "l3wait")
    }
    n = len(workload)
    phases = np.random.default_rng(2)
    for row in range(n):
        told: dict[str, list[float]] = {stage: [] for stage in samples}
        for stage, seconds in spans[row].stages:
            told[stage].append(seconds)
        if not tells_wait:
            told["l3"] = [a + b for a, b in zip(told["l3"], told["l3wait"], strict=True)]
            told["l3wait"] = []
        if step:
            told = {
                stage: [step * int(seconds / step + phases.random()) for seconds in values]
                for stage, values in told.items()
            }
        for stage, values in told.items():
            samples[stage][0].extend([row] * len(values))
            samples[stage][1].extend(values)
    extra = np.random.default_rng(1).exponential(noise, n) if noise else np.zeros(n)
    extra += sleep * np.minimum(pauses_of(workload.intended_ns) / 0.05, 1.0)
    rows = Rows(
        index=np.arange(n),
        intended_ns=workload.intended_ns,
        endpoint=workload.endpoint,
        subject=workload.subject,
        host=np.zeros(n, dtype=np.uint16),
        lag=np.zeros(n),
        latency=requests.latency + extra,
        kind=np.where(np.isfinite(requests.latency), Kind.ANSWERED, Kind.TIMEOUT).astype(np.uint8),
        status=np.full(n, 200, dtype=np.uint16),
        reads=requests.reads,
        cpu=np.full(n, np.nan),
        total=np.full(n, np.nan),
        attempts=np.ones(n, dtype=np.uint8),
        is_refused=np.zeros(n, dtype=np.uint8),
        retried_at=np.empty(0),
        samples={
            stage: (np.array(rows, dtype=np.int64), np.array(seconds))
            for stage, (rows, seconds) in samples.items()
        },
        dropped=np.empty(0, dtype=np.int64),
        held=np.empty(0, dtype=np.int64),
    )
    return LoadResult(rows=rows, before=(), after=(), polls=(), audit={"clean_start": "none"})
