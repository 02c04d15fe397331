"""What makes a load believable: the generator's lag, drops, CPU, and the rows it really sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from core.metrics.audit import MAX_CPU_SHARE, MAX_DELAY_ERROR, MAX_DROPPED
from core.metrics.failures import Cause, Failure
from core.metrics.record import Audit
from core.scenario.workload import Workload, rows_hash
from scenarios.result import Kind, LoadResult, Rows, Snapshot

_LEAF = 64
_OWN = (Kind.EXHAUSTED, Kind.UNFINISHED)


def audit_of(workload: Workload, result: LoadResult, *, warm_up: float) -> Audit:
    """Return the audit of *result*; lag is that of the requests intended after *warm_up* s."""
    rows, facts = result.rows, result.audit
    lag = rows.lag[rows.intended_ns >= warm_up * 1e9]
    lag = lag if lag.size else rows.lag
    p50, p99 = (float(v) for v in np.quantile(lag, (0.5, 0.99))) if lag.size else (0.0, 0.0)
    wall = float(facts["wall_seconds"])
    cpu_share = float(facts["cpu_seconds"]) / wall if wall else 0.0
    order = np.argsort(rows.index, kind="stable")
    rendered = rows_hash(rows.intended_ns[order], rows.endpoint[order], rows.subject[order])
    delay_error = _mean(result, "delay_error_seconds", "delay_count")
    speed = facts["speed"]
    is_same = result.interrupted or rows.dropped.size > 0 or rendered == workload.identity()
    return Audit(
        lag_p50=p50,
        lag_p99=p99,
        lag_limit=float(facts["lag_limit"]),
        cpu_share=cpu_share,
        planned=int(facts["planned"]),
        sent=len(rows),
        dropped=tuple(rows.dropped.tolist()),
        rendered_hash=rendered,
        inversions=inversions(rows.index),
        largest_displacement=largest_displacement(rows),
        delay_error_mean=delay_error,
        generator_speed=speed["seconds"] / speed["count"] if speed["count"] else None,
        service_speed=_mean(result, "speed_seconds", "speed_count"),
        invalid=invalid_reasons(
            planned=int(facts["planned"]),
            dropped=int(rows.dropped.size),
            lag_p99=p99,
            lag_limit=float(facts["lag_limit"]),
            cpu_share=cpu_share,
            sent=len(rows),
            is_same=is_same,
            delay_error=delay_error,
            at_fault=0 if result.interrupted else int(np.isin(rows.kind, _OWN).sum()),
            interrupted=result.interrupted,
            ended_early=facts.get("ended_early", ""),
        ),
    )


def at_fault(failures: Iterable[Failure]) -> int:
    """Return how many of *failures* are the generator's own fault."""
    own = (Cause.EXHAUSTED, Cause.LOST)
    return sum(f.count + f.in_warm_up for f in failures if f.cause in own)


def invalid_reasons(
    *,
    planned: int,
    dropped: int,
    lag_p99: float,
    lag_limit: float,
    cpu_share: float,
    sent: int,
    is_same: bool = True,
    delay_error: float | None = None,
    at_fault: int = 0,
    interrupted: bool = False,
    ended_early: str = "",
) -> tuple[str, ...]:
    """Return why a run proves nothing, in words and figures; empty if it can be trusted."""
    reasons = []
    if ended_early:
        reasons.append(ended_early)
    elif interrupted:
        reasons.append(f"interrupted after {sent:,} of {planned:,} requests")
    if dropped > MAX_DROPPED * planned:
        reasons.append(
            f"{dropped:,} of {planned:,} arrivals ({dropped / planned:.2%}) found no free "
            f"connection and were dropped; at most {MAX_DROPPED:.1%} may be"
        )
    if lag_p99 > lag_limit:
        reasons.append(
            f"the generator sent 1 % of the requests more than {lag_p99 * 1e3:.1f} ms late; "
            f"at most {lag_limit * 1e3:.1f} ms"
        )
    if cpu_share > MAX_CPU_SHARE:
        reasons.append(
            f"the generator used {cpu_share:.0%} of its CPU core; at most {MAX_CPU_SHARE:.0%}"
        )
    if at_fault > MAX_DROPPED * planned:
        reasons.append(
            f"{at_fault:,} of {planned:,} requests failed through the generator's own fault "
            f"(no socket or no outcome); at most {MAX_DROPPED:.1%} may"
        )
    if not is_same:
        reasons.append("the requests sent are not those planned: their hashes differ")
    if delay_error is not None and abs(delay_error) > MAX_DELAY_ERROR:
        reasons.append(
            f"the service's emulated delays were {delay_error * 1e3:+.2f} ms off on average; "
            f"at most {MAX_DELAY_ERROR * 1e3:.1f} ms"
        )
    return tuple(reasons)


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
