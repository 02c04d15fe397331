"""Why requests failed: a closed list of causes, and how often each was met at which endpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

MOST_ROWS = 60
"""Of a record's table; what is rarer stands as `other` under its endpoint."""


class Cause(StrEnum):
    """Why a request failed; the texts hold nothing that a host or a file could choose."""

    STATUS = "status"
    NOT_JSON = "not_json"
    EMPTY = "empty"
    CHECK = "check"
    NOT_HTTP = "not_http"
    ENCODING = "encoding"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    REFUSED = "refused"
    RESET = "reset"
    CLOSED = "closed"
    TRUNCATED = "truncated"
    CERTIFICATE = "certificate"
    TLS = "tls"
    CLIENT_CERTIFICATE = "client_certificate"
    HTTP2 = "http2"
    NAME = "name"
    UNREACHABLE = "unreachable"
    CONNECTION = "connection"
    DROPPED = "dropped"
    HELD = "held"
    EXHAUSTED = "exhausted"
    UNSENDABLE = "unsendable"
    TOO_LARGE = "too_large"
    LOST = "lost"
    OTHER = "other"
    UNKNOWN = "unknown"

    @property
    def is_answer(self) -> bool:
        """Whether a whole answer came in time: one that does not count as a success."""
        return self in (
            Cause.STATUS, Cause.NOT_JSON, Cause.EMPTY, Cause.CHECK, Cause.ENCODING,
        )  # fmt: skip


CAUSES = tuple(Cause)
"""Every cause at its code."""

