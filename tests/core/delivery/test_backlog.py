"""Claims about the durable queue: leases, retries, dead letters, and counting once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import simpy

from core.attribution.models import MODELS
from core.clock import ManualClock, epoch_ms
from core.context import Span
from core.delivery.backlog import Backlog
from core.delivery.leases import BacklogStatus
from core.delivery.poller import Poller
from core.delivery.queue import ConversionQueue
from core.errors import StoreError
from core.event import Event
from core.ledger.processor import BatchAttributionProcessor
from core.metrics.profiler import LatencyProfiler
from core.query.database import Command, SqliteDatabase, Usage
from core.query.queries import Queries
from sim.loop import SimLoop

LEASE = 30.0


class LoopClock:
    """The clock of a simulated loop."""

    origin_ms = 1_767_225_600_000

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        return self._loop.time()


class Consumer:
    """One consumer of a shop's queue: its backlog, queue, poller, and what it was handed."""

    def __init__(self, shop: Shop, name: str, **options: Any) -> None:
        self._shop = shop
        self.backlog = Backlog(shop.database, shop.clock, owner=name, seconds=LEASE)
        self.handed: list[tuple[float, list[str]]] = []
        self.fails: Callable[[Sequence[str]], bool] = lambda _: False
        self.seconds = 0.0
        self.running = self.most = 0
        self.processor = BatchAttributionProcessor(shop.queries, now_ms=lambda: 0)
        options = {"batch_size": 2, "max_parallel": 1, "wait": 0.0, "max_attempts": 3} | options
        self.queue = ConversionQueue(
            self._process, clock=shop.clock, profiler=LatencyProfiler(), backlog=self.backlog,
            **options,
        )  # fmt: skip
        self.poller = Poller(self.backlog, self.queue, shop.clock)

    async def _process(self, span: Span, ids: Sequence[str]) -> dict[str, str]:
        self.handed.append((self._shop.loop.time(), [*ids]))
        if self.fails(ids):
            raise StoreError("the database is away")
        self.running += 1
        self.most = max(self.most, self.running)
        rejected = await self.processor.process(span, ids)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        self.running -= 1
        return rejected

    async def step(self) -> int:
        """Take what is due and see it through."""
        taken = await self.poller.step()
        await self.queue.drain()
        return taken


class Shop:
    """A database in simulated time whose conversions any consumer may take."""

    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop
        self.clock = LoopClock(loop)
        self.database = SqliteDatabase(None, inline=True)
        self.queries = Queries(self.database, self.clock, LatencyProfiler())

    def consumer(self, name: str = "a", **options: Any) -> Consumer:
        return Consumer(self, name, **options)

    async def sell(self, *names: str) -> None:
        """Accept a touch and a conversion for each name."""
        for name in names:
            touch = Event(f"t-{name}", f"u-{name}", "s", "view", 10, "email", None, None)
            purchase = Event(f"e-{name}", f"u-{name}", "s", "buy", 20, "email", name, 5.0)
            for event in (touch, purchase):
                await self.queries.insert_event(event, "new")

    def rows(self, sql: str) -> list[Any]:
        return self.database.connection.execute(sql).fetchall()

    def counted(self) -> dict[str, int]:
        """Return how many conversions each model counts."""
        return dict(
            self.rows("SELECT attribution_model, total_conversions FROM channel_performance")
        )


Scene = Callable[[Shop], Awaitable[None]]


def in_shop(scene: Scene) -> None:
    """Run *scene* in simulated time."""
    loop = SimLoop(simpy.Environment())

    async def run() -> None:
        shop = Shop(loop)
        await scene(shop)
        await shop.database.close()

    try:
        loop.run(run())
    finally:
        loop.close()


NOTHING = BacklogStatus(due=0, leased=0, later=0, failed=0, oldest_ms=None)


def test_accepted_conversion_is_due_until_its_results_are_stored() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1", "c2", "c3")
        consumer = shop.consumer()
        start = shop.clock.origin_ms
        assert await consumer.backlog.status() == replace(NOTHING, due=3, oldest_ms=start)
        await consumer.step()  # a batch of two, all that it has a hand for
        assert await consumer.backlog.status() == replace(NOTHING, due=1, oldest_ms=start)
        await consumer.step()
        assert await consumer.backlog.status() == NOTHING
        assert shop.counted() == dict.fromkeys(MODELS, 3)

    in_shop(scene)


