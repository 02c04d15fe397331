"""The HTTP face of the application: its four endpoints and the monitoring ones."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core import openapi
from core.answers import Answer, problem, refused
from core.cdp import NotAccepted, Unusable
from core.errors import EdgeproofError, InputError, StoreError, StoreTimeout
from core.incoming import (
    BadRequest,
    BodyTooLarge,
    identifier,
    model_of_query,
    no_query,
    parse_event,
    read_body,
)
from core.monitoring import TOKEN_VARIABLE, Monitoring, handled
from core.reference import Metered, Reference, WorkerPlan
from core.scenario import ENDPOINTS
from core.siblings import Siblings
from core.span import Span
from core.wire import ISOLATE_HEADER, cache_status, server_timing


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
        count = plan.scenario.topology.process_count
        siblings = Siblings(plan.roster, position=plan.position, count=count)
        self._monitoring = Monitoring(lambda: self.reference, siblings, token)
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
        return [
            Route("/track", self._endpoint("track", self._track), methods=["POST"]),
            Route("/attribution/{id:path}", self._endpoint("attribution", self._attribution)),
            Route("/journey/{id:path}", self._endpoint("journey", self._journey)),
            Route("/channels", self._endpoint("channels", self._channels)),
            *self._monitoring.routes(),
            Route(openapi.PATH, handled(self._document)),
        ]

    async def _document(self, request: Request) -> Response:
        no_query(request)
        body = json.dumps(openapi.document(self._plan.scenario)).encode()
        return Response(body, 200, None, "application/json")

    def _endpoint(
        self, name: str, handle: Callable[[Request, Span, int], Awaitable[Answer]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            started = perf_counter()
            span = Span()
            try:
                isolate = self._isolate(request)
                status, body = await Metered(handle(request, span, isolate), span)
            except Unusable as error:
                status, body = problem(422, "unusable_data", str(error))
            except NotAccepted as error:
                status, body = problem(403, "not_accepted", str(error))
            except InputError as error:
                status, body = problem(400, "bad_request", str(error))
            except StoreTimeout as error:
                status, body = problem(504, "store_timeout", f"{error}; try again later")
            except StoreError as error:
                status, body = problem(503, "store_error", f"{error}; try again later")
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
        try:
            body = await read_body(request)
        except BodyTooLarge as error:
            return problem(413, "too_large", str(error))
        event = parse_event(body)
        is_new = await self.reference.cdp.track(span, isolate, event, len(body))
        return 202, b'{"accepted":true,"duplicate":false}' if is_new else (
            b'{"accepted":true,"duplicate":true}'
        )

    async def _attribution(self, request: Request, span: Span, isolate: int) -> Answer:
        conversion = identifier(request.path_params["id"], "conversion id")
        model = model_of_query(request)
        document = await self.reference.cdp.attribution(span, isolate, conversion, model)
        if document is None:
            return problem(
                404, "no_conversion", f"conversion {conversion!r} is not known; track it first"
            )
        return 200, document

    async def _journey(self, request: Request, span: Span, isolate: int) -> Answer:
        user = identifier(request.path_params["id"], "user id")
        document = await self.reference.cdp.journey(span, isolate, user)
        if document is None:
            return problem(404, "no_journey", f"user {user!r} has no events; track one first")
        return 200, document

    async def _channels(self, request: Request, span: Span, isolate: int) -> Answer:
        return 200, await self.reference.cdp.channels(span, isolate, model_of_query(request))


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
    return refused(*problem(error.status_code, code, message), headers=headers)


async def _unexpected(_: Request, error: Exception) -> Response:
    return refused(*problem(500, "internal", f"unexpected {type(error).__name__}; see the log"))


assert set(ENDPOINTS) == {"track", "attribution", "journey", "channels"}
