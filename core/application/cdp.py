"""The application: tracking, attribution, journeys and channels, free of any web framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

from core.application.cache_entries import (
    CODECS,
    CacheEntries,
    attribution_key,
    channels_key,
    journey_key,
    site_key,
    user_key,
)
from core.application.entry import OwnEntry
from core.attribution.models import DATA_DRIVEN
from core.caching.read import MISSED
from core.caching.tiered import TieredCache
from core.context import Span, begin
from core.delivery.queue import Inbox
from core.errors import InputError
from core.event import Event
from core.ledger.current_scheme import CurrentScheme
from core.query.queries import Queries
from core.scenario.tiers import Ttls


class NotAccepted(InputError):
    """An event that its site does not accept."""


Load = Callable[[], Awaitable[Any]]


class Cdp:
    """The application on one process: one tiered cache per isolate, shared queries and queue.

    current: the scheme that credit is shared out by. tags: whether entries can be invalidated by
    tag: site:ID, user:ID, conversion:ID, model:NAME. own: entries of cache types that custom
    endpoints add, by name.
    """

    CACHE_TYPES: ClassVar[tuple[str, ...]] = tuple(CODECS)

    __slots__ = (
        "_current",
        "_inbox",
        "_isolates",
        "_lookup",
        "_queries",
        "_request_scope",
        "_security",
        "_types",
        "entries",
    )

    def __init__(
        self,
        isolates: Sequence[TieredCache],
        queries: Queries,
        inbox: Inbox,
        *,
        current: CurrentScheme,
        ttls: Ttls,
        request_scope: bool,
        tags: bool = False,
        own: Mapping[str, OwnEntry] | None = None,
    ) -> None:
        self._isolates = isolates
        self._queries = queries
        self._inbox = inbox
        self._current = current
        self.entries = CacheEntries(queries, ttls=ttls, tags=tags, own=own or {})
        self._types = self.entries.types
        self._security = self._types["security_config"]
        self._lookup = self._types["lookup_data"]
        self._request_scope = request_scope

    @property
    def queries(self) -> Queries:
        """The queries of its process."""
        return self._queries

    def cache(self, isolate: int) -> TieredCache:
        """Return the cache that one request on *isolate* uses."""
        cache = self._isolates[isolate]
        return cache.request_scoped() if self._request_scope else cache

    async def track(self, span: Span, isolate: int, event: Event, size: int = 0) -> bool:
        """Store *event*, of *size* bytes; return False if it was known already.

        Raise NotAccepted if its site is unknown, disabled, or takes no event that large.
        """
        cache = self.cache(isolate)
        site_id, user_id = event.site_id, event.user_id
        key = site_key(site_id)
        site = cache.peek(self._security, key, span, "config")
        if site is MISSED:
            site = await cache.fetch(
                self._security, key, lambda: self.entries.load_site(site_id),
                span, "config", self.entries.tags("site", site_id),
            )  # fmt: skip
        if site is None or not site.is_enabled:
            raise NotAccepted(
                f"site_id {site_id[:40]!r} is not a site that takes events; name one of the "
                "table sites that is enabled"
            )
        if size > site.max_event_bytes:
            raise NotAccepted(
                f"event of {size} bytes; site {site_id} takes {site.max_event_bytes}: send a "
                "smaller one"
            )
        key = user_key(user_id)
        user = cache.peek(self._lookup, key, span, "lookup")
        if user is MISSED:
            user = await cache.fetch(
                self._lookup, key, lambda: self.entries.load_user(user_id),
                span, "lookup", self.entries.tags("user", user_id),
            )  # fmt: skip
        # Not through `store`: a coroutine more costs every simulated request.
        begin(span, "write")
        is_new, converts = await self._queries.insert_event(event, user.segment if user else "new")
        if converts:
            self._queue(event)
        return is_new

    async def store(self, span: Span, event: Event, segment: str) -> bool:
        """Store *event* of a user of *segment*, and queue its conversion; False if it was known."""
        begin(span, "write")
        is_new, converts = await self._queries.insert_event(event, segment)
        if converts:
            self._queue(event)
        return is_new

    def _queue(self, event: Event) -> None:
        # A conversion is queued once, whichever of its events came first: two overlapping batches
        # with the same conversion would have to be stored one by one.
        if event.conversion_id is not None:
            self._inbox.put(event.conversion_id)

    async def store_alone(self, span: Span, isolate: int, event: Event, size: int = 0) -> bool:
        """Store *event* and nothing else, as a service does of whose other work nothing is known.

        It reads no cache and queues no conversion.
        """
        begin(span, "write")
        is_new, _ = await self._queries.insert_event(event, "new")
        return is_new

    async def attribution(
        self, span: Span, isolate: int, conversion_id: str, model: str
    ) -> bytes | None:
        """Return the credits of a conversion as a JSON document, None if there is no such one."""
        scheme = self._current.look(span) if model == DATA_DRIVEN else self._current.scheme
        key = attribution_key(conversion_id, scheme.key_end(model))
        cache, kind = self.cache(isolate), self._types["attribution"]
        document: bytes | None = cache.peek(kind, key, span, "attribution")
        if document is MISSED:
            document = await cache.fetch(
                kind, key, lambda: self.entries.load_attribution(conversion_id, model, scheme),
                span, "attribution", self.entries.tags("conversion", conversion_id),
            )  # fmt: skip
        return document

    async def journey(self, span: Span, isolate: int, user_id: str) -> bytes | None:
        """Return a user's newest 100 events as a JSON document, None if there are none."""
        cache, kind, key = self.cache(isolate), self._types["user_journeys"], journey_key(user_id)
        document: bytes | None = cache.peek(kind, key, span, "journey")
        if document is MISSED:
            document = await cache.fetch(
                kind, key, lambda: self.entries.load_journey(user_id),
                span, "journey", self.entries.tags("user", user_id),
            )  # fmt: skip
        return document

    async def channels(self, span: Span, isolate: int, model: str) -> bytes:
        """Return the channels' performance under *model* as a JSON document."""
        scheme = self._current.look(span) if model == DATA_DRIVEN else self._current.scheme
        key = channels_key(scheme.key_end(model))
        cache, kind = self.cache(isolate), self._types["channel_metrics"]
        document: bytes = cache.peek(kind, key, span, "channels")
        if document is MISSED:
            document = await cache.fetch(
                kind, key, lambda: self.entries.load_channels(model, scheme),
                span, "channels", self.entries.tags("model", model),
            )  # fmt: skip
        return document

    def reading(self, name: str, cache_type: str) -> Callable[..., Awaitable[Any]]:
        """Return a function that reads entries of *cache_type*, which a custom endpoint adds.

        It is a coroutine function of (span, isolate, *arguments) and records the read as *name*.
        """
        entries, entry, kind = self.entries, self.entries.own[cache_type], self._types[cache_type]

        async def read(span: Span, isolate: int, *arguments: str) -> Any:
            cache, key = self.cache(isolate), entries.own_key(cache_type, arguments)
            value = cache.peek(kind, key, span, name)
            if value is MISSED:
                value = await cache.fetch(
                    kind, key, lambda: entries.load_own(entry, arguments),
                    span, name, entries.tags_of(entry, arguments),
                )  # fmt: skip
            return value

        return read