def test_leased_conversion_is_nobody_elses_until_the_lease_ends() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1")
        first, second = shop.consumer("a").backlog, shop.consumer("b").backlog
        assert await first.take(10) == [("c1", 1)]
        assert await second.take(10) == []
        assert (await second.status()).leased == 1
        await shop.loop.until(LEASE - 0.001)
        assert await second.take(10) == []
        await shop.loop.until(LEASE)
        assert await second.take(10) == [("c1", 2)]

    in_shop(scene)


def test_renewed_lease_goes_on_and_that_of_another_is_not_renewed() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1")
        first, second = shop.consumer("a"), shop.consumer("b")
        await first.backlog.take(10)
        await shop.loop.until(20.0)
        await second.backlog.renew(["c1"])  # not its own
        await first.backlog.renew(["c1"])
        await shop.loop.until(20.0 + LEASE - 0.001)
        assert await second.backlog.take(10) == []
        await shop.loop.until(20.0 + LEASE)
        assert await second.backlog.take(10) == [("c1", 2)]

    in_shop(scene)


def test_feed_renews_what_is_in_hand() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1", "c2")
        consumer, other = shop.consumer("a", batch_size=10, wait=500.0), shop.consumer("b")
        assert await consumer.poller.step() == 2
        for step in range(1, 50):
            await shop.loop.until(5.0 * step)
            assert await consumer.poller.step() == 0
            assert await other.backlog.take(10) == []
        assert (await consumer.backlog.status()).leased == 2
        await consumer.queue.drain()
        assert consumer.handed == [(245.0, ["c1", "c2"])]

    in_shop(scene)


def test_feed_takes_no_more_than_there_is_a_hand_for() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell(*"abcdefg")
        consumer = shop.consumer(batch_size=2, max_parallel=2, wait=1.0)
        taken = [await consumer.poller.step() for _ in range(3)]
        assert taken == [4, 0, 0]
        assert consumer.queue.room == 0
        await consumer.queue.drain()
        assert [await consumer.poller.step(), consumer.queue.room] == [3, 1]

    in_shop(scene)


def test_feed_goes_on_as_soon_as_there_is_room_while_it_takes_all_that_there_is_room_for() -> None:
    async def scene(shop: Shop) -> None:
        consumer = shop.consumer(batch_size=2, max_parallel=2)
        consumer.seconds = 0.5
        await shop.sell(*(f"c{n:02}" for n in range(10)))
        running = asyncio.ensure_future(consumer.poller.run(10.0))
        await asyncio.sleep(5.0)
        times = [time for time, _ in consumer.handed]
        assert times == [0.0, 0.0, 0.5, 0.5, 1.0]
        await shop.sell("late")  # it is not behind now, and looks when its interval is over
        await asyncio.sleep(10.0)
        assert [ids for time, ids in consumer.handed if time > 1.0] == [["late"]]
        assert (await consumer.backlog.status()).total == 0
        running.cancel()

    in_shop(scene)


def test_feed_that_waits_for_room_renews_what_is_in_hand() -> None:
    async def scene(shop: Shop) -> None:
        async def process(_: Span, __: Sequence[str]) -> None:
            await asyncio.sleep(4 * LEASE)

        backlog = Backlog(shop.database, shop.clock, owner="slow", seconds=LEASE)
        queue = ConversionQueue(
            process, batch_size=2, max_parallel=1, wait=0.0, clock=shop.clock,
            profiler=LatencyProfiler(), backlog=backlog,
        )  # fmt: skip
        poller = Poller(backlog, queue, shop.clock)
        await shop.sell("c1", "c2", "c3")
        running = asyncio.ensure_future(poller.run(1.0))
        for _ in range(3):
            await asyncio.sleep(LEASE)
            status = await backlog.status()
            assert (status.leased, status.due) == (2, 1)
        running.cancel()
        await queue.drain()

    in_shop(scene)


def test_oldest_are_taken_first() -> None:
    async def scene(shop: Shop) -> None:
        for number, name in enumerate(["z", "m", "a"]):
            await shop.loop.until(float(number))
            await shop.sell(name)
        backlog = shop.consumer().backlog
        assert await backlog.take(2) == [("z", 1), ("m", 1)]
        assert await backlog.take(2) == [("a", 1)]

    in_shop(scene)


