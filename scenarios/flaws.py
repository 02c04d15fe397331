"""What can be wrong with a load on the generator's side, in words and figures."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from core.metrics.audit import MAX_CPU_SHARE, MAX_DELAY_ERROR, MAX_DROPPED
from core.metrics.lateness import MAX_LATE, is_too_late


class Flaw(StrEnum):
    """A way in which a load was not what its scenario says."""

    LOST_WORKER = "lost_worker"
    INTERRUPTED = "interrupted"
    UNSENT = "unsent"
    LATE = "late"
    BUSY = "busy"
    OWN_FAILURES = "own_failures"
    OTHER_REQUESTS = "other_requests"
    WRONG_DELAYS = "wrong_delays"
    RESTARTED = "restarted"


def flaws_of(
    *,
    planned: int,
    sent: int,
    unsent: int,
    late: int,
    judged: int,
    lag_limit: float,
    cpu_share: float,
    is_same: bool = True,
    delay_error: float | None = None,
    at_fault: int = 0,
    interrupted: bool = False,
    ended_early: str = "",
    lost: Sequence[str] = (),
    restarted: Sequence[int] = (),
) -> dict[Flaw, str]:
    """Return each flaw with a sentence; empty if the load was what it should be.

    unsent: arrivals without a connection that the service did not hold. late: how many of *judged*
    requests were sent later than *lag_limit* seconds. at_fault: requests that failed through the
    generator's own fault. ended_early: why the generator itself interrupted the load. lost: which
    of its processes did not tell what they sent, and why. restarted: positions of the hosts whose
    statistics began anew.
    """
    found = {}
    if lost:
        found[Flaw.LOST_WORKER] = "; ".join(lost)
    if interrupted:
        found[Flaw.INTERRUPTED] = (
            ended_early or f"interrupted after {sent:,} of {planned:,} requests"
        )
    if restarted:
        hosts = ", ".join(str(position + 1) for position in restarted)
        found[Flaw.RESTARTED] = (
            f"the statistics of host {hosts} began anew during the load: a process of the service "
            "was restarted, and what it had counted is lost"
        )
    if unsent > MAX_DROPPED * planned:
        found[Flaw.UNSENT] = (
            f"{unsent:,} of {planned:,} arrivals ({unsent / planned:.2%}) found no free "
            f"connection and were dropped; at most {MAX_DROPPED:.1%} may be"
        )
    if is_too_late(late, judged):
        found[Flaw.LATE] = (
            f"the generator sent {late:,} of {judged:,} requests ({late / judged:.1%}) more than "
            f"{lag_limit * 1e3:.1f} ms late; at most {MAX_LATE:.0%} may be"
        )
    if cpu_share > MAX_CPU_SHARE:
        found[Flaw.BUSY] = (
            f"the generator used {cpu_share:.0%} of its CPU core; at most {MAX_CPU_SHARE:.0%}"
        )
    if at_fault > MAX_DROPPED * planned:
        found[Flaw.OWN_FAILURES] = (
            f"{at_fault:,} of {planned:,} requests failed through the generator's own fault "
            f"(no socket or no outcome); at most {MAX_DROPPED:.1%} may"
        )
    if not is_same:
        found[Flaw.OTHER_REQUESTS] = "the requests sent are not those planned: their hashes differ"
    if delay_error is not None and abs(delay_error) > MAX_DELAY_ERROR:
        found[Flaw.WRONG_DELAYS] = (
            f"the service's emulated delays were {delay_error * 1e3:+.2f} ms off on average; "
            f"at most {MAX_DELAY_ERROR * 1e3:.1f} ms"
        )
    return found
