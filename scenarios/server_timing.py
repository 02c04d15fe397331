"""What an answer's Server-Timing (W3C) tells of the time of its stages."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_FIELD = 16_384
"""Characters of a field; a longer one tells nothing."""

_MOST_SECONDS = 1e9
_NUMBER = r"(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?"
# A string that is not closed reaches to the end: no place of a field is looked at twice.
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)(?:"|$)', re.DOTALL)
_IS_NUMBER = re.compile(rf"\s*{_NUMBER}\s*", re.ASCII)
_DURATION = r"[dD][uU][rR]\s*="
_TIMING = re.compile(
    rf"(?:^|,)\s*([^\s,;\"]+)\s*(?:;(?!\s*{_DURATION})[^,;]*)*"
    rf";\s*{_DURATION}\s*({_NUMBER})\s*(?=[,;]|$)",
    re.ASCII,
)


def parse_server_timing(value: str) -> list[tuple[str, float]]:
    """Return (name, seconds) of each metric of *value*; what cannot be read is left out.

    Of a parameter that stands there twice the first one counts, as the recommendation has it.
    """
    if len(value) > MAX_FIELD:
        return []
    if '"' in value:
        value = _QUOTED.sub(_unquoted, value)  # a description may hold anything
    metrics = [(name, float(ms) / 1e3) for name, ms in _TIMING.findall(value)]
    return [metric for metric in metrics if metric[1] < _MOST_SECONDS]


def _unquoted(found: re.Match[str]) -> str:
    """Return a string's content where it may be a duration, which may be quoted."""
    text = re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL)
    return text.strip() if _IS_NUMBER.fullmatch(text) else "_"


class Timing(NamedTuple):
    """One metric of Server-Timing: its name, and its seconds where they can be read."""

    name: str
    seconds: float | None


def metrics_of(value: str) -> list[Timing]:
    """Return every metric that *value* names, with what `parse_server_timing` makes of each."""
    if len(value) > MAX_FIELD:
        return []
    plain = _QUOTED.sub(_unquoted, value)
    metrics = []
    for part in plain.split(","):
        name = part.partition(";")[0].strip()
        if name:
            read = parse_server_timing(part)
            metrics.append(Timing(name, read[0][1] if read else None))
    return metrics
