"""An endpoint's behaviour: its description names it, and the set-up of a process loads it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from core.application.cdp import Cdp
from core.application.entry import OwnEntry
from core.endpoint import Endpoint
from core.endpoints import EndpointTable
from core.errors import InputError

Answer = Callable[..., Awaitable[Any]]
"""A coroutine function of (span, isolate, *arguments)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """The behaviour of an endpoint, without any web framework or engine.

    entries: of the cache types that it adds, by name. answer: takes the application of a process
    and returns the function that answers requests: with a JSON document as bytes, None if there is
    nothing. Its arguments are the placeholders of the endpoint's path; for an endpoint that writes
    events the event, and the size of its body. Without *answer* the endpoint returns the entry of
    its first read. body: JSON documents by the result of *answer*, if that is not a document.
    absent: code and message of the answer with status 404; {} is the first argument. answers,
    schema and faults: the good answer in words, its JSON Schema, and the statuses of refusals, for
    OpenAPI.
    """

    entries: Mapping[str, OwnEntry] = field(default_factory=dict)
    answer: Callable[[Cdp], Answer] | None = None
    body: Mapping[Any, bytes] | None = None
    absent: tuple[str, str] = ("not_found", "nothing is known under {!r}")
    answers: str = "The answer."
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "object"})
    faults: tuple[int, ...] = (404, 504)


def behaviours_of(endpoints: EndpointTable) -> dict[str, Behaviour]:
    """Return the behaviour of each of *endpoints*, by its name.

    Raise InputError if a description names a missing behaviour, or reads a cache type without an
    entry.
    """
    found = {endpoint.name: _behaviour(endpoint) for endpoint in endpoints}
    known = {*Cdp.CACHE_TYPES, *entries_of(found)}
    for endpoint in endpoints:
        for read in endpoint.reads:
            if read.cache_type not in known:
                raise InputError(
                    f"endpoint {endpoint.name}: nothing loads the cache type {read.cache_type}; "
                    f"add an OwnEntry for it to {endpoint.behaviour}"
                )
    return found


def entries_of(behaviours: Mapping[str, Behaviour]) -> dict[str, OwnEntry]:
    """Return the entries that *behaviours* add, by cache type."""
    return {name: entry for each in behaviours.values() for name, entry in each.entries.items()}


def answers_of(
    endpoints: EndpointTable, behaviours: Mapping[str, Behaviour], cdp: Cdp
) -> dict[str, Answer]:
    """Return the function that answers each endpoint's requests on *cdp*, by its name."""
    return {each.name: _answer(each, behaviours[each.name], cdp) for each in endpoints}


def _behaviour(endpoint: Endpoint) -> Behaviour:
    module, _, name = endpoint.behaviour.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"endpoint {endpoint.name}: its behaviour {endpoint.behaviour} cannot be loaded "
            f"({error}); name a module that this process can import, and a Behaviour in it"
        ) from None
    if not isinstance(found, Behaviour):
        raise InputError(
            f"endpoint {endpoint.name}: {endpoint.behaviour} is a {type(found).__name__}; it has "
            "to be a Behaviour"
        )
    if found.answer is None and not (endpoint.reads and endpoint.reads[0].key == "subject"):
        raise InputError(
            f"endpoint {endpoint.name}: {endpoint.behaviour} has no answer; give it one, or let "
            "the endpoint's first read be one of its subject"
        )
    return found


def _answer(endpoint: Endpoint, behaviour: Behaviour, cdp: Cdp) -> Answer:
    if behaviour.answer is not None:
        return behaviour.answer(cdp)
    read = endpoint.reads[0]
    return cdp.reading(read.name, read.cache_type)