def test_overlapping_deliveries_of_one_batch_count_it_once() -> None:
    """Two consumers read the same journeys before either has stored its results."""

    async def scene(shop: Shop) -> None:
        await shop.sell("c1", "c2")
        first, second = shop.consumer("a"), shop.consumer("b")
        both = asyncio.Barrier(2)
        for consumer in (first, second):
            read = consumer.processor._queries.waiting_journeys

            async def waiting(ids: Sequence[str], read: Any = read) -> Any:
                found = await read(ids)
                if both.n_waiting < 2 and not both.broken and len(found) == 2:
                    await both.wait()
                return found

            queries = Queries(shop.database, shop.clock, LatencyProfiler())
            queries_with_barrier = _Patched(queries, waiting)
            consumer.processor._queries = queries_with_barrier  # type: ignore[assignment]  # a view
        await first.backlog.take(10)
        for consumer in (first, second):
            for name in ("c1", "c2"):
                consumer.queue.put(name)
        await asyncio.gather(first.queue.drain(), second.queue.drain())
        assert shop.counted() == dict.fromkeys(MODELS, 2)
        assert first.processor.processed + second.processor.processed == 2
        assert (await first.backlog.dead_letters(), first.queue.given_up) == ([], 0)
        assert (second.queue.retries, second.queue.given_up) == (0, 0)
        assert await first.backlog.status() == NOTHING

    in_shop(scene)


class _Patched:
    """Queries whose journeys are read through another function."""

    def __init__(self, queries: Queries, waiting: Callable[[Sequence[str]], Any]) -> None:
        self.waiting_journeys = waiting
        self.store_attribution = queries.store_attribution


@pytest.mark.parametrize(("delay", "times"), [(0.0, [0, 0, 0, 0]), (2.0, [0, 2, 6, 14])])
def test_failing_batch_is_tried_again_ever_later(delay: float, times: list[float]) -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1")
        consumer = shop.consumer(retry_delay=delay, max_attempts=4)
        consumer.fails = lambda _: True
        await consumer.step()
        assert consumer.handed == [(time, ["c1"]) for time in times]

    in_shop(scene)


def test_batch_that_waits_for_its_next_attempt_leaves_its_place_to_others() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1", "c2")
        consumer = shop.consumer(retry_delay=5.0, batch_size=1)
        consumer.fails = lambda ids: ids == ["c1"] and len(consumer.handed) < 2
        consumer.queue.put("c1")
        consumer.queue.put("c2")
        assert consumer.queue.pending == 2
        await consumer.queue.drain()
        assert consumer.handed == [(0.0, ["c1"]), (0.0, ["c2"]), (5.0, ["c1"])]

    in_shop(scene)


def test_attempts_that_are_put_off_go_back_to_the_backlog_at_the_end() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1", "c2", "c3")
        first = shop.consumer("a", retry_delay=60.0, batch_size=1, max_parallel=3)
        first.fails = lambda ids: ids != ["c3"]
        first.seconds = 7.0
        await first.poller.step()  # c1 and c2 are put off, c3 takes 7 s
        await shop.loop.until(5.0)
        shop.loop.call_at(5.0, first.queue.put, "late")  # fails while the end is waited for
        await first.queue.finish()
        assert shop.loop.time() == 7.0
        assert (first.queue.pending, first.queue.held) == (0, [])
        assert (first.queue.retries, first.queue.given_up) == (3, 0)
        status = await first.backlog.status()
        assert (status.due, status.leased, status.later, status.failed) == (0, 0, 2, 2)
        assert shop.counted() == dict.fromkeys(MODELS, 1)
        second = shop.consumer("b")
        await shop.loop.until(59.9)
        assert await second.step() == 0
        await shop.loop.until(60.1)
        assert await second.step() == 2
        assert shop.counted() == dict.fromkeys(MODELS, 3)

    in_shop(scene)


def test_batch_that_fails_while_its_process_ends_is_not_waited_for() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1")
        consumer = shop.consumer(retry_delay=60.0, wait=10.0)
        consumer.fails = lambda _: True
        await consumer.poller.step()
        assert consumer.handed == []
        await consumer.queue.finish()
        assert (consumer.handed, shop.loop.time()) == ([(0.0, ["c1"])], 0.0)
        status = await consumer.backlog.status()
        assert (status.leased, status.later, status.failed) == (0, 1, 1)

    in_shop(scene)


