"""The values of a text trace's fields: keys, names, times, TTLs and sizes, checked."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime

from core.scenario.trace_source import TraceFault

MAX_FIELD_CHARS = 2**16

_MAX = sys.float_info.max
_NUMBER = re.compile(r"[+-]?(\d++\.?\d*+|\.\d++)([eE][+-]?\d++)?", re.ASCII)  # linear on any text
_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can escape half a character


def text_of(row: dict[str, object], field: str) -> str:
    """Return the name in a field; TraceFault if it is none."""
    value = row[field]
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_FIELD_CHARS:
        limits = f"a {field} is a whole number or text of 1 to {MAX_FIELD_CHARS} characters"
        raise TraceFault(f"{field} is {shown(value)}; {limits}")
    if not value.isascii() and _SURROGATE.search(value):
        raise TraceFault(f"{field} is {shown(value)}, which is not Unicode; mend its escapes")
    return value


def name_id(ids: dict[str, int], row: dict[str, object], field: str) -> int:
    """Return the number of a field's name, numbering new ones."""
    name = text_of(row, field)
    number = ids.setdefault(name, len(ids))
    if number == 2**16:
        raise TraceFault(f"{field} {shown(name)} is one more than {2**16}; merge some of them")
    return number


def written_time(text: str) -> tuple[float, bool]:
    """Return the time that *text* writes, a number or ISO 8601, and whether it states its zone."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text), True
    try:
        time = datetime.fromisoformat(
            text.removesuffix(" UTC") + ("Z" if text[-4:] == " UTC" else "")
        )
    except ValueError:
        raise TraceFault(
            f"time is {shown(text)}; a time is a number, at least 0, or as in 2026-01-31T12:00:00Z"
        ) from None
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC).timestamp(), False
    return time.timestamp(), True


def time_of(value: object) -> float:
    """Return a time as a float; TraceFault if it is none."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _MAX:
        raise TraceFault(f"time is {shown(value)}; a time is a number, at least 0")
    return float(value)


def ttl_of(value: object) -> float:
    """Return a TTL in seconds; 0 and nothing are none."""
    text = "" if value is None else str(value).strip()
    if not text:
        return 0.0
    if isinstance(value, bool) or not _NUMBER.fullmatch(text) or not 0 <= float(text) <= _MAX:
        raise TraceFault(f"ttl is {shown(value)}; a ttl is a number of seconds, 0 for none")
    return float(text)


def size_of(value: object) -> int:
    """Return a size in bytes; TraceFault if it is none."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise TraceFault(f"size is {shown(value)}; a size is a whole number of bytes, at least 0")
    return value


def shown(value: object) -> str:
    """Return a short text of *value* on one line."""
    if isinstance(value, tuple | list):
        return "an object" if isinstance(value, tuple) else "a list"
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
