"""What makes a load believable: the generator's lag, drops, CPU, and the rows it really sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from core.metrics.failures import Cause, Failure
from core.metrics.record import Audit
from core.scenario.workload import Workload, rows_hash
from scenarios.flaws import Flaw, flaws_of
from scenarios.result import GAUGES, OWN_KINDS, LoadResult, Rows, Snapshot

_LEAF = 64


def audit_of(
    workload: Workload, result: LoadResult, *, warm_up: float
) -> tuple[Audit, frozenset[Flaw]]:
    """Return the audit of *result* and its flaws; lag counts from *warm_up* s on."""
    rows, facts = result.rows, result.audit
    lag = rows.lag[rows.intended_ns >= warm_up * 1e9]
    lag = lag if lag.size else rows.lag
    p50, p99 = (float(v) for v in np.quantile(lag, (0.5, 0.99))) if lag.size else (0.0, 0.0)
    wall = float(facts["wall_seconds"])
    cpu_share = float(facts["cpu_seconds"]) / wall if wall else 0.0
    order = np.argsort(rows.index, kind="stable")
    rendered = _rendered(workload, rows, order)
    delay_error = _mean(result, "delay_error_seconds", "delay_count")
    speed = facts["speed"]
    is_same = result.interrupted or rows.dropped.size > 0 or rendered == workload.identity()
    planned, lag_limit = int(facts["planned"]), float(facts["lag_limit"])
    late = int(np.count_nonzero(lag > lag_limit))
    flaws = flaws_of(
        planned=planned,
        sent=len(rows),
        unsent=int(rows.dropped.size - rows.held.size),
        late=late,
        judged=int(lag.size),
        lag_limit=lag_limit,
        cpu_share=cpu_share,
        is_same=is_same,
        delay_error=delay_error,
        at_fault=0 if result.interrupted else int(np.isin(rows.kind, OWN_KINDS).sum()),
        interrupted=result.interrupted,
        ended_early=facts.get("ended_early", ""),
        lost=facts.get("lost", ()),
        restarted=restarted_hosts(result),
    )
    audit = Audit(
        lag_p50=p50,
        lag_p99=p99,
        lag_limit=lag_limit,
        cpu_share=cpu_share,
        planned=planned,
        sent=len(rows),
        dropped=tuple(rows.dropped.tolist()),
        rendered_hash=rendered,
        inversions=inversions(rows.index),
        largest_displacement=largest_displacement(rows),
        delay_error_mean=delay_error,
        generator_speed=speed["seconds"] / speed["count"] if speed["count"] else None,
        service_speed=_mean(result, "speed_seconds", "speed_count"),
        invalid=tuple(flaws.values()),
        late=late,
        judged=int(lag.size),
        held=int(rows.held.size),
    )
    return audit, frozenset(flaws)


def _rendered(workload: Workload, rows: Rows, order: NDArray[np.int64]) -> str:
    """Return the hash of the rows sent, in the *order* of the plan.

    In sessions what follows an answer has the plan's time in it, and what the run's end cut off
    counts as sent: answers decide on both.
    """
    endpoint, subject = rows.endpoint[order], rows.subject[order]
    if workload.follows is None:
        return rows_hash(rows.intended_ns[order], endpoint, subject)
    endpoints, subjects = workload.endpoint.copy(), workload.subject.copy()
    endpoints[rows.index[order]], subjects[rows.index[order]] = endpoint, subject
    return rows_hash(workload.intended_ns, endpoints, subjects)


def restarted_hosts(result: LoadResult) -> tuple[int, ...]:
    """Return the positions of the hosts whose counters fell from one look to the next."""
    found = []
    for position, after in enumerate(result.after):
        looks = [poll["counters"] for poll in result.polls[position]]
        if after is not None:
            looks.append(after.counters)
        if any(
            later[name] < earlier[name]
            for earlier, later in pairwise(looks)
            for name in later.keys() & earlier.keys()
            if name not in GAUGES
        ):
            found.append(position)
    return tuple(found)


def at_fault(failures: Iterable[Failure]) -> int:
    """Return how many of *failures* are the generator's own fault."""
    own = (Cause.EXHAUSTED, Cause.LOST)
    return sum(f.count + f.in_warm_up for f in failures if f.cause in own)


def change(
    before: Sequence[Snapshot | None], after: Sequence[Snapshot | None], name: str
) -> float | None:
    """Return how much a figure of the processes grew, over all hosts; None if a host lacks it."""
    total = 0.0
    for earlier, later in zip(before, after, strict=True):
        if earlier is None or later is None:
            return None
        if name not in earlier.process or name not in later.process:
            return None
        total += later.process[name] - earlier.process[name]
    return total if before else None


def _mean(result: LoadResult, total: str, count: str) -> float | None:
    number = change(result.before, result.after, count)
    seconds = change(result.before, result.after, total)
    return seconds / number if number and seconds is not None else None


def largest_displacement(rows: Rows) -> int:
    """Return the largest distance between a request's place in sending and in the plan."""
    places = np.empty(len(rows), dtype=np.int64)
    places[np.argsort(rows.index, kind="stable")] = np.arange(len(rows))
    return int(np.abs(places - np.arange(len(rows))).max(initial=0))


def inversions(order: NDArray[np.int64]) -> int:
    """Return how many pairs of *order* stand the wrong way round (Knuth, TAOCP 3, 5.1.1)."""
    if order.size < 2 or bool(np.all(order[1:] >= order[:-1])):
        return 0
    if order.size <= _LEAF:
        return int(np.count_nonzero(np.triu(order[:, None] > order[None, :], k=1)))
    middle = order.size // 2
    left, right = order[:middle], order[middle:]
    across = left.size - np.searchsorted(np.sort(left), right, side="right")
    return inversions(left) + inversions(right) + int(across.sum())
