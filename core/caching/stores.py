"""Which store L2 is, by the scheme of its URL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from core.caching.channel import InvalidationChannel
from core.caching.kv import KVStore
from core.errors import InputError
from core.extensions import installed, installed_names
from core.texts import without_secrets

GROUP = "edgeproof.stores"
"""The entry points through which an installed package adds stores; each is named as its scheme."""


class OpensStore(Protocol):
    """Makes a store; called in a running event loop."""

    def __call__(self, url: str, *, timeout: float, namespace: str) -> KVStore:
        """Return the store at *url*; InputError if it is not usable.

        timeout: seconds for an operation, its repetitions included. namespace: what every key in
        the store begins with, so that services can share it.
        """
        ...


class OpensChannel(Protocol):
    """Makes a channel of invalidations; called in a running event loop."""

    def __call__(self, url: str, name: str, *, timeout: float) -> InvalidationChannel:
        """Return the channel *name* of the store at *url*; InputError if it is not usable.

        timeout: seconds for publishing and for subscribing.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class L2Store:
    """A kind of store that L2 can be.

    schemes: of the URLs that mean it, in small letters. example: a URL, for messages. store: opens
    it. channel: opens what carries invalidations to other processes; None if it has no such thing.
    """

    schemes: tuple[str, ...]
    example: str
    store: OpensStore
    channel: OpensChannel | None = None


class L2Stores:
    """A table of stores by scheme, which does not change."""

    __slots__ = ("_stores",)

    def __init__(self, *stores: L2Store) -> None:
        """Raise ValueError if two stores have one scheme."""
        self._stores = {scheme: store for store in stores for scheme in store.schemes}
        schemes = [scheme for store in stores for scheme in store.schemes]
        for scheme in schemes:
            if schemes.count(scheme) > 1:
                raise ValueError(f"two stores have the scheme {scheme!r}; rename one")

    def __iter__(self) -> Iterator[L2Store]:
        return iter(dict.fromkeys(self._stores.values()))

    def __or__(self, other: L2Stores) -> L2Stores:
        """Return a table with the stores of both; ValueError if they share a scheme."""
        return L2Stores(*self, *other)

    def of(self, url: str) -> L2Store:
        """Return the store that *url* means, from here or from an installed package.

        A scheme that stands here is never looked for elsewhere. Raise InputError, with the schemes
        that there are, if no store has it, and if what a package gives is no store of that scheme.
        """
        scheme, colon, _ = url.partition(":")
        scheme = scheme.lower() if colon else ""
        store = self._stores.get(scheme)
        if store is not None:
            return store
        found = installed(GROUP, scheme)
        if found is None:
            known = dict.fromkeys((*self._stores, *installed_names(GROUP)))
            what = f"no store has the scheme {scheme!r}" if _is_scheme(scheme) else "no URL"
            raise InputError(
                f"--redis {without_secrets(url)}: {what}; known are {', '.join(known)}, such as "
                + " or ".join(store.example for store in self)
            )
        if not isinstance(found, L2Store) or scheme not in found.schemes:
            raise InputError(
                f"the entry point {scheme!r} of {GROUP} is {found!r:.80}; it has to be an L2Store "
                "of that scheme"
            )
        return found


def _is_scheme(text: str) -> bool:
    return text[:1].isalpha() and all(c.isalnum() or c in "+-." for c in text)


def _redis_store(url: str, *, timeout: float, namespace: str) -> KVStore:
    from core.caching.redis_kv import redis_kv  # redis is slow to import

    return redis_kv(url, timeout=timeout, namespace=namespace)


def _redis_channel(url: str, name: str, *, timeout: float) -> InvalidationChannel:
    from core.caching.redis_channel import redis_channel

    return redis_channel(url, name, timeout=timeout)


STORES = L2Stores(
    L2Store(
        schemes=("redis", "rediss", "unix"),
        example="redis://127.0.0.1:6379/0",
        store=_redis_store,
        channel=_redis_channel,
    )
)
"""The stores that come with edgeproof."""
