"""Epoch milliseconds, and what is taken for them by a slip of units."""

from __future__ import annotations

from datetime import UTC, datetime

EARLIEST_MS = 100_000_000_000
"""1973-03-03: earlier times are seconds, or were never set."""

LATEST_MS = 4_102_444_800_000
"""2100-01-01: later times are microseconds or nanoseconds, or slips."""

_UNITS = (("seconds", 1, 1_000), ("microseconds", 1_000, 1), ("nanoseconds", 1_000_000, 1))
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
    for unit, divisor, factor in _UNITS:
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
        return f"{shown(number)} in epoch milliseconds; times from 1973 to 2100 are taken"
    unit, milliseconds = found
    return f"epoch {unit} ({shown(milliseconds)}); give epoch milliseconds, {milliseconds}"


def shown(milliseconds: int) -> str:
    """Return the date and time of *milliseconds*, or their year where no calendar has it."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
    except (OverflowError, ValueError, OSError):
        return f"the year {1970 + milliseconds // _YEAR_MS:,}"
