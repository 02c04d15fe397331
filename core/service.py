"""The HTTP face of the application: its four endpoints and the monitoring ones."""

from __future__ import annotations

import hmac
import json
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core.cdp import MAX_ID_LENGTH, NotAccepted
from core.errors import EdgeproofError, InputError, StoreError, StoreTimeout
from core.population import Event
from core.profiling import summarise
from core.record import READ_OUTCOMES
from core.reference import Metered, Reference, WorkerPlan
from core.scenario import ENDPOINTS
from core.span import Span
from core.wire import ISOLATE_HEADER, cache_status, server_timing

MAX_BODY_BYTES = 65_536
MAX_KEYS = 1_000
_LARGEST = 1e15
TOKEN_VARIABLE = "EDGEPROOF_TOKEN"  # the name of the variable, not a token

Answer = tuple[int, bytes]


class BadRequest(InputError):
    """A request that cannot be served as it stands (status 400)."""


def create_app(plan: WorkerPlan, *, token: str | None = None) -> Starlette:
    """Return the ASGI application of one process; *token* opens what changes its state.

    Without a token those endpoints answer 403.
    """
    service = Service(plan, token or os.environ.get(TOKEN_VARIABLE) or None)
    app = Starlette(
        routes=service.routes(),
        lifespan=service.lifespan,
        exception_handlers={HTTPException: _http_error, Exception: _unexpected},
    )
    app.router.redirect_slashes = False  # a path is known or it is not; no answer without JSON
    return app


