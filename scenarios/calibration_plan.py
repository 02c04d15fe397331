"""The requests of a calibration of a service that is not ours: few, and telling."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.context import Purpose
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload, choose, isolates, subject_weights
from core.streams import Stream
from scenarios.learning import WANTED

SHARE = 0.2
"""Of the scenario's mean rate."""

SECONDS = 60.0
BURSTS = ((1, 0.80), (2, 0.13), (4, 0.07))
"""Requests sent at one instant, and how often: those behind show what keeps others waiting."""

AWAKE_RATE = 50.0
"""Requests/s. A service that is asked less often is woken later and finds its caches cold.

Where the bound is lower, requests come at this rate, or the scenario's if that is lower still, in
a part of each cycle, and none in the rest: evenly spread, they showed answers that were 0.2 to 0.9
ms too slow.
"""

CYCLE_SECONDS = 10.0
_MEAN_BURST = sum(size * share for size, share in BURSTS)
_REPEATS = 0.6
"""Of the requests that come alone, those for ids that were asked for before."""

_WRITES = 0.35
_LATE = 0.2
"""Of the time, and so of the requests at most, what repeats entries that L1 has forgotten."""

_MOST_LATE = 24
"""Such repeats of each endpoint at most."""

_MARGIN = 2.0
"""Seconds after the end of an entry's stay in L1 at which it is surely gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBounds:
    """What a calibration may send: requests/s on average, and for how many seconds."""

    rate: float
    seconds: float


def default_bounds(scenario: Scenario, workload: Workload) -> CalibrationBounds:
    """Return a fifth of the mean rate of *workload*, for a minute."""
    rate = SHARE * len(workload) / scenario.total_time
    return CalibrationBounds(rate=rate, seconds=SECONDS)


def learning_workload(
    scenario: Scenario, workload: Workload, bounds: CalibrationBounds
) -> Workload:
    """Return the requests that teach most of a service within *bounds*.

    About the users and conversions of *workload*. Bursts and more than a third of the others ask
    for ids that were not asked for before, so that every tier is seen; the rest repeats. Where L1
    forgets soon, the last fifth of the time comes after that, and repeats what L1 has forgotten:
    whether L2 has it tells how long entries live. The pause before it is no part of the bound,
    which is one of the mean rate: see `AWAKE_RATE`.
    It ends where each stage can be expected to have `WANTED` samples.
    """
    asked = [
        code
        for code, (endpoint, weights) in enumerate(
            zip(scenario.endpoints, subject_weights(_about(scenario, workload)), strict=True)
        )
        if weights.size and scenario.traffic.mix.of(endpoint.name) > 0
    ]
    readers = [c for c in asked if _rereads(scenario, c)]
    is_late = bool(readers) and scenario.tiers.l1.ttl + _MARGIN <= bounds.seconds * (1 + _LATE)
    seconds = bounds.seconds * (1 - _LATE if is_late else 1)
    n = min(int(bounds.rate * seconds), enough(scenario, asked))
    empty = np.empty(0)
    if n < 1 or not asked:
        return _workload(scenario, workload, empty, empty.astype(int), empty.astype(int))
    u = Stream(scenario.seed, Purpose.CALIBRATION, width=6).rows(0, n)
    pace = max(bounds.rate, min(len(workload) / scenario.total_time, AWAKE_RATE))
    awake = bounds.rate / pace
    starts = np.log1p(-u[:, 0]) * -_MEAN_BURST / pace
    sizes = np.array([size for size, _ in BURSTS])[
        choose(np.array([share for _, share in BURSTS]), u[:, 1])
    ]
    writers = [c for c in asked if scenario.endpoints.endpoints[c].writes is not None]
    share = np.array(
        [
            1.0
            if len(writers) in (0, len(asked))
            else _WRITES / len(writers)
            if code in writers
            else (1 - _WRITES) / (len(asked) - len(writers))
            for code in asked
        ]
    )
    group_endpoint = np.array(asked)[choose(share / share.sum(), u[:, 2])]
    group = np.repeat(np.arange(n), sizes)[:n]
    times = np.cumsum(starts)[group]
    if times[-1] > seconds * awake:  # the bound holds for what was drawn, too
        times *= seconds * awake / times[-1]
    times = _in_cycles(times, awake)
    endpoint = group_endpoint[group]
    repeats = (sizes[group] == 1) & (u[group, 3] < _REPEATS)
    subject = _subjects(scenario, workload, endpoint, repeats, u[:, 4], u[:, 5])
    if is_late:
        late = min(int(bounds.rate * bounds.seconds * _LATE), _MOST_LATE * len(readers))
        begins = max(float(times[-1]), scenario.tiers.l1.ttl + _MARGIN)
        when = begins + np.arange(late) * bounds.seconds * _LATE / max(1, late)
        again = _forgotten(
            (times, endpoint, subject), when, readers, scenario.tiers.l1.ttl + _MARGIN / 2
        )
        times = np.concatenate((times, again[0]))
        endpoint = np.concatenate((endpoint, again[1]))
        subject = np.concatenate((subject, again[2]))
    return _workload(scenario, workload, times, endpoint, subject)


def _in_cycles(times: NDArray[np.float64], awake: float) -> NDArray[np.float64]:
    """Return *times*, which count only what is sent in, with the pauses: 1 - awake of a cycle."""
    return times + np.floor(times / (CYCLE_SECONDS * awake)) * CYCLE_SECONDS * (1 - awake)


def _rereads(scenario: Scenario, code: int) -> bool:
    """Return whether a repeat of the endpoint can tell how long its entries live."""
    endpoint = scenario.endpoints.endpoints[code]
    return endpoint.writes is None and bool(endpoint.reads)


_Asked = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


def _forgotten(asked: _Asked, when: NDArray[np.float64], readers: list[int], age: float) -> _Asked:
    """Return requests at *when* for subjects of *asked* that were loaded *age* s ago or earlier."""
    loaded: dict[int, dict[int, float]] = {code: {} for code in readers}
    for time, code, subject in zip(*(column.tolist() for column in asked), strict=True):
        if code in loaded and loaded[code].get(subject, -math.inf) <= time - age:
            loaded[code][subject] = time
    waiting = {code: sorted(loaded[code].items(), key=lambda item: item[1]) for code in readers}
    found = []
    for place, time in enumerate(when.tolist()):
        code = readers[place % len(readers)]
        if waiting[code] and waiting[code][0][1] <= time - age:
            found.append((time, code, waiting[code].pop(0)[0]))
    times, codes, subjects = zip(*found, strict=True) if found else ((), (), ())
    return np.array(times), np.array(codes, dtype=np.int64), np.array(subjects, dtype=np.int64)


def enough(scenario: Scenario, asked: list[int]) -> int:
    """Return how many requests give `WANTED` samples of every stage, if ids do not run out."""
    writers = sum(scenario.endpoints.endpoints[code].writes is not None for code in asked)
    alone = BURSTS[0][1] / _MEAN_BURST
    unseen = 1 - alone * _REPEATS
    reads = 1.0 if writers == 0 else 1 - _WRITES
    needed = [WANTED / (reads * unseen)] if writers < len(asked) else []
    if writers:
        needed.append(WANTED / (1.0 if writers == len(asked) else _WRITES))
    return math.ceil(max(needed, default=0))


def _subjects(
    scenario: Scenario,
    workload: Workload,
    endpoint: NDArray[np.int64],
    repeats: NDArray[np.bool_],
    u: NDArray[np.float64],
    which: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return whom each request is about: one not asked for before, or one that was.

    u decides the order of the unseen, *which* the one that is repeated.
    """
    subject = np.zeros(endpoint.size, dtype=np.int64)
    laws = subject_weights(_about(scenario, workload))
    for code in np.unique(endpoint).tolist():
        here = np.flatnonzero(endpoint == code)
        # Popular ones first, at random: those are what the scenario asks for.
        law = laws[code]
        keys = Stream(scenario.seed, Purpose.CALIBRATION, replication=1 + code).rows(0, law.size)
        order = np.argsort(np.log(keys[:, 0]) / np.maximum(law, 1e-12))[::-1]
        seen = 0
        for place in here.tolist():
            if (repeats[place] and seen) or seen >= order.size:
                subject[place] = order[int(which[place] * seen)]
            else:
                subject[place] = order[seen]
                seen += 1
    return subject


def _about(scenario: Scenario, workload: Workload) -> Scenario:
    traffic = scenario.traffic.model_copy(
        update={"users": workload.users, "conversions": workload.conversions}
    )
    return scenario.model_copy(update={"traffic": traffic})


def _workload(
    scenario: Scenario,
    workload: Workload,
    times: NDArray[np.float64],
    endpoint: NDArray[np.int64],
    subject: NDArray[np.int64],
) -> Workload:
    return replace(
        workload,
        intended_ns=np.round(times * 1e9).astype(np.int64),
        endpoint=endpoint.astype(np.uint8),
        subject=subject.astype(np.uint32),
        isolate=isolates(scenario, times.size),
        is_timed=False,
        notes=("calibration: a low rate, ids not asked for before, and short bursts",),
    )
