"""A replication with clients that try again, and visitors that think before they go on.

The service works on what a client gave up; it does not know that nobody waits.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf, nextafter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import StoreError
from core.metrics.retried import Retried
from core.scenario.replay import Prepared
from core.scenario.retries import Retrying, tries_again
from core.scenario.scenario import Scenario
from sim.model import Replication, ReplicationOutcome, needs_clients

_NONE = 0


class ClientReplication(Replication):
    """A run in which a request is one or several attempts, and may follow another one.

    A client waits for an attempt until its limit; the service finishes it all the same. The latency
    of a request counts from when it was to be sent to the answer of the attempt that succeeded, and
    its cache reads are those of that attempt, or of the last one to end where none succeeded. What
    follows a request in its session is sent a think time after the request's end. What would be
    sent after the end of the run is not, and has no outcome.
    """

    has_clients = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        scenario = self._scenario
        policy = scenario.traffic.retries
        self._clients = Retrying(policy, seed=scenario.seed, replication=self._drawn)
        self._row_of = policy.row
        self._limits = scenario.attempt_timeouts
        n = len(self._intended)
        self._waits_for = [_NONE] * n  # the attempt that its client waits for
        self._attempts = [1] * n
        self._retried_at = array("d")
        self._timed_samples_of = self._sampled_at if scenario.parts else []
        self._end_of_run = self._ahead + scenario.total_time
        self._is_sent = np.ones(len(self._workload), dtype=np.bool_)
        self._next_of: dict[int, tuple[int, float]] = {}
        self._plan_sessions()
        is_plain = not (self._outside or self._unknown)
        self._begin: Callable[[int], None] = self._arrive
        if self._lives is not None:
            self._begin = partial(self._arrive_when_ready, self._lives)
        if not is_plain:
            self._begin = partial(self._arrive_if_modelled, self._begin)

    def _plan_sessions(self) -> None:
        """Let only the first request of a session arrive by itself."""
        follows = self._workload.follows
        if follows is None:
            return
        later = np.flatnonzero(follows >= 0)
        intended = np.array(self._intended)
        thinks = (intended[later] - intended[follows[later]]).tolist()
        for index, before, think in zip(
            later.tolist(), follows[later].tolist(), thinks, strict=True
        ):
            self._next_of[before] = (index, think)
        # Of requests that were played before the run, each arrives by itself.
        arrives = np.ones(intended.size, dtype=np.bool_)
        arrives[later] = False
        order = np.argsort(intended, kind="stable")
        self._order = order[arrives[order]].tolist()

    def _arrive(self, index: int) -> None:
        self._clients.note_request(self._intended[index])
        self._try(index, 1)
        if self._on_progress is not None and index % 1000 == 0:
            self._on_progress(index / len(self._intended))

    def _arrive_if_modelled(self, arrive: Callable[[int], None], index: int) -> None:
        """Do the same as a plain run; what follows the request waits for it, too."""
        endpoint = self._endpoints[index]
        now = self.loop.time()
        if endpoint in self._outside:
            latency = self._overhead[index]
            if latency <= self._timeouts[endpoint]:
                self._latency[index] = latency
            self._conclude(index, now + min(latency, self._timeouts[endpoint]))
        elif endpoint in self._unknown:
            self._conclude(index, now)
        else:
            arrive(index)

    def _try(self, index: int, attempt: int) -> None:
        loop, endpoint = self.loop, self._endpoints[index]
        now = loop.time()
        deadline = min(now + self._limits[endpoint], self._limit_of(index))
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

    def _limit_of(self, index: int) -> float:
        """Return when request *index* has failed, whatever its attempts do."""
        end: float = self._intended[index] + self._timeouts[self._endpoints[index]]
        return end

    async def _attempt(self, index: int, attempt: int, begun: float, deadline: float) -> None:
        endpoint, position = self._endpoints[index], self._process_of[index]
        span = self._spans[endpoint](self._row_of(index, attempt))
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
        if self._lives is not None:
            self._lives.leave(index, now)
        if self._invalidations is not None and not status:
            self._invalidations.after_event(index)
        is_waited_for = self._waits_for[index] == attempt
        if is_waited_for or self._latency[index] == inf:
            self._note_reads(index, span)
        if is_waited_for and now + between <= deadline:
            self._waits_for[index] = _NONE
            if status:
                self.loop.call_at(now + between, self._fail, index, attempt, status)
            else:
                self._latency[index] = now + between - self._intended[index]
                self._conclude(index, now + between)
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
            again = self._clients.next(index, attempt, now, self._limit_of(index))
        if again is not None:
            self.loop.call_at(again, self._try, index, attempt + 1)
            return
        if status:
            self._statuses[index] = status
        self._conclude(index, now)

    def _conclude(self, index: int, at: float) -> None:
        """Note that request *index* has its outcome *at* a time, and let the next one follow."""
        following = self._next_of.get(index)
        if following is not None:
            later, think = following
            self._intended[later] = when = at + think
            if when < self._end_of_run:
                self.loop.call_at(when, self._begin, later)
            else:
                self._leave_out(later)
        self._end()

    def _leave_out(self, index: int) -> None:
        following: tuple[int, float] | None = (index, 0.0)
        while following is not None:
            self._is_sent[following[0]] = False
            self._end()
            following = self._next_of.get(following[0])

    def _known(self) -> NDArray[np.bool_]:
        return super()._known() & self._is_sent

    def _sent_at(self) -> NDArray[np.float64]:
        if self._workload.follows is None:
            return super()._sent_at()
        return np.array(self._intended[: len(self._workload)]) - self._ahead

    def _outcome(self) -> ReplicationOutcome:
        outcome = super()._outcome()
        planned = len(self._workload)
        known, at = self._known(), self._sent_at()
        requests = outcome.requests
        attempts = np.array(self._attempts[:planned], dtype=np.uint8)[known]
        if self._workload.follows is not None:
            order = np.argsort(requests.intended, kind="stable")
            requests, attempts = requests.at(order), attempts[order]
        if not self._scenario.traffic.retries.is_on:
            return replace(outcome, requests=requests)
        refused = [index for index in self._clients.refused if index < planned]
        retried = Retried(attempts=attempts, at=np.array(self._retried_at), refused=at[refused])
        return replace(outcome, requests=requests, retried=retried)


def replication_of(
    scenario: Scenario, prepared: Prepared, *args: Any, **options: Any
) -> Replication:
    """Return the replication of *scenario*, with clients of their own where it has such ones."""
    made = ClientReplication if needs_clients(scenario, prepared) else Replication
    return made(scenario, prepared, *args, **options)
