"""The reader of logs that are JSON: an object a line, and HAR."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.errors import InputError
from core.texts import shown
from scenarios.intake.chunk import UNKNOWN, Chunk, Left
from scenarios.intake.layout import (
    MICROSECONDS,
    MILLISECONDS,
    NANOSECONDS,
    SECONDS,
    Field,
    TimeForm,
)
from scenarios.intake.plain import iso, sum_of, time_of
from scenarios.intake.requests import Matcher, Row, rows_chunk

COLUMNS = (
    "time", "end", "request", "method", "path", "query", "status", "duration", "cache", "address",
    "user", "agent",
)  # fmt: skip
"""What --columns maps."""

Unit = Literal["s", "ms", "us", "ns"]
PER_SECOND: Mapping[str, int] = {
    "s": SECONDS, "ms": MILLISECONDS, "us": MICROSECONDS, "ns": NANOSECONDS,
}  # fmt: skip
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_FORMS = {
    "s": TimeForm.SECONDS, "ms": TimeForm.MILLISECONDS, "us": TimeForm.MICROSECONDS,
    "ns": TimeForm.NANOSECONDS,
}  # fmt: skip
_EPOCH = (3e8, 2.5e9)
"""Seconds since 1970 that a log can be of."""

NAMES: Mapping[str, tuple[str, ...]] = {
    "time": ("time", "timestamp", "@timestamp", "ts", "time_iso8601", "time_local", "msec",
             "datetime"),
    "request": ("request",),
    "method": ("method", "request_method", "request.method", "http_method"),
    "path": ("path", "uri", "request_uri", "url", "request.uri", "request.url", "target"),
    "status": ("status", "status_code", "response.status", "response_status"),
    "duration": ("request_time", "duration_ms", "latency_ms", "response_time_ms", "duration",
                 "latency", "response_time", "elapsed"),
    "cache": ("cache_status", "upstream_cache_status", "cache"),
    "address": ("remote_addr", "client_ip", "remote_ip", "ip"),
    "user": ("remote_user", "user"),
    "agent": ("user_agent", "http_user_agent", "agent"),
}  # fmt: skip
"""Names by which a field of JSON lines is recognised."""

_OF_NGINX = ("time_iso8601", "time_local", "msec")
_WITH_UNIT = re.compile(r"([0-9.]+)\s?(s|ms|us|µs|ns)")
_UNITS_BY_NAME = {"request_time": "s", "EdgeTimeToFirstByteMs": "ms"}
FIELDS = {
    "request": Field.REQUEST, "method": Field.METHOD, "path": Field.TARGET, "query": Field.QUERY,
    "cache": Field.CACHE, "address": Field.ADDRESS, "user": Field.USER, "agent": Field.AGENT,
}  # fmt: skip

HAR_COLUMNS = {
    "time": "startedDateTime", "method": "request.method", "path": "request.url",
    "status": "response.status", "duration": "time",
}  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Objects:
    """How the objects of a log are read.

    columns: names by what they are, A|B for the first that is there. time_unit: of times that are
    numbers, told by the first where None; duration_unit: None: durations are not used.
    """

    columns: Mapping[str, str]
    time_unit: str | None = None
    duration_unit: str | None = None
    is_unit_told: bool = False

    @property
    def is_end(self) -> bool:
        """Whether times are those of the answer's end: nginx writes the moment of its line."""
        return self.columns["time"] in _OF_NGINX


def recognised(first: Mapping[str, Any]) -> dict[str, str]:
    """Return which names of an object are what, by their usual names."""
    found: dict[str, str] = {}
    for field, names in NAMES.items():
        for name in names:
            value = _at(first, name)
            if value is not None and not isinstance(value, Mapping):
                found[field] = name
                break
    return found


def unit_of_duration(column: str, first: Mapping[str, Any]) -> str | None:
    """Return the unit that a column's name tells, or its value in *first*; None: neither does."""
    if written := _WITH_UNIT.fullmatch(str(_at(first, column))):
        return written[2].replace("µ", "u")
    if column in _UNITS_BY_NAME:
        return _UNITS_BY_NAME[column]
    for ending, unit in (("_ms", "ms"), ("_us", "us"), ("_ns", "ns"), ("_seconds", "s")):
        if column.casefold().endswith(ending):
            return unit
    return None


def parse_columns(text: str | None) -> dict[str, str]:
    """Return what --columns states; InputError if it cannot be read."""
    stated: dict[str, str] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        field, mark, column = (piece.strip() for piece in part.partition("="))
        if not mark or not column or field not in COLUMNS or field in stated:
            raise InputError(
                f"--columns has {shown(part.strip())}; write FIELD=NAME, each once, such as "
                f"time=ts; fields are {', '.join(COLUMNS)}"
            )
        stated[field] = column
    return stated