def test_store_that_fails_at_the_end_holds_it_up_no_longer() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1", "c2")
        consumer = shop.consumer(retry_delay=60.0, batch_size=1, max_parallel=2)
        consumer.fails = lambda _: True
        await consumer.poller.step()
        draining = asyncio.ensure_future(consumer.queue.drain())
        await shop.loop.until(1.0)
        shop.rows("ALTER TABLE conversion_queue RENAME TO elsewhere")
        await consumer.queue.finish()
        await draining
        assert (consumer.queue.held, shop.loop.time()) == ([], 1.0)

    in_shop(scene)


def test_conversion_that_is_given_up_is_a_dead_letter_with_its_reason() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1", "c2", "c3")
        consumer = shop.consumer(retry_delay=1.0)
        consumer.fails = lambda ids: "c1" in ids
        while await consumer.step():
            pass
        letters = await consumer.backlog.dead_letters()
        assert [(d.conversion_id, d.attempts, d.reason) for d in letters] == [
            ("c1", 3, "the database is away"), ("c2", 3, "the database is away"),
        ]  # fmt: skip
        assert {letter.died_at_ms for letter in letters} == {shop.clock.origin_ms + 3_000}
        assert await consumer.backlog.status() == NOTHING
        assert shop.counted() == dict.fromkeys(MODELS, 1)

    in_shop(scene)


def test_late_duplicate_of_its_event_revives_no_dead_or_processed_conversion() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("dead", "done")
        consumer = shop.consumer(batch_size=1)
        consumer.fails = lambda ids: ids == ["dead"]
        while await consumer.step():
            pass
        for name in ("dead", "done"):
            again = Event(f"again-{name}", f"u-{name}", "s", "buy", 20, "email", name, 5.0)
            assert await shop.queries.insert_event(again, "new") == (True, False)
        assert await consumer.backlog.status() == NOTHING

    in_shop(scene)


def test_dead_letter_can_be_queued_again_and_counts_then() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1", "c2")
        consumer = shop.consumer()
        consumer.fails = lambda _: True
        await consumer.step()
        consumer.fails = lambda _: False
        assert await consumer.backlog.revive(["c2", "c2", "unknown"]) == 1
        assert await consumer.step() == 1
        assert shop.counted() == dict.fromkeys(MODELS, 1)
        assert [d.conversion_id for d in await consumer.backlog.dead_letters()] == ["c1"]
        assert await consumer.backlog.revive([]) == 0

    in_shop(scene)


def test_conversion_whose_consumers_end_in_the_middle_is_given_up_too() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("poison")
        for number in range(3):
            assert await shop.consumer(f"life-{number}").backlog.take(1) == [("poison", number + 1)]
            await shop.loop.until(LEASE * (number + 1))
        last = shop.consumer("last")
        await last.step()
        assert last.handed == []
        (letter,) = await last.backlog.dead_letters()
        assert (letter.attempts, letter.reason) == (
            3, "taken 3 times and never finished: the consumer ended in the middle",
        )  # fmt: skip
        assert last.queue.given_up == 1

    in_shop(scene)


def test_conversion_whose_attempts_are_used_up_is_given_up_for_the_error_that_it_met_last() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1", "c2")
        spent = "UPDATE conversion_queue SET attempts = 3, last_error = 'store: disk is full'"
        shop.database.connection.execute(f"{spent} WHERE conversion_id = 'c1'")
        consumer = shop.consumer()
        await consumer.step()
        assert consumer.handed == [(0.0, ["c2"])]
        (letter,) = await consumer.backlog.dead_letters()
        assert (letter.conversion_id, letter.attempts) == ("c1", 3)
        assert letter.reason == (
            "tried 3 times without success; the last error: store: disk is full"
        )
        assert consumer.queue.given_up == 1
        assert (await consumer.backlog.status()).total == 0

    in_shop(scene)


def test_only_the_holder_of_a_lease_buries_or_records_a_failure() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1")
        first, second = shop.consumer("a").backlog, shop.consumer("b").backlog
        await first.take(1)
        await shop.loop.until(LEASE)
        assert await second.take(1) == [("c1", 2)]
        await first.record_failure(["c1"], "late news", retry_in=0.0)
        assert await first.dead_letter(["c1"], "late news") == 0
        assert (await second.status()).failed == 0
        assert await second.dead_letter(["c1"], "true") == 1

    in_shop(scene)


