"""The fitter: fits data_driven anew after every N batches, in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from typing import Protocol, TypeVar

from core.attribution.fitted import FittedModel
from core.context import BATCH_SLOTS, CURRENT, Operation, Span
from core.errors import InputError, StoreError
from core.ledger.current_scheme import CurrentScheme
from core.ledger.fitted_models import row_of
from core.ledger.sample import PAGE, Sample
from core.query.queries import Queries
from core.scenario.attribution import Attribution

_T = TypeVar("_T")

Process = Callable[[Span, Sequence[str]], Awaitable[Mapping[str, str] | None]]


class Runner(Protocol):
    """A way to run a long computation: in place, or in a thread."""

    async def __call__(self, call: Callable[[], _T], /) -> _T:
        """Return what *call* returns."""
        ...


async def inline(call: Callable[[], _T]) -> _T:
    """Run *call* in place: simulated time has no threads."""
    return call()


async def in_thread(call: Callable[[], _T]) -> _T:
    """Run *call* in a thread, so that the event loop goes on."""
    return await asyncio.to_thread(call)


class Fitter:
    """Counts batches; after every `settings.fit_every` of them it fits a model and stores it.

    One fit runs at a time, on the newest `settings.fit_events` events, read page by page. If a fit
    fails, the failure is counted, its reason is kept, and the model in force stays.
    """

    def __init__(
        self,
        queries: Queries,
        current: CurrentScheme,
        settings: Attribution,
        *,
        now_ms: Callable[[], int],
        run: Runner = inline,
    ) -> None:
        self._queries = queries
        self._current = current
        self._settings = settings
        self._now_ms = now_ms
        self._run = run
        self._batches = 0
        self._begun = 0
        self._running: asyncio.Task[None] | None = None
        self.fitted = 0
        self.failed = 0
        self.last_error = ""

    def counting(self, process: Process) -> Process:
        """Return *process* with its batches counted once they are stored."""

        async def counted(span: Span, conversion_ids: Sequence[str]) -> Mapping[str, str] | None:
            rejected = await process(span, conversion_ids)
            self._count()
            return rejected

        return counted if self._settings.fit_every else process

    def _count(self) -> None:
        self._batches += 1
        if self._batches < self._settings.fit_every or self._running is not None:
            return
        self._batches = 0
        # The fit has a span of its own for its random numbers and its time: the batch has ended.
        span = Span(self._begun, is_batch=True)
        self._begun += 1
        self._running = asyncio.get_running_loop().create_task(self._fit(span))
        self._running.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running = None
        if not task.cancelled():
            task.result()

    async def _fit(self, span: Span) -> None:
        CURRENT.set(Operation(span, BATCH_SLOTS["fit-read"]))
        try:
            model = await self._sampled()
            CURRENT.set(Operation(span, BATCH_SLOTS["fit-write"]))
            row = row_of(model, self._now_ms())
            number = await self._queries.store_model(row)
        except (StoreError, InputError) as error:
            self.failed += 1
            self.last_error = str(error)
            return
        self.fitted += 1
        self._current.adopt((number, row[-1]))

    async def _sampled(self) -> FittedModel:
        queries, settings = self._queries, self._settings
        last = await queries.newest_event()
        at = max(0, last - settings.fit_events)
        sample = Sample()
        with closing(sample):
            while at < last:
                page = await queries.events(at, last, PAGE)
                await self._run(lambda page=page: sample.add(page))  # type: ignore[misc]
                at = page[-1][0] if len(page) == PAGE else last
            parameters = settings.parameters()
            return await self._run(lambda: sample.fit(parameters, settings.min_conversions))

    async def drain(self) -> None:
        """Return once no fit is running."""
        if self._running is not None:
            await asyncio.wait([self._running])
