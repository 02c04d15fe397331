"""The cache entries of the application: their keys, types and tags, and how they are loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from core.application.documents import channels_document, credits_document, journey_document
from core.application.entry import OwnEntry
from core.attribution.scheme import Scheme
from core.caching.keys import cache_key
from core.caching.policy import CacheType, Codec, Text
from core.errors import InputError
from core.query.queries import Queries
from core.scenario.tiers import Ttls

# Shared: json.dumps with separators makes an encoder for each call.
_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = json.JSONDecoder().decode


@dataclass(frozen=True, slots=True)
class Site:
    """A site's security configuration."""

    is_enabled: bool
    max_event_bytes: int


@dataclass(frozen=True, slots=True)
class User:
    """The data about a user that tracking looks up."""

    segment: str
    profile: str


class _SiteCodec:
    def encode(self, value: Site) -> bytes:
        return _encode([int(value.is_enabled), value.max_event_bytes]).encode()

    def decode(self, data: bytes) -> Site:
        enabled, max_event_bytes = _decode(data.decode())
        return Site(bool(enabled), int(max_event_bytes))


class _UserCodec:
    def encode(self, value: User) -> bytes:
        return _encode([value.segment, value.profile]).encode()

    def decode(self, data: bytes) -> User:
        segment, profile = _decode(data.decode())
        return User(str(segment), str(profile))


_NONE: Mapping[str, OwnEntry] = MappingProxyType({})


class Unusable(InputError):
    """A conversion whose stored data allows no credit to be computed."""


CODECS: Mapping[str, tuple[str, Codec[Any]]] = {
    "security_config": ("config", _SiteCodec()),
    "lookup_data": ("lookup", _UserCodec()),
    "attribution": ("attribution", Text()),
    "user_journeys": ("journey", Text()),
    "channel_metrics": ("channels", Text()),
}
"""The key prefix and the codec of each of the CDP's cache types, by name."""


def cache_types(ttls: Ttls, own: Mapping[str, OwnEntry]) -> dict[str, CacheType[Any]]:
    """Return the cache types of the application by name, with their TTLs.

    own: the entries of those that are not the CDP's; their keys begin with the type's name.
    """
    codecs = {**CODECS, **{name: (name, entry.codec) for name, entry in own.items()}}
    return {
        name: CacheType(name=name, ttl=ttls.of(name), codec=codec, prefix=prefix)
        for name, (prefix, codec) in codecs.items()
    }


@lru_cache(maxsize=1024)
def site_key(site_id: str) -> str:
    """Return the cache key of a site's configuration."""
    return cache_key("config", site_id)


@lru_cache(maxsize=8192)
def user_key(user_id: str) -> str:
    """Return the cache key of a user's lookup data."""
    return cache_key("lookup", user_id)


def journey_key(user_id: str) -> str:
    """Return the cache key of a user's journey."""
    return cache_key("journey", user_id)


def attribution_key(conversion_id: str, end: str) -> str:
    """Return the cache key of a conversion's credits; *end*: of the model under its scheme."""
    if conversion_id.isalnum() and conversion_id.isascii():
        return f"attribution:{conversion_id}{end}"  # nearly every key
    return cache_key("attribution", conversion_id, *end.split(":")[1:])


def channels_key(end: str) -> str:
    """Return the cache key of the channels' performance; *end*: of the model under its scheme."""
    return f"channels{end}"


class CacheEntries:
    """How the entries of the application's caches are made: their types, tags and values.

    tags: whether entries can be invalidated by tag: site:ID, user:ID, conversion:ID, model:NAME.
    own: entries of other cache types than the CDP's, by name.
    """

    __slots__ = ("_has_tags", "_queries", "own", "types")

    def __init__(
        self,
        queries: Queries,
        *,
        ttls: Ttls,
        tags: bool = False,
        own: Mapping[str, OwnEntry] = _NONE,
    ) -> None:
        self._queries = queries
        self.own = own
        self.types = cache_types(ttls, own)
        self._has_tags = tags

    def tags(self, what: str, identifier: str) -> tuple[str, ...]:
        """Return the tag of an entry, for invalidation: its subject."""
        return (f"{what}:{identifier}",) if self._has_tags else ()

    async def load_site(self, site_id: str) -> Site | None:
        """Return a site's configuration from the database."""
        row = await self._queries.site(site_id)
        return None if row is None else Site(bool(row[0]), row[1])

    async def load_user(self, user_id: str) -> User | None:
        """Return a user's lookup data from the database."""
        row = await self._queries.user(user_id)
        return None if row is None else User(row[0], row[1])

    async def load_attribution(
        self, conversion_id: str, model: str, scheme: Scheme
    ) -> bytes | None:
        """Return a conversion's credits, computed from its journey in the database."""
        journey = await self._queries.conversion_journey(conversion_id)
        if journey is None:
            return None
        if fault := journey.fault():
            raise Unusable(f"conversion {conversion_id[:40]!r}: {fault}")
        return credits_document(journey, model, scheme)

    async def load_journey(self, user_id: str) -> bytes | None:
        """Return a user's events from the database."""
        rows = await self._queries.user_journey(user_id)
        return journey_document(user_id, rows) if rows else None

    async def load_channels(self, model: str, scheme: Scheme) -> bytes:
        """Return the channels' performance from the database."""
        rows = await self._queries.channel_performance(model)
        return channels_document(rows, model, scheme)

    def tags_of(self, entry: OwnEntry, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Return the tag of *entry* for *arguments*, for invalidation."""
        return self.tags(entry.tag, arguments[0]) if entry.tag and arguments else ()

    def own_key(self, cache_type: str, arguments: tuple[str, ...]) -> str:
        """Return the whole key of the own entry of *cache_type* for *arguments*."""
        make, kind = self.own[cache_type].key, self.types[cache_type]
        if make is None:
            return cache_key(kind.prefix or kind.name, *arguments)
        return kind.key(make(*arguments))

    async def load_own(self, entry: OwnEntry, arguments: tuple[str, ...]) -> Any:
        """Return the value of *entry* for *arguments* from the database."""
        return await entry.load(self._queries, *arguments)

    def kind(self, name: str) -> CacheType[Any]:
        """Return a cache type by name."""
        return self.types[name]
