"""Names that mean the same however a tool spells them: marks of absence, and direct traffic."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

DIRECT = "(direct)"
"""The channel of traffic without a source."""

_ABSENT = frozenset(
    (
        "", "-", "--", "na", "n/a", "#n/a", "<na>", "nan", "null", "(null)", "nil", "none",
        "\\n", "undefined", "(not set)", "(not available)", "(empty)", "(blank)",
    )
)  # fmt: skip
"""Marks of absence of R, pandas, databases, spreadsheets and Google Analytics."""

_DIRECT = re.compile(
    r"\(?\s*direct\s*\)?(\s*[/|:]\s*\(?\s*none\s*\)?)?|direct (traffic|entry|entries|visits?)",
    re.IGNORECASE,
)


def is_absent(text: str) -> bool:
    """Return whether a cell holds nothing, or a mark that says so: NA, NULL, "(not set)"."""
    return text.strip().casefold() in _ABSENT


@lru_cache(maxsize=4096)
def is_direct(channel: str) -> bool:
    """Return whether *channel* is traffic without a source: "(direct)", "Direct", "direct / none".

    These are the spellings of this service, Google Analytics and Matomo.
    """
    return _DIRECT.fullmatch(channel.strip()) is not None


def direct_notice(channels: Sequence[str], *, ignores: bool) -> str:
    """Return a notice about the names of direct traffic among *channels*, or "".

    ignores: whether direct traffic is ignored unless all touches are direct.
    """
    names = [name for name in channels if is_direct(name)]
    shown = ", ".join(map(repr, names[:5]))
    if ignores and not names and channels:
        return (
            "--direct ignore changes nothing: no channel is direct traffic, as '(direct)', "
            "'Direct' or 'direct / none' would be"
        )
    if ignores and names not in ([], [DIRECT]):
        return f"--direct ignore takes {shown} as direct traffic"
    if not ignores and len(names) > 1:
        return f"direct traffic has {len(names)} names, each a channel: {shown}"
    return ""
