"""The HTTP face of the application: its endpoints and the monitoring ones."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from core.application.behaviour import behaviours_of
from core.endpoints import EndpointTable
from core.errors import EdgeproofError
from core.service import openapi
from core.service.endpoint import HttpEndpoint
from core.service.handling import handle_of
from core.service.monitoring import Monitoring, handled
from core.service.peers import Peers
from core.service.plan import WorkerPlan
from core.service.problems import CODES
from core.service.process import ServedApplication
from core.service.remote import open_remote
from core.service.requests import no_query
from core.service.responses import problem, refused
from core.wire import service_token


def create_app(plan: WorkerPlan, *, token: str | None = None) -> Starlette:
    """Return the ASGI application of one process; *token* opens what changes its state.

    Without a token those endpoints answer 403.
    """
    service = Service(plan, token or service_token())
    app = _Application(
        plan.scenario.endpoints,
        service.endpoints,
        routes=service.routes(),
        lifespan=service.lifespan,
        exception_handlers={HTTPException: _http_error, Exception: _unexpected},
    )
    app.router.redirect_slashes = False  # a path is known or it is not; no answer without JSON
    return app


class _Application(Starlette):
    """Starlette, whose routing the endpoints are spared: it costs as much as an L1 hit.

    A request that is not plainly one of theirs takes the usual way, to the same endpoints.
    """

    def __init__(
        self, table: EndpointTable, endpoints: Mapping[str, HttpEndpoint], **options: Any
    ) -> None:
        super().__init__(**options)
        self._direct = {
            (each.method, each.segment, each.identifier is not None): ServerErrorMiddleware(
                endpoints[each.name], _unexpected
            )
            for each in table
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or go through the lifespan."""
        if scope["type"] == "http":
            path: str = scope["path"]
            name, slash, identifier = path[1:].partition("/")
            direct = self._direct.get((scope["method"], name, bool(slash)))
            if direct is not None and "\n" not in path:
                scope["path_params"] = {"id": identifier}
                await direct(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


class Service:
    """Handlers over one `ServedApplication`, which lives from start-up to shutdown."""

    reference: ServedApplication

    def __init__(self, plan: WorkerPlan, token: str | None) -> None:
        self._plan = plan
        count = plan.scenario.topology.process_count
        peers = Peers(plan.roster, position=plan.position, count=count)
        self._monitoring = Monitoring(
            lambda: self.reference, peers, token, is_public=plan.is_public
        )
        self._table, isolates = plan.scenario.endpoints, plan.scenario.topology.isolates
        self._behaviours = behaviours_of(self._table)
        self.endpoints = {
            each.name: HttpEndpoint(
                each.name,
                handle_of(each, self._behaviours[each.name], lambda: self.reference),
                lambda: self.reference,
                isolates,
                each.slots,
            )
            for each in self._table
        }

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Start and end with the server; what kept it from starting stands in app.state.failure."""
        try:
            remote = await open_remote(self._plan.scenario) if self._plan.database else None
            self.reference = ServedApplication(self._plan, remote)
            await self.reference.start()
        except EdgeproofError as error:
            app.state.failure = error
            raise
        yield
        await self.reference.close()

    def routes(self) -> list[Route]:
        """Return every route."""
        return [
            *(
                Route(
                    f"/{each.segment}/{{id:path}}" if each.identifier else f"/{each.segment}",
                    self.endpoints[each.name],
                    methods=[each.method],
                )
                for each in self._table
            ),
            *self._monitoring.routes(),
            Route(openapi.PATH, handled(self._document)),
        ]

    async def _document(self, request: Request) -> Response:
        no_query(request)
        body = json.dumps(
            openapi.document(self._plan.scenario, self._behaviours, is_public=self._plan.is_public)
        ).encode()
        return Response(body, 200, None, "application/json")


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    messages = {
        404: "no such path; see docs/service.md for those there are",
        405: "this path takes another method; the Allow header names it",
    }
    message = messages.get(error.status_code, error.detail)
    code = CODES.get(error.status_code, "error")
    headers = dict(error.headers) if error.headers else None
    return refused(*problem(error.status_code, code, message), headers=headers)


async def _unexpected(_: Request, error: Exception) -> Response:
    message = (
        f"unexpected {type(error).__name__}: a fault of the service, or a row of its database that "
        "was changed by hand; its traceback is in the output of edgeproof serve"
    )
    return refused(*problem(500, "internal", message))
