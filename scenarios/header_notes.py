"""What could be read of the answers' headers, counted, and as notes of the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from core.secrets import Blotter
from scenarios.cache_status import Flaw, Remark

MOST_NAMES = 20
"""Names and reasons that are told apart; further ones are counted together."""

BEGINNING = "headers: "
_SHOWN_NAMES = 5
_SHOWN_BEGINNING, _SHOWN_END = 60, 57
"""Characters of a name or reason, which may hold a long name in its middle."""

_OTHERS = "others"


class HeaderCount:
    """Counts answers by what their headers tell of cache reads."""

    def __init__(self) -> None:
        self.answers = 0
        self.cache_status = 0
        self._weak: Counter[str] = Counter()
        self._unread: Counter[str] = Counter()
        self._remarks: dict[Flaw, Counter[str]] = {flaw: Counter() for flaw in Flaw}

    def note(self, remarks: tuple[Remark, ...]) -> None:
        """Count what an answer's Cache-Status holds that cannot be counted as a read."""
        for flaw, text in remarks:
            counted = self._remarks[flaw]
            counted[text if text in counted or len(counted) < MOST_NAMES else _OTHERS] += 1

    def note_weak(self, header: str, *, is_read: bool) -> None:
        """Count an answer without Cache-Status that has *header*, and whether it tells a read."""
        (self._weak if is_read else self._unread)[header] += 1

    def facts(self, blotter: Blotter) -> dict[str, Any]:
        """Return plain data, from which *blotter* has taken the secrets that services wrote."""

        def told(counted: Counter[str]) -> dict[str, int]:
            found: Counter[str] = Counter()
            for text, count in counted.items():
                found[_short(blotter.blot(text))] += count
            return dict(found)

        return {
            "answers": self.answers,
            "cache_status": self.cache_status,
            "weak": dict(self._weak),
            "unread": dict(self._unread),
            **{flaw.value: told(counted) for flaw, counted in self._remarks.items()},
        }


def _short(text: str) -> str:
    if len(text) <= _SHOWN_BEGINNING + _SHOWN_END:
        return text
    return f"{text[:_SHOWN_BEGINNING]}...{text[-_SHOWN_END:]}"


def header_notes(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a reader of the report has to know of the headers that *facts* counts."""
    if not facts or not facts["answers"]:
        return ()
    answers = facts["answers"]
    notes = []
    if invalid := facts[Flaw.INVALID]:
        reason = max(invalid, key=lambda text: (text != _OTHERS, invalid[text]))
        notes.append(
            f"{sum(invalid.values()):,} of {answers:,} answers had a Cache-Status that is no "
            f"structured field (RFC 9651) and tells nothing: {reason}"
        )
    if unknown := facts[Flaw.UNKNOWN_CACHE]:
        notes.append(
            "caches that the scenario does not name tell nothing: "
            f"{_counted(unknown)}; give each its tier, l1, l2 or none, in [caches]"
        )
    if unknown := facts[Flaw.UNKNOWN_READ]:
        notes.append(
            "cache reads that the endpoint does not have are not counted: "
            f"{_counted(unknown)} (parameter read of Cache-Status)"
        )
    if uncounted := sum(facts[Flaw.UNCOUNTED].values()):
        notes.append(
            f"{uncounted:,} of {answers:,} answers told of more cache reads than are kept; "
            "those beyond are not counted: name reads with the parameter read"
        )
    if weak := facts["weak"]:
        notes.append(
            f"hit ratios rest on a weak substitute for Cache-Status in {sum(weak.values()):,} of "
            f"{answers:,} answers: {_counted(weak)}; it tells one read at most and "
            "no tier, and counts as l2 unless [caches] says otherwise"
        )
    if unread := facts["unread"]:
        notes.append(f"headers that tell no outcome of a cache: {_counted(unread)}")
    if not facts["cache_status"] and not weak:
        notes.append(
            "no answer had Cache-Status: hit ratios cannot be seen (docs/instrument.md shows how "
            "a service sends it)"
        )
    return tuple(f"{BEGINNING}{note}" for note in notes)


def _counted(names: Mapping[str, int]) -> str:
    ordered = sorted(names.items(), key=lambda item: (item[0] == _OTHERS, -item[1], item[0]))
    shown = [f"{name} ({count:,})" for name, count in ordered[:_SHOWN_NAMES]]
    if len(ordered) > _SHOWN_NAMES:
        shown.append(f"{len(ordered) - _SHOWN_NAMES} more")
    return ", ".join(shown)