def test_result_that_came_after_its_conversion_was_buried_is_no_dead_letter() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1")
        consumer = shop.consumer()
        await consumer.backlog.take(1)
        await consumer.backlog.dead_letter(["c1"], "no answer in time")
        await consumer.processor.process(Span(is_batch=True), ["c1"])
        assert await consumer.backlog.dead_letters() == []
        assert await consumer.backlog.revive(["c1"]) == 0
        assert shop.counted() == dict.fromkeys(MODELS, 1)

    in_shop(scene)


def test_consumer_that_starts_takes_over_what_another_held() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1", "c2")
        await shop.consumer("gone").backlog.take(1)
        backlog = shop.consumer("new").backlog
        assert await backlog.break_leases() == 1
        assert [name for name, _ in await backlog.take(10)] == ["c1", "c2"]

    in_shop(scene)


def test_dead_letters_are_listed_beyond_one_page() -> None:
    async def scene(shop: Shop) -> None:
        names = [f"c{number:04}" for number in range(1_203)]
        await shop.sell(*names)
        backlog = shop.consumer().backlog
        await backlog.take(5_000)
        assert await backlog.dead_letter(names, "all") == 1_203
        assert [letter.conversion_id for letter in await backlog.dead_letters()] == names
        assert await backlog.revive(names) == 1_203

    in_shop(scene)


def test_conversion_of_a_process_that_consumes_is_born_leased() -> None:
    async def scene(shop: Shop) -> None:
        mine, other = shop.consumer("mine"), shop.consumer("other")
        shop.queries = Queries(
            shop.database, shop.clock, LatencyProfiler(), lease=mine.backlog.lease
        )
        await shop.sell("c1")
        assert await other.backlog.take(1) == []
        mine.queue.put("c1")
        await mine.queue.drain()
        assert await mine.backlog.status() == NOTHING
        assert shop.counted() == dict.fromkeys(MODELS, 1)

    in_shop(scene)


@pytest.mark.parametrize("fails", [True, False], ids=["database away", "unusable"])
def test_conversion_that_nobody_leased_is_buried_by_whoever_has_it_in_hand(fails: bool) -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1")  # by a process that leases nothing
        shop.database.connection.execute("UPDATE conversions SET value = 9e999")
        consumer, other = shop.consumer("a", retry_delay=1.0), shop.consumer("b")
        consumer.fails = lambda _: fails
        consumer.queue.put("c1")
        await shop.loop.until(2.0)  # two attempts have failed: from the first on it is in a lease
        if fails:
            assert await other.backlog.take(1) == []
        await consumer.queue.drain()
        (letter,) = await consumer.backlog.dead_letters()
        assert (letter.conversion_id, letter.attempts) == ("c1", 3 if fails else 1)
        assert consumer.queue.given_up == 1
        assert await consumer.backlog.status() == NOTHING

    in_shop(scene)


def test_renewal_takes_the_lease_that_nobody_has() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1")
        mine, other = shop.consumer("a").backlog, shop.consumer("b").backlog
        await mine.renew(["c1"])
        await other.renew(["c1"])
        assert await other.take(1) == []
        await shop.loop.until(LEASE)
        assert await other.take(1) == [("c1", 2)]

    in_shop(scene)


@pytest.mark.parametrize("is_taken", [True, False], ids=["taken by another", "burial fails"])
def test_queue_counts_as_given_up_only_what_it_buried(is_taken: bool) -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1")
        consumer, other = shop.consumer("a", max_attempts=1), shop.consumer("b")
        consumer.fails = lambda _: True
        consumer.queue.put("c1")
        if is_taken:
            assert await other.backlog.take(1) == [("c1", 1)]
        else:
            shop.database.connection.execute("ALTER TABLE dead_letters RENAME TO away")
        await consumer.queue.drain()
        assert (consumer.queue.given_up, consumer.queue.pending) == (0, 0)
        assert (await other.backlog.status()).total == 1

    in_shop(scene)


