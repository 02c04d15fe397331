"""What handles the requests of an endpoint over HTTP: arguments in, an answer out."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request

from core.application.behaviour import Behaviour
from core.context import Span
from core.endpoint import Endpoint
from core.service.endpoint import Handle
from core.service.process import ServedApplication
from core.service.requests import (
    BodyTooLarge,
    identifier,
    model_of_query,
    parameter_of_query,
    parse_event,
    read_body,
)
from core.service.responses import Answer, problem

Argument = Callable[[Request], str]
"""Returns one argument of a request; BadRequest if it has none that can be used."""

Served = Callable[[], ServedApplication]


def handle_of(endpoint: Endpoint, behaviour: Behaviour, reference: Served) -> Handle:
    """Return what answers the requests of *endpoint*; *reference* is asked once one comes."""
    if endpoint.writes == "event":
        return _writing(endpoint, behaviour, reference)
    return _reading(endpoint, behaviour, reference)


def _writing(endpoint: Endpoint, behaviour: Behaviour, reference: Served) -> Handle:
    name, status, bodies = endpoint.name, endpoint.status, behaviour.body

    async def handle(request: Request, span: Span, isolate: int) -> Answer:
        try:
            body = await read_body(request)
        except BodyTooLarge as error:
            return problem(413, "too_large", str(error))
        event = parse_event(body)
        found = await reference().answers[name](span, isolate, event, len(body))
        return status, found if bodies is None else bodies[found]

    return handle


def _reading(endpoint: Endpoint, behaviour: Behaviour, reference: Served) -> Handle:
    name, status, bodies = endpoint.name, endpoint.status, behaviour.body
    code, message = behaviour.absent
    arguments = arguments_of(endpoint)

    def answered(found: object, *given: str) -> Answer:
        if found is None:
            return problem(404, code, message.format(*given))
        return status, found if bodies is None else bodies[found]  # type: ignore[return-value]  # a document

    if len(arguments) == 1:
        (only,) = arguments

        async def handle(request: Request, span: Span, isolate: int) -> Answer:
            given = only(request)
            found = await reference().answers[name](span, isolate, given)
            if found is not None and bodies is None:
                return status, found
            return answered(found, given)

        return handle

    async def handle_many(request: Request, span: Span, isolate: int) -> Answer:
        given = [argument(request) for argument in arguments]
        return answered(await reference().answers[name](span, isolate, *given), *given)

    return handle_many


def arguments_of(endpoint: Endpoint) -> list[Argument]:
    """Return what reads the arguments of *endpoint*, in their order."""
    of_path = [] if endpoint.identifier is None else [_of_path(endpoint.identifier)]
    return [*of_path, *(_of_query(name) for name in endpoint.parameters)]


def _of_path(placeholder: str) -> Argument:
    label = placeholder.replace("_", " ")
    return lambda request: identifier(request.path_params["id"], label)


def _of_query(name: str) -> Argument:
    if name == "model":
        return model_of_query
    return lambda request: parameter_of_query(request, name)
