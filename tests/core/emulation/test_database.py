"""Claims about emulated stores: how long they take, who waits for whom, and what faults do."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
import simpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.caching.kv import MemoryKV, StoreItem
from core.clock import SystemClock
from core.context import CURRENT, Operation, Purpose, Span
from core.distributions import Distribution
from core.emulation.database import DelayedDatabase
from core.emulation.executions import Executions, SharedExecutions
from core.emulation.faults import FaultSchedule
from core.emulation.kv import DelayedKV
from core.errors import StoreError, StoreTimeout
from core.query.database import SqliteDatabase
from core.query.queue_statements import DEQUEUE
from core.query.statement import Statement, insertion
from core.query.statements import INSERT_SITE
from core.scenario.fault_kinds import BUILT_IN
from core.scenario.faults import Fault
from core.scenario.tiers import L2, L3
from sim.loop import SimLoop

READ, COLD, WRITE = 0.25, 1.0, 0.5
HOT_FOR = 10.0

SITES = Statement("sites", "SELECT site_id FROM sites ORDER BY site_id")

# Sixteen equal steps: a uniform of i/16 is looked up as exactly i quarters of a second.
STEPS = Distribution([i / 4 for i in range(17)], None)


def constant(seconds: float) -> Distribution:
    return Distribution((seconds, seconds), None)


@dataclass(slots=True)
class Simulated:
    """A platform on simulated time whose numbers are given by the row of the span."""

    loop: SimLoop
    draws: dict[tuple[int, Purpose], float] = field(default_factory=dict)
    default: float = 0.5
    cpu: float = 0.0

    def now(self) -> float:
        return self.loop.time()

    def until(self, when: float) -> Awaitable[None]:
        return self.loop.until(when)

    def uniform(self, purpose: Purpose) -> float:
        return self.draws.get((CURRENT.get().span.row, purpose), self.default)

    def sampler(self, purpose: Purpose, distribution: Distribution) -> Callable[[], float]:
        return lambda: distribution.sample(self.uniform(purpose))

    def charge(self, _: str) -> float:
        return self.loop.time() + self.cpu


def simulated(scene: Callable[[Simulated], Coroutine[Any, Any, None]]) -> None:
    """Run *scene* in simulated time."""
    loop = SimLoop(simpy.Environment())
    try:
        loop.run(scene(Simulated(loop)))
    finally:
        loop.close()


async def at(
    platform: Simulated, when: float, operation: Callable[[], Awaitable[Any]], *, row: int = 0
) -> tuple[float, Any, Span]:
    """Run *operation* at *when* in a span of its own; return its end, its result or error."""
    await platform.until(when)
    span = Span(row)
    CURRENT.set(Operation(span, 0))
    try:
        result = await operation()
    except StoreError as error:
        result = error
    return platform.now(), result, span


def edge_store(
    platform: Simulated, *faults: Fault, origin: float = 0.0, **tier: Any
) -> tuple[DelayedKV, MemoryKV]:
    """Return a view of an empty store, and the store."""
    latencies = {"read": constant(READ), "cold_read": constant(COLD), "write": constant(WRITE)}
    store = MemoryKV(platform.now)
    given_tier = L2.model_construct(**{"cache_ttl": HOT_FOR, "timeout": 60.0} | latencies | tier)
    return DelayedKV(store, given_tier, FaultSchedule(faults, origin), platform), store


def far_database(
    platform: Simulated,
    *faults: Fault,
    origin: float = 0.0,
    concurrency: int = 1,
    round_trip: Distribution | None = None,
    reads: Distribution | None = None,
    writes: Distribution | None = None,
    timeout: float = 1_000.0,
    share: float = 0.0,
) -> DelayedDatabase:
    """Return an empty database behind a round trip of 1 s, reads of 0.25 s and writes of 0.5 s."""
    tier = L3.model_construct(
        round_trip=round_trip or constant(1.0),
        read_execution=reads or constant(0.25),
        write_execution=writes or constant(0.5),
        write_share=share,
        timeout=timeout,
    )
    return DelayedDatabase(
        SqliteDatabase(None, inline=True), tier, FaultSchedule(faults, origin), platform,
        Executions(concurrency),
    )  # fmt: skip


def fault(tier: str, kind: str, at: str, for_: str, value: float = 1.0) -> Fault:
    return Fault.model_validate({"tier": tier, "kind": kind, "at": at, "for": for_, "value": value})


# --- L2 ----------------------------------------------------------------------------------------


def test_key_is_hot_for_cache_ttl_after_an_answer_and_cold_before_and_after() -> None:
    async def scene(platform: Simulated) -> None:
        kv, _ = edge_store(platform)

        async def seconds(when: float, key: str) -> float:
            end, _, _ = await at(platform, when, lambda: kv.get(key))
            return end - when

        assert await seconds(0.0, "a") == COLD  # answered at 1, hot until 11
        assert await seconds(2.0, "b") == COLD  # another key
        assert await seconds(10.5, "a") == READ  # answered at 10.75, hot until 20.75
        assert await seconds(20.75, "a") == COLD  # the end does not belong to it

    simulated(scene)


def test_hotness_is_that_of_one_process_not_of_the_store() -> None:
    async def scene(platform: Simulated) -> None:
        here, store = edge_store(platform)
        there = DelayedKV(store, here._tier, FaultSchedule(()), platform)
        await at(platform, 0.0, lambda: here.get("a"))
        end, _, _ = await at(platform, 2.0, lambda: there.get("a"))
        assert end == 2.0 + COLD
        end, _, _ = await at(platform, 4.0, lambda: here.get("a"))
        assert end == 4.0 + READ

    simulated(scene)


def test_touched_key_is_hot_and_a_deleted_one_cold() -> None:
    async def scene(platform: Simulated) -> None:
        kv, _ = edge_store(platform)
        for key in ("a", "b:1", "b:2", "c"):
            kv.touch(key, 100.0)
        await kv.delete("a")
        await kv.delete_prefix("b:")
        assert platform.now() == 0.0  # at once
        for key, seconds in (("a", COLD), ("b:1", COLD), ("b:2", COLD), ("c", READ)):
            start = platform.now()
            end, _, _ = await at(platform, start, partial(kv.get, key))
            assert end - start == seconds

    simulated(scene)


def test_operations_on_the_store_overlap() -> None:
    async def scene(platform: Simulated) -> None:
        kv, _ = edge_store(platform)
        reads = [at(platform, 0.0, partial(kv.get, str(n))) for n in range(50)]
        assert {end for end, _, _ in await asyncio.gather(*reads)} == {COLD}
        assert kv.operations == 50

    simulated(scene)


@pytest.mark.parametrize(("touched", "seconds"), [("ab", READ), ("a", COLD), ("", COLD)])
def test_read_of_several_keys_is_one_operation_as_slow_as_its_coldest_key(
    touched: str, seconds: float
) -> None:
    async def scene(platform: Simulated) -> None:
        kv, store = edge_store(platform)
        await store.put(StoreItem("b", b"2", 60.0))
        for key in touched:
            kv.touch(key, 100.0)
        end, result, _ = await at(platform, 0.0, lambda: kv.get("a", "b"))
        assert (end, result, kv.operations) == (seconds, [None, b"2"], 1)
        again, _, _ = await at(platform, 5.0, lambda: kv.get("b", "a"))
        assert again == 5.0 + READ  # both were answered, so both are hot

    simulated(scene)


def test_write_of_several_items_is_one_operation_that_keeps_those_still_alive() -> None:
    async def scene(platform: Simulated) -> None:
        kv, store = edge_store(platform)
        items = [StoreItem("a", b"1", WRITE), StoreItem("b", b"2", WRITE + 1.0, ("t",))]
        end, _, _ = await at(platform, 0.0, lambda: kv.put(*items))
        assert (end, kv.operations) == (WRITE, 1)
        assert await store.get("a", "b") == [None, b"2"]
        assert await kv.delete_tag("t") == 1  # the item kept its tags
        assert platform.now() == WRITE  # at once, as every deletion
        assert await store.get("b") == [None]

    simulated(scene)


def test_value_is_there_once_its_write_has_ended_and_not_before() -> None:
    async def scene(platform: Simulated) -> None:
        kv, store = edge_store(platform, read=constant(0.0), cold_read=constant(0.0))
        writing = asyncio.ensure_future(
            at(platform, 0.0, lambda: kv.put(StoreItem("a", b"1", 5.0)))
        )
        await platform.until(WRITE - 0.01)
        assert await store.get("a") == [None]
        assert (await writing)[0] == WRITE
        assert await store.get("a") == [b"1"]
        await platform.until(4.99)  # its life goes on while it is written
        assert await store.get("a") == [b"1"]
        await platform.until(5.0)
        assert await store.get("a") == [None]

    simulated(scene)


@pytest.mark.parametrize("ttl", [0.1, WRITE])
def test_value_that_ends_while_it_is_written_is_not_kept(ttl: float) -> None:
    async def scene(platform: Simulated) -> None:
        kv, store = edge_store(platform)
        end, result, _ = await at(platform, 0.0, lambda: kv.put(StoreItem("a", b"1", ttl)))
        assert (end, result, len(store)) == (WRITE, None, 0)

    simulated(scene)


def test_read_answers_with_the_value_of_the_moment_when_it_leaves() -> None:
    async def scene(platform: Simulated) -> None:
        kv, store = edge_store(platform)
        reading = asyncio.ensure_future(at(platform, 0.0, lambda: kv.get("a")))
        await platform.until(COLD - 0.01)
        await store.put(StoreItem("a", b"late", 60.0))
        assert (await reading)[:2] == (COLD, [b"late"])

    simulated(scene)


@pytest.mark.parametrize(("timeout", "is_late"), [(0.999, True), (1.0, False)])
def test_store_gives_up_exactly_at_its_time_limit(timeout: float, is_late: bool) -> None:
    async def scene(platform: Simulated) -> None:
        kv, store = edge_store(platform, timeout=timeout, write=constant(1.0))
        await store.put(StoreItem("a", b"1", 60.0))
        end, result, _ = await at(platform, 3.0, lambda: kv.get("a"))
        assert end == 3.0 + timeout
        assert isinstance(result, StoreTimeout) if is_late else result == [b"1"]
        end, result, _ = await at(platform, 8.0, lambda: kv.put(StoreItem("a", b"2", 60.0)))
        assert end == 8.0 + timeout
        assert isinstance(result, StoreTimeout) is is_late
        assert await store.get("a") == [b"1" if is_late else b"2"]
        assert kv.errors == (2 if is_late else 0)

    simulated(scene)


def test_timed_out_read_leaves_the_key_cold() -> None:
    async def scene(platform: Simulated) -> None:
        kv, _ = edge_store(platform, fault("l2", "slow", "0s", "2s", 10.0), timeout=2.0)
        assert isinstance((await at(platform, 0.0, lambda: kv.get("a")))[1], StoreTimeout)
        assert (await at(platform, 3.0, lambda: kv.get("a")))[0] == 3.0 + COLD

    simulated(scene)


# Just before, first and last instant within, first after: a fault from 10 s on for 5 s.
WINDOW = [(9.99, False), (10.0, True), (14.99, True), (15.0, False)]


@pytest.mark.parametrize("origin", [0.0, 100.0])
@pytest.mark.parametrize(("when", "strikes"), WINDOW)
@pytest.mark.parametrize("kind", ["slow", "error", "dead"])
@pytest.mark.parametrize("operation", ["get", "put"])
def test_fault_of_l2_strikes_within_its_window_only(
    operation: str, kind: str, when: float, strikes: bool, origin: float
) -> None:
    async def scene(platform: Simulated) -> None:
        value = 3.0 if kind == "slow" else 1.0
        kv, _ = edge_store(
            platform,
            fault("l2", kind, "10s", "5s", value),
            fault("l3", "dead", "0s", "100s"),  # another tier's
            origin=origin, write=constant(COLD),
        )  # fmt: skip
        sent = origin + when
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "get": lambda: kv.get("a"),
            "put": lambda: kv.put(StoreItem("a", b"1", 99.0)),
        }
        end, result, _ = await at(platform, sent, calls[operation])
        answer = [None] if operation == "get" else None
        if not strikes:
            assert (end, result) == (sent + COLD, answer)
        elif kind == "slow":
            assert (end, result) == (sent + 3 * COLD, answer)
        else:
            assert end == sent + (COLD if kind == "error" else 60.0)
            assert isinstance(result, StoreError)
            assert isinstance(result, StoreTimeout) is (kind == "dead")
        assert kv.errors == (strikes and kind != "slow")

    simulated(scene)


@pytest.mark.parametrize(("uniform", "fails"), [(0.0, True), (0.29, True), (0.3, False)])
def test_error_strikes_the_share_of_operations_that_it_names(uniform: float, fails: bool) -> None:
    async def scene(platform: Simulated) -> None:
        kv, _ = edge_store(platform, fault("l2", "error", "0s", "99s", 0.3))
        platform.draws[0, Purpose.L2_READ_FATE] = uniform
        _, result, _ = await at(platform, 1.0, lambda: kv.get("a"))
        assert isinstance(result, StoreError) is fails

    simulated(scene)


FAULTS = st.lists(
    st.builds(
        Fault.model_construct,
        tier=st.sampled_from(["l2", "l3"]),
        kind=st.sampled_from([kind for kind in BUILT_IN if not kind.is_of_traffic]),
        at=st.integers(0, 6).map(float),
        for_=st.integers(1, 6).map(float),
        value=st.sampled_from([0.0, 0.5, 1.0]),
    ),
    max_size=4,
)


@given(FAULTS, st.integers(0, 26).map(lambda n: n / 2), st.sampled_from([0.25, 0.75]))
def test_faults_that_overlap_add_up(faults: list[Fault], now: float, uniform: float) -> None:
    async def scene(platform: Simulated) -> None:
        CURRENT.set(Operation(Span(), 0))
        platform.default = uniform
        schedule = FaultSchedule(tuple(faults), origin=1.0)
        for tier in ("l2", "l3"):
            seconds, failed = schedule.apply(tier, now, 8.0, Purpose.L2_READ_FATE, platform)
            active = [f for f in faults if f.tier == tier and f.at <= now - 1.0 < f.at + f.for_]
            assert schedule.active(tier, now) == active
            kinds = [f.kind.name for f in active]
            assert failed is any(f.kind.name == "error" and uniform < f.value for f in active)
            if "dead" in kinds:
                assert seconds == float("inf")
            else:
                expected = 8.0
                for f in active:
                    expected *= f.value if f.kind.name == "slow" else 1.0
                assert seconds == expected

    simulated(scene)


# --- the database ------------------------------------------------------------------------------


def test_round_trips_overlap_and_executions_queue() -> None:
    async def scene(platform: Simulated) -> None:
        database = far_database(platform)
        reads = [at(platform, 0.0, lambda: database.read(SITES, ())) for _ in range(4)]
        found = await asyncio.gather(*reads)
        assert [end for end, _, _ in found] == [1.25, 1.5, 1.75, 2.0]
        assert [span.stages for _, _, span in found] == [
            [("l3", 1.25), ("l3wait", 0.25 * position)] for position in range(4)
        ]
        assert database.operations == 4
        await database.close()

    simulated(scene)


def test_sending_waits_for_the_cpu() -> None:
    async def scene(platform: Simulated) -> None:
        platform.cpu = 0.125
        database = far_database(platform)
        assert (await at(platform, 0.0, lambda: database.read(SITES, ())))[0] == 1.375
        kv, _ = edge_store(platform)
        assert (await at(platform, 2.0, lambda: kv.get("a")))[0] == 2.125 + COLD
        await database.close()

    simulated(scene)


def test_statements_take_effect_in_the_order_of_their_arrival_there() -> None:
    async def scene(platform: Simulated) -> None:
        database = far_database(platform)
        seen = await asyncio.gather(
            at(platform, 0.0, lambda: database.write((INSERT_SITE, [("s1", 1, 1)]))),
            at(platform, 0.0, lambda: database.read(SITES, ())),
            at(platform, 0.25, lambda: database.write((INSERT_SITE, [("s2", 1, 1)]))),
            at(platform, 0.125, lambda: database.read(SITES, ())),
            at(platform, 0.25, lambda: database.read(SITES, ())),
        )
        assert [result for _, result, _ in seen] == [
            [1], [("s1",)], [1], [("s1",)], [("s1",), ("s2",)],
        ]  # fmt: skip
        await database.close()

    simulated(scene)


def by_ticks(jobs: Sequence[tuple[int, int]], servers: int) -> list[int]:
    """Return when each job (arrival, length) ends: the database's servers, tick by tick.

    Jobs stand in the order of their arrival, which is the order in which they are served. One of
    no length ends where it arrives.
    """
    ends: dict[int, int] = {}
    busy: list[tuple[int, int]] = []  # (ticks left, job)
    queue: deque[int] = deque()
    coming = deque(range(len(jobs)))
    tick = 0
    while len(ends) < len(jobs):
        while coming and jobs[coming[0]][0] == tick:
            job = coming.popleft()
            if jobs[job][1]:
                queue.append(job)
            else:
                ends[job] = tick
        while queue and len(busy) < servers:
            job = queue.popleft()
            busy.append((jobs[job][1], job))
        tick += 1
        for left, job in busy:
            if left == 1:
                ends[job] = tick
        busy = [(left - 1, job) for left, job in busy if left > 1]
    return [ends[job] for job in range(len(jobs))]


JOBS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 8)), min_size=1, max_size=30).map(
    lambda jobs: sorted(jobs, key=lambda job: job[0])
)


@given(JOBS, st.integers(1, 4))
def test_executions_equal_a_database_played_tick_by_tick(
    jobs: list[tuple[int, int]], servers: int
) -> None:
    executions = Executions(servers)
    ends = [executions.reserve(float(arrived), float(length)) for arrived, length in jobs]
    assert ends == by_ticks(jobs, servers)


@dataclass(frozen=True, slots=True)
class Query:
    """One query in quarters of a second: when it is sent, half its round trip, its execution."""

    sent: int
    half_trip: int
    execution: int
    is_write: bool


QUERIES = st.lists(
    st.builds(
        Query, st.integers(0, 20), st.integers(0, 4), st.integers(0, 8), st.booleans()
    ),
    min_size=1,
    max_size=20,
)  # fmt: skip


@settings(max_examples=200)
@given(QUERIES, st.sampled_from([1, 3]))
def test_answers_come_when_a_database_played_tick_by_tick_gives_them(
    queries: list[Query], concurrency: int
) -> None:
    # What arrives at one instant is served in the order of its sending.
    order = sorted(
        range(len(queries)),
        key=lambda i: (queries[i].sent + queries[i].half_trip, queries[i].sent, i),
    )
    jobs = [(queries[i].sent + queries[i].half_trip, queries[i].execution) for i in order]
    expected = {
        i: (end + queries[i].half_trip) / 4
        for i, end in zip(order, by_ticks(jobs, concurrency), strict=True)
    }

    async def scene(platform: Simulated) -> None:
        database = far_database(
            platform, concurrency=concurrency, round_trip=STEPS, reads=STEPS, writes=STEPS
        )

        async def ask(row: int, is_write: bool) -> Any:
            if is_write:
                return await database.write((INSERT_SITE, [(f"s{row}", 1, 1)]))
            return await database.read(SITES, ())

        calls = []
        for row, query in enumerate(queries):
            platform.draws[row, Purpose.L3_ROUND_TRIP] = 2 * query.half_trip / 16
            platform.draws[row, Purpose.L3_EXECUTION] = query.execution / 16
            calls.append(at(platform, query.sent / 4, partial(ask, row, query.is_write), row=row))
        found = await asyncio.gather(*calls)
        written = {f"s{i}" for i in order if queries[i].is_write}
        for row, (end, result, span) in enumerate(found):
            assert end == expected[row]
            stages = dict(span.stages)
            assert stages["l3"] + stages["l3wait"] == end - queries[row].sent / 4
            if queries[row].is_write:
                assert result == [1]
            else:
                before = order[: order.index(row)]
                assert {name for (name,) in result} == written & {f"s{i}" for i in before}
        await database.close()

    simulated(scene)


def test_database_gives_up_exactly_at_its_time_limit_and_goes_on_with_its_queue() -> None:
    async def scene(platform: Simulated) -> None:
        database = far_database(platform, writes=constant(2.0), timeout=3.5)
        writes = [
            at(platform, 0.0, partial(database.write, (INSERT_SITE, [(f"s{n}", 1, 1)])))
            for n in range(3)
        ]
        found = await asyncio.gather(*writes)
        assert [end for end, _, _ in found] == [3.0, 3.5, 3.5]
        assert found[0][1] == [1]
        assert all(isinstance(result, StoreTimeout) for _, result, _ in found[1:])
        assert database.errors == 2
        # Nobody waits any more, but the database works through what had reached it, until 6.5.
        end, result, _ = await at(platform, 5.0, lambda: database.read(SITES, ()))
        assert (end, result) == (6.5 + 0.25 + 0.5, [("s0",), ("s1",), ("s2",)])
        await database.close()

    simulated(scene)


def test_answer_at_the_very_time_limit_is_too_late() -> None:
    async def scene(platform: Simulated) -> None:
        database = far_database(platform, timeout=1.25)
        end, result, _ = await at(platform, 0.0, lambda: database.read(SITES, ()))
        assert end == 1.25
        assert isinstance(result, StoreTimeout)
        await database.close()

    simulated(scene)


@pytest.mark.parametrize("origin", [0.0, 100.0])
@pytest.mark.parametrize(("when", "strikes"), WINDOW)
@pytest.mark.parametrize("kind", ["slow", "error", "dead"])
@pytest.mark.parametrize("is_write", [False, True])
def test_fault_of_l3_strikes_within_its_window_only(
    kind: str, when: float, strikes: bool, origin: float, is_write: bool
) -> None:
    async def scene(platform: Simulated) -> None:
        value = 4.0 if kind == "slow" else 1.0
        database = far_database(
            platform,
            fault("l3", kind, "10s", "5s", value),
            fault("l2", "dead", "0s", "100s"),  # another tier's
            origin=origin, timeout=30.0,
        )  # fmt: skip
        sent, execution = origin + when, 0.5 if is_write else 0.25

        async def ask() -> Any:
            if is_write:
                return await database.write((INSERT_SITE, [("s1", 1, 1)]))
            return await database.read(SITES, ())

        end, result, _ = await at(platform, sent, ask)
        answer = [1] if is_write else []
        if not strikes:
            assert (end, result) == (sent + 1.0 + execution, answer)
        elif kind == "slow":  # the execution, not the way there
            assert (end, result) == (sent + 1.0 + 4 * execution, answer)
        else:
            assert end == sent + (1.0 + execution if kind == "error" else 30.0)
            assert isinstance(result, StoreError)
            assert isinstance(result, StoreTimeout) is (kind == "dead")
        has_failed = strikes and kind != "slow"
        assert database.errors == has_failed
        _, rows, _ = await at(platform, origin + 60.0, lambda: database.read(SITES, ()))
        assert rows == ([("s1",)] if is_write and not has_failed else [])
        await database.close()

    simulated(scene)


def test_dead_database_takes_no_place_in_its_queue() -> None:
    async def scene(platform: Simulated) -> None:
        database = far_database(platform, fault("l3", "dead", "0s", "1s"), timeout=30.0)
        dead = asyncio.ensure_future(at(platform, 0.5, lambda: database.read(SITES, ())))
        end, result, _ = await at(platform, 1.0, lambda: database.read(SITES, ()))
        assert (end, result) == (2.25, [])
        assert (await dead)[0] == 30.5
        await database.close()

    simulated(scene)


# --- one database, several processes -----------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(jobs=JOBS, servers=st.integers(1, 4))
def test_shared_executions_equal_those_of_one_process(
    tmp_path: Path, jobs: list[tuple[int, int]], servers: int
) -> None:
    path = tmp_path / "executions"
    path.unlink(missing_ok=True)
    with (
        closing(SharedExecutions(path, concurrency=servers)) as first,
        closing(SharedExecutions(path, concurrency=servers)) as second,
    ):
        ends = [
            (first, second)[position % 2].reserve(float(arrived), float(length))
            for position, (arrived, length) in enumerate(jobs)
        ]
    assert ends == by_ticks(jobs, servers)


RESERVATIONS = 20_000


def reserve_much(
    path: Path, concurrency: int, ready: Barrier, results: Queue[list[tuple[float, float, float]]]
) -> None:
    """Reserve as fast as this process can, together with the others at *ready*."""
    clock = SystemClock()
    executions = SharedExecutions(path, concurrency=concurrency)
    taken: list[tuple[float, float, float]] = []
    ready.wait(60)
    for number in range(RESERVATIONS):
        seconds = 0.0005 * (1 + number % 3)
        arrived = clock.now()
        end = executions.reserve(arrived, seconds)
        taken.append((end - seconds, end, arrived))
        if number % 8 == 0:
            os.sched_yield()  # or one process keeps the lock to itself
    executions.close()
    results.put(taken)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_two_processes_never_hold_more_servers_than_there_are(
    tmp_path: Path, concurrency: int
) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready, results = spawn.Barrier(2), spawn.Queue()
    path = tmp_path / "executions"
    processes = [
        spawn.Process(target=reserve_much, args=(path, concurrency, ready, results))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    answers: list[list[tuple[float, float, float]]] = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    results.close()
    results.join_thread()
    taken = sorted((*span, process) for process in (0, 1) for span in answers[process])
    assert len(taken) == 2 * RESERVATIONS
    # The k-th start waits for the end of the one k - concurrency before it; a microsecond is
    # far more than the clocks' rounding and far less than any execution.
    # A start later than that is the time at which it was asked for: no reservation leaves a gap.
    ends = sorted(end for _, end, _, _ in taken)
    for (start, _, arrived, _), end in zip(taken[concurrency:], ends, strict=False):
        assert start >= end - 1e-6
        assert start <= max(end, arrived) + 1e-6
    turns = sum(before[3] != after[3] for before, after in pairwise(taken))
    assert turns > 10, "the processes reserved one after the other, so nothing was tested"


# --- What a write costs -------------------------------------------------------------------------

SHARE = 0.125
TAKEN = Statement("taken", "UPDATE sites SET enabled = 0 WHERE site_id < ? RETURNING site_id")


def sites_to_add(first: int, number: int) -> list[tuple[object, ...]]:
    return [(f"s{first + n}", 1, 9) for n in range(number)]


@pytest.mark.parametrize(
    ("commands", "shares"),
    [
        ([(INSERT_SITE, sites_to_add(0, 1))], 0),
        ([(INSERT_SITE, sites_to_add(0, 5))], 4),
        ([(INSERT_SITE, sites_to_add(0, 5)), (INSERT_SITE, sites_to_add(5, 3))], 7),
        ([(insertion("sites", ("site_id", "enabled", "max_event_bytes"), 3),
           [[value for row in sites_to_add(0, 3) for value in row]])], 0.2),
        # One statement for all rows.
        ([(DEQUEUE, [("a",), ("b",), ("c",)])], 0.2),
        ([(INSERT_SITE, sites_to_add(0, 2)), (DEQUEUE, [("a",), ("b",)])], 2.1),
        ([(INSERT_SITE, [])], 0),
        ([(DEQUEUE, [])], 0),
    ],
)  # fmt: skip
def test_execution_of_a_write_grows_with_its_statements_and_rows(
    commands: list[Any], shares: float
) -> None:
    async def scene(platform: Simulated) -> None:
        database = far_database(platform, share=SHARE)
        end, _, span = await at(platform, 0.0, lambda: database.write(*commands))
        assert end == pytest.approx(1.0 + 0.5 + SHARE * shares, rel=1e-12)
        assert ("l3", end) in span.stages

    simulated(scene)


@pytest.mark.parametrize("rows", [0, 1, 4])
def test_statement_that_takes_rows_costs_a_write_of_two_rows_each(rows: int) -> None:
    async def scene(platform: Simulated) -> None:
        database = far_database(platform, share=SHARE)
        await at(platform, 0.0, lambda: database.write((INSERT_SITE, sites_to_add(0, 9))))
        end, result, _ = await at(platform, 9.0, lambda: database.read(TAKEN, (f"s{rows}",)))
        assert len(result) == rows
        expected = 9.0 + 1.0 + 0.5 + SHARE * 0.1 * max(0, 2 * rows - 1)
        assert end == pytest.approx(expected, rel=1e-12)

    simulated(scene)


def test_share_is_slowed_by_a_fault_as_the_rest_of_the_execution_is() -> None:
    async def scene(platform: Simulated) -> None:
        database = far_database(platform, fault("l3", "slow", "0s", "9s", 3.0), share=SHARE)
        end, _, _ = await at(
            platform, 0.0, lambda: database.write((INSERT_SITE, sites_to_add(0, 3)))
        )
        assert end == 1.0 + 3 * (0.5 + SHARE * 2)

    simulated(scene)


def test_request_has_six_operations_under_way_and_the_seventh_waits() -> None:
    async def scene(platform: Simulated) -> None:
        database = far_database(platform, concurrency=100)
        span = Span(0)
        CURRENT.set(Operation(span, 0))

        async def read() -> float:
            await database.read(SITES, ())
            return platform.now()

        ends = await asyncio.gather(*(read() for _ in range(13)))
        assert ends == [1.25] * 6 + [2.5] * 6 + [3.75]
        assert span.connections == 0

    simulated(scene)


def test_requests_do_not_share_their_connections() -> None:
    async def scene(platform: Simulated) -> None:
        database = far_database(platform, concurrency=100)
        reads = [at(platform, 0.0, lambda: database.read(SITES, ())) for _ in range(20)]
        assert {end for end, _, _ in await asyncio.gather(*reads)} == {1.25}

    simulated(scene)


def test_operation_that_is_given_up_while_it_waits_for_a_connection_takes_none() -> None:
    async def scene(platform: Simulated) -> None:
        database = far_database(platform, concurrency=100)
        span = Span(0)
        CURRENT.set(Operation(span, 0))
        reads = [asyncio.ensure_future(database.read(SITES, ())) for _ in range(8)]
        await platform.until(0.5)
        reads[6].cancel()
        await asyncio.gather(*reads, return_exceptions=True)
        assert (platform.now(), span.connections) == (2.5, 0)

    simulated(scene)
