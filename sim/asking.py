"""The calls of a simulated process: functions that call an endpoint for a subject."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from core.context import Span
from core.endpoint import Endpoint
from core.endpoints import CDP, EndpointTable
from core.errors import InputError
from core.scenario.population import ARGUMENTS, Events

Ask = Callable[[Span, int, int, int], Awaitable[Any]]
"""Answers a request; called with a span, an isolate, a subject and the index of the request."""


def asks_of(
    endpoints: EndpointTable,
    answers: Mapping[str, Callable[..., Awaitable[Any]]],
    events: Events,
    intended_ns: Sequence[int],
) -> list[Ask]:
    """Return the function that calls each of *endpoints*, in their order.

    answers: the coroutine functions that answer requests, by the endpoint's name. events and
    intended_ns: of the run.
    """
    asks = [
        _with_event(answers[endpoint.name], events, intended_ns)
        if endpoint.writes == "event"
        else _with_arguments(answers[endpoint.name], endpoint)
        for endpoint in endpoints
    ]
    # The CDP's requests skip the check: its behaviours make the reads that they describe.
    return [
        ask if endpoint in CDP.endpoints else _checked(ask, endpoint)
        for ask, endpoint in zip(asks, endpoints, strict=True)
    ]


def _checked(ask: Ask, endpoint: Endpoint) -> Ask:
    stated = ", ".join(read.name for read in endpoint.reads) or "none"

    async def asked(span: Span, isolate: int, subject: int, index: int) -> Any:
        try:
            return await ask(span, isolate, subject, index)
        finally:
            if len(span.reads) > len(endpoint.reads):
                made = ", ".join(name for name, _ in span.reads)
                span.reads.clear()
                raise InputError(
                    f"endpoint {endpoint.name}: a request made the cache reads {made}, and the "
                    f"endpoint's description has {stated}; name all"
                )

    return asked


def _with_event(
    answer: Callable[..., Awaitable[Any]], events: Events, intended_ns: Sequence[int]
) -> Ask:
    event_of = events.event

    def ask(span: Span, isolate: int, subject: int, index: int) -> Awaitable[Any]:
        return answer(span, isolate, event_of(index, subject, intended_ns[index]))

    return ask


def _with_arguments(answer: Callable[..., Awaitable[Any]], endpoint: Endpoint) -> Ask:
    """Return a function for the number of arguments, so that no request makes a list."""
    makers = [ARGUMENTS[name] for name in endpoint.arguments]
    if len(makers) == 1:
        (only,) = makers
        return lambda span, isolate, subject, _: answer(span, isolate, only(subject))
    if len(makers) == 2:
        first, second = makers
        return lambda span, isolate, subject, _: answer(
            span, isolate, first(subject), second(subject)
        )
    return lambda span, isolate, subject, _: answer(
        span, isolate, *[make(subject) for make in makers]
    )