def test_feed_outlives_errors_of_the_store() -> None:
    async def main() -> None:
        clock = ManualClock()
        database = SqliteDatabase(None, inline=True)
        backlog = Backlog(database, clock, owner="a")
        handed = asyncio.Event()

        async def process(_: Span, __: Sequence[str]) -> None:
            handed.set()

        queue = ConversionQueue(
            process, batch_size=1, max_parallel=1, wait=0.0, clock=clock,
            profiler=LatencyProfiler(), backlog=backlog,
        )  # fmt: skip
        poller = Poller(backlog, queue, clock)
        database.connection.execute("ALTER TABLE conversion_queue RENAME TO away")
        running = asyncio.ensure_future(poller.run(0.0))
        while poller.errors < 3:
            await asyncio.sleep(0)
        database.connection.execute("ALTER TABLE away RENAME TO conversion_queue")
        now = epoch_ms(clock)
        database.connection.execute(
            "INSERT INTO conversion_queue VALUES ('c', 0, ?, ?, NULL, NULL)", (now, now)
        )
        await asyncio.wait_for(handed.wait(), 30)
        running.cancel()
        await queue.drain()
        await database.close()

    asyncio.run(main())


def test_conversion_of_unusable_data_is_a_dead_letter_at_once_with_its_reason() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1", "c2", "c3")
        spoil = "UPDATE conversions SET value = 9e999 WHERE conversion_id = 'c2'"
        shop.database.connection.execute(spoil)
        consumer = shop.consumer(batch_size=3)
        await consumer.step()
        assert len(consumer.handed) == 1
        (letter,) = await consumer.backlog.dead_letters()
        assert (letter.conversion_id, letter.attempts) == ("c2", 1)
        assert "value is inf" in letter.reason
        assert (await consumer.backlog.status()).total == 0
        assert (consumer.queue.given_up, consumer.queue.retries) == (1, 0)
        assert shop.counted() == dict.fromkeys(MODELS, 2)
        # Mended, it can be brought back.
        shop.database.connection.execute("UPDATE conversions SET value = 5 WHERE value > 1e99")
        assert await consumer.backlog.revive(["c2"]) == 1
        await consumer.step()
        assert shop.counted() == dict.fromkeys(MODELS, 3)
        assert await consumer.backlog.dead_letters() == []

    in_shop(scene)


def test_at_most_five_batches_of_fifty_are_read_and_written_at_a_time() -> None:
    async def scene(shop: Shop) -> None:
        consumer = shop.consumer(batch_size=50, max_parallel=5)
        consumer.seconds = 0.1
        await shop.sell(*(f"c{n}" for n in range(620)))
        while await consumer.step():
            pass
        assert consumer.most == 5
        assert max(len(ids) for _, ids in consumer.handed) == 50
        assert shop.counted() == dict.fromkeys(MODELS, 620)

    in_shop(scene)


class BilledDatabase(SqliteDatabase):
    """SQLite that is asked as a database that counts its rows, with *between* two operations."""

    on_usage: Usage | None = None
    between: Callable[[], object] = staticmethod(lambda: None)

    async def write(self, *commands: Command) -> list[int]:
        between, self.between = self.between, lambda: None
        between()
        return await super().write(*commands)


def billed(shop: Shop) -> BilledDatabase:
    shop.database = BilledDatabase(None, inline=True)
    shop.queries = Queries(shop.database, shop.clock, LatencyProfiler())
    return shop.database


def test_rows_are_taken_in_two_operations_as_in_one() -> None:
    async def scene(shop: Shop) -> None:
        billed(shop)
        names = [f"c{number:03}" for number in range(600)]
        await shop.sell(*names)
        one, other = shop.consumer("a").backlog, shop.consumer("b").backlog
        assert await one.take(2) == [("c000", 1), ("c001", 1)]
        assert await other.take(1_000) == [(name, 1) for name in names[2:]]
        assert await other.take(5) == []
        assert await one.break_leases() == 600
        assert await other.take(1) == [("c000", 2)]
        assert (await one.status()).leased == 1

    in_shop(scene)


def test_rows_that_others_took_or_finished_in_between_are_not_taken() -> None:
    async def scene(shop: Shop) -> None:
        database = billed(shop)
        await shop.sell("c1", "c2", "c3", "c4")

        def between() -> None:
            database.connection.execute(
                "UPDATE conversion_queue SET available_at_ms = available_at_ms + 9000,"
                " leased_by = 'b' WHERE conversion_id = 'c1'"
            )
            database.connection.execute("DELETE FROM conversion_queue WHERE conversion_id = 'c3'")

        database.between = between
        assert await shop.consumer("a").backlog.take(4) == [("c2", 1), ("c4", 1)]
        assert shop.rows("SELECT conversion_id, attempts, leased_by FROM conversion_queue") == [
            ("c1", 0, "b"), ("c2", 1, "a"), ("c4", 1, "a"),
        ]  # fmt: skip

    in_shop(scene)
