"""The monitoring endpoints: what the service says of itself, and what changes its state."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core.errors import InputError, StoreError
from core.metrics.exposition import rendered
from core.metrics.profiler import LatencyProfiler, summarise
from core.service.cache_statistics import cache_report
from core.service.families import service_families
from core.service.openapi import METRICS_PATH
from core.service.peers import Peers, Reply
from core.service.problems import problem_of, store_failed
from core.service.process import ServedApplication
from core.service.requests import (
    BadRequest,
    choice_of_query,
    epoch_ms_of,
    json_object,
    no_query,
    parse_invalidation,
    read_body,
)
from core.service.responses import refused, success
from core.service.statistics import PARTS, ProcessFigures, merged
from core.texts import shown
from core.wire import PREFIX, TOKEN_VARIABLE

SCOPES = ("service", "process")
KINDS = ("request", "query", "queue", "external")
"""The kinds of latency whose histograms `stats` gives whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The figures of the workers that answered, and what is said of those that did not."""

    figures: ProcessFigures
    said: dict[str, Any]


class Monitoring:
    """Handlers over the application that *reference* returns; *token* opens what changes it.

    is_public: whether what only tells wants the token, too.
    """

    def __init__(
        self,
        reference: Callable[[], ServedApplication],
        peers: Peers,
        token: str | None,
        *,
        is_public: bool = False,
    ) -> None:
        self._reference = reference
        self._peers = peers
        self._token = token
        self._is_public = is_public

    def routes(self) -> list[Route]:
        """Return the monitoring endpoints."""
        return [
            Route(f"{PREFIX}/stats", self._told(self._stats)),
            Route(f"{PREFIX}/cache-stats", self._told(self._cache_stats)),
            Route(f"{PREFIX}/query-stats", self._told(self._query_stats)),
            Route(f"{PREFIX}/latency-summary", self._told(self._latency_summary)),
            Route(f"{PREFIX}/figures", self._told(self._figures)),
            Route(METRICS_PATH, self._told(self._metrics)),
            Route(f"{PREFIX}/cache-invalidate", handled(self._invalidate), methods=["POST"]),
            Route(f"{PREFIX}/run", handled(self._run), methods=["POST"]),
        ]

    def _told(
        self, handle: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return *handle* as an endpoint, behind the token where the service is public."""

        async def endpoint(request: Request) -> Response:
            if self._is_public:
                self._authorise(request)
            return await handle(request)

        return handled(endpoint)

    @property
    def _credentials(self) -> dict[str, str]:
        return {} if self._token is None else {"Authorization": f"Bearer {self._token}"}

    async def _gather(self, scope: str, part: str = "latencies") -> Gathered:
        parts, said = await self._gather_parts(scope, part)
        return Gathered(figures=parts[0] if scope == "process" else merged(parts), said=said)

    async def _gather_parts(
        self, scope: str, part: str
    ) -> tuple[list[ProcessFigures], dict[str, Any]]:
        """Return the figures of each worker that answered, and what is said of the others."""
        own = await self._reference().figures(part)
        if scope == "process":
            return [own], self._said(scope, [])
        replies = await self._peers.ask(
            "GET", f"{PREFIX}/figures?of={part}", headers=self._credentials
        )
        parts = [own]
        for position, reply in enumerate(replies):
            if reply.data is not None:
                try:
                    parts.append(ProcessFigures.from_json(reply.data))
                except (LookupError, TypeError, ValueError):
                    replies[position] = Reply(worker=reply.worker, fault="it is another program")
        said = self._said(scope, replies)
        if fault := self._reference().consumer_fault():
            said["workers"]["silent"].append({"worker": "consumer", "reason": fault})
        elif any(reply.worker == 0 and reply.data is None for reply in replies):
            reason = "worker 0, which tells its figures, does not answer"
            said["workers"]["silent"].append({"worker": "consumer", "reason": reason})
        return parts, said

    def _said(self, scope: str, replies: Sequence[Reply]) -> dict[str, Any]:
        answered = [
            self._reference().plan.position,
            *(r.worker for r in replies if r.data is not None),
        ]
        silent = [
            {"worker": reply.worker, "reason": reply.fault}
            for reply in replies
            if reply.data is None
        ]
        return {"scope": scope, "workers": {"answered": sorted(answered), "silent": silent}}

    async def _figures(self, request: Request) -> Response:
        part = choice_of_query(request, "of", PARTS)
        return success((await self._reference().figures(part)).to_json())

    async def _stats(self, request: Request) -> Response:
        scope = scope_of(request)
        gathered = await self._gather(scope)
        figures = gathered.figures
        profiler = figures.profiler
        performance = {
            "requests": profiler.summary("request"),
            "queries": profiler.summary("query"),
            "cache": _cache_latencies(profiler),
            "external": profiler.summary("external"),
            "queue": profiler.summary("queue"),
        }
        kinds = dict.fromkeys((*KINDS, *self._reference().scenario.metrics.table.kinds))
        cumulative: dict[str, Any] = {
            "histograms": {kind: profiler.histogram(kind).to_json() for kind in kinds},
            "counters": figures.counters,
        }
        if scope == "process":
            (process,) = figures.processes
            cumulative["process"] = {n: value for n, value in process.items() if n != "worker"}
        else:
            cumulative["processes"] = sorted(figures.processes, key=lambda one: one["worker"])
        return success({"performance": performance, "cumulative": cumulative, **gathered.said})

    async def _cache_stats(self, request: Request) -> Response:
        gathered = await self._gather(scope_of(request), "caches")
        return success({"cache": cache_report(gathered.figures.caches), **gathered.said})

    async def _query_stats(self, request: Request) -> Response:
        gathered = await self._gather(scope_of(request), "queries")
        figures = gathered.figures
        statements = {name: found.to_json() for name, found in figures.statements.items()}
        return success(
            {
                "queries": figures.profiler.summary("query"),
                "by_name": figures.profiler.summary_by_name("query"),
                "statements": statements,
                "slow": figures.slow,
                **gathered.said,
            }
        )

    async def _latency_summary(self, request: Request) -> Response:
        gathered = await self._gather(scope_of(request))
        profiler = gathered.figures.profiler
        return success(
            {
                "latency": {
                    "requests": profiler.summary("request"),
                    "requests_by_endpoint": profiler.summary_by_name("request"),
                    "queries": profiler.summary("query"),
                    "cache": _cache_latencies(profiler),
                    "externalAPIs": profiler.summary("external"),
                    "queue": profiler.summary("queue"),
                    "slow_requests": gathered.figures.slow_requests,
                },
                **gathered.said,
            }
        )

    async def _metrics(self, request: Request) -> Response:
        scope = scope_of(request)
        parts, said = await self._gather_parts(scope, "metrics")
        each = [one for part in parts for one in (part, *part.apart)]
        silent = [str(one["worker"]) for one in said["workers"]["silent"]]
        scenario = self._reference().scenario.name
        accepted = request.headers.get("Accept", "")
        # In a thread: the client library is imported here, and requests go on meanwhile.
        body, content_type = await asyncio.to_thread(
            lambda: rendered(service_families(each, silent, scenario=scenario), accepted)
        )
        return Response(body, 200, {"Content-Type": content_type})

    async def _invalidate(self, request: Request) -> Response:
        self._authorise(request)
        scope = scope_of(request)
        body = await read_body(request)
        target = parse_invalidation(body)
        reference = self._reference()
        if target.tag is not None and not reference.scenario.tiers.tags:
            raise BadRequest(
                f"tag is {shown(target.tag)}; nothing here has tags: set tiers.tags = true"
            )
        if scope == "process":
            removed = {"l1": reference.invalidator.forget(target)}
            return success({"invalidated": removed, **self._said(scope, [])})
        # The peers first: once the message of the pub/sub channel has reached them, nobody
        # can count any more what goes from their L1.
        replies = await self._peers.ask(
            "POST",
            f"{PREFIX}/cache-invalidate?scope=process",
            headers=self._credentials,
            body=body,
        )
        try:
            here, l2 = await reference.invalidator.invalidate(target)
        except StoreError as error:
            lost = "".join(
                f"; worker {reply.worker} did not answer ({reply.fault})"
                for reply in replies
                if reply.data is None
            )
            message = f"{error}; these isolates refuse the old values, L2 may hold them: try again"
            return refused(*store_failed(message + lost))
        l1 = here + sum(reply.data["invalidated"]["l1"] for reply in replies if reply.data)
        return success({"invalidated": {"l1": l1, "l2": l2}, **self._said(scope, replies)})

    async def _run(self, request: Request) -> Response:
        self._authorise(request)
        no_query(request)
        data = json_object(await read_body(request))
        starts_at_ms = data.get("starts_at_ms")
        if starts_at_ms is not None:
            starts_at_ms = epoch_ms_of(starts_at_ms, "starts_at_ms")
        try:
            starts_in, at_ms = await self._reference().begin_run(starts_at_ms)
        except StoreError as error:
            message = f"{error}; the caches are not as the run needs them: try again"
            return refused(*store_failed(message))
        return success({"starts_in": starts_in, "starts_at_ms": at_ms})

    def _authorise(self, request: Request) -> None:
        if self._token is None:
            raise HTTPException(403, f"start the service with {TOKEN_VARIABLE} set to use this")
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        is_known = hmac.compare_digest(given.strip().encode(), self._token.encode())
        if scheme.lower() != "bearer" or not is_known:
            raise HTTPException(
                401,
                "send the service's token: Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )


def handled(
    handle: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Return *handle* as an endpoint that answers bad requests with what is wrong with them."""

    async def endpoint(request: Request) -> Response:
        try:
            return await handle(request)
        except InputError as error:
            return refused(*problem_of(error))

    return endpoint


def scope_of(request: Request) -> str:
    """Return whose figures are asked for; BadRequest for a scope that is none."""
    return choice_of_query(request, "scope", SCOPES)


def _cache_latencies(profiler: LatencyProfiler) -> dict[str, Any]:
    return {
        tier.lower(): summarise(profiler.profile("cache", tier).histogram) for tier in ("L1", "L2")
    }
