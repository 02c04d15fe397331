"""Records as the engines write them, drawn from fixed seeds: what the tests of reports draw."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.endpoints import CDP
from core.metrics.capacity import CapacityPlan, CapacityPoint
from core.metrics.failures import CAUSES, Cause, Failure, counted
from core.metrics.histogram import LatencyHistogram
from core.metrics.kpi import Kpi, judge
from core.metrics.record import (
    Audit,
    Requests,
    RunRecord,
    Windows,
    count_reads,
    endpoint_latencies,
    window_columns,
)
from core.scenario.scenario import Scenario

WARM_UP = 5.0
SCENARIO = Scenario.model_validate({"name": "steady-240", "warm_up": "5s", "duration": "50s"})
KPIS = SCENARIO.judged()
SHARES = (0.80, 0.08, 0.08, 0.04)
READ_SHARES = (0.0, 0.84, 0.13, 0.024, 0.006, 0.0)


def run(
    engine: Literal["simulate", "load"] = "simulate",
    *,
    seed: int = 1,
    slow: float = 1.0,
    peak: float = 0.0,
    failed: float = 0.0,
    rate: float = 240.0,
    duration: float = 50.0,
    replications: int = 0,
    invalid: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    hidden: tuple[str, ...] = (),
    faults: list[dict[str, Any]] | None = None,
    name: str = "steady-240",
) -> RunRecord:
    """Return a record of *rate* requests/s over *duration* seconds.

    slow: factor on every latency. peak: factor added to it in the middle of the run. failed: share
    of requests that fail in the second half. hidden: stages, or "memory", that nobody could see.
    """
    rng = np.random.default_rng(seed)
    requests = _requests(rng, rate=rate, duration=duration, slow=slow, peak=peak, failed=failed)
    stages = {name: h for name, h in _stages(rng, slow).items() if name not in hidden}
    base = RunRecord(
        engine=engine,
        scenario=SCENARIO.model_copy(update={"name": name}).model_dump(mode="json")
        | {"faults": faults or []},
        scenario_hash="5c1e" * 16,
        seed=seed,
        workload_hash="9f02" * 16,
        planned=requests.intended.size,
        duration=duration,
        latencies=endpoint_latencies(requests, after=WARM_UP),
        stages=stages,
        reads=count_reads(requests, after=WARM_UP),
        memory_peak=None if "memory" in hidden else 61.2e6 * (1 + 0.02 * rng.standard_normal()),
        windows=window_columns(requests, after=WARM_UP, duration=duration),
        failures=_failures(requests),
        notes=notes,
        audit=_audit(requests, invalid) if engine == "load" else None,
    )
    if replications == 0:
        return base
    return replace(base, replications=_replications(base, rng, replications))


def _requests(
    rng: np.random.Generator,
    *,
    rate: float,
    duration: float,
    slow: float,
    peak: float,
    failed: float,
) -> Requests:
    total = WARM_UP + duration
    size = int(rate * total)
    intended = np.sort(rng.random(size)) * total
    endpoint = rng.choice(4, size=size, p=SHARES).astype(np.uint8)
    progress = (intended - WARM_UP) / duration
    factor = slow * (1 + peak * np.exp(-(((progress - 0.62) / 0.1) ** 2)))
    median = np.array([3.1e-3, 9.0e-3, 6.0e-3, 7.5e-3])[endpoint]
    latency = median * np.exp(0.5 * rng.standard_normal(size))
    latency += np.where(rng.random(size) < 0.1, 18e-3 * np.exp(0.4 * rng.standard_normal(size)), 0)
    latency *= factor
    latency[(rng.random(size) < failed) & (progress > 0.5)] = math.inf
    reads = rng.choice(6, size=(size, 2), p=READ_SHARES).astype(np.uint8)
    cold = rng.random((size, 2)) < 0.15 * np.exp(-np.maximum(progress, 0) * 9)[:, np.newaxis]
    reads[cold] = 3
    reads[endpoint != 0, 1] = 0
    return Requests(
        intended=intended,
        endpoint=endpoint,
        subject=rng.integers(0, 3000, size).astype(np.uint32),
        isolate=rng.integers(0, 4, size).astype(np.uint16),
        latency=latency,
        reads=reads,
    )


def _failures(requests: Requests) -> tuple[Failure, ...]:
    failed = np.isinf(requests.latency)
    number = int(np.count_nonzero(failed))
    is_status = np.arange(number) % 3 == 0
    codes = [CAUSES.index(cause) for cause in (Cause.STATUS, Cause.TIMEOUT)]
    return counted(
        endpoint=requests.endpoint[failed],
        cause=np.where(is_status, *codes).astype(np.uint8),
        status=np.where(is_status, 429, 0).astype(np.uint16),
        intended=requests.intended[failed],
        after=WARM_UP,
        endpoints=CDP.names,
    )


def _stages(rng: np.random.Generator, slow: float) -> dict[str, LatencyHistogram]:
    def drawn(median: float, sigma: float, size: int) -> LatencyHistogram:
        values: NDArray[np.float64] = median * np.exp(sigma * rng.standard_normal(size))
        return LatencyHistogram.of(values * slow)

    return {
        "query": drawn(17e-3, 0.35, 700),
        "queue": drawn(61e-3, 0.3, 160),
        "cpu": drawn(4.2e-4, 0.25, 12_000),
        "l1": drawn(1.6e-6, 0.3, 20_000),
        "l2": drawn(4.2e-3, 0.4, 3_000),
        "l3": drawn(0.6e-3, 0.3, 700),
        "l3wait": drawn(0.2e-3, 0.9, 700),
        "total": drawn(3.5e-3, 0.6, 12_000),
    }


def _replications(
    base: RunRecord, rng: np.random.Generator, number: int
) -> tuple[dict[str, float], ...]:
    values = {kpi.name: base.metric(kpi.metric) for kpi in KPIS}
    return tuple(
        {
            name: value * (1 + 0.012 * rng.standard_normal())
            if not name.endswith("ratio")
            else min(1.0, value * (1 + 0.001 * rng.standard_normal()))
            for name, value in values.items()
            if value is not None
        }
        for _ in range(number)
    )


def _audit(requests: Requests, invalid: tuple[str, ...]) -> Audit:
    return Audit(
        lag_p50=0.21e-3,
        lag_p99=1.9e-3,
        lag_limit=5e-3,
        cpu_share=0.34,
        planned=requests.intended.size,
        sent=requests.intended.size,
        dropped=(),
        rendered_hash="9f02" * 16,
        inversions=11,
        largest_displacement=2,
        delay_error_mean=0.06e-3,
        generator_speed=1.01e-4,
        service_speed=1.02e-4,
        invalid=invalid,
    )


def predicted(**changes: Any) -> RunRecord:
    """Return a simulated run with ten replications."""
    defaults: dict[str, Any] = {"engine": "simulate", "seed": 1, "replications": 10}
    return run(**(defaults | changes))


def measured(**changes: Any) -> RunRecord:
    """Return a load test of the same scenario, a few per cent slower."""
    defaults: dict[str, Any] = {"engine": "load", "seed": 2, "slow": 1.04}
    return run(**(defaults | changes))


def silent() -> RunRecord:
    """Return a record in which nothing happened: no request, no read, no stage."""
    empty: tuple[None, ...] = (None,) * 50
    nothing = (0,) * 50
    return replace(
        measured(),
        latencies={},
        stages={},
        reads={},
        failures=(),
        memory_peak=None,
        windows=Windows(
            start=WARM_UP,
            width=1.0,
            requests=nothing,
            failed=nothing,
            p50=empty,
            p95=empty,
            p99=empty,
            l1=nothing,
            l2=nothing,
            missed=nothing,
        ),
    )


def plan(kpis: tuple[Kpi, ...] = KPIS, *, saturation: float = 1450.0) -> CapacityPlan:
    """Return a plan whose database saturates at *saturation* requests/s; p95_query breaks first."""
    points = []
    for rate in (120.0, 240.0, 480.0, 720.0, 960.0, 1080.0, 1200.0, 1320.0, 1440.0, 1560.0):
        load = rate / saturation
        wait = 1 / (1 - load) if load < 1 else math.inf
        values = {
            "hit_ratio": min(0.99, 0.972 + 0.012 * load),
            "p95_track": 21e-3 + 1.6e-3 * wait,
            "p95_attribution": 34e-3 + 2.4e-3 * wait,
            "p95_query": 23e-3 + 3.2e-3 * wait,
            "p95_queue": 61e-3 + 9e-3 * wait,
            "peak_memory": 52e6 + 12e6 * load,
            "p95_cpu": 0.8e-3,
            "error_ratio": 0.0 if load < 1 else 0.08,
        }
        values = {kpi.name: values[kpi.name] for kpi in kpis}
        outcomes = {kpi.name: judge(kpi, values[kpi.name]).outcome.value for kpi in kpis}
        points.append(CapacityPoint(rate=rate, values=values, outcomes=outcomes))
    holding = [point.rate for point in points if point.holds]
    breaking = [point for point in points if not point.holds]
    return CapacityPlan(
        scenario="steady-240",
        scenario_hash="5c1e" * 16,
        seed=1,
        replications=10,
        kpis=kpis,
        points=tuple(points),
        highest_rate=max(holding) if holding else None,
        breaking_rate=breaking[0].rate if breaking else None,
        breaks_first=breaking[0].broken if breaking else (),
    )
