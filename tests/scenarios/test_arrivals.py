"""Every planned arrival is handed out or dropped, once, and never early."""

from __future__ import annotations

from time import perf_counter

import gevent
import numpy as np
import pytest
from gevent.queue import SimpleQueue

from scenarios.arrivals import Arrival, Arrivals, first_of_sessions
from scenarios.timer import KernelTimer, Timer, YieldingTimer, turn


class Pool:
    """Users that note what they get; those with *keeps* never come back."""

    def __init__(self, arrivals: Arrivals, size: int, *, keeps: bool = False) -> None:
        self.taken: list[tuple[Arrival, float]] = []
        self.greenlets = [gevent.spawn(self._use, arrivals, keeps) for _ in range(size)]
        gevent.sleep(0)

    def _use(self, arrivals: Arrivals, keeps: bool) -> None:
        inbox: SimpleQueue[Arrival] = SimpleQueue()
        while True:
            self.taken.append((arrivals.take(inbox), perf_counter()))
            if keeps:
                return

    def settle(self) -> None:
        gevent.sleep(0)

    def stop(self) -> None:
        gevent.killall(self.greenlets)


def intended(count: int, *, gap_ns: int = 200_000) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.arange(count, dtype=np.int64) * gap_ns


def test_rows_are_handed_out_in_order_and_never_early() -> None:
    arrivals = Arrivals(intended(200))
    pool = Pool(arrivals, 20)
    start = perf_counter() + 0.005
    arrivals.walk(start)
    pool.settle()
    pool.stop()
    assert [arrival.row for arrival, _ in pool.taken] == list(range(200))
    assert all(taken >= arrival.intended for arrival, taken in pool.taken)
    assert [arrival.intended for arrival, _ in pool.taken] == (start + intended(200) / 1e9).tolist()
    assert (arrivals.handed, list(arrivals.dropped)) == (200, [])


def test_arrivals_without_a_waiting_user_are_dropped_and_listed() -> None:
    arrivals = Arrivals(intended(10))
    pool = Pool(arrivals, 3, keeps=True)
    arrivals.walk(perf_counter())
    pool.settle()
    assert [arrival.row for arrival, _ in pool.taken] == [0, 1, 2]
    assert list(arrivals.dropped) == [3, 4, 5, 6, 7, 8, 9]
    assert arrivals.handed + len(arrivals.dropped) == arrivals.planned


def test_processes_share_the_rows_by_index() -> None:
    rows = []
    for position in range(3):
        arrivals = Arrivals(intended(20, gap_ns=1000))
        arrivals.share(position, 3)
        pool = Pool(arrivals, 20)
        arrivals.walk(perf_counter())
        pool.settle()
        pool.stop()
        mine = [arrival.row for arrival, _ in pool.taken]
        assert all(row % 3 == position for row in mine)
        assert len(mine) == arrivals.planned
        rows += mine
    assert sorted(rows) == list(range(20))


def test_stopped_user_leaves_the_pool() -> None:
    arrivals = Arrivals(intended(1))
    pool = Pool(arrivals, 2)
    pool.greenlets[0].kill()
    assert arrivals.idle == 1
    pool.stop()
    assert arrivals.idle == 0


def test_arrival_of_a_user_stopped_at_the_same_moment_is_withdrawn() -> None:
    arrivals = Arrivals(intended(1))
    pool = Pool(arrivals, 1)
    pool.greenlets[0].kill(block=False)  # before it has had a turn it is handed an arrival
    arrivals.walk(perf_counter())
    pool.stop()
    assert (arrivals.handed, list(arrivals.dropped), pool.taken) == (0, [], [])
    assert list(arrivals.withdrawn) == [0]


@pytest.mark.parametrize("make", [KernelTimer, YieldingTimer])
def test_timer_never_returns_early_and_lets_others_run(make: type[Timer]) -> None:
    timer, turns = make(), []
    other = gevent.spawn(lambda: turns.append(perf_counter()))
    moment = perf_counter() + 0.003
    timer.wait_until(moment)
    assert perf_counter() >= moment
    assert turns
    timer.wait_until(moment)  # in the past: returns at once
    timer.close()
    other.join()


