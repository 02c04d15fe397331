"""A cache entry of a custom endpoint: its key, its value and its tag."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from core.caching.policy import Codec, Text


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnEntry:
    """The entries of one cache type: their loading, keys and tags, also for warm starts.

    load: given the `Queries` and the arguments of the read, a coroutine that returns the value,
    None if there is none. The arguments are those of the endpoint; a read by site has the
    site's id, a read with one entry for all has none. key: given the same arguments, the cache
    key; without it the key is made of the arguments. Whole keys begin with the cache type's name.
    codec: of values in L2; the default is for documents, which are bytes. tag: what the
    first argument is ("user"), for invalidation by tag; "" for no tag.
    """

    load: Callable[..., Awaitable[Any]]
    key: Callable[..., str] | None = None
    codec: Codec[Any] = field(default_factory=Text)
    tag: str = ""
