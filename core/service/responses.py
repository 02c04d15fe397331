"""What the service answers: JSON in one envelope, problems with a code and a remedy."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

Answer = tuple[int, bytes]
"""Status and JSON body."""

WHOLE_ANSWER = "edgeproof.whole_answer"
"""The ASGI extension that answers a request at once: (status, fields, body) -> whether it did.

fields: header fields as they go over the wire, each with its line end, without Content-Length. One
write to the socket instead of two, and no message that is checked field by field. Where it returns
False, the usual two messages are to be sent.
"""


def problem(status: int, code: str, message: str) -> Answer:
    """Return a problem as status and JSON body."""
    described = {"success": False, "error": {"code": code, "message": message}}
    return status, json.dumps(described).encode()


def refused(status: int, body: bytes, headers: dict[str, str] | None = None) -> Response:
    """Return what `problem` describes as a response."""
    return Response(body, status, headers, "application/json")


def success(data: dict[str, Any]) -> Response:
    """Return *data* in the envelope of the monitoring endpoints, with a timestamp."""
    data["timestamp"] = datetime.now(UTC).isoformat()
    body = json.dumps({"success": True, "data": data}, separators=(",", ":")).encode()
    return Response(body, 200, None, "application/json")
