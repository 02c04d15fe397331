"""Why requests of a running load failed: how often, and one request of each kind to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.metrics.failures import MOST_ROWS, Example, reason_text
from core.secrets import Blotter
from core.texts import MOST_SHOWN, reason_of
from scenarios.diagnosis import innermost
from scenarios.rendering import Request
from scenarios.result import Kind

MOST_TEXT = 160
"""Characters of an answer that an example shows."""

_MOST_PATH = 120
_READ = 1024
"""Bytes of a body, characters of an address: masks shorten what is shown of them."""

_SILENT = (Kind.TIMEOUT, Kind.STALLED)
_Key = tuple[int, Kind, int, str]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Raw:
    """What an example will show, with its secrets, which no file, log or message may hold."""

    request: str
    status: int | None
    text: str
    is_cut: bool


class Examples:
    """Counts failures by endpoint and reason, and keeps the first of each, at most 60.

    Secrets are blotted out when an example is first told, not while requests wait.

    endpoints: their names, in the order of their codes; timeouts: their time limits in seconds.
    """

    def __init__(
        self, endpoints: Sequence[str], blotter: Blotter, *, timeouts: Sequence[float]
    ) -> None:
        self._endpoints = endpoints
        self._blotter = blotter
        self._timeouts = timeouts
        self._counts: Counter[_Key] = Counter()
        self._raw: dict[_Key, _Raw] = {}
        self._kept: dict[_Key, Example] = {}

    def note(
        self,
        request: Request,
        kind: Kind,
        status: int,
        *,
        body: bytes = b"",
        location: str = "",
        error: BaseException | None = None,
        check: str = "",
    ) -> None:
        """Count the failure of *request*.

        status: that of the answer, 0 without one. location: where a redirect leads. check: the
        name of the check that it failed.
        """
        key = (request.endpoint, kind, status if kind is Kind.STATUS else 0, check)
        self._counts[key] += 1
        if key in self._raw or key in self._kept:
            return
        if len(self._raw) + len(self._kept) < MOST_ROWS:
            self._raw[key] = _raw(request, kind, status, body=body, location=location, error=error)

    def example(
        self,
        request: Request,
        kind: Kind,
        status: int,
        *,
        body: bytes = b"",
        location: str = "",
        error: BaseException | None = None,
    ) -> Example:
        """Return what is shown of *request* and its answer."""
        return self._blotted(_raw(request, kind, status, body=body, location=location, error=error))

    def _of(self, key: _Key) -> Example | None:
        if (raw := self._raw.get(key)) is not None:
            self._kept[key] = self._blotted(raw)
            del self._raw[key]
        return self._kept.get(key)

    def _blotted(self, raw: _Raw) -> Example:
        return Example(
            request=self._shown(raw.request, _MOST_PATH, is_cut=len(raw.request) >= _READ),
            status=raw.status,
            text=self._shown(raw.text, MOST_TEXT, is_cut=raw.is_cut),
        )

    def _shown(self, text: str, most: int, *, is_cut: bool) -> str:
        line = " ".join(self._blotter.blot(text, is_cut=is_cut).split())
        line = "".join(c if c.isprintable() else "?" for c in line)
        return line if len(line) <= most else f"{line[: most - 3]}..."

    def most_frequent(self, number: int) -> list[dict[str, Any]]:
        """Return the *number* most frequent reasons: endpoint, words, count and example."""
        return [
            {
                "endpoint": self._endpoints[key[0]],
                "reason": reason_text(
                    key[1].cause, key[2], timeout=self._timeouts[key[0]], check=key[3] or None
                ),
                "count": count,
                "example": "" if (example := self._of(key)) is None else example.line,
            }
            for key, count in self._counts.most_common(number)
        ]

    def to_json(self) -> list[dict[str, Any]]:
        """Return the examples as plain data, each with the endpoint and the cause it stands for."""
        found = {key: self._of(key) for key in self._counts}
        return [
            {
                "endpoint": self._endpoints[endpoint],
                "cause": kind.cause.value,
                "of_status": status or None,
                "check": check or None,
                "example": example.to_json(),
            }
            for (endpoint, kind, status, check), example in found.items()
            if example is not None
        ]


def _raw(
    request: Request,
    kind: Kind,
    status: int,
    *,
    body: bytes,
    location: str,
    error: BaseException | None,
) -> _Raw:
    # Of a redirect its aim is worth more than its page.
    text = f"to {location}"[:_READ] if location else body[:_READ].decode("utf-8", "replace")
    is_cut = len(text) >= _READ if location else len(body) > _READ
    if not text and error is not None and kind not in _SILENT:
        text = reason_of(innermost(error))
        is_cut = len(text) >= MOST_SHOWN
    path = "/" + request.url.partition("://")[2].partition("/")[2]
    return _Raw(
        request=f"{request.method} {path}"[:_READ],
        status=status or None,
        text=text,
        is_cut=is_cut,
    )
