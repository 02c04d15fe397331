"""Why requests of a running load failed: how often, and one request of each kind to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from core.metrics.failures import MOST_ROWS, Example, reason_text
from core.secrets import Blotter
from core.texts import reason_of
from scenarios.diagnosis import innermost
from scenarios.rendering import Request
from scenarios.result import Kind

MOST_TEXT = 160
"""Characters of an answer that an example shows."""

_MOST_PATH = 120
_READ_BYTES = 4096
"""Of a body: a secret that reaches beyond what is shown is still found whole."""

_SILENT = (Kind.TIMEOUT, Kind.STALLED)
_Key = tuple[int, Kind, int]


class Examples:
    """Counts failures by endpoint, kind and status, and keeps the first of each, at most 60.

    endpoints: their names, in the order of their codes.
    """

    def __init__(self, endpoints: Sequence[str], blotter: Blotter, *, timeout: float) -> None:
        self._endpoints = endpoints
        self._blotter = blotter
        self._timeout = timeout
        self._counts: Counter[_Key] = Counter()
        self._kept: dict[_Key, Example] = {}

    def note(
        self,
        request: Request,
        kind: Kind,
        status: int,
        *,
        body: bytes = b"",
        error: BaseException | None = None,
    ) -> None:
        """Count the failure of *request*; status: that of the answer, 0 without one."""
        key = (request.endpoint, kind, status if kind is Kind.STATUS else 0)
        self._counts[key] += 1
        if key not in self._kept and len(self._kept) < MOST_ROWS:
            self._kept[key] = self.example(request, kind, status, body=body, error=error)

    def example(
        self,
        request: Request,
        kind: Kind,
        status: int,
        *,
        body: bytes = b"",
        error: BaseException | None = None,
    ) -> Example:
        """Return what is shown of *request* and its answer."""
        text = body[:_READ_BYTES].decode("utf-8", "replace")
        if not text and error is not None and kind not in _SILENT:
            text = reason_of(innermost(error))
        path = "/" + request.url.partition("://")[2].partition("/")[2]
        return Example(
            request=self._shown(f"{request.method} {path}", _MOST_PATH),
            status=status or None,
            text=self._shown(text, MOST_TEXT),
        )

    def _shown(self, text: str, most: int) -> str:
        line = " ".join(self._blotter.blot(text).split())
        line = "".join(c if c.isprintable() else "?" for c in line)
        return line if len(line) <= most else f"{line[: most - 3]}..."

    def most_frequent(self, number: int) -> list[dict[str, Any]]:
        """Return the *number* most frequent reasons: endpoint, words, count and example."""
        return [
            {
                "endpoint": self._endpoints[key[0]],
                "reason": reason_text(key[1].cause, key[2], timeout=self._timeout),
                "count": count,
                "example": self._kept[key].line if key in self._kept else "",
            }
            for key, count in self._counts.most_common(number)
        ]

    def to_json(self) -> list[dict[str, Any]]:
        """Return the examples as plain data, each with the endpoint and the cause it stands for."""
        return [
            {
                "endpoint": self._endpoints[endpoint],
                "cause": kind.cause.value,
                "of_status": status or None,
                "example": example.to_json(),
            }
            for (endpoint, kind, status), example in self._kept.items()
        ]
