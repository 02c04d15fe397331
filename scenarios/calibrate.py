"""Calibration: what a request costs on this machine, fitted at a low rate to the process's CPU.

A handler's own timer sees a fraction of what its process spends on it, so the costs are fitted to
the CPU time of the whole process, polled once a second while the mix of requests changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.context import Purpose
from core.endpoints import EndpointTable
from core.errors import EdgeproofError
from core.scenario.calibration import DEPTHS, Calibration
from core.scenario.calibration_file import learned
from core.scenario.scenario import Scenario
from core.scenario.subjects import ids_of
from core.scenario.topology import Cpu
from core.scenario.workload import Workload, choose, isolates, subject_weights
from core.streams import Stream
from core.wire import BYPASS, L2_HIT, MISS, NEGATIVE
from scenarios.result import Kind, LoadResult

RATE = 120.0
"""Requests per second: low enough that they seldom wait for one another."""

DURATION = 12.0
_NOISE = 0.10
_PRIOR = 0.50
"""Relative standard deviations: of a second's CPU time, and of the scenario's committed costs."""


class NotCalibrated(EdgeproofError):
    """A calibration run that told too little."""


def mixes_of(endpoints: EndpointTable) -> list[list[float]]:
    """Return the mix of each second, in turn: one for each endpoint, of which it has the most.

    Then the same comes with subjects that are seldom in a cache. One that writes is asked for
    nearly alone in its second, for no other read takes as much of the database.
    """
    count = len(endpoints)
    mixes = []
    for code, endpoint in enumerate(endpoints):
        other = 0.01 if endpoint.writes else 0.1
        mix = [other] * count
        mix[code] = round(1 - other * (count - 1), 9) if count <= 9 else 1.0
        mixes.append(mix)
    return mixes


def calibration_workload(scenario: Scenario, *, rate: float = RATE) -> Workload:
    """Return the requests of a calibration: *rate* requests/s, a mix that changes every second."""
    n = max(1, int(rate * DURATION))
    u = Stream(scenario.seed, Purpose.CALIBRATION, width=4).rows(0, n)
    gaps = -np.log1p(-u[:, 0]) / rate
    intended = np.cumsum(gaps)
    intended *= DURATION / float(intended[-1] + gaps.mean())
    mixes = mixes_of(scenario.endpoints)
    block = intended.astype(int) % (2 * len(mixes))
    endpoint = np.empty(n, dtype=np.uint8)
    subject = np.empty(n, dtype=np.uint32)
    weights = subject_weights(scenario)
    for position, mix in enumerate(mixes):
        here = block % len(mixes) == position
        endpoint[here] = choose(_possible(scenario, mix), u[here, 1])
    for code, popular in enumerate(weights):
        for is_rare in (False, True):
            here = (endpoint == code) & ((block >= len(mixes)) == is_rare)
            if not here.any():
                continue
            law = np.full(popular.size, 1 / popular.size) if is_rare else popular
            subject[here] = choose(law, u[here, 2])
    return Workload(
        intended_ns=np.round(intended * 1e9).astype(np.int64),
        endpoint=endpoint,
        subject=subject,
        isolate=isolates(scenario, n),
        users=scenario.traffic.users,
        conversions=scenario.traffic.conversions,
        ids=ids_of(scenario.subjects, scenario.name),
        notes=("calibration: a low rate and a mix that changes every second",),
    )


def _possible(scenario: Scenario, mix: Sequence[float]) -> tuple[float, ...]:
    """Return *mix* without requests for conversions where there are none to ask for."""
    if scenario.traffic.conversions:
        return tuple(mix)
    subjects = [endpoint.subject for endpoint in scenario.endpoints]
    possible = list(mix)
    first = next((code for code, s in enumerate(subjects) if s != "conversion"), None)
    for code, subject in enumerate(subjects):
        if subject == "conversion" and first is not None:
            possible[first] += possible[code]
            possible[code] = 0.0
    return tuple(possible)


def calibrate(scenario: Scenario, result: LoadResult) -> Calibration:
    """Return the costs that explain *result*, the load of `calibration_workload`.

    CPU: least squares over the seconds of the run, with the scenario's committed costs as a prior
    (ridge) and none below 0. What lies between client and service: per endpoint, what the client
    saw beyond the service's total and beyond the CPU that the total does not hold. Raise
    NotCalibrated if the service has no statistics or hardly a request was answered.
    """
    rows = result.rows
    answered = (rows.kind == Kind.ANSWERED) & np.isfinite(rows.latency) & ~np.isnan(rows.total)
    if np.count_nonzero(answered) < 100:
        raise NotCalibrated(
            f"calibration: {np.count_nonzero(answered)} of {len(rows)} requests were answered with "
            "Server-Timing; at least 100 are needed"
        )
    cpu = fitted_cpu(scenario, result)
    between = {}
    charged = charged_cpu(cpu, scenario.endpoints, rows.endpoint, rows.reads)
    outside = np.maximum(charged - rows.cpu, 0.0)
    seen = np.maximum(rows.latency - rows.total - outside, 0.0)
    for code, endpoint in enumerate(scenario.endpoints.names):
        samples = seen[answered & (rows.endpoint == code)]
        if samples.size >= 20:
            between[endpoint] = dict.fromkeys(DEPTHS, learned(samples.tolist()))
    return Calibration(
        cpu=cpu,
        between=between,
        speed=service_speed(result),
        requests=int(np.count_nonzero(answered)),
    )


def charged_cpu(
    cpu: Cpu, endpoints: EndpointTable, endpoint: NDArray[np.uint8], reads: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Return the CPU seconds that the model charges each request for its reads and its write."""
    codes = reads & (NEGATIVE - 1)
    l2 = np.isin(codes, (L2_HIT, MISS, BYPASS)).sum(axis=1) + (codes == MISS).sum(axis=1)
    l3 = np.isin(codes, (MISS, BYPASS)).sum(axis=1) + np.isin(
        endpoint, [endpoints.index(name) for name in endpoints.writers]
    )
    base = np.array([cpu.of(name) for name in endpoints.names])[endpoint]
    charged: NDArray[np.float64] = base + cpu.per_l2_operation * l2 + cpu.per_l3_operation * l3
    return charged


