"""Consumes the conversions of several workers: `python -m core.service.consumer PLAN.json`.

The plan is that of `core.service.worker`. What the consumer counts stands in a file beside the
database, from which the first worker's statistics take it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from core.application.pipeline import Pipeline
from core.child import die_with_parent, say
from core.clock import SystemClock
from core.delivery.backlog import Backlog
from core.delivery.forwarder import LAST_DELIVERIES
from core.delivery.outbox import Outbox, outbox_of
from core.delivery.poller import Poller
from core.delivery.receiver import Receiver
from core.emulation.destination import receiver_of
from core.emulation.faults import FaultSchedule
from core.emulation.platform import DrawnNumbers, EmulatingPlatform
from core.emulation.timers import Timers
from core.errors import EdgeproofError, StoreError
from core.ledger.fitted_models import stored_scheme
from core.ledger.fitter import in_thread
from core.metrics.profile import thresholds_with
from core.metrics.profiler import LatencyProfiler
from core.query.database import Database
from core.query.executor import QueryExecutor
from core.query.queries import Queries
from core.service.consumer_status import SIGN_OF_LIFE, ConsumerStatus, read_run_start
from core.service.plan import WorkerPlan, emulated_database, plan_of, shared_database
from core.service.repeats import log_to_stderr

POLL_SECONDS = 0.02
FORWARD_SECONDS = 1.0
QUERIES_SECONDS = 0.2


class Consumer:
    """One queue over the shared database, fed from the backlog; made in a running event loop."""

    def __init__(self, plan: WorkerPlan) -> None:
        scenario = plan.scenario
        self._plan = plan
        self._clock = SystemClock()
        self._timers = Timers(self._clock)
        self._faults = FaultSchedule(scenario.faults, origin=float("inf"))
        self._sqlite = shared_database(plan)
        kinds = scenario.metrics.table.kinds
        self._profiler = LatencyProfiler(self._clock, thresholds=thresholds_with(kinds))
        database: Database = self._sqlite
        numbers = DrawnNumbers(scenario.seed, plan.position)
        platform = EmulatingPlatform(self._clock, self._timers, numbers)
        if plan.emulate:
            database = self._delayed = emulated_database(plan, self._sqlite, self._faults, platform)
        self._owner = f"{os.getpid()}-{uuid4().hex}"
        self._backlog = Backlog(self._sqlite, self._clock, owner=self._owner)
        outbox, receiver = self._outlet(platform if plan.emulate else None)
        settings = scenario.attribution
        scheme = stored_scheme(self._sqlite.connection, settings.parameters())
        self._executor = QueryExecutor(database, self._clock, plans=self._sqlite)
        queries = Queries(self._executor, self._clock, self._profiler, parameters=scheme.parameters)
        self._asking: dict[asyncio.Task[Any], None] = {}
        pipeline = Pipeline(
            scenario, queries, self._clock, self._profiler,
            scheme=scheme, retain=self._retain, backlog=self._backlog, run=in_thread,
            receiver=receiver, outbox=outbox,
        )  # fmt: skip
        self._forwarder, self._fitter = pipeline.forwarder, pipeline.fitter
        self._processor, self._queue = pipeline.processor, pipeline.queue
        self._poller = Poller(self._backlog, self._queue, self._clock)
        self._figures = ConsumerStatus(plan.folder)
        self._written: dict[str, int] = {}
        self._written_at = self._queries_at = float("-inf")

    def _retain(self, task: asyncio.Task[Any]) -> None:
        self._asking[task] = None
        task.add_done_callback(self._asking.pop)

    def _outlet(self, platform: EmulatingPlatform | None) -> tuple[Outbox | None, Receiver | None]:
        destination = self._plan.scenario.destination
        outbox = outbox_of(destination, self._sqlite, self._clock, owner=self._owner)
        receiver = receiver_of(destination, self._plan.destination, self._faults, platform)
        return outbox, receiver

    async def start(self) -> None:
        """Let everything be due that an earlier consumer left in the middle."""
        await self._backlog.break_leases()
        if self._forwarder is not None:
            await self._forwarder.resume()
            self._forwarding = asyncio.create_task(self._forwarder.watch(FORWARD_SECONDS))
        self._write_figures()

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until *stop* is set, then what is left, and close."""
        while not stop.is_set():
            await self._step()
            await self._poller.pause(POLL_SECONDS)
        while await self._step() or self._queue.pending:
            await self._queue.finish()
        await self._fitter.drain()
        await asyncio.gather(*self._asking)
        if self._forwarder is not None:
            self._forwarding.cancel()
            await self._forwarder.close(within=LAST_DELIVERIES)
        self._write_figures()
        self._timers.close()
        await self._sqlite.close()

    async def _step(self) -> int:
        if self._faults.faults:
            self._faults.origin = self._run_start()
        try:
            taken = await self._poller.step()
        except StoreError:
            taken = 0  # the next step finds what this one left
        self._write_figures()
        return taken

    def _run_start(self) -> float:
        at_ms = read_run_start(self._plan.folder)
        return float("inf") if at_ms is None else (at_ms - self._clock.origin_ms) / 1000

    def _counters(self) -> dict[str, int]:
        counters = {
            "conversions_processed": self._processor.processed,
            "conversions_without_touches": self._processor.without_touches,
            "fits_failed": self._fitter.failed,
            "models_fitted": self._fitter.fitted,
            "queue_batches": self._queue.batches,
            "queue_given_up": self._queue.given_up,
            "queue_pending": self._queue.pending,
            "queue_retries": self._queue.retries,
        }
        if self._forwarder is not None:
            counters |= self._forwarder.counters()
        if self._plan.emulate:
            counters["l3_operations"] = self._delayed.operations
            counters["l3_errors"] = self._delayed.errors
        return counters

    def _write_figures(self) -> None:
        """Replace the file of figures if they changed or are old, before anything else is begun.

        Whoever sees an empty queue in the database and none pending here sees all the figures.
        """
        counters = self._counters()
        now = self._clock.now()
        if counters == self._written and now - self._written_at < SIGN_OF_LIFE:
            return
        # While batch follows batch, what is dear is not told with each of them.
        is_due = not self._queue.pending or now - self._queries_at >= QUERIES_SECONDS
        with suppress(OSError):  # a full disk: the next step writes them
            self._figures.write(counters, self._profiler, self._executor if is_due else None, now)
            self._written, self._written_at = counters, now
            self._queries_at = now if is_due else self._queries_at


async def _consume(plan: WorkerPlan) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    consumer = Consumer(plan)
    await consumer.start()
    say({"ready": "consumer"})
    await consumer.run(stop)


def main(arguments: Sequence[str]) -> int:
    """Consume until SIGTERM or SIGINT; return the exit code."""
    die_with_parent()
    log_to_stderr()
    try:
        asyncio.run(_consume(plan_of(json.loads(Path(arguments[0]).read_text(encoding="utf-8")))))
    except EdgeproofError as error:
        say({"error": str(error)})
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
