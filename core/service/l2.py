"""The L2 of a service: the store that the scheme of a URL means, or one of the process's own."""

from __future__ import annotations

from core.caching.channel import InvalidationChannel
from core.caching.kv import KVStore
from core.caching.stores import STORES
from core.errors import InputError
from core.scenario.tiers import L2
from core.texts import without_secrets


def check_l2(tier: L2, url: str | None) -> None:
    """Raise InputError if no store has the scheme of *url*, or it lacks what *tier* asks for."""
    if url is not None and STORES.of(url).channel is None and tier.pubsub:
        raise InputError(
            f"--redis {without_secrets(url)}: this store carries no invalidations to other "
            "processes; give --set tiers.l2.pubsub=false to go without"
        )


def open_l2(
    tier: L2, url: str | None, *, namespace: str
) -> tuple[KVStore, InvalidationChannel | None]:
    """Return the store at *url*, and what carries invalidations if *tier* asks for that.

    Without a URL the store lives in this process. Raise InputError if the URL is not usable.
    """
    if url is None:
        from core.caching.redis_kv import embedded_kv  # another store needs no redis

        return embedded_kv(), None
    kind = STORES.of(url)
    channel = None
    if tier.pubsub and kind.channel is not None:
        channel = kind.channel(url, f"{namespace}invalidations", timeout=1.0)
    return kind.store(url, timeout=tier.timeout, namespace=namespace), channel
