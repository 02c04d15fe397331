"""The pipeline of conversions: queue, batch processor, fitter and forwarder, wired together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from core.attribution.scheme import Scheme
from core.clock import Clock, epoch_ms
from core.delivery.backlog import Backlog
from core.delivery.forwarder import Forwarder
from core.delivery.outbox import Outbox
from core.delivery.queue import ConversionQueue
from core.delivery.receiver import Receiver
from core.ledger.current_scheme import CurrentScheme
from core.ledger.fitter import Fitter, Runner
from core.ledger.processor import BatchAttributionProcessor
from core.metrics.profiler import LatencyProfiler
from core.query.queries import Queries
from core.scenario.scenario import Scenario


class Pipeline:
    """The processing of accepted conversions in one process.

    scheme: that credit is shared out by at first; `current` follows the newest model. retain: keeps
    background work alive until it is done. backlog: the queue's durable part, of this process. run:
    runs the computation of a model. receiver and outbox: the destination of finished conversions,
    and the rows that wait for it; without either there is no forwarder.
    """

    __slots__ = ("current", "fitter", "forwarder", "processor", "queue")

    def __init__(
        self,
        scenario: Scenario,
        queries: Queries,
        clock: Clock,
        profiler: LatencyProfiler,
        *,
        scheme: Scheme,
        retain: Callable[[asyncio.Task[Any]], None],
        backlog: Backlog | None,
        run: Runner,
        receiver: Receiver | None,
        outbox: Outbox | None,
    ) -> None:
        settings, queue = scenario.attribution, scenario.queue
        self.current = CurrentScheme(
            scheme, queries, clock, refresh=settings.refresh, retain=retain
        )
        self.forwarder = (
            None
            if receiver is None or outbox is None
            else Forwarder(scenario.destination, outbox, receiver, clock, profiler)
        )
        # Events carry the scenario's time, which begins at the data's epoch.
        now_ms = partial(epoch_ms, clock)
        self.processor = BatchAttributionProcessor(
            queries, now_ms=now_ms, in_force=self.current.look, forwarder=self.forwarder
        )
        self.fitter = Fitter(queries, self.current, settings, now_ms=now_ms, run=run)
        self.queue = ConversionQueue(
            self.fitter.counting(self.processor.process),
            batch_size=queue.batch_size,
            max_parallel=queue.max_parallel,
            wait=queue.wait,
            clock=clock,
            profiler=profiler,
            max_attempts=queue.max_attempts,
            retry_delay=queue.retry_delay,
            doubles=queue.retry_backoff == "doubling",
            backlog=backlog,
        )
