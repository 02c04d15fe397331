"""The spans of time that options of `edgeproof attribute` give."""

from __future__ import annotations

from datetime import UTC, datetime

from core.errors import InputError
from core.ledger.path_reader import Window
from core.units import slip


def window_of(from_: str | None, to: str | None) -> Window:
    """Return the window from *from_* to *to*; InputError, in the words of the user, if empty."""
    start_ms, end_ms = time_of("--from", from_), time_of("--to", to)
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        raise InputError(f"--to {to} is not after --from {from_}: no conversion lies between them")
    return Window(start_ms=start_ms, end_ms=end_ms)


def period(text: str) -> Window:
    """Return the period FROM..TO that --against gives."""
    from_, dots, to = text.partition("..")
    if not dots or not (from_ or to):
        raise InputError(f"--against {text[:60]}: write a period as 2026-01-01..2026-02-01")
    start, end = time_of("--against", from_ or None), time_of("--against", to or None)
    if start is not None and end is not None and start >= end:
        raise InputError(f"--against {text}: its end is not after its start")
    return Window(start_ms=start, end_ms=end)


def part(first: str, start: int | None, last: str, end: int | None) -> Window:
    """Return the window from *start* to *end*, which the options *first* and *last* give."""
    if start is not None and end is not None and start >= end:
        raise InputError(f"{last} is not after {first}: no conversion lies between them")
    return Window(start_ms=start, end_ms=end)


def time_of(name: str, text: str | None) -> int | None:
    """Return *text* as epoch milliseconds; a time without a zone is UTC."""
    if text is None:
        return None
    if text.isdecimal() and text.isascii() and 9 <= len(text) <= 20:
        if fault := slip(int(text)):
            raise InputError(f"{name} {text}: {fault}")
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{name} {text[:40]!r}: no time; write 2026-01-31, 2026-01-31T12:00 or epoch "
            "milliseconds"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
