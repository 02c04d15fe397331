"""What an endpoint does of which a scenario file states the reads, the queries and the writes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from core.application.behaviour import Behaviour
from core.application.cdp import Cdp
from core.application.entry import OwnEntry
from core.context import Span, begin
from core.endpoint import Endpoint, Read
from core.event import Event
from core.query.queries import Queries
from core.query.statements import STATED_QUERY, STATED_WRITE

Step = Callable[[Span, int], Awaitable[Any]]


def stated(endpoint: Endpoint) -> Behaviour:
    """Return the behaviour of *endpoint*: its reads in their order, its queries, its writes."""
    return Behaviour(
        entries={read.cache_type: _entry(read) for read in endpoint.reads},
        answer=partial(_answer, endpoint),
    )


def _entry(read: Read) -> OwnEntry:
    return OwnEntry(load=partial(_load, read.queries or 0, b"x" * read.size))


async def _load(count: int, value: bytes, queries: Queries, *arguments: str) -> bytes:
    """Make the queries of a load, one after the other; return the value that it finds."""
    for _ in range(count):
        await queries.read(STATED_QUERY, *(arguments[:1] or ("",)))
    return value


def _answer(endpoint: Endpoint, cdp: Cdp) -> Callable[..., Awaitable[Any]]:
    reads = [(read.key, cdp.reading(read.name, read.cache_type)) for read in endpoint.reads]
    # Where an endpoint reads caches, its queries are those of the loads.
    count = 0 if endpoint.reads else endpoint.queries or 0
    stores, queries = endpoint.stores or 0, cdp.queries

    async def work(span: Span, isolate: int, subject: str, site: str) -> None:
        for key, read in reads:
            about = (subject,) if key == "subject" else (site,) if key == "site" else ()
            await read(span, isolate, *about)
        if count or stores:
            begin(span, "write")
        for _ in range(count):
            await queries.read(STATED_QUERY, subject)
        for _ in range(stores):
            await queries.write(STATED_WRITE, subject)

    if endpoint.writes == "event":

        async def track(span: Span, isolate: int, event: Event, size: int = 0) -> bool:
            await work(span, isolate, event.user_id, event.site_id)
            return await cdp.store(span, event, "new")

        return track

    async def answer(span: Span, isolate: int, subject: str = "") -> None:
        await work(span, isolate, subject, "")

    return answer
