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
_LOOK_SECONDS = 0.1
_AHEAD_SECONDS = 0.003

Wait = Callable[[float], None]


class Arrival(NamedTuple):
    """A request that is due: its row and its intended time on the scale of `perf_counter()`."""

    row: int
    intended: float


def first_of_sessions(follows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first row of the session of each row, of what each *follows*; shape (n,)."""
    first = list(range(follows.size))
    for row, before in enumerate(follows.tolist()):
        if before >= 0:  # it stands before its follower
            first[row] = first[before]
    return np.array(first, dtype=np.int64)


class Arrivals:
    """Hands the rows of a workload to waiting users at their intended times.

    An arrival that finds no user waiting gets one more, up to *most* and if it is not late; any
    other is dropped and listed. It is listed as held, too, where the service is to blame: there
    are as many users as any service can need that answers in time (*needed*), each waits for an
    answer, and the arrival is not late. One whose user is stopped before it could send is
    withdrawn. With several Locust processes, each hands out its `share`.

    follows: the row after whose end each is handed out, -1 for its own time (`Workload`); those of
    a session are in the share of its first row. until: seconds from the start after which nothing
    is handed out that follows. lag_limit: seconds from which an arrival is late.
    """

    def __init__(
        self,
        intended_ns: NDArray[np.int64],
        *,
        most: int = 0,
        needed: int = 0,
        lag_limit: float = 0.005,
        follows: NDArray[np.int64] | None = None,
        until: float = 0.0,
    ) -> None:
        self._intended_ns = intended_ns
        self._first_of: NDArray[np.int64] | None = None
        self._next_of: dict[int, tuple[int, float]] = {}
        if follows is not None:
            self._first_of = first_of_sessions(follows)
            later = np.flatnonzero(follows >= 0)
            thinks = (intended_ns[later] - intended_ns[follows[later]]) / 1e9
            following = zip(later.tolist(), thinks.tolist(), strict=True)
            self._next_of = dict(zip(follows[later].tolist(), following, strict=True))
        self._later = {later for later, _ in self._next_of.values()}
        self._until = until
        self._releases: set[gevent.Greenlet] = set()
        self.start = 0.0
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
        if self._first_of is not None:
            return int(np.count_nonzero(self._first_of % of == position))
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
        self.start = start
        indices = np.arange(position, self._intended_ns.size, of)
        if self._first_of is not None:
            rows = np.arange(self._intended_ns.size)
            indices = rows[(self._first_of == rows) & (rows % of == position)]
        self.users = max(self.users, self.idle)
        timer = best_timer()
        try:
            for first in range(0, indices.size, _BLOCK):
                block = indices[first : first + _BLOCK]
                moments = (start + self._intended_ns[block] / 1e9).tolist()
                self._hand_out(block.tolist(), moments, timer.wait_until)
            while self._next_of and perf_counter() < start + self._until:
                gevent.sleep(_LOOK_SECONDS)
            gevent.joinall([*self._releases], timeout=_LOOK_SECONDS)
        finally:
            timer.close()
            gevent.killall([*self._releases])

    def end(self, row: int) -> None:
        """Note that the request of *row* has its outcome: what follows it comes a while later."""
        following = self._next_of.get(row)
        if following is None:
            return
        later, think = following
        moment = perf_counter() + think
        if moment < self.start + self._until:
            release = gevent.spawn(self._release, later, moment)
            self._releases.add(release)
            release.rawlink(self._releases.discard)

    def time_ns(self, due: Arrival) -> int:
        """Return when *due* was to be sent, in nanoseconds from the start."""
        if due.row in self._later:
            return round((due.intended - self.start) * 1e9)
        return int(self._intended_ns[due.row])

    def _release(self, row: int, moment: float) -> None:
        # Visitors that think hold no timer of the kernel, of which there are few.
        gevent.sleep(max(0.0, moment - perf_counter() - _AHEAD_SECONDS))
        dropped = len(self.dropped)
        timer = best_timer()
        try:
            self._hand_out([row], [moment], timer.wait_until)
        finally:
            timer.close()
        if len(self.dropped) > dropped and self.dropped[-1] == row:
            self.end(row)  # its visitor goes on

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
