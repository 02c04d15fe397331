"""The tiered cache: L1 in memory, L2 in a shared store, and the loader behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.doors import front_door

if TYPE_CHECKING:
    from core.caching.breaker import CircuitBreaker
    from core.caching.edge_kv import EdgeKV
    from core.caching.invalidation import Invalidator, Removed
    from core.caching.invalidation_log import InvalidationLog, Selector
    from core.caching.keys import cache_key
    from core.caching.kv import KVStore, MemoryKV, NullKV, StoreItem
    from core.caching.memory import MemoryCache
    from core.caching.policy import CachePolicy, CacheType, Codec, Json, Text
    from core.caching.redis_kv import RedisKV
    from core.caching.stores import L2Store
    from core.caching.tiered import TieredCache
else:  # mypy would take any name for one that this offers
    __getattr__, __dir__ = front_door(
        __name__,
        {
            "CircuitBreaker": "breaker",
            "EdgeKV": "edge_kv",
            "Invalidator": "invalidation",
            "Removed": "invalidation",
            "InvalidationLog": "invalidation_log",
            "Selector": "invalidation_log",
            "cache_key": "keys",
            "KVStore": "kv",
            "MemoryKV": "kv",
            "NullKV": "kv",
            "StoreItem": "kv",
            "MemoryCache": "memory",
            "CachePolicy": "policy",
            "CacheType": "policy",
            "Codec": "policy",
            "Json": "policy",
            "Text": "policy",
            "RedisKV": "redis_kv",
            "L2Store": "stores",
            "TieredCache": "tiered",
        },
    )

__all__ = [
    "CachePolicy",
    "CacheType",
    "CircuitBreaker",
    "Codec",
    "EdgeKV",
    "InvalidationLog",
    "Invalidator",
    "Json",
    "KVStore",
    "L2Store",
    "MemoryCache",
    "MemoryKV",
    "NullKV",
    "RedisKV",
    "Removed",
    "Selector",
    "StoreItem",
    "Text",
    "TieredCache",
    "cache_key",
]
