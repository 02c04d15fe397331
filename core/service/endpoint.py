"""One of the application's endpoints over HTTP: handled, timed, counted and answered."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping
from functools import cached_property, lru_cache
from time import thread_time
from types import coroutine
from typing import Any

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from core.context import SLOTS, Span, span_of
from core.errors import InputError, StoreError
from core.metrics.profile import Profile
from core.service.problems import problem_of
from core.service.process import ServedApplication
from core.service.requests import BadRequest
from core.service.responses import WHOLE_ANSWER, Answer
from core.wire import ISOLATE_HEADER, cache_status, server_timing

Handle = Callable[[Request, Span, int], Coroutine[Any, Any, Answer]]
"""Answers a request on an isolate, and notes on the span what it did."""

_ISOLATE = ISOLATE_HEADER.lower().encode()


class HttpEndpoint:
    """An ASGI application, because what Starlette does around a handler costs more than an L1 hit.

    `python -m bench.service` measures it.
    """

    def __init__(
        self,
        name: str,
        handle: Handle,
        reference: Callable[[], ServedApplication],
        isolates: int,
        slots: Mapping[str, int] = SLOTS,
    ) -> None:
        self.__name__ = name  # what Starlette calls the route
        self._span = span_of(slots)
        self._name = name
        self._handle = handle
        self._reference = reference
        self._isolates = isolates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        reference = self._reference()
        span = self._span()
        stages = span.stages
        status = 500  # what an unexpected error is answered with
        try:
            with reference.profiler.span("request", self._name) as timed:
                timed.notes = stages
                try:
                    isolate = self._isolate(scope["headers"])
                    handling = self._handle(Request(scope, receive), span, isolate)
                    status, body = await _metered(handling, span)
                except (InputError, StoreError) as error:
                    status, body = problem_of(error)
                if status >= 500:
                    timed.fail()  # however fast: an outage makes no latency better
        finally:
            reference.requests[self._name] += 1
            reference.responses[status // 100] += 1
            reference.own_cpu += span.cpu
            tiers = self._tiers
            for stage, seconds in stages:
                if stage in tiers:
                    tiers[stage].record(seconds)
            if reference.tracing is not None:
                reference.tracing.offer(
                    self._name, timed, status, span.reads, span.cpu, scope["headers"]
                )
        assert timed.seconds is not None
        stages += (("cpu", span.cpu), ("total", timed.seconds))
        timing = server_timing(stages).encode()
        answer_whole = scope.get("extensions", {}).get(WHOLE_ANSWER)
        if answer_whole is not None:
            fields = b"server-timing: %b\r\n" % timing
            if span.reads:
                fields += b"cache-status: %b\r\n" % _cache_status(*span.reads)
            if answer_whole(status, fields + b"content-type: application/json\r\n", body):
                return
        headers = [(b"server-timing", timing)]
        if span.reads:
            headers.append((b"cache-status", _cache_status(*span.reads)))
        headers.append((b"content-length", b"%d" % len(body)))
        headers.append((b"content-type", b"application/json"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    @cached_property
    def _tiers(self) -> dict[str, Profile]:
        profiler = self._reference().profiler
        return {stage: profiler.profile("cache", stage.upper()) for stage in ("l1", "l2")}

    def _isolate(self, headers: list[tuple[bytes, bytes]]) -> int:
        for name, value in headers:
            if name == _ISOLATE:
                text = value.decode("latin-1")
                if not text.isdecimal() or len(text) > 6 or int(text) >= self._isolates:
                    raise BadRequest(
                        f"{ISOLATE_HEADER} is {text[:20]!r}; this process has the isolates "
                        f"0 to {self._isolates - 1}"
                    )
                return int(text)
        return 0


@lru_cache(maxsize=1024)
def _cache_status(*reads: tuple[str, int]) -> bytes:
    return cache_status(reads).encode()


@coroutine
def _metered(handling: Coroutine[Any, Any, Answer], span: Span) -> Generator[Any, Any, Answer]:
    """Return what *handling* does, and add the CPU time of its own steps to *span*."""
    resume, argument = handling.send, None
    while True:
        started = thread_time()
        try:
            waits_for = resume(argument)
        except StopIteration as result:
            answer: Answer = result.value
            return answer
        finally:
            span.cpu += thread_time() - started
        try:
            argument = yield waits_for
            resume = handling.send
        except BaseException as error:
            resume, argument = handling.throw, error
