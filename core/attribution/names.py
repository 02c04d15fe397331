"""Names that mean the same however a tool spells them: marks of absence, and direct traffic."""

from __future__ import annotations

import re
import unicodedata
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

_MARKS = re.compile("[\\s'\"`\u00ad\u200b-\u200f\u2060\ufeff\u2018-\u201f]+")
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


def alike_notice(channels: Sequence[str]) -> str:
    """Return a notice about names that differ only in case, accents' form or marks, or "".

    Each is a channel, as it is in the data, but a reader may take them for one.
    """
    alike: dict[str, list[str]] = {}
    for name in channels:
        alike.setdefault(_plain(name), []).append(name)
    found = [names for names in alike.values() if len(names) > 1]
    if not found:
        return ""
    first = " and ".join(map(repr, found[0][:5]))
    more = f", and {len(found) - 1:,} more such" if len(found) > 1 else ""
    return f"{first} are channels of their own{more}; if they are one, spell them alike"


def _plain(name: str) -> str:
    """Return *name* without what a reader does not see: case, spaces, quotes, hidden characters."""
    if name.isascii():
        return _MARKS.sub("", name).lower()
    return _MARKS.sub("", unicodedata.normalize("NFKC", name)).casefold()


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
