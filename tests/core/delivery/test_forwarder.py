"""Claims about forwarding, in simulated time: nothing is lost, everything is bounded."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from core.attribution.journeys import Journey
from core.attribution.models import HEURISTICS, MODELS
from core.context import Span
from core.delivery.forwarder import MAX_BODY_BYTES, Forwarder
from core.delivery.leases import BacklogStatus
from core.delivery.outbox import Outbox, outbox_of
from core.delivery.receiver import DeliveryError
from core.errors import StoreError, StoreTimeout
from core.event import Event
from core.ledger.processor import BatchAttributionProcessor
from core.metrics.profiler import LatencyProfiler
from core.query.database import Row, SqliteDatabase
from core.query.queries import Queries
from core.query.statement import Statement
from core.scenario.destination import Destination
from sim.loop import SimLoop
from tests.core.ledger.worlds import credits_of


class LoopClock:
    """The clock of a simulated loop."""

    origin_ms = 1_767_225_600_000

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        return self._loop.time()


class Receiver:
    """Takes deliveries in *seconds* each, and fails those that *fails* names."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self.seconds = 0.0
        self.fails: Callable[[list[str]], bool] = lambda _: False
        self.requests: list[tuple[float, list[str]]] = []
        self.taken: list[str] = []
        self.documents: dict[str, Any] = {}
        self.sizes: list[int] = []
        self.running = 0
        self.most = 0

    async def send(self, body: bytes) -> None:
        documents = json.loads(body)
        names = [document["idempotency_key"] for document in documents]
        self.requests.append((self._loop.time(), names))
        self.sizes.append(len(body))
        self.running += 1
        self.most = max(self.most, self.running)
        await self._loop.until(self._loop.time() + self.seconds)
        self.running -= 1
        if self.fails(names):
            raise DeliveryError("status 500 busy")
        self.taken += names
        self.documents |= dict(zip(names, documents, strict=True))

    async def close(self) -> None:
        """Do nothing."""


class PausingDatabase:
    """A database in memory whose reads take a while to come back."""

    def __init__(self, loop: SimLoop, pause: float) -> None:
        self._inner = SqliteDatabase(None, inline=True)
        self._loop = loop
        self._pause = pause
        self.connection = self._inner.connection

    async def read(self, statement: Statement, parameters: Sequence[Any]) -> list[Row]:
        rows = await self._inner.read(statement, parameters)
        if self._pause:
            await self._loop.until(self._loop.time() + self._pause)
        return rows

    async def write(self, *commands: Any) -> list[int]:
        return await self._inner.write(*commands)

    async def close(self) -> None:
        await self._inner.close()


class Shop:
    """A database in simulated time, what processes its conversions, and a forwarder."""

    def __init__(self, loop: SimLoop, *, pause: float = 0.0, **fields: Any) -> None:
        self.loop = loop
        self.clock = LoopClock(loop)
        self.database = PausingDatabase(loop, pause)
        self.receiver = Receiver(loop)
        self.profiler = LatencyProfiler()
        self.destination = Destination.model_validate({"url": "local", **fields})
        self.queries = Queries(self.database, self.clock, LatencyProfiler())
        self.outbox = self.outbox_of("a")
        self.forwarder = Forwarder(
            self.destination, self.outbox, self.receiver, self.clock, self.profiler
        )
        self.processor = BatchAttributionProcessor(
            self.queries, now_ms=lambda: 0, forwarder=self.forwarder
        )

    def outbox_of(self, owner: str) -> Outbox:
        outbox = outbox_of(self.destination, self.database, self.clock, owner=owner)
        assert outbox is not None
        return outbox

    async def sell(
        self, *names: str, touches: int = 2, process: bool = True, as_wrong: Any = None
    ) -> None:
        """Accept and process a conversion of each name, after *touches* touches.

        as_wrong: what stands for the database's write when the results are stored.
        """
        for name in names:
            events = [
                Event(f"t{i}-{name}", f"u-{name}", "s", "view", 10 + i, f"ch{i}", None, None)
                for i in range(touches)
            ]
            at = 10 + touches
            events.append(Event(f"e-{name}", f"u-{name}", "s", "buy", at, "x", name, 5.0))
            for event in events:
                await self.queries.insert_event(event, "new")
        if as_wrong is not None:
            self.database.write = as_wrong  # type: ignore[method-assign]
            with pytest.raises(StoreError):
                await self.processor.process(Span(is_batch=True), names)
        elif process:
            await self.processor.process(Span(is_batch=True), names)

    async def sleep(self, seconds: float) -> None:
        await self.loop.until(self.loop.time() + seconds)

    def rows(self, sql: str) -> list[Any]:
        return self.database.connection.execute(sql).fetchall()