_TEXTS = {
    Cause.NOT_JSON: "body is not JSON",
    Cause.EMPTY: "body is empty, labelled JSON",
    Cause.CHECK: "a check failed",
    Cause.NOT_HTTP: "answer is not valid HTTP",
    Cause.ENCODING: "body cannot be decoded",
    Cause.TIMEOUT: "timed out after {timeout}",
    Cause.STALLED: "answer not complete after {timeout}",
    Cause.REFUSED: "connection refused",
    Cause.RESET: "connection reset",
    Cause.CLOSED: "connection closed before an answer",
    Cause.TRUNCATED: "connection closed within the answer",
    Cause.CERTIFICATE: "certificate verify failed",
    Cause.TLS: "TLS handshake failed",
    Cause.CLIENT_CERTIFICATE: "client certificate (--cert) missing or refused",
    Cause.HTTP2: "host speaks HTTP/2 only, the load HTTP/1.1",
    Cause.NAME: "host name not resolved",
    Cause.UNREACHABLE: "host or network unreachable",
    Cause.CONNECTION: "connection failed",
    Cause.DROPPED: "no free connection",
    Cause.HELD: "no free connection: the service held all of them",
    Cause.EXHAUSTED: "generator out of sockets",
    Cause.UNSENDABLE: "request cannot be written as HTTP",
    Cause.TOO_LARGE: "answer too large (head over 256 kB or body over 16 MB)",
    Cause.LOST: "no outcome: generator at fault",
    Cause.OTHER: "rarer reasons",
    Cause.UNKNOWN: "reason not recorded",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One failed request: method and path, the answer's status if there was one, and its text.

    text: the first characters of the body, or what the client says of the connection; printable,
    on one line, without secrets.
    """

    request: str
    status: int | None
    text: str

    @property
    def line(self) -> str:
        """The request and what came of it, in one line."""
        answer = " ".join(str(part) for part in (self.status, self.text) if part)
        return f"{self.request} -> {answer or 'no answer'}"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"request": self.request, "status": self.status, "text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How many requests of *endpoint* failed for one reason.

    count: those intended after the warm-up, which the KPIs judge; in_warm_up: those before. status:
    the HTTP status of Cause.STATUS, else None. check: that of Cause.CHECK, as the scenario has it.
    first: seconds from the start of the run to the intended time of the first one, None where it
    was not recorded. example: one of them.
    """

    endpoint: str
    cause: Cause
    status: int | None = None
    check: str | None = None
    count: int
    in_warm_up: int = 0
    first: float | None
    example: Example | None = None

    def text(self, timeout: float) -> str:
        """Return the reason in words; *timeout*: that of the scenario in seconds."""
        return reason_text(self.cause, self.status, timeout=timeout, check=self.check)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("check", "example"):
            if data[name] is None:
                del data[name]
        return data if self.example is None else {**data, "example": self.example.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave; KeyError, TypeError or ValueError if it is none."""
        example = data.get("example")
        return cls(
            **{
                **data,
                "cause": Cause(data["cause"]),
                "example": None if example is None else Example(**example),
            }
        )


def reason_text(
    cause: Cause, status: int | None, *, timeout: float, check: str | None = None
) -> str:
    """Return a reason in words ("status 429 (too many requests)", "timed out after 3 s")."""
    if cause is Cause.CHECK and check is not None:
        return f"check failed: {check}"
    if cause is not Cause.STATUS:
        return _TEXTS[cause].format(timeout=f"{timeout:g} s")
    if status in _REDIRECTS:
        return f"status {status} (redirect, not followed)"
    try:
        return f"status {status} ({HTTPStatus(status or 0).phrase.lower()})"
    except ValueError:
        return f"status {status}"


_REDIRECTS = (301, 302, 303, 307, 308)


def counted(
    *,
    endpoint: NDArray[np.uint8],
    cause: NDArray[np.uint8],
    status: NDArray[np.uint16],
    intended: NDArray[np.float64],
    after: float,
    endpoints: Sequence[str],
    checks: Sequence[Sequence[str]] = (),
) -> tuple[Failure, ...]:
    """Return the failures of requests of which each column has one value, the most frequent first.

    endpoint: position in *endpoints*; cause: position in CAUSES; intended: seconds from the
    start of the run; after: the end of the warm-up. checks: the names of those of each endpoint;
    the status of a failed one is its number in them.
    """
    found = []
    kinds = (endpoint.astype(np.int64) << 24) | (cause.astype(np.int64) << 16) | status
    distinct, inverse = np.unique(kinds, return_inverse=True)
    for position, kind in enumerate(distinct.tolist()):
        times = intended[inverse == position]
        number = int(np.count_nonzero(times >= after))
        reason, code = CAUSES[kind >> 16 & 0xFF], kind & 0xFFFF
        name = checks[kind >> 24][code - 1] if reason is Cause.CHECK else None
        found.append(
            Failure(
                endpoint=endpoints[kind >> 24],
                cause=reason,
                status=None if name is not None else code or None,
                check=name,
                count=number,
                in_warm_up=times.size - number,
                first=float(times.min()),
            )
        )
    return merged(found)


def merged(failures: Iterable[Failure]) -> tuple[Failure, ...]:
    """Return *failures* with one row for each endpoint and reason, the most frequent first.

    Beyond MOST_ROWS the rarest become one row of `other` for each endpoint.
    """
    rows = _sums(failures)
    if len(rows) > MOST_ROWS:
        kept = rows[: MOST_ROWS - len({row.endpoint for row in rows})]
        rest = (
            Failure(
                endpoint=f.endpoint, cause=Cause.OTHER, count=f.count, in_warm_up=f.in_warm_up,
                first=f.first,
            )
            for f in rows[len(kept) :]
        )  # fmt: skip
        rows = _sums([*kept, *rest])
    return tuple(rows)


def _sums(failures: Iterable[Failure]) -> list[Failure]:
    sums: dict[tuple[str, Cause, int | None, str | None], Failure] = {}
    for failure in failures:
        key = (failure.endpoint, failure.cause, failure.status, failure.check)
        known = sums.get(key)
        if known is None:
            sums[key] = failure
            continue
        firsts = [first for first in (known.first, failure.first) if first is not None]
        sums[key] = Failure(
            endpoint=failure.endpoint,
            cause=failure.cause,
            status=failure.status,
            check=failure.check,
            count=known.count + failure.count,
            in_warm_up=known.in_warm_up + failure.in_warm_up,
            first=min(firsts, default=None),
            example=known.example or failure.example,
        )
    return sorted(
        sums.values(),
        key=lambda f: (-f.count, -f.in_warm_up, f.endpoint, f.cause, f.status or 0, f.check or ""),
    )