def grown(arrivals: Arrivals, *, keeps: bool) -> list[gevent.Greenlet]:
    """Let *arrivals* add users that take what they are given and, with *keeps*, never come back."""
    added: list[gevent.Greenlet] = []

    def use(inbox: SimpleQueue[Arrival]) -> None:
        inbox.get()
        while not keeps:
            arrivals.take(inbox)

    arrivals.add_user = lambda inbox: added.append(gevent.spawn(use, inbox))
    return added


def test_a_slow_service_gets_more_connections_up_to_the_bound() -> None:
    arrivals = Arrivals(intended(10), most=5, needed=10, lag_limit=10.0)
    pool = Pool(arrivals, 2, keeps=True)
    added = grown(arrivals, keeps=True)
    arrivals.walk(perf_counter())
    pool.settle()
    assert (len(added), arrivals.users, arrivals.handed) == (3, 5, 5)
    assert list(arrivals.dropped) == [5, 6, 7, 8, 9]
    assert list(arrivals.held) == []  # fewer connections than a service in time may need


def test_a_share_of_the_load_gets_its_share_of_the_connections() -> None:
    arrivals = Arrivals(intended(20), most=6, needed=20, lag_limit=10.0)
    arrivals.share(0, 2)
    Pool(arrivals, 1, keeps=True)
    added = grown(arrivals, keeps=True)
    arrivals.walk(perf_counter())
    assert (len(added), arrivals.users) == (2, 3)


def test_a_generator_that_is_behind_adds_no_connections() -> None:
    arrivals = Arrivals(intended(5), most=5, needed=5, lag_limit=0.005)
    Pool(arrivals, 1, keeps=True)
    added = grown(arrivals, keeps=True)
    arrivals.walk(perf_counter() - 1.0)
    assert (added, list(arrivals.dropped), list(arrivals.held)) == ([], [1, 2, 3, 4], [])


@pytest.mark.parametrize(
    ("needed", "in_flight", "late", "is_held"),
    [(3, 3, 0.0, True), (4, 3, 0.0, False), (3, 2, 0.0, False), (3, 3, 20.0, False)],
)
def test_an_arrival_is_the_services_failure_only_if_it_holds_as_many_as_any_service_needs(
    needed: int, in_flight: int, late: float, is_held: bool
) -> None:
    """Fewer connections, one that waits for the generator, or a late arrival: not the service's."""
    arrivals = Arrivals(intended(8), most=3, needed=needed, lag_limit=10.0)
    pool = Pool(arrivals, 3, keeps=True)
    arrivals.in_flight = lambda: in_flight
    arrivals.walk(perf_counter() - late)
    pool.settle()
    assert list(arrivals.dropped) == [3, 4, 5, 6, 7]
    assert list(arrivals.held) == (list(arrivals.dropped) if is_held else [])


def test_large_work_with_turns_lets_arrivals_go_out_in_between() -> None:
    arrivals = Arrivals(intended(4, gap_ns=1_000_000))
    pool = Pool(arrivals, 4)
    walker = gevent.spawn(arrivals.walk, perf_counter())
    seen = set()
    for _ in range(40):
        end = perf_counter() + 0.0005
        while perf_counter() < end:
            pass
        turn()  # gevent.sleep(0) would pass the timer over
        seen.add(arrivals.handed)
        if arrivals.handed == 4:
            break
    walker.kill()
    pool.stop()
    assert {1, 2, 3} & seen


def test_sessions_stay_in_the_share_of_their_first_row() -> None:
    follows = np.array([-1, -1, 0, 1, -1, 2, 3])
    assert first_of_sessions(follows).tolist() == [0, 1, 0, 1, 4, 0, 1]
    planned = []
    for position in range(2):
        arrivals = Arrivals(np.arange(7) * 10**9, follows=follows, until=9.0)
        arrivals.share(position, 2)
        planned.append(arrivals.planned)
    assert planned == [4, 3]
