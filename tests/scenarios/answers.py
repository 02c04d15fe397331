"""Requests and answers that a recorder is told of."""

from __future__ import annotations

from typing import Any

from scenarios.recorder import Recorder
from scenarios.rendering import Request
from scenarios.result import Kind


def sent(recorder: Recorder, *, index: int = 0, endpoint: int = 0) -> int:
    request = Request(0, "GET", "http://127.0.0.1/", {}, None, endpoint, 7, 1000)
    return recorder.send(index, request, 0.0003)


def answered(recorder: Recorder, position: int, **fields: Any) -> Kind:
    given: dict[str, Any] = {
        "status": 200,
        "content_type": "application/json",
        "body": b"{}",
        "cache_status": "",
        "server_timing": "",
    }
    return recorder.answer(position, 0.02, **{**given, **fields})
