"""A replication whose clients give up and try again, while the service works on what they left."""

from __future__ import annotations

from array import array
from dataclasses import replace
from math import inf, nextafter
from typing import Any

import numpy as np

from core.errors import StoreError
from core.metrics.retried import Retried
from core.scenario.retries import Retrying, tries_again
from sim.model import Replication, ReplicationOutcome

FIRST_ROW = 1 << 40
"""Of the random numbers of further attempts; those of requests come before."""

_NONE = 0


class RetryingReplication(Replication):
    """A run in which a request is one or several attempts.

    A client waits for an attempt until its limit; the service finishes it all the same. The latency
    of a request counts from its intended time to the answer of the attempt that succeeded, and its
    cache reads are those of that attempt, or of the last one to end where none succeeded.
    """

    has_retries = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        scenario = self._scenario
        policy = scenario.traffic.retries
        self._clients = Retrying(policy, seed=scenario.seed, replication=self._drawn)
        self._further = policy.attempts - 1
        self._limits = scenario.attempt_timeouts
        n = len(self._intended)
        self._waits_for = [_NONE] * n  # the attempt that its client waits for
        self._attempts = [1] * n
        self._retried_at = array("d")
        self._timed_samples_of = self._sampled_at if scenario.parts else []

    def _arrive(self, index: int) -> None:
        self._clients.note_request(self._intended[index])
        self._try(index, 1)
        if self._on_progress is not None and index % 1000 == 0:
            self._on_progress(index / len(self._intended))

    def _try(self, index: int, attempt: int) -> None:
        loop, endpoint = self.loop, self._endpoints[index]
        now = loop.time()
        deadline = min(now + self._limits[endpoint], self._end_of(index))
        self._waits_for[index] = attempt
        if attempt > 1:
            self._attempts[index] = attempt
            if index < len(self._workload):
                self._retried_at.append(now - self._ahead)
        process = self.processes[self._process_of[index]]
        process.in_flight += 1
        process.peak_in_flight = max(process.peak_in_flight, process.in_flight)
        start = process.platform.occupy(self._cpu_of[endpoint])
        self._left += 1  # the attempt, beside the request
        loop.start_at(start, self._attempt(index, attempt, now, deadline))
        # An answer at the very deadline is in time.
        loop.call_at(nextafter(deadline, inf), self._give_up_attempt, index, attempt, deadline)

    def _end_of(self, index: int) -> float:
        end: float = self._intended[index] + self._timeouts[self._endpoints[index]]
        return end

    async def _attempt(self, index: int, attempt: int, begun: float, deadline: float) -> None:
        endpoint, position = self._endpoints[index], self._process_of[index]
        row = index
        if attempt > 1:
            row = FIRST_ROW + index * self._further + attempt - 2
        span = self._spans[endpoint](row)
        span.cpu = self._cpu_of[endpoint]
        status = 0
        try:
            ask = self._asks[position][endpoint]
            await ask(span, self._isolate_of[index], self._subjects[index], index)
        except StoreError as error:
            status = error.http_status
        except BaseException as error:
            self._failure = error
            self._left = 1
            self._waits_for[index] = _NONE
        now = self.loop.time()
        between = self._overhead[index]
        if self._of_store is not None:
            between = self._of_store.of(index, endpoint, span.reads)
        self._note_stages(index, endpoint, now - begun, span)
        self.processes[position].in_flight -= 1
        is_waited_for = self._waits_for[index] == attempt
        if is_waited_for or self._latency[index] == inf:
            self._note_reads(index, span)
        if is_waited_for and now + between <= deadline:
            self._waits_for[index] = _NONE
            if status:
                self.loop.call_at(now + between, self._fail, index, attempt, status)
            else:
                self._latency[index] = now + between - self._intended[index]
                self._end()
        self._end()

    def _note_reads(self, index: int, span: Any) -> None:
        first = self._width * index
        codes = [code for _, code in span.reads]
        self._reads[first : first + self._width] = codes + [0] * (self._width - len(codes))

    def _note_stages(self, index: int, endpoint: int, total: float, span: Any) -> None:
        intended = self._intended[index]
        if intended < self._warm_up:
            return
        self._add_total(total)
        self._add_cpu_of[endpoint](span.cpu)
        for name, seconds in span.stages:
            if name in self._add_stage:
                self._add_stage[name](seconds)
        for samples, times in self._timed_samples_of:
            times.extend([intended - self._ahead] * (len(samples) - len(times)))

    def _give_up_attempt(self, index: int, attempt: int, deadline: float) -> None:
        if self._waits_for[index] == attempt:
            self._waits_for[index] = _NONE
            self._fail(index, attempt, 0, deadline)

    def _fail(self, index: int, attempt: int, status: int, at: float | None = None) -> None:
        """Try the request again whose *attempt* failed now (or *at*), or let it fail for good."""
        now = self.loop.time() if at is None else at
        again = None
        if tries_again(status):
            again = self._clients.next(index, attempt, now, self._end_of(index))
        if again is not None:
            self.loop.call_at(again, self._try, index, attempt + 1)
            return
        if status:
            self._statuses[index] = status
        self._end()

    def _outcome(self) -> ReplicationOutcome:
        outcome = super()._outcome()
        planned = len(self._workload)
        known = ~np.isin(self._workload.endpoint, list(self._unknown))
        refused = [index for index in self._clients.refused if index < planned]
        return replace(
            outcome,
            retried=Retried(
                attempts=np.array(self._attempts[:planned], dtype=np.uint8)[known],
                at=np.array(self._retried_at),
                refused=self._workload.intended[refused],
            ),
        )


def replication_of(scenario: Any, *args: Any, **options: Any) -> Replication:
    """Return the replication of *scenario*, with clients that try again where it has such ones."""
    made = RetryingReplication if scenario.traffic.retries.is_on else Replication
    return made(scenario, *args, **options)
