"""Durations, sizes and ratios as people write them ("20ms", "128MB", "95%"), and times."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNSIGNED = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"  # for JSON Schema, too
# Possessive: ten thousand digits and a letter would otherwise be tried in every division.
_NUMBER = r"[+-]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?"
_LARGEST = 1e18
"""Nothing that is written with a unit is larger; below it, arithmetic on it stays finite."""
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_SECONDS |= {"m": 60.0, "d": 86400.0}
_COUNTS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_BYTES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def _split(text: str) -> tuple[float, str] | None:
    match = re.fullmatch(rf"\s*({_NUMBER})\s*([A-Za-zµ%/]*)\s*", text)
    number = float(match[1]) if match else math.inf
    return (number, match[2]) if match and abs(number) <= _LARGEST else None


def parse_duration(text: str) -> float:
    """Return the seconds that *text* ("20ms", "1.5h") stands for; ValueError if it is none."""
    parts = _split(text)
    if parts is None or parts[1] not in _SECONDS:
        raise ValueError(f"{text!r} is not a duration; write it with its unit, such as 30s or 20ms")
    # Division keeps decimal units exact: 20 / 1000 is the float nearest to 0.02, 20 * 1e-3 is not.
    scale = _SECONDS[parts[1]]
    return parts[0] / round(1 / scale) if scale < 1 else parts[0] * scale


def parse_size(text: str) -> int:
    """Return the bytes that *text* ("128MB", "1MiB") stands for; ValueError if it is none."""
    parts = _split(text)
    if parts is None or parts[1] not in _BYTES:
        raise ValueError(f"{text!r} is not a size; write it with its unit, such as 128MB or 1MiB")
    return round(parts[0] * _BYTES[parts[1]])


def parse_ratio(text: str) -> float:
    """Return the fraction that *text* ("95%" or "0.95") stands for; ValueError if it is none."""
    parts = _split(text)
    if parts is None or parts[1] not in ("%", ""):
        raise ValueError(f"{text!r} is not a ratio; write it as 95% or 0.95")
    return parts[0] / 100 if parts[1] == "%" else parts[0]


def parse_dollars(text: str) -> float:
    """Return the dollars that *text* ("$2", "$1.50") stands for; ValueError if it is none."""
    match = re.fullmatch(rf"\s*\$\s*({_NUMBER})\s*", text)
    if match is None or not abs(float(match[1])) <= _LARGEST:
        raise ValueError(f"{text!r} is not money; write it in dollars, such as $2 or $1.50")
    return float(match[1])


def parse_count(text: str) -> float:
    """Return the number that *text* ("50", "100k", "5M") stands for; ValueError if it is none."""
    parts = _split(text)
    if parts is None or parts[1] not in _COUNTS:
        raise ValueError(f"{text!r} is not a count; write it as 50, 100k or 5M")
    return parts[0] * _COUNTS[parts[1]]


def format_dollars(dollars: float) -> str:
    """Return *dollars* with their sign ("$1.87"), with two digits that count below a dime."""
    sign, amount = ("−" if dollars < 0 else ""), abs(dollars)
    if amount >= 1000:
        return f"{sign}${amount:,.0f}"
    digits = 2 if amount >= 0.1 or amount == 0 else min(9, 1 - math.floor(math.log10(amount)))
    return f"{sign}${amount:.{digits}f}"


def format_count(count: float) -> str:
    """Return *count* as people write it ("386", "19.9 M")."""
    for unit, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if abs(count) >= scale:
            return f"{_significant(count / scale)} {unit}"
    return f"{count:,.0f}" if abs(count) >= 10 or count == round(count) else f"{count:.2f}"


def format_duration(seconds: float) -> str:
    """Return *seconds* with three significant digits and the unit that reads best ("16.5 ms")."""
    if seconds == float("inf"):
        return "∞"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= scale:
            return f"{_significant(seconds / scale)} {unit}"
    return "0 s" if seconds == 0 else f"{_significant(seconds / 1e-9)} ns"


def format_size(size: float) -> str:
    """Return *size* bytes with three significant digits and a decimal unit ("33.1 MB")."""
    for unit in ("GB", "MB", "kB"):
        if abs(size) >= _BYTES[unit]:
            return f"{_significant(size / _BYTES[unit])} {unit}"
    return f"{size:.0f} B"


def format_ratio(ratio: float) -> str:
    """Return *ratio* as a percentage with two decimals ("97.31 %")."""
    return f"{100 * ratio:.2f} %"


def _significant(value: float) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def _text_only(parse: Callable[[str], float], what: str, example: str) -> Callable[[Any], float]:
    def validate(value: Any) -> float:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} has no unit; write {what} as text such as {example!r}")
        number = parse(value)
        if number < 0:
            raise ValueError(f"{value!r} is negative; {what} is at least 0")
        return number

    return validate


def _schema(pattern: str, examples: list[str]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": examples})


Duration = Annotated[
    float,
    BeforeValidator(_text_only(parse_duration, "a duration", "30s")),
    PlainSerializer(lambda seconds: f"{seconds!r}s", return_type=str),
    _schema(rf"^\s*\+?{_UNSIGNED}\s*(ns|us|µs|ms|s|m|min|h|d)\s*$", ["30s", "20ms"]),
]
Size = Annotated[
    int,
    BeforeValidator(_text_only(parse_size, "a size", "128MB")),
    PlainSerializer(lambda size: f"{size}B", return_type=str),
    _schema(rf"^\s*\+?{_UNSIGNED}\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)\s*$", ["128MB", "1MiB"]),
]
EARLIEST_MS = 100_000_000_000
"""1973-03-03: earlier times are seconds, or were never set."""

LATEST_MS = 4_102_444_800_000
"""2100-01-01: later times are microseconds or nanoseconds, or slips."""

_EPOCH_UNITS = (("seconds", 1, 1_000), ("microseconds", 1_000, 1), ("nanoseconds", 1_000_000, 1))
_YEAR_MS = 31_556_952_000


def is_plausible(milliseconds: int) -> bool:
    """Return whether *milliseconds* since 1970 lie between 1973 and 2100.

    No clock decides: those of devices are wrong, and simulated time stands where it stands.
    """
    return EARLIEST_MS <= milliseconds <= LATEST_MS


def other_unit(number: int) -> tuple[str, int] | None:
    """Return the unit in which *number* is a plausible time, and its milliseconds.

    None if it is in no unit but milliseconds. The units' ranges do not overlap.
    """
    for unit, divisor, factor in _EPOCH_UNITS:
        milliseconds = number * factor // divisor
        if is_plausible(milliseconds):
            return unit, milliseconds
    return None


def slip(number: int) -> str:
    """Return what is wrong with *number* as epoch milliseconds, and the remedy, or ""."""
    if is_plausible(number):
        return ""
    found = other_unit(number)
    if found is None:
        return f"{format_time(number)} in epoch milliseconds; times from 1973 to 2100 are taken"
    unit, milliseconds = found
    return f"epoch {unit} ({format_time(milliseconds)}); give epoch milliseconds, {milliseconds}"


def format_time(milliseconds: int) -> str:
    """Return the date and time of *milliseconds*, or their year where no calendar has it."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
    except (OverflowError, ValueError, OSError):
        return f"the year {1970 + milliseconds // _YEAR_MS:,}"
