"""How a line of an access log is laid out: which value stands where, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

from core.errors import InputError


class Field(IntEnum):
    """What a value of a line is."""

    SKIP = 0
    TIME = 1
    DATE = 2
    CLOCK = 3
    REQUEST = 4
    METHOD = 5
    TARGET = 6
    QUERY = 7
    STATUS = 8
    LATENCY = 9
    CACHE = 10
    ADDRESS = 11
    USER = 12
    AGENT = 13


class TimeForm(IntEnum):
    """How the time of a request is written; numbers count from 1970."""

    CLF = 0
    ISO = 1
    SECONDS = 2
    MILLISECONDS = 3
    MICROSECONDS = 4
    NANOSECONDS = 5
    DATE_AND_CLOCK = 6


class Quoting(IntEnum):
    """How a value is enclosed: not at all; between quotes of the layout; in quotes of its own.

    LIST: not at all, and it may be several joined by ", " or " : ", as nginx writes upstreams.
    """

    NONE = 0
    LAYOUT = 1
    OWN = 2
    LIST = 3


SECONDS, MILLISECONDS, MICROSECONDS, NANOSECONDS = 1, 10**3, 10**6, 10**9
"""Units of a latency: how many of them a second has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A value and the bytes behind it; b"" behind the last one. per_second: of a latency's unit."""

    field: Field
    after: bytes
    quoting: Quoting = Quoting.NONE
    per_second: int = SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The values of a line in their order.

    head: bytes before the first value; is_end: whether the time is that of the answer's end, so
    that the request began a latency earlier. is_open: whether a line may have more behind the
    last value.
    """

    name: str
    parts: tuple[Part, ...]
    time: TimeForm
    head: bytes = b""
    is_end: bool = False
    is_open: bool = False

    def __post_init__(self) -> None:
        fields = {part.field for part in self.parts}
        wanted = Field.DATE if self.time is TimeForm.DATE_AND_CLOCK else Field.TIME
        if wanted not in fields or (wanted is Field.DATE and Field.CLOCK not in fields):
            raise InputError(f"{self.name}: names no time of a request, which a log needs")
        if Field.REQUEST not in fields and Field.TARGET not in fields:
            raise InputError(f"{self.name}: names neither a request nor a path; a log needs one")

    def up_to(self, fields: frozenset[Field]) -> Layout:
        """Return the layout without what stands behind the last of *fields*, if it is open."""
        last = max(at for at, part in enumerate(self.parts) if part.field in fields)
        if not self.is_open or last == len(self.parts) - 1:
            return self
        return replace(self, parts=self.parts[: last + 1])

    def with_latency_in(self, per_second: int) -> Layout:
        """Return the layout whose latencies are in a unit of which a second has so many."""
        return replace(
            self,
            parts=tuple(
                replace(part, per_second=per_second) if part.field is Field.LATENCY else part
                for part in self.parts
            ),
        )

    @property
    def fields(self) -> frozenset[Field]:
        """What a line tells."""
        return frozenset(part.field for part in self.parts)


def separated(
    names: list[str] | tuple[str, ...], separator: bytes, name: str, quoting: Quoting
) -> tuple[Part, ...]:
    """Return the parts of a line whose fields are *names*, as W3C and CloudFront call them.

    Raise InputError if there is no field.
    """
    if not names:
        raise InputError(f"{name}: the list of fields is empty")
    latency = next((n for n in _LATENCIES if n in names), None)
    cache = next((n for n in _CACHES if n in names), None)
    parts = []
    for position, each in enumerate(names):
        known, per_second = _FIELDS.get(each.casefold(), Field.SKIP), SECONDS
        if each == latency:
            known = Field.LATENCY
            # IIS writes milliseconds; W3C's own definition, and CloudFront, have seconds.
            per_second = MILLISECONDS if "x-edge-location" not in names and _is_iis(names) else 1
        elif each == cache:
            known = Field.CACHE
        elif known is Field.TIME and "date" in names and each == "time":
            known = Field.CLOCK
        parts.append(
            Part(
                field=known,
                after=b"" if position == len(names) - 1 else separator,
                quoting=quoting,
                per_second=per_second,
            )
        )
    return tuple(parts)


def _is_iis(names: list[str] | tuple[str, ...]) -> bool:
    return any(name in names for name in ("sc-substatus", "sc-win32-status", "s-sitename"))


_LATENCIES = ("time-taken", "time-to-first-byte")
_CACHES = ("x-edge-result-type", "x-edge-response-result-type", "x-cache", "sc-cache", "s-cached")
_FIELDS = {
    "date": Field.DATE,
    "time": Field.TIME,
    "timestamp": Field.TIME,
    "cs-method": Field.METHOD,
    "cs-uri-stem": Field.TARGET,
    "cs-uri": Field.TARGET,
    "cs-uri-query": Field.QUERY,
    "sc-status": Field.STATUS,
    "c-ip": Field.ADDRESS,
    "cs-username": Field.USER,
    "cs(user-agent)": Field.AGENT,
    "cs-user-agent": Field.AGENT,
}
