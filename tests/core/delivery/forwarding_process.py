"""A process that finishes conversions and forwards them until it is killed."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from core.clock import DATA_EPOCH_MS, ManualClock
from core.context import Span
from core.delivery.forwarder import Forwarder
from core.delivery.http import HttpReceiver
from core.delivery.outbox import outbox_of
from core.event import Event
from core.ledger.processor import BatchAttributionProcessor
from core.metrics.profiler import LatencyProfiler
from core.query.database import SqliteDatabase
from core.query.queries import Queries
from core.scenario.destination import Destination

VM_STEPS = 25
Moment = Literal["step", "before", "after", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """How one process works, and when it ends itself.

    first: number of its first conversion. moment: SIGKILL at the *number*-th "step" of 25 steps
    of SQLite's virtual machine, "before" a request is sent or "after" it was answered; "never": it
    ends by itself when *rounds* are done and everything is delivered.
    """

    path: Path
    url: str
    first: int
    moment: Moment
    number: int = 0
    rounds: int = 1_000_000


class MortalReceiver(HttpReceiver):
    """A receiver whose process dies around a request."""

    def __init__(self, life: Life) -> None:
        super().__init__(life.url, timeout=30.0, connections=1)
        self._life = life
        self._sent = 0

    async def send(self, body: bytes) -> None:
        self._sent += 1
        self._die("before")
        await super().send(body)
        self._die("after")

    def _die(self, moment: Moment) -> None:
        if self._life.moment == moment and self._sent == self._life.number:
            os.kill(os.getpid(), signal.SIGKILL)


def live(life: Life, announce: Connection) -> None:
    """Finish conversions and forward them; announce each once its results are stored."""
    asyncio.run(_live(life, announce))


async def _live(life: Life, announce: Connection) -> None:
    database = SqliteDatabase(life.path, inline=True)
    if life.moment == "step":
        left = count(life.number, -1)

        def step() -> None:
            if next(left) <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

        database.connection.set_progress_handler(step, VM_STEPS)
    clock, profiler = ManualClock(), LatencyProfiler()
    destination = Destination(url="local", batch_size=3, max_parallel=1)
    outbox = outbox_of(destination, database, clock, owner=f"life-{os.getpid()}")
    assert outbox is not None
    forwarder = Forwarder(destination, outbox, MortalReceiver(life), clock, profiler)
    queries = Queries(database, clock, profiler)
    processor = BatchAttributionProcessor(
        queries, now_ms=lambda: DATA_EPOCH_MS, forwarder=forwarder
    )
    await forwarder.resume()
    for number in range(life.first, life.first + life.rounds):
        names = [f"c{number}-{i}" for i in range(2)]
        for position, name in enumerate(names):
            at = DATA_EPOCH_MS + 10 * number + position
            user = f"u{number}-{position}"
            await queries.insert_event(
                Event(f"t-{name}", user, "s1", "view", at, "email", None, None), "new"
            )
            await queries.insert_event(
                Event(f"e-{name}", user, "s1", "buy", at + 1, "google", name, 1.0), "new"
            )
        await processor.process(Span(is_batch=True), names)
        announce.send_bytes(names[0].encode())
        await forwarder.drain()
    await forwarder.drain()
    await forwarder.close(within=30.0)
    await database.close()
