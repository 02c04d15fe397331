"""An endpoint of one's own: all that one writes for it."""

from __future__ import annotations

import json

from core.application.behaviour import Answer, Behaviour
from core.application.cdp import Cdp
from core.application.entry import OwnEntry
from core.context import Span
from core.endpoint import Endpoint, Read
from core.query.queries import Queries
from core.query.statement import Statement

_SEGMENT = Statement("segment", "SELECT segment FROM users WHERE user_id = ?")


async def _load(queries: Queries, user_id: str) -> bytes | None:
    rows = await queries.read(_SEGMENT, user_id)
    return json.dumps({"user_id": user_id, "segment": rows[0][0]}).encode() if rows else None


BEHAVIOUR = Behaviour(
    entries={"profiles": OwnEntry(load=_load, tag="user")},
    absent=("no_profile", "user {!r} is not known; name another one"),
    answers="The user's segment.",
)
PROFILE = Endpoint(
    name="profile",
    path="/profile/{user_id}",
    title="profile requests",
    summary="What is known of a user.",
    subject="user",
    reads=(Read(name="profile", cache_type="profiles", ttl=120.0),),
    cpu=200e-6,
    weight=0.25,
    behaviour=f"{__name__}:BEHAVIOUR",
)


def _twice(cdp: Cdp) -> Answer:
    read = cdp.reading("profile", "profiles")

    async def answer(span: Span, isolate: int, user_id: str) -> bytes | None:
        await read(span, isolate, user_id)
        found: bytes | None = await read(span, isolate, user_id)
        return found

    return answer


TWICE = Behaviour(entries=BEHAVIOUR.entries, answer=_twice)
"""Makes one read more than the description has."""