def in_shop(scene: Callable[[Shop], Awaitable[None]], **fields: Any) -> None:
    """Run *scene* in simulated time, with *fields* of the destination."""
    loop = SimLoop(simpy.Environment())

    async def run() -> None:
        shop = Shop(loop, **fields)
        await scene(shop)
        await shop.database.close()

    try:
        loop.run(run())
    finally:
        loop.close()


NOTHING = BacklogStatus(due=0, leased=0, later=0, failed=0, oldest_ms=None)


def test_destination_is_told_of_a_conversion_and_its_credits_under_every_model() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1", touches=3)
        await shop.sell("c2", touches=0)
        await shop.forwarder.drain()
        assert shop.receiver.taken == ["c1", "c2"]
        document = shop.receiver.documents["c1"]
        touchpoints = document.pop("touchpoints")
        assert document == {
            "idempotency_key": "c1", "conversion_id": "c1", "user_id": "u-c1",
            "conversion_timestamp": 13, "value": 5.0,
        }  # fmt: skip
        assert [t["touchpoint_index"] for t in touchpoints] == [0, 1, 2]
        assert [t["utm_source"] for t in touchpoints] == ["ch0", "ch1", "ch2"]
        assert {*touchpoints[0]["credits"]} == {*MODELS}
        for model in HEURISTICS:
            sent = [t["credits"][model] for t in touchpoints]
            assert sent == pytest.approx(credits_of(model, [10, 11, 12], 13), rel=1e-14)
        assert shop.receiver.documents["c2"]["touchpoints"] == []
        assert await shop.outbox.status() == NOTHING
        assert shop.profiler.histogram("external").count == len(shop.receiver.requests) == 2

    in_shop(scene)


def test_results_and_outbox_are_written_together_or_not_at_all() -> None:
    async def scene(shop: Shop) -> None:
        shop.database.connection.execute("ALTER TABLE outbox RENAME TO away")
        with pytest.raises(StoreError, match="no such table: outbox"):
            await shop.sell("c1")
        assert shop.rows("SELECT processed FROM conversions") == [(0,)]
        assert shop.rows("SELECT count(*) FROM touch_credits") == [(0,)]
        shop.database.connection.execute("ALTER TABLE away RENAME TO outbox")
        await shop.processor.process(Span(is_batch=True), ["c1"])
        assert shop.rows("SELECT processed FROM conversions") == [(1,)]
        assert await shop.outbox.status() != NOTHING
        await shop.forwarder.drain()
        assert shop.receiver.taken == ["c1"]

    in_shop(scene)


def test_nothing_is_written_for_nobody() -> None:
    async def scene(shop: Shop) -> None:
        shop.processor = BatchAttributionProcessor(shop.queries, now_ms=lambda: 0)
        await shop.sell("c1")
        assert shop.rows("SELECT count(*) FROM outbox") == [(0,)]

    in_shop(scene)


@pytest.mark.parametrize(
    ("delay", "times"), [("1s", [0, 1, 3, 7]), ("2s", [0, 2, 6, 14]), ("0s", [0, 0, 0, 0])]
)
def test_failing_delivery_is_tried_again_ever_later_and_then_dead(
    delay: str, times: list[float]
) -> None:
    async def scene(shop: Shop) -> None:
        shop.receiver.fails = lambda _: True
        await shop.sell("c1")
        await shop.sleep(1000)
        assert [at for at, _ in shop.receiver.requests] == pytest.approx(times, abs=0.01)
        assert await shop.outbox.status() == NOTHING
        (letter,) = await shop.outbox.dead_letters()
        assert (letter.conversion_id, letter.attempts) == ("c1", 4)
        assert letter.reason == "status 500 busy"
        assert shop.profiler.histogram("external").failed == 4
        assert shop.forwarder.counters()["forward_given_up"] == 1
        shop.receiver.fails = lambda _: False
        assert await shop.outbox.revive(["c1", "unknown"]) == 1
        shop.forwarder.wake()
        await shop.forwarder.drain()
        assert shop.receiver.taken == ["c1"]
        assert await shop.outbox.dead_letters() == []

    in_shop(scene, max_attempts=4, retry_delay=delay)