def service_speed(result: LoadResult) -> float | None:
    """Return the mean seconds of the fixed work in the services during *result*."""
    seconds = number = 0.0
    for polls in result.polls:
        if len(polls) >= 2:
            first, last = polls[0]["process"], polls[-1]["process"]
            if "speed_seconds" not in first or "speed_count" not in first:
                continue  # a service of another make
            seconds += last["speed_seconds"] - first["speed_seconds"]
            number += last["speed_count"] - first["speed_count"]
    return seconds / number if number else None


def fitted_cpu(scenario: Scenario, result: LoadResult) -> Cpu:
    """Return the CPU costs that explain the CPU time of the processes; NotCalibrated if untold."""
    return _fit(scenario.topology.cpu, scenario.endpoints.names, result.polls)


def _fit(
    committed: Cpu, endpoints: Sequence[str], polls: Sequence[Sequence[Mapping[str, Any]]]
) -> Cpu:
    names = [*(f"requests_{name}" for name in endpoints), "l2_operations", "l3_operations"]
    fields = [*endpoints, "per_l2_operation", "per_l3_operation"]
    rows, used = [], []
    for host in polls:
        for before, after in pairwise(host):
            counts = [after["counters"].get(n, 0) - before["counters"].get(n, 0) for n in names]
            if sum(counts[: len(endpoints)]):
                rows.append([*counts, after["t"] - before["t"]])
                used.append(after["process"]["cpu_seconds"] - before["process"]["cpu_seconds"])
    if len(rows) < 4:
        raise NotCalibrated("calibration: the service has no statistics to fit CPU costs to")
    from scipy.optimize import lsq_linear

    design, observed = np.array(rows, dtype=float), np.array(used)
    prior = np.array([*(getattr(committed, field) for field in fields), 0.0])
    spread = np.array([max(_PRIOR * value, 1e-6) for value in prior[:-1]] + [0.02])
    noise = _NOISE * max(float(observed.mean()), 1e-6)
    weighted = np.vstack((design / noise, np.diag(1 / spread)))
    target = np.concatenate((observed / noise, prior / spread))
    fitted = lsq_linear(weighted, target, bounds=(0, math.inf)).x
    costs = zip(fields, fitted[:-1].tolist(), strict=True)
    return committed.model_copy(update={field: round(value, 9) for field, value in costs})
