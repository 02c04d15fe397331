"""A process that accepts and consumes conversions until it is killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

from core.clock import DATA_EPOCH_MS, ManualClock
from core.context import Span
from core.delivery.backlog import Backlog
from core.delivery.poller import Poller
from core.delivery.queue import ConversionQueue
from core.event import Event
from core.ledger.processor import BatchAttributionProcessor
from core.metrics.profiler import LatencyProfiler
from core.query.database import SqliteDatabase
from core.query.queries import Queries

USERS = 7
CHANNELS = ("email", "google", "bing")
VM_STEPS = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """How one process works, and when it ends itself.

    first: the number of its first event. hour: of its clock, so that leases of earlier lives have
    ended. in_process: it takes what it accepts from its own memory; otherwise from the database.
    kill_at_step: SIGKILL after so many times 25 steps of SQLite's virtual machine; None: somebody
    else does. rounds: ends by itself after so many, with everything consumed; None: never.
    """

    path: Path
    first: int
    hour: int
    in_process: bool
    kill_at_step: int | None = None
    rounds: int | None = None


def events_of(number: int) -> tuple[Event, Event]:
    """Return the touch and the conversion with *number*."""
    user, time = f"u{number % USERS}", DATA_EPOCH_MS + 10 * number
    channel = CHANNELS[number % len(CHANNELS)]
    touch = Event(f"t{number}", user, "s1", "page_view", time, channel, None, None)
    return touch, Event(
        f"e{number}", user, "s1", "purchase", time + 5, "google", f"c{number}", float(number % 4)
    )


def live(life: Life, announce: Connection) -> None:
    """Accept conversions and consume them; announce each event once it is accepted."""
    asyncio.run(_live(life, announce))


async def _live(life: Life, announce: Connection) -> None:
    database = SqliteDatabase(life.path, inline=life.kill_at_step is not None)
    if life.kill_at_step is not None:
        left = count(life.kill_at_step, -1)

        def step() -> None:
            if next(left) <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

        database.connection.set_progress_handler(step, VM_STEPS)
    clock = ManualClock(origin_ms=DATA_EPOCH_MS + 3_600_000 * life.hour)
    profiler = LatencyProfiler()
    backlog = Backlog(database, clock, owner=f"life-{life.hour}")
    queries = Queries(database, clock, profiler, lease=backlog.lease if life.in_process else None)
    processor = BatchAttributionProcessor(queries, now_ms=lambda: DATA_EPOCH_MS)

    async def process(span: Span, ids: Sequence[str]) -> None:
        await processor.process(span, ids)
        announce.send_bytes(b".")

    queue = ConversionQueue(
        process, batch_size=3, max_parallel=2, wait=0.0, clock=clock, profiler=profiler,
        max_attempts=1_000_000, backlog=backlog,
    )  # fmt: skip
    poller = Poller(backlog, queue, clock)
    await poller.step()
    numbers = (
        count(life.first) if life.rounds is None else range(life.first, life.first + life.rounds)
    )
    for number in numbers:
        for event in events_of(number):
            _, converts = await queries.insert_event(event, "new")
            announce.send_bytes(event.event_id.encode())
            if converts and life.in_process:
                queue.put(f"c{number}")
        await poller.step()
        await asyncio.sleep(0)
    while await poller.step() or queue.pending:
        await queue.drain()
    await database.close()
