"""Open-loop arrivals for Locust: users are a pool of connections, a scheduler feeds them."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple

import gevent
import numpy as np
from gevent.queue import SimpleQueue
from numpy.typing import NDArray

from scenarios.timer import best_timer, turn

_BLOCK = 4096

Wait = Callable[[float], None]


class Arrival(NamedTuple):
    """A request that is due: its row and its intended time on the scale of `perf_counter()`."""

    row: int
    intended: float


class Arrivals:
    """Hands the rows of a workload to waiting users at their intended times.

    An arrival that finds no user waiting gets one more, up to *most* and if it is not late; any
    other is dropped and listed. It is listed as held, too, where the service is to blame: there
    are as many users as any service can need that answers in time (*needed*), each waits for an
    answer, and the arrival is not late. One whose user is stopped before it could send is
    withdrawn. With several Locust processes, each hands out its `share`.

    lag_limit: seconds from which an arrival is late.
    """

    def __init__(
        self,
        intended_ns: NDArray[np.int64],
        *,
        most: int = 0,
        needed: int = 0,
        lag_limit: float = 0.005,
    ) -> None:
        self._intended_ns = intended_ns
        self._share = (0, 1)
        self._most, self._needed, self._lag_limit = most, needed, lag_limit
        self.add_user: Callable[[SimpleQueue[Arrival]], object] | None = None
        self.in_flight: Callable[[], int] = int
        self.users = 0
        # The user that waited last goes first: few connections, all of them warm.
        self._idle: deque[SimpleQueue[Arrival]] = deque()
        self.handed = 0
        self.dropped = array("q")
        self.held = array("q")
        self.withdrawn = array("q")

    def share(self, position: int, of: int) -> None:
        """Hand out the rows whose index is *position* modulo *of*; call it before `walk`."""
        self._share = (position, of)

    @property
    def planned(self) -> int:
        """How many rows this process is to hand out."""
        position, of = self._share
        return len(range(position, self._intended_ns.size, of))

    @property
    def idle(self) -> int:
        """How many users wait for an arrival."""
        return len(self._idle)

    def take(self, inbox: SimpleQueue[Arrival]) -> Arrival:
        """Wait for an arrival in *inbox*, the calling user's own."""
        self._idle.append(inbox)
        try:
            arrival: Arrival = inbox.get()
        except BaseException:
            self._withdraw(inbox)
            raise
        return arrival

    def _withdraw(self, inbox: SimpleQueue[Arrival]) -> None:
        # A user that is stopped after it was handed an arrival cannot send it any more.
        if inbox in self._idle:
            self._idle.remove(inbox)
        elif not inbox.empty():
            self.handed -= 1
            self.withdrawn.append(inbox.get().row)

    def walk(self, start: float) -> None:
        """Hand out every row at *start* plus its intended time; return after the last one."""
        position, of = self._share
        indices = np.arange(position, self._intended_ns.size, of)
        self.users = max(self.users, self.idle)
        timer = best_timer()
        try:
            for first in range(0, indices.size, _BLOCK):
                block = indices[first : first + _BLOCK]
                moments = (start + self._intended_ns[block] / 1e9).tolist()
                self._hand_out(block.tolist(), moments, timer.wait_until)
        finally:
            timer.close()

    def _hand_out(self, indices: Sequence[int], moments: Sequence[float], wait_until: Wait) -> None:
        idle = self._idle
        for index, moment in zip(indices, moments, strict=True):
            wait_until(moment)
            if not idle:
                # Answers may lie in the sockets already: let their users finish first. A whole turn
                # costs twice as much, too much for a generator that is behind.
                if self._is_on_time(moment):
                    turn()
                else:
                    gevent.sleep(0)
            if idle:
                idle.pop().put(Arrival(index, moment))
                self.handed += 1
            elif self._may_add(moment) and self.add_user is not None:
                inbox: SimpleQueue[Arrival] = SimpleQueue()
                inbox.put(Arrival(index, moment))
                self.add_user(inbox)
                self.users += 1
                self.handed += 1
            else:
                self.dropped.append(index)
                if self._is_held(moment):
                    self.held.append(index)

    def _may_add(self, moment: float) -> bool:
        # A generator that is behind itself leaves answers unread; more users would only add to it.
        return self.users * self._share[1] < self._most and self._is_on_time(moment)

    def _is_held(self, moment: float) -> bool:
        return (
            self.users * self._share[1] >= self._needed > 0
            and self.in_flight() >= self.users
            and self._is_on_time(moment)
        )

    def _is_on_time(self, moment: float) -> bool:
        return perf_counter() - moment <= self._lag_limit
