"""The forwarder: takes finished conversions from the outbox and sends them to the destination."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress

from core.clock import Clock, epoch_ms
from core.context import CURRENT, Operation, Span
from core.delivery.outbox import Delivery, Outbox
from core.delivery.receiver import DeliveryError, Receiver
from core.errors import StoreError
from core.metrics.profiler import LatencyProfiler
from core.query.database import Command
from core.scenario.destination import Destination

MAX_BODY_BYTES = 1_000_000
LAST_DELIVERIES = 2.0
"""Seconds that a service leaves for its last deliveries when it ends."""
_LONGEST_WAIT = 3_600.0
_STORE_PAUSE = 1.0
_SOON = 0.001


class Handover:
    """Conversions that enter the outbox with their results: `command` writes them.

    Some of them go to the destination right after that, without a read of the outbox.
    """

    __slots__ = ("_begin", "_deliveries", "_let_go", "command")

    def __init__(
        self,
        command: Command,
        deliveries: Sequence[Delivery],
        begin: Callable[[Sequence[Delivery]], None],
        let_go: Callable[[Sequence[Delivery]], Awaitable[None]],
    ) -> None:
        self.command = command
        self._deliveries = deliveries
        self._begin = begin
        self._let_go = let_go

    def stored(self) -> None:
        """Send the deliveries: the transaction succeeded."""
        self._begin(self._deliveries)

    async def failed(self) -> None:
        """Give the deliveries up: the transaction failed, or its outcome is unknown."""
        if self._deliveries:
            await self._let_go(self._deliveries)


class Forwarder:
    """Sends the rows of the *outbox*, in requests of at most batch_size conversions.

    A row leaves the outbox once the destination has confirmed it, so each conversion is delivered
    at least once. The destination recognises a duplicate by its idempotency key. After a failure
    a row waits retry_delay seconds, then twice as long, and so on up to an hour. Each failure also
    halves the size of its requests, so a row that makes the destination fail ends up alone. After
    max_attempts the row is dead, with the reason.
    """

    def __init__(
        self,
        destination: Destination,
        outbox: Outbox,
        receiver: Receiver,
        clock: Clock,
        profiler: LatencyProfiler,
    ) -> None:
        self._destination = destination
        self._outbox = outbox
        self._receiver = receiver
        self._clock = clock
        self._profile = profiler.profile("external", "destination")
        self._running: dict[asyncio.Task[None], None] = {}
        self._reserved = 0  # slots that wait for a transaction to end
        self._timer: asyncio.TimerHandle | None = None
        self._idle: asyncio.Future[None] | None = None
        self._due_ms: int | None = None
        self._is_asked = False
        self._is_closed = False
        self._requests = 0
        self.delivered = 0
        self.retries = 0
        self.given_up = 0

    def accept(self, documents: Sequence[tuple[str, str]]) -> Handover:
        """Return the handover that writes *documents*, by conversion id, with their results.

        Call its `stored` or `failed` afterwards. If a slot is free, the first batch is sent at
        once; the forwarder takes the other documents from the outbox.
        """
        held = self._destination.batch_size if self._has_free_hand() else 0
        deliveries = [Delivery(name, document, 0) for name, document in documents[:held]]
        if deliveries:
            self._reserved += 1
        command = self._outbox.entries(documents, held=held)
        return Handover(command, deliveries, self._begin, self._let_go)

    def _has_free_hand(self) -> bool:
        busy = len(self._running) + self._reserved
        return not self._is_closed and busy < self._destination.max_parallel

    async def _let_go(self, deliveries: Sequence[Delivery]) -> None:
        self._reserved -= 1
        with suppress(StoreError):  # if this fails, their lease ends
            # A write that timed out may have stored them all the same: they are due now.
            if await self._outbox.release([each.conversion_id for each in deliveries]):
                self._is_asked = True
        if self._is_asked:
            self._is_asked = False
            self.wake()

    def _begin(self, deliveries: Sequence[Delivery]) -> None:
        if not deliveries:
            self.wake()
            return
        self._reserved -= 1
        if not self._is_closed:  # otherwise their lease ends
            self._start(deliveries)

    def wake(self) -> None:
        """Send the rows that are due, if a slot is free."""
        if self._is_closed:
            return
        if not self._has_free_hand():
            self._is_asked = True  # running tasks may have looked already
            return
        self._start()

    def _start(self, deliveries: Sequence[Delivery] = ()) -> None:
        task = asyncio.get_running_loop().create_task(self._run(deliveries))
        self._running[task] = None
        task.add_done_callback(self._ended)

    async def resume(self) -> None:
        """Take over the rows of an earlier forwarder; StoreError if the database fails."""
        await self._outbox.break_leases()
        self.wake()

    async def drain(self) -> None:
        """Return when all rows that are due now were tried once; failed rows keep waiting."""
        self._due_ms = epoch_ms(self._clock)
        self.wake()
        while self._running:
            if self._idle is None:
                self._idle = asyncio.get_running_loop().create_future()
            await self._idle
        self._due_ms = None
        self._wake_in(_SOON)  # for rows that became due meanwhile

    async def watch(self, interval: float) -> None:
        """Send the rows of other processes: look every *interval* seconds, until cancelled."""
        while True:
            await asyncio.sleep(interval)
            self.wake()

    async def close(self, *, within: float) -> None:
        """Try the rows that are due for up to *within* seconds, then stop.

        The next forwarder sends a delivery that was cut off again.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self.drain()
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait([*self._running])
        await self._receiver.close()

    def counters(self) -> dict[str, int]:
        """Return the counters for a run's record."""
        return {
            "forwarded": self.delivered,
            "forward_requests": self._requests,
            "forward_retries": self.retries,
            "forward_given_up": self.given_up,
        }

    async def _run(self, taken: Sequence[Delivery]) -> None:
        size = self._destination.batch_size
        looks = not taken  # a task that was handed deliveries does not read the outbox
        try:
            while not self._is_closed and (
                taken := taken or await self._outbox.take(size, due_ms=self._due_ms)
            ):
                if len(taken) == size:
                    self.wake()  # there may be work for another slot
                for batch in self._batches(taken):
                    await self._deliver(batch)
                if not looks:
                    return
                taken = ()
            await self._set_timer()
        except StoreError:
            # The held rows are due again when their lease ends; the others are read after a pause.
            self._wake_in(_STORE_PAUSE)

    def _batches(self, taken: Sequence[Delivery]) -> Iterator[list[Delivery]]:
        """Yield *taken* in requests: small after failures, bounded in conversions and in bytes."""
        batch: list[Delivery] = []
        room, size = self._destination.batch_size, 0
        for delivery in taken:
            fits = min(room, self._fits(delivery.attempts))
            length = len(delivery.document.encode()) + 1
            if batch and (len(batch) >= fits or size + length > MAX_BODY_BYTES):
                yield batch
                batch, size = [], 0
                fits = self._fits(delivery.attempts)
            batch.append(delivery)
            room, size = fits, size + length
        if batch:
            yield batch

    def _fits(self, attempts: int) -> int:
        """Return the largest request for a conversion that has failed *attempts* times.

        A conversion is alone on its last attempt.
        """
        if attempts and attempts + 1 >= self._destination.max_attempts:
            return 1
        return max(1, self._destination.batch_size >> attempts)

    async def _deliver(self, batch: Sequence[Delivery]) -> None:
        CURRENT.set(Operation(Span(self._requests, is_batch=True), 0))
        self._requests += 1
        body = f"[{','.join(delivery.document for delivery in batch)}]".encode()
        started = self._clock.now()
        try:
            await self._receiver.send(body)
        except DeliveryError as error:
            self._profile.fail()
            await self._put_back(batch, str(error))
        else:
            self._profile.record(self._clock.now() - started)
            # If the process is killed before this, they are sent again; after it, they are not.
            await self._outbox.remove([delivery.conversion_id for delivery in batch])
            self.delivered += len(batch)

    async def _put_back(self, batch: Sequence[Delivery], error: str) -> None:
        last = self._destination.max_attempts - 1
        dead = [delivery.conversion_id for delivery in batch if delivery.attempts >= last]
        waits = [
            (delivery.conversion_id, self._wait(delivery.attempts))
            for delivery in batch
            if delivery.attempts < last
        ]
        if waits:
            await self._outbox.put_off(waits, error)
            self.retries += len(waits)
            await self._set_timer()
        if dead:
            await self._outbox.dead_letter(dead, error)
            self.given_up += len(dead)

    def _wait(self, attempts: int) -> float:
        longest: float = min(self._destination.retry_delay * 2**attempts, _LONGEST_WAIT)
        return longest

    async def _set_timer(self) -> None:
        """Wake when the next row is due. During a drain, which ignores new rows, do nothing."""
        if self._due_ms is not None:
            return
        at_ms = await self._outbox.next_at_ms()
        if at_ms is not None:
            self._wake_in(max(_SOON, (at_ms - epoch_ms(self._clock)) / 1000))

    def _wake_in(self, seconds: float) -> None:
        if self._is_closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.wake()

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if self._is_asked:
            self._is_asked = False
            self.wake()
        if self._idle is not None and not self._running:
            if not self._idle.done():
                self._idle.set_result(None)
            self._idle = None
        if not task.cancelled():
            task.result()
