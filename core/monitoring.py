"""The monitoring endpoints: what the service says of itself, and what changes its state."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core.answers import problem, refused, success
from core.application import Application
from core.caching.statistics import COLUMNS
from core.errors import InputError, StoreError
from core.incoming import (
    BadRequest,
    epoch_ms_of,
    json_object,
    parse_invalidation,
    read_body,
    shown,
)
from core.profiling import summarise
from core.reference import Reference

TOKEN_VARIABLE = "EDGEPROOF_TOKEN"  # the name of the variable, not a token
PREFIX = "/api/performance"


class Monitoring:
    """Handlers over the `Reference` that *reference* returns; *token* opens what changes it."""

    def __init__(self, reference: Callable[[], Reference], token: str | None) -> None:
        self._reference = reference
        self._token = token

    def routes(self) -> list[Route]:
        """Return the monitoring endpoints."""
        return [
            Route(f"{PREFIX}/stats", self._stats),
            Route(f"{PREFIX}/cache-stats", self._cache_stats),
            Route(f"{PREFIX}/query-stats", self._query_stats),
            Route(f"{PREFIX}/latency-summary", self._latency_summary),
            Route(f"{PREFIX}/cache-invalidate", self._invalidate, methods=["POST"]),
            Route(f"{PREFIX}/run", self._run, methods=["POST"]),
        ]

    async def _stats(self, _: Request) -> Response:
        reference = self._reference()
        profiler = reference.profiler
        performance = {
            "requests": profiler.summary("request"),
            "queries": profiler.summary("query"),
            "cache": self._cache_latencies(),
            "external": profiler.summary("external"),
            "queue": profiler.summary("queue"),
        }
        cumulative = {
            "histograms": {
                kind: reference.histogram(kind).to_json()
                for kind in ("request", "query", "queue", "external")
            },
            "counters": reference.counters(),
            "process": reference.process_figures(),
        }
        return success({"performance": performance, "cumulative": cumulative})

    def _cache_latencies(self) -> dict[str, Any]:
        profiler = self._reference().profiler
        return {
            tier.lower(): summarise(profiler.profile("cache", tier).histogram)
            for tier in ("L1", "L2")
        }

    async def _cache_stats(self, _: Request) -> Response:
        reference = self._reference()
        return success({"cache": cache_report(reference)})

    async def _query_stats(self, _: Request) -> Response:
        profiler, executor = self._reference().profiler, self._reference().executor
        return success(
            {
                "queries": profiler.summary("query"),
                "by_name": profiler.summary_by_name("query"),
                "statements": executor.statistics(),
                "cache": self._query_cache(),
                "slow": [asdict(slow) for slow in await executor.slow_queries()],
            }
        )

    def _query_cache(self) -> dict[str, int] | None:
        """Return what the cache of rows holds and has answered, None without one."""
        cache = self._reference().query_cache
        if cache is None:
            return None
        return {"entries": len(cache), "bytes": cache.bytes, "hits": cache.hits}

    async def _latency_summary(self, _: Request) -> Response:
        profiler = self._reference().profiler
        return success(
            {
                "latency": {
                    "requests": profiler.summary("request"),
                    "requests_by_endpoint": profiler.summary_by_name("request"),
                    "queries": profiler.summary("query"),
                    "cache": self._cache_latencies(),
                    "externalAPIs": profiler.summary("external"),
                    "queue": profiler.summary("queue"),
                }
            }
        )

    async def _invalidate(self, request: Request) -> Response:
        self._authorise(request)
        try:
            target = parse_invalidation(await read_body(request))
            if target.tag is not None and not self._reference().scenario.tiers.tags:
                raise BadRequest(
                    f"tag is {shown(target.tag)}; nothing here has tags: set tiers.tags = true"
                )
        except InputError as error:
            return refused(*problem(400, "bad_request", str(error)))
        try:
            removed = await self._reference().invalidator.invalidate(target)
        except StoreError as error:
            message = f"{error}; these isolates refuse the old values, L2 may hold them: try again"
            return refused(*problem(503, "store_error", message))
        return success({"invalidated": {"l1": removed.l1, "l2": removed.l2}})

    async def _run(self, request: Request) -> Response:
        self._authorise(request)
        try:
            data = json_object(await read_body(request))
            starts_at_ms = data.get("starts_at_ms")
            if starts_at_ms is not None:
                starts_at_ms = epoch_ms_of(starts_at_ms, "starts_at_ms")
        except InputError as error:
            return refused(*problem(400, "bad_request", str(error)))
        try:
            starts_in, at_ms = await self._reference().begin_run(starts_at_ms)
        except StoreError as error:
            message = f"{error}; the caches are not as the run needs them: try again"
            return refused(*problem(503, "store_error", message))
        return success({"starts_in": starts_in, "starts_at_ms": at_ms})

    def _authorise(self, request: Request) -> None:
        if self._token is None:
            raise HTTPException(403, f"start the service with {TOKEN_VARIABLE} set to use this")
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        is_known = hmac.compare_digest(given.strip().encode(), self._token.encode())
        if scheme.lower() != "bearer" or not is_known:
            raise HTTPException(401, "send the service's token: Authorization: Bearer TOKEN")


def cache_report(application: Application) -> dict[str, Any]:
    """Return what the caches of all isolates did: shares of all reads, tiers and types."""
    l1, behind = application.cache_statistics()
    caches = application.caches
    by_type = {
        name: dict(zip(COLUMNS, counts, strict=True))
        for name, counts in (sorted(behind.outcomes.items()))
    }
    for counts in by_type.values():
        del counts["none"]
    outcomes = [column for column in COLUMNS if column != "none"]
    totals = {name: sum(counts[name] for counts in by_type.values()) for name in outcomes}
    reads = sum(totals[name] for name in outcomes if name not in ("negative", "stale"))
    l1_bytes: dict[str, int] = {}
    for cache in caches:
        for name, size in cache.l1.bytes_by_kind().items():
            l1_bytes[name] = l1_bytes.get(name, 0) + size

    def share(*names: str) -> float | None:
        return sum(totals[name] for name in names) / reads if reads else None

    l2 = {
        name.removeprefix("l2_"): count
        for name, count in asdict(behind).items()
        if name.startswith("l2_")
    }
    return {
        "reads": reads,
        "l1_ratio": share("l1"),
        "l2_ratio": share("l2"),
        "hit_ratio": share("l1", "l2"),
        "miss_ratio": share("miss", "collapsed", "bypass"),
        "by_type": by_type,
        "l1": {
            "entries": sum(len(cache.l1) for cache in caches),
            "bytes": sum(cache.l1.bytes for cache in caches),
            "bytes_by_prefix": dict(sorted(l1_bytes.items())),
            **asdict(l1),
        },
        "l2": {
            **l2,
            "breaker": "closed" if application.breaker.is_closed else "open",
            "breaker_openings": application.breaker.openings,
        },
        "loads": {
            "started": behind.loads,
            "failed": behind.load_errors,
            "in_background": behind.refreshes,
            "overtaken": behind.overtaken,
            "coalesced": totals["collapsed"],
        },
        "invalidation": {
            "remembered": len(application.invalidator.stamps),
            "received": application.invalidator.received,
            "gaps": application.invalidator.gaps,
            "not_sent": application.invalidator.unheard,
        },
    }