class Service:
    """Handlers over one `Reference`, which lives from start-up to shutdown."""

    reference: Reference

    def __init__(self, plan: WorkerPlan, token: str | None) -> None:
        self._plan = plan
        self._token = token
        self._isolates = plan.scenario.topology.isolates

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Start and end with the server; what kept it from starting stands in app.state.failure."""
        try:
            self.reference = Reference(self._plan)
            await self.reference.start()
        except EdgeproofError as error:
            app.state.failure = error
            raise
        yield
        await self.reference.close()

    def routes(self) -> list[Route]:
        """Return every route."""
        monitoring = "/api/performance"
        return [
            Route("/track", self._endpoint("track", self._track), methods=["POST"]),
            Route("/attribution/{id:path}", self._endpoint("attribution", self._attribution)),
            Route("/journey/{id:path}", self._endpoint("journey", self._journey)),
            Route("/channels", self._endpoint("channels", self._channels)),
            Route(f"{monitoring}/stats", self._stats),
            Route(f"{monitoring}/cache-stats", self._cache_stats),
            Route(f"{monitoring}/query-stats", self._query_stats),
            Route(f"{monitoring}/latency-summary", self._latency_summary),
            Route(f"{monitoring}/cache-invalidate", self._invalidate, methods=["POST"]),
            Route(f"{monitoring}/run", self._run, methods=["POST"]),
        ]

    def _endpoint(
        self, name: str, handle: Callable[[Request, Span, int], Awaitable[Answer]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            started = perf_counter()
            span = Span()
            try:
                isolate = self._isolate(request)
                status, body = await Metered(handle(request, span, isolate), span)
            except NotAccepted as error:
                status, body = _problem(403, "not_accepted", str(error))
            except InputError as error:
                status, body = _problem(400, "bad_request", str(error))
            except StoreTimeout as error:
                status, body = _problem(504, "store_timeout", f"{error}; try again later")
            except StoreError as error:
                status, body = _problem(503, "store_error", f"{error}; try again later")
            total = perf_counter() - started
            reference = self.reference
            reference.requests[name] += 1
            reference.own_cpu += span.cpu
            reference.profiler.record("request", name, total)
            for stage, seconds in span.stages:
                if stage == "l2":
                    reference.profiler.record("cache", "L2", seconds)
                elif stage == "l1":
                    reference.profiler.record("cache", "L1", seconds)
            timing = server_timing([*span.stages, ("cpu", span.cpu), ("total", total)])
            headers = {"Server-Timing": timing}
            if span.reads:
                headers["Cache-Status"] = cache_status(span.reads)
            return Response(body, status, headers, "application/json")

        return endpoint

    def _isolate(self, request: Request) -> int:
        text = request.headers.get(ISOLATE_HEADER, "0")
        if not text.isdecimal() or len(text) > 6 or int(text) >= self._isolates:
            raise BadRequest(
                f"{ISOLATE_HEADER} is {text[:20]!r}; this process has the isolates "
                f"0 to {self._isolates - 1}"
            )
        return int(text)

    async def _track(self, request: Request, span: Span, isolate: int) -> Answer:
        body = await _body(request)
        event = parse_event(body)
        is_new = await self.reference.cdp.track(span, isolate, event, len(body))
        return 202, b'{"accepted":true,"duplicate":false}' if is_new else (
            b'{"accepted":true,"duplicate":true}'
        )

    async def _attribution(self, request: Request, span: Span, isolate: int) -> Answer:
        identifier = _identifier(request.path_params["id"], "conversion id")
        document = await self.reference.cdp.attribution(span, isolate, identifier, _model(request))
        if document is None:
            return _problem(404, "no_conversion", f"conversion {identifier!r} is not known")
        return 200, document

    async def _journey(self, request: Request, span: Span, isolate: int) -> Answer:
        identifier = _identifier(request.path_params["id"], "user id")
        document = await self.reference.cdp.journey(span, isolate, identifier)
        if document is None:
            return _problem(404, "no_journey", f"user {identifier!r} has no events")
        return 200, document

    async def _channels(self, request: Request, span: Span, isolate: int) -> Answer:
        return 200, await self.reference.cdp.channels(span, isolate, _model(request))

    async def _stats(self, _: Request) -> Response:
        reference = self.reference
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
                kind: reference.histogram(kind).to_json() for kind in ("request", "query", "queue")
            },
            "counters": reference.counters(),
            "process": reference.process_figures(),
        }
        return _success({"performance": performance, "cumulative": cumulative})

    def _cache_latencies(self) -> dict[str, Any]:
        profiler = self.reference.profiler
        return {
            tier.lower(): summarise(profiler.profile("cache", tier).histogram)
            for tier in ("L1", "L2")
        }

    async def _cache_stats(self, _: Request) -> Response:
        caches = self.reference.caches
        by_type: dict[str, list[int]] = {}
        for cache in caches:
            for name, counts in cache.outcomes.items():
                total = by_type.setdefault(name, [0] * len(counts))
                by_type[name] = [a + b for a, b in zip(total, counts, strict=True)]
        reads = [sum(column) for column in zip(*by_type.values(), strict=True)] if by_type else []
        total = sum(reads[1:-1])
        statistics = [cache.l1.statistics for cache in caches]
        names = ("hits", "misses", "expired", "evicted", "invalidated", "refused")
        return _success(
            {
                "cache": {
                    "reads": total,
                    "l1_ratio": reads[1] / total if total else None,
                    "l2_ratio": reads[2] / total if total else None,
                    "hit_ratio": (reads[1] + reads[2]) / total if total else None,
                    "by_type": {
                        name: dict(zip((*READ_OUTCOMES[1:], "negative"), counts[1:], strict=True))
                        for name, counts in by_type.items()
                    },
                    "l1": {
                        "entries": sum(len(cache.l1) for cache in caches),
                        "bytes": sum(cache.l1.bytes for cache in caches),
                        **{name: sum(getattr(s, name) for s in statistics) for name in names},
                    },
                    "l2": {
                        "corrupt": sum(cache.corrupt for cache in caches),
                        "put_errors": sum(cache.put_errors for cache in caches),
                    },
                }
            }
        )

    async def _query_stats(self, _: Request) -> Response:
        profiler = self.reference.profiler
        executor = self.reference.executor
        return _success(
            {
                "queries": profiler.summary("query"),
                "by_name": profiler.summary_by_name("query"),
                "statements": executor.statistics(),
                "slow": [asdict(slow) for slow in await executor.slow_queries()],
            }
        )

    async def _latency_summary(self, _: Request) -> Response:
        profiler = self.reference.profiler
        return _success(
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
            keys, prefix = parse_invalidation(await _body(request))
        except InputError as error:
            return _refused(*_problem(400, "bad_request", str(error)))
        from_l1 = from_l2 = 0
        try:
            for cache in self.reference.caches:
                if prefix is not None:
                    from_l1 += cache.l1.delete_prefix(prefix)
                else:
                    from_l1 += sum(cache.l1.delete(key) for key in keys)
            if prefix is not None:
                from_l2 = await self.reference.kv.delete_prefix(prefix)
            else:
                from_l2 = await self.reference.kv.delete(*keys)
        except StoreError as error:
            message = f"{error}; L1 is invalidated, L2 is not: try again"
            return _refused(*_problem(503, "store_error", message))
        return _success({"invalidated": {"l1": from_l1, "l2": from_l2}})

    async def _run(self, request: Request) -> Response:
        self._authorise(request)
        try:
            data = _object(await _body(request))
            starts_at_ms = data.get("starts_at_ms")
            if starts_at_ms is not None:
                starts_at_ms = _epoch_ms(starts_at_ms, "starts_at_ms")
        except InputError as error:
            return _refused(*_problem(400, "bad_request", str(error)))
        try:
            starts_in, at_ms = await self.reference.begin_run(starts_at_ms)
        except StoreError as error:
            message = f"{error}; the caches are not as the run needs them: try again"
            return _refused(*_problem(503, "store_error", message))
        return _success({"starts_in": starts_in, "starts_at_ms": at_ms})

    def _authorise(self, request: Request) -> None:
        if self._token is None:
            raise HTTPException(403, f"start the service with {TOKEN_VARIABLE} set to use this")
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        is_known = hmac.compare_digest(given.strip().encode(), self._token.encode())
        if scheme.lower() != "bearer" or not is_known:
            raise HTTPException(401, "send the service's token: Authorization: Bearer TOKEN")


def parse_event(body: bytes) -> Event:
    """Return the event of a tracking request's body; BadRequest says what is wrong with it."""
    data = _object(body)

    def text(name: str, default: str | None = None) -> str:
        value = data.get(name, default)
        if value is None and default is not None:
            value = default
        return _identifier(value, name)

    timestamp = _epoch_ms(data.get("timestamp"), "timestamp")
    conversion, value = data.get("conversion_id"), None
    if conversion is not None:
        conversion = _identifier(conversion, "conversion_id")
        value = _amount(data.get("value"))
    return Event(
        event_id=text("event_id"),
        user_id=text("user_id"),
        site_id=text("site_id"),
        event_name=text("event_name"),
        timestamp_ms=timestamp,
        utm_source=text("utm_source", "(direct)"),
        conversion_id=conversion,
        value=value,
    )


