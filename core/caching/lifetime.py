"""How long a value may be served: its stay in L1, its TTL, and the policy's stale bounds."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from math import log

from core.caching.memory import Life
from core.caching.policy import CachePolicy
from core.context import Purpose

EARLY_SPAN = 16.0
"""beta times the load time, times this: how long before its end early refresh is drawn for; the
chance of one before that is e^-16."""


class Standing(Enum):
    """How a value that L1 retains may be served."""

    FRESH = "serve it; it may be renewed early"
    STALE = "serve it while it is renewed"
    PAUSED = "serve it: its load has just failed"
    ENDED = "it is only there to fall back on"


class Lifetime:
    """The times of entries under one policy; all are seconds of the cache's clock."""

    __slots__ = ("_beta", "_early", "_policy", "_uniform", "keeps", "stale_bound")

    def __init__(self, policy: CachePolicy, uniform: Callable[[Purpose], float] | None) -> None:
        if uniform is None and (policy.ttl_jitter or policy.early_refresh):
            raise ValueError("ttl_jitter and early_refresh draw random numbers: give uniform")
        self._policy = policy
        self._uniform = uniform
        self._beta = policy.early_refresh
        self._early = policy.early_refresh * EARLY_SPAN
        self.stale_bound = policy.stale_bound
        self.keeps = policy.stale_bound > 0 or policy.early_refresh > 0

    def ttl(self, ttl: float, *, is_negative: bool) -> float:
        """Return the TTL of a loaded value whose type has *ttl*, jitter drawn."""
        if is_negative:
            ttl = min(self._policy.negative_ttl, ttl)
        if self._policy.ttl_jitter and self._uniform is not None:
            ttl *= 1 - self._policy.ttl_jitter * self._uniform(Purpose.TTL_JITTER)
        return ttl

    def bounded(
        self, l1_until: float, fresh_until: float, load_seconds: float, tags: tuple[str, ...]
    ) -> tuple[float, Life | None]:
        """Return until when L1 answers with an entry at once, and what else it has to know.

        l1_until: the longest that it may stay there.
        """
        if fresh_until < l1_until:
            l1_until = fresh_until
        if not self.keeps:
            if not tags:
                return l1_until, None
            return l1_until, Life(l1_until, fresh_until, l1_until, load_seconds, tags=tags)
        until = fresh_until + self.stale_bound
        life = Life(until, fresh_until, l1_until, load_seconds, tags=tags)
        # In its last part each read draws whether it renews the value.
        return min(l1_until, fresh_until - self._early * load_seconds), life

    def standing(self, life: Life, now: float) -> Standing:
        """Return what may be done at *now* with an entry that L1 no longer answers with."""
        if now < life.l1_until:
            return Standing.FRESH
        policy, end = self._policy, life.fresh_until
        is_kept_for_errors = policy.stale_if_error > 0 and now < end + policy.stale_if_error
        if is_kept_for_errors and now < life.retry_at:
            return Standing.PAUSED
        # What left L1 within its TTL may have been invalidated since by another process: L2 knows.
        if life.l1_until == end and now < end + policy.stale_while_revalidate:
            return Standing.PAUSED if now < life.retry_at else Standing.STALE
        return Standing.ENDED

    def renews_early(self, now: float, fresh_until: float, load_seconds: float) -> bool:
        """Return whether a read at *now* renews a fresh value (XFetch); draws near its end."""
        if self._uniform is None or now + self._early * load_seconds < fresh_until:
            return False
        u = self._uniform(Purpose.EARLY_REFRESH)
        return now - self._beta * load_seconds * log(1 - u) >= fresh_until
