"""Sessions: visitors whose requests follow one another, each a think time after the last answer."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from core.context import Purpose
from core.distributions import Latency, exponential
from core.scenario.table import Table
from core.streams import Stream

MOST_OF_A_SESSION = 10_000
LEAD = 8.0
"""Mean lengths of a session for which sessions begin before the run: 1 in 3,000 lasts longer."""


class Sessions(Table):
    """How visitors come and go.

    requests: of a session, on average; their number is geometric. think: seconds from the end of a
    request, answered or failed, to the next one of the session.
    """

    requests: Annotated[float, Field(ge=1, le=1000)] = 5.0
    think: Latency = Field(default_factory=lambda: exponential(7.0))

    @property
    def lead(self) -> float:
        """Seconds before the run from which sessions begin, so that it starts in the middle."""
        return LEAD * (self.requests - 1) * self.think.mean


class SessionRows(NamedTuple):
    """The requests of all sessions in the order of their times; each column has shape (n,).

    intended_ns: when each is sent if every answer comes at once. follows: the place of the request
    before it in its session, -1 for the first one of the run. first: the place of that.
    """

    intended_ns: NDArray[np.int64]
    follows: NDArray[np.int64]
    first: NDArray[np.int64]


def session_rows(
    sessions: Sessions, starts: NDArray[np.float64], *, total: float, seed: int, replication: int
) -> SessionRows:
    """Return the requests from 0 to *total* seconds of sessions that begin at *starts*.

    A session has its numbers whatever the rate is: by its place, and that of each request in it.
    """
    n = starts.size
    u = Stream(seed, Purpose.SESSION_LENGTHS, replication=replication).rows(0, n)[:, 0]
    lengths = np.ones(n, dtype=np.int64)
    if sessions.requests > 1:
        stays = np.log1p(-1 / sessions.requests)
        # Rounded before it is cut: no platform's log decides on a request.
        drawn = 1 + np.floor(np.round(np.log1p(-u) / stays, 6)).astype(np.int64)
        lengths = np.minimum(drawn, MOST_OF_A_SESSION)
    ends = np.cumsum(lengths)
    begins = ends - lengths
    size = int(ends[-1]) if n else 0
    u = Stream(seed, Purpose.THINK_TIMES, replication=replication).rows(0, size)[:, 0]
    gaps = _sampled(sessions.think.table, u)
    gaps[begins] = 0.0
    since = np.cumsum(gaps)
    since -= np.repeat(since[begins], lengths)
    times = np.round((np.repeat(starts, lengths) + since) * 1e9).astype(np.int64)
    within = (times >= 0) & (times < round(total * 1e9))
    session = np.repeat(np.arange(n), lengths)[within]
    times = times[within]
    order = np.argsort(times, kind="stable")
    place = np.empty(order.size, dtype=np.int64)
    place[order] = np.arange(order.size)
    is_first = np.ones(order.size, dtype=np.bool_)
    is_first[1:] = session[1:] != session[:-1]
    before = np.concatenate(([-1], place[:-1])) if place.size else place
    follows = np.where(is_first, -1, before)
    roots = np.maximum.accumulate(np.where(is_first, np.arange(order.size), 0))
    return SessionRows(times[order], follows[order], place[roots][order])


def _sampled(table: tuple[float, ...], u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what `Distribution.sample` gives for each of *u*."""
    found: NDArray[np.float64] = np.interp(
        u * (len(table) - 1), np.arange(len(table)), np.array(table)
    )
    return found