def _epoch_ms(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise BadRequest(f"{name} is {_shown(value)}; it is epoch milliseconds")
    return value


def _amount(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        amount = float(value) if abs(value) < _LARGEST else math.inf
        if 0 <= amount < _LARGEST:
            return amount
    raise BadRequest(f"value is {_shown(value)}; a conversion's value is a number from 0 on")


def parse_invalidation(body: bytes) -> tuple[list[str], str | None]:
    """Return the keys, or the prefix, that an invalidation names; BadRequest if it names none."""
    data = _object(body)
    if unknown := sorted(set(data) - {"keys", "prefix"}):
        raise BadRequest(f"{_shown(unknown[0])} is not known; give keys or prefix")
    keys, prefix = data.get("keys"), data.get("prefix")
    if (keys is None) == (prefix is None):
        raise BadRequest("give either keys or prefix")
    if prefix is not None:
        if not isinstance(prefix, str) or not prefix:
            raise BadRequest(f"prefix is {_shown(prefix)}; it is a text that is not empty")
        return [], prefix
    if not isinstance(keys, list) or not 1 <= len(keys) <= MAX_KEYS:
        raise BadRequest(f"keys is a list of 1 to {MAX_KEYS} keys")
    for key in keys:
        if not isinstance(key, str) or not key:
            raise BadRequest(f"keys holds {_shown(key)}; a key is a text that is not empty")
    return keys, None


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise BadRequest(f"the body is larger than {MAX_BODY_BYTES:,} bytes; send less")
    return bytes(body)


def _object(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise BadRequest("the body is not a JSON object")
    return data


def _identifier(value: object, name: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID_LENGTH or "\0" in value:
        raise BadRequest(
            f"{name} is {_shown(value)}; it is a text of 1 to {MAX_ID_LENGTH} characters"
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"{name} is not valid Unicode") from None
    return value


def _model(request: Request) -> str:
    models = request.query_params.getlist("model")
    if len(models) != 1:
        raise BadRequest("give one ?model=, such as ?model=linear")
    return models[0]


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _problem(status: int, code: str, message: str) -> Answer:
    problem = {"success": False, "error": {"code": code, "message": message}}
    return status, json.dumps(problem).encode()


def _refused(status: int, body: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, "application/json")


def _success(data: dict[str, Any]) -> Response:
    data["timestamp"] = datetime.now(UTC).isoformat()
    body = json.dumps({"success": True, "data": data}, separators=(",", ":")).encode()
    return Response(body, 200, None, "application/json")


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {401: "not_authorised", 403: "not_allowed", 404: "not_found", 405: "method_not_allowed"}
    messages = {
        404: "no such path; see docs/service.md for those there are",
        405: "this path takes another method; the Allow header names it",
    }
    message = messages.get(error.status_code, error.detail)
    code = codes.get(error.status_code, "error")
    headers = dict(error.headers) if error.headers else None
    return _refused(*_problem(error.status_code, code, message), headers=headers)


async def _unexpected(_: Request, error: Exception) -> Response:
    return _refused(*_problem(500, "internal", f"unexpected {type(error).__name__}; see the log"))


assert set(ENDPOINTS) == {"track", "attribution", "journey", "channels"}