@pytest.mark.parametrize("max_attempts", [2, 5, 12])
def test_one_that_the_destination_chokes_on_takes_no_other_with_it(max_attempts: int) -> None:
    async def scene(shop: Shop) -> None:
        shop.receiver.fails = lambda names: "c13" in names
        await shop.sell(*(f"c{i}" for i in range(50)))
        innocent = sorted({f"c{i}" for i in range(50)} - {"c13"})
        if max_attempts == 12:
            await shop.sleep(32)  # batches of 50, 25, 12, 6, 3, 1 at 0, 1, 3, 7, 15, 31 s
            assert sorted(shop.receiver.taken) == innocent
        await shop.sleep(20_000)
        assert sorted(shop.receiver.taken) == innocent
        assert [d.conversion_id for d in await shop.outbox.dead_letters()] == ["c13"]
        assert await shop.outbox.status() == NOTHING

    in_shop(scene, max_attempts=max_attempts)


def test_outage_ends_with_everything_delivered_once() -> None:
    async def scene(shop: Shop) -> None:
        shop.receiver.fails = lambda _: shop.loop.time() < 300
        names = [f"c{i}" for i in range(120)]
        for name in names:
            await shop.sell(name)
            await shop.sleep(1)
        assert shop.receiver.taken == []
        await shop.sleep(1000)
        assert sorted(shop.receiver.taken) == sorted(names)
        assert await shop.outbox.dead_letters() == []

    in_shop(scene)


def test_requests_are_bounded_in_number_in_conversions_and_in_bytes() -> None:
    async def scene(shop: Shop) -> None:
        shop.receiver.seconds = 1.0
        names = [f"c{i}" for i in range(100)]
        for name in names:
            await shop.sell(name, touches=1)
        await shop.forwarder.drain()
        assert shop.receiver.most == 3
        assert max(len(sent) for _, sent in shop.receiver.requests) == 7
        before = len(shop.receiver.requests)
        await shop.sell(*(f"d{i}" for i in range(7)), touches=1500)
        await shop.forwarder.drain()
        large = [size for size in shop.receiver.sizes if size > 100_000]
        assert len(shop.receiver.requests) > before + 1
        assert max(large) <= MAX_BODY_BYTES + 2
        assert sorted(shop.receiver.taken) == sorted([*names, *(f"d{i}" for i in range(7))])

    in_shop(scene, max_parallel=3, batch_size=7)


def test_conversion_that_is_stored_while_the_only_hand_looks_is_not_forgotten() -> None:
    async def scene(shop: Shop) -> None:
        for number in range(40):
            await shop.sell(f"c{number}", touches=1)
            await shop.sleep(0.0001 * number)
            await shop.sell(f"d{number}", touches=1)
            await shop.sleep(1.0)
            assert shop.receiver.taken[-2:] == [f"c{number}", f"d{number}"]

    in_shop(scene, pause=0.001, max_parallel=1, batch_size=1)


def test_results_that_nobody_knows_to_be_stored_are_sent_at_once_if_they_are() -> None:
    async def scene(shop: Shop) -> None:
        write = shop.database.write

        async def write_and_be_late(*commands: Any) -> list[int]:
            await write(*commands)
            shop.database.write = write  # type: ignore[method-assign]  # once
            raise StoreTimeout("the answer did not come in time")

        async def fail(*_: Any) -> list[int]:
            shop.database.write = write  # type: ignore[method-assign]  # once
            raise StoreError("nothing was written")

        for name, fault in (("c1", write_and_be_late), ("c2", fail)):
            await shop.sell(name, as_wrong=fault)
            await shop.sleep(0.1)
            # The queue hands the conversions out again.
            await shop.processor.process(Span(is_batch=True), [name])
            await shop.sleep(0.1)
            assert shop.receiver.taken[-1:] == [name]
        assert shop.receiver.taken == ["c1", "c2"]
        assert await shop.outbox.status() == NOTHING

    in_shop(scene, max_parallel=1)


