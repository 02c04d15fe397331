"""The HTTP statuses that an endpoint's answer may have: numbers, classes and ranges."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

_LOWEST, _HIGHEST = 200, 999
_CLASS = re.compile(r"([1-9])xx")
_RANGE = re.compile(r"(\d{3})\s*-\s*(\d{3})")
_REMEDY = 'write numbers or ranges, such as [200, 404], "2xx" or "200-299"'


def _checked(value: Any) -> tuple[int | str, ...]:
    """Return the numbers and ranges of *value*, one or a list of them; ValueError for others."""
    items = value if isinstance(value, (list, tuple)) else [value]
    if not items:
        raise ValueError(f"no status is expected, so that every request would fail; {_REMEDY}")
    for item in items:
        _span(item)
    return tuple(item.strip().lower() if isinstance(item, str) else item for item in items)


def _span(item: Any) -> range:
    if isinstance(item, int) and not isinstance(item, bool):
        first = last = item
    elif isinstance(item, str) and (found := _CLASS.fullmatch(item.strip().lower())):
        first = 100 * int(found[1])
        last = first + 99
    elif isinstance(item, str) and (found := _RANGE.fullmatch(item.strip())):
        first, last = int(found[1]), int(found[2])
    else:
        raise ValueError(f"{item!r:.60} is no status; {_REMEDY}")
    if not _LOWEST <= first <= last <= _HIGHEST:
        raise ValueError(
            f"{item!r} is no status of an answer, which is {_LOWEST} to {_HIGHEST}; {_REMEDY}"
        )
    return range(first, last + 1)


Statuses = Annotated[tuple[int | str, ...], BeforeValidator(_checked)]
"""As a scenario says them: a number, "2xx" or "200-299", or a list of these."""


def expected_statuses(statuses: tuple[int | str, ...]) -> frozenset[int]:
    """Return every status that *statuses* name."""
    return frozenset(status for item in statuses for status in _span(item))