class ObjectReader:
    """Reads JSON objects; what becomes of a request, *matcher* says."""

    def __init__(self, objects: Objects, matcher: Matcher) -> None:
        self._objects, self._matcher = objects, matcher
        self._columns = {
            field: tuple(name.strip() for name in names.split("|"))
            for field, names in objects.columns.items()
        }

    def read(self, data: bytes, *, with_keys: bool = False) -> Chunk:
        """Return a row for each line of *data*, which ends with a line's end."""
        lines = data.split(b"\n")
        lines.pop()
        return self._chunk((self._parsed(line) for line in lines), with_keys)

    def read_objects(self, objects: Iterable[Any], *, with_keys: bool = False) -> Chunk:
        """Return a row for each of *objects*."""
        return self._chunk(objects, with_keys)

    def _chunk(self, objects: Iterable[Any], with_keys: bool) -> Chunk:
        rows, without_zone = [], 0
        for each in objects:
            row, has_zone = self._row(each)
            rows.append(row)
            without_zone += not has_zone
        return rows_chunk(rows, without_zone, with_keys=with_keys)

    @staticmethod
    def _parsed(line: bytes) -> Any:
        text = line.strip()
        if not text:
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return Left.BAD_LINE

    def _row(self, found: Any) -> tuple[Row, bool]:
        if found is None:
            return Row(code=Left.COMMENT), True
        if not isinstance(found, dict):
            return Row(code=Left.BAD_LINE), True
        time, has_zone = self._time(self._value(found, "time"))
        if time < 0:
            return Row(code=Left.BAD_TIME), has_zone
        status = UNKNOWN
        value = self._value(found, "status")
        if value is not None:
            text = str(value)
            if not (text.isascii() and text.isdigit() and len(text) <= 3):
                return Row(code=Left.BAD_STATUS), has_zone
            status = int(text)
        fields: dict[Field, bytes] = {}
        for name, field in FIELDS.items():
            if name in self._columns:
                value = self._value(found, name)
                if isinstance(value, list):
                    value = value[0] if value else None
                if value is not None:
                    fields[field] = str(value).encode("utf-8", "replace")
        latency = self._latency(found, time)
        if self._objects.is_end and latency > 0:
            time -= latency
        return self._matcher.row(fields, time, status, latency), has_zone

    def _value(self, found: Mapping[str, Any], field: str) -> Any:
        for path in self._columns.get(field, ()):
            value = _at(found, path)
            if value is not None and value != "":
                return value
        return None

    def _latency(self, found: Mapping[str, Any], time: int) -> int:
        if "end" in self._columns:
            end, _ = self._time(self._value(found, "end"))
            # Whole seconds tell no duration.
            if end > time and (end % 10**6 or time % 10**6):
                return end - time
        unit = self._objects.duration_unit
        value = self._value(found, "duration")
        if unit is None or value is None or isinstance(value, bool):
            return UNKNOWN
        text = f"{value:.9f}" if isinstance(value, float) else str(value)
        if written := _WITH_UNIT.fullmatch(text):
            text, unit = written[1], written[2].replace("µ", "u")
        number = sum_of(text.encode())
        return number // PER_SECOND[unit] if number >= 0 else UNKNOWN

    def _time(self, value: Any) -> tuple[int, bool]:
        if value is None or isinstance(value, bool | dict | list):
            return -1, True
        if isinstance(value, float):
            text = f"{value:.6f}"
        else:
            text = str(value)
        if not text.replace(".", "", 1).isdigit():
            raw = text.encode()
            found = iso(raw)
            return found if found[0] >= 0 else time_of(TimeForm.CLF, {Field.TIME: raw.strip(b"[]")})
        objects = self._objects
        if objects.time_unit is None:
            objects.time_unit = _unit(float(text))
            objects.is_unit_told = True
        if objects.time_unit is None:
            return -1, True
        return time_of(_FORMS[objects.time_unit], {Field.TIME: text.encode()})[0], True


def _unit(value: float) -> str | None:
    for unit, per_second in PER_SECOND.items():
        if _EPOCH[0] <= value / per_second < _EPOCH[1]:
            return unit
    return None


def _at(found: Mapping[str, Any], path: str) -> Any:
    """Return what stands under *path*: a name, or names of nested objects joined by dots."""
    if path in found:
        return found[path]
    value: Any = found
    for step in path.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value


def har_entries(data: bytes, source: str) -> list[Any]:
    """Return the entries of a HAR file; InputError, naming *source*, if it is none."""
    try:
        found = json.loads(data)
        entries = found["log"]["entries"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(
            f"{source}: is no HAR file (an object with log.entries); say --format, or export it "
            "again"
        ) from None
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{source}: the HAR file has no entries; record some requests")
    return entries
