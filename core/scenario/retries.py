"""Clients that try again: how long they wait, how often they ask, and what their budget allows."""

from __future__ import annotations

from collections import deque
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from core.context import Purpose
from core.scenario.table import Share, Table
from core.streams import Stream
from core.units import Duration, parse_ratio

MOST_ATTEMPTS = 10
BUDGET_SECONDS = 10.0
"""The span over which a budget compares retries with requests."""

FIRST_ROW = 1 << 40
"""Of the random numbers of further attempts; those of requests come before."""

_RETRIED_STATUSES = frozenset((429, *range(500, 600)))


def _share(value: Any) -> Any:
    return parse_ratio(value) if isinstance(value, str) else value


class Retries(Table):
    """What a client does about a request that failed.

    attempts: in all; 1: none is repeated. timeout: seconds that a client waits for the answer to
    one attempt, None for as long as the request may take. delay: before the second attempt.
    backoff: whether the delay doubles with each further attempt. jitter: the share of a delay that
    is drawn anew each time. budget: retries over requests of the last `BUDGET_SECONDS`, at most;
    None for as many as there are.
    """

    attempts: Annotated[int, Field(ge=1, le=MOST_ATTEMPTS)] = 1
    timeout: Annotated[Duration, Field(gt=0)] | None = None
    delay: Annotated[Duration, Field(ge=0, le=3600)] = 0.1
    backoff: Literal["doubling", "constant"] = "doubling"
    jitter: Share = 1.0
    budget: Annotated[float, Field(ge=0, le=MOST_ATTEMPTS), BeforeValidator(_share)] | None = None

    @property
    def is_on(self) -> bool:
        """Whether anything is repeated."""
        return self.attempts > 1

    def limit(self, whole: float) -> float:
        """Return how long a client waits for one attempt of a request that may take *whole* s."""
        return whole if self.timeout is None else min(whole, self.timeout)

    def row(self, request: int, attempt: int) -> int:
        """Return the row of the random numbers of an *attempt* at *request*; the first is 1."""
        if attempt == 1:
            return request
        return FIRST_ROW + request * (self.attempts - 1) + attempt - 2

    def request(self, row: int) -> int:
        """Return the request whose attempt has the random numbers of *row*."""
        return row if row < FIRST_ROW else (row - FIRST_ROW) // (self.attempts - 1)

    def pause(self, attempt: int, u: float) -> float:
        """Return the seconds between the failure of *attempt* and the next one.

        u: uniform in [0, 1); jitter takes up to its share of the delay off.
        """
        delay = self.delay * 2.0 ** (attempt - 1) if self.backoff == "doubling" else self.delay
        return delay * (1.0 - self.jitter * u)


def tries_again(status: int) -> bool:
    """Return whether a request that was answered with *status* may succeed when it is repeated.

    0 stands for no answer.
    """
    return status == 0 or status in _RETRIED_STATUSES


class RetryBudget:
    """Allows retries up to a share of the requests of the last `BUDGET_SECONDS`.

    Times are in seconds on any scale and do not go back. share: None allows all.
    """

    __slots__ = ("_requests", "_retries", "_share")

    def __init__(self, share: float | None) -> None:
        self._share = share
        self._requests: deque[float] = deque()
        self._retries: deque[float] = deque()

    def note_request(self, now: float) -> None:
        """Note that a request was sent for the first time."""
        if self._share is not None:
            self._requests.append(now)

    def take(self, now: float) -> bool:
        """Return whether one retry more is allowed, and count it if so."""
        if self._share is None:
            return True
        for times in (self._requests, self._retries):
            while times and times[0] <= now - BUDGET_SECONDS:
                times.popleft()
        # The tolerance: 0.1 x 30 is more than 3.
        if len(self._retries) + 1 > self._share * len(self._requests) + 1e-9:
            return False
        self._retries.append(now)
        return True


class Retrying:
    """Decides for the requests of one run whether and when each is tried again.

    The pause before an attempt is a random number of its request, so that a simulation and a load
    have the same one. refused: those that only the budget kept from another attempt.
    """

    __slots__ = ("_budget", "_pauses", "policy", "refused")

    def __init__(self, policy: Retries, *, seed: int, replication: int) -> None:
        self.policy = policy
        self.refused: list[int] = []
        self._budget = RetryBudget(policy.budget)
        self._pauses = Stream(
            seed, Purpose.RETRY_PAUSE, width=max(1, policy.attempts - 1), replication=replication
        )

    def note_request(self, now: float) -> None:
        """Note that a request was sent for the first time."""
        self._budget.note_request(now)

    def next(self, index: int, attempt: int, now: float, end: float) -> float | None:
        """Return when request *index* is tried again whose *attempt* failed *now*, None if never.

        end: when the request has failed for good.
        """
        policy = self.policy
        if attempt >= policy.attempts:
            return None
        at = now + policy.pause(attempt, self._pauses.at(index, attempt - 1))
        if at >= end:
            return None
        if not self._budget.take(now):
            self.refused.append(index)
            return None
        return at


def makes_none(retries: Any) -> bool:
    """Return whether *retries* is as if it was not there."""
    return bool(retries == Retries())