def test_conversion_without_touches_that_two_attribute_at_a_time_counts_once() -> None:
    async def scene(shop: Shop) -> None:
        await shop.sell("c1", touches=0, process=False)
        other = BatchAttributionProcessor(
            shop.queries, now_ms=lambda: 0, forwarder=Forwarder(
                shop.destination, shop.outbox_of("b"), shop.receiver, shop.clock, shop.profiler
            )
        )  # fmt: skip

        class Overtaken(Queries):
            """Queries whose journeys another one attributes once they are read."""

            async def waiting_journeys(self, conversion_ids: Sequence[str]) -> list[Journey]:
                found = await super().waiting_journeys(conversion_ids)
                await other.process(Span(is_batch=True), conversion_ids)
                return found

        overtaken = BatchAttributionProcessor(
            Overtaken(shop.database, shop.clock, LatencyProfiler()),
            now_ms=lambda: 0,
            forwarder=shop.forwarder,
        )
        await overtaken.process(Span(is_batch=True), ["c1"])
        assert (other.processed, other.without_touches) == (1, 1)
        assert (overtaken.processed, overtaken.without_touches) == (0, 0)
        await shop.sleep(1.0)
        assert set(shop.receiver.taken) == {"c1"}
        assert await shop.outbox.status() == NOTHING

    in_shop(scene)


def test_forwarder_that_starts_sends_what_another_had_in_hand() -> None:
    async def scene(shop: Shop) -> None:
        shop.receiver.seconds = 1e9  # never answers, and the process ends meanwhile
        await shop.sell("c1", "c2")
        await shop.sleep(1.0)
        assert (await shop.outbox.status()).leased == 2
        assert await shop.outbox_of("b").take(10) == []
        heir = Receiver(shop.loop)
        after = Forwarder(
            shop.destination, shop.outbox_of("b"), heir, shop.clock, LatencyProfiler()
        )
        await after.resume()
        await after.drain()
        assert heir.taken == ["c1", "c2"]
        assert await shop.outbox.status() == NOTHING

    in_shop(scene)


def test_lease_of_a_forwarder_that_never_comes_back_ends() -> None:
    async def scene(shop: Shop) -> None:
        shop.receiver.seconds = 1e9
        await shop.sell("c1")
        await shop.sleep(30 + 50 * 5 - 1)
        assert await shop.outbox_of("b").take(10) == []
        await shop.sleep(2)
        assert [d.conversion_id for d in await shop.outbox_of("b").take(10)] == ["c1"]

    in_shop(scene, max_parallel=1)


@given(
    outcomes=st.lists(st.booleans(), max_size=40),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    batch_size=st.integers(1, 8),
    max_attempts=st.integers(1, 6),
    parallel=st.integers(1, 3),
)
def test_every_conversion_is_delivered_or_dead_whatever_fails(
    outcomes: list[bool], sizes: list[int], batch_size: int, max_attempts: int, parallel: int
) -> None:
    async def scene(shop: Shop) -> None:
        left = [*outcomes]
        shop.receiver.fails = lambda _: bool(left) and left.pop()
        shop.receiver.seconds = 0.3
        names: list[str] = []
        for number, size in enumerate(sizes):
            batch = [f"c{number}-{i}" for i in range(size)]
            names += batch
            await shop.sell(*batch, touches=1)
            await shop.sleep(0.7)
        await shop.sleep(10_000)
        dead = [letter.conversion_id for letter in await shop.outbox.dead_letters()]
        assert sorted(shop.receiver.taken + dead) == sorted(names)
        assert await shop.outbox.status() == NOTHING
        counters = shop.forwarder.counters()
        assert counters["forwarded"] == len(shop.receiver.taken)
        assert counters["forward_given_up"] == len(dead)
        attempts = dict.fromkeys(names, 0)
        for _, sent in shop.receiver.requests:
            for name in sent:
                attempts[name] += 1
        assert max(attempts.values()) <= max_attempts
        assert all(attempts[name] == max_attempts for name in dead)

    in_shop(scene, batch_size=batch_size, max_attempts=max_attempts, max_parallel=parallel)
