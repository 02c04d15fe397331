"""The reader of lines in plain Python: for small logs, where nothing has to be compiled."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

from scenarios.intake.chunk import UNKNOWN, Chunk, Left
from scenarios.intake.layout import Field, Layout, Part, Quoting, TimeForm
from scenarios.intake.requests import Matcher, Row, rows_chunk

_NUMBER = re.compile(rb"([0-9]+)(?:\.([0-9]*))?")
_CLF = re.compile(rb"(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d):?(\d\d)")
_ISO = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|([+-])(\d\d):?(\d\d))?"
)
_DATE = re.compile(rb"(\d{4})-(\d\d)-(\d\d)")
_CLOCK = re.compile(rb"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?")
_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
         b"Dec"), start=1,
    )
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LARGEST = 9 * 10**18


class PlainReader:
    """Reads lines of *layout*; what becomes of a request, *matcher* says."""

    def __init__(self, layout: Layout, matcher: Matcher) -> None:
        self._layout, self._matcher = layout, matcher

    def read(self, data: bytes, *, with_keys: bool = False) -> Chunk:
        """Return a row for each line of *data*, which ends with a line's end."""
        lines = data.split(b"\n")
        lines.pop()
        without_zone = 0
        rows: list[Row] = []
        for line in lines:
            row, has_zone = self._row(line.removesuffix(b"\r"))
            without_zone += not has_zone
            rows.append(row)
        return rows_chunk(rows, without_zone, with_keys=with_keys)

    def _row(self, line: bytes) -> tuple[Row, bool]:
        if not line or line.startswith(b"#"):
            return Row(code=Left.COMMENT), True
        values = _values(line, self._layout)
        if values is None:
            return Row(code=Left.BAD_LINE), True
        fields, latency = values
        time, has_zone = time_of(self._layout.time, fields)
        if time < 0:
            return Row(code=Left.BAD_TIME), has_zone
        status = UNKNOWN
        if Field.STATUS in fields:
            text = fields[Field.STATUS]
            if len(text) != 3 or not (text.isdigit() and text.isascii()):
                return Row(code=Left.BAD_STATUS), has_zone
            status = int(text)
        if self._layout.is_end and latency > 0:
            time -= latency
        return self._matcher.row(fields, time, status, latency), has_zone


def _values(line: bytes, layout: Layout) -> tuple[dict[Field, bytes], int] | None:
    """Return the fields of *line* and its latency in microseconds; None if it is no such line."""
    if not line.startswith(layout.head):
        return None
    at = len(layout.head)
    fields: dict[Field, bytes] = {}
    latency, is_known = 0, False
    last = layout.parts[-1]
    for part in layout.parts:
        found = _value(line, at, part, is_open=layout.is_open and part is last)
        if found is None:
            return None
        value, at = found
        if part.field is Field.LATENCY:
            number = sum_of(value)
            if number < 0:
                latency = UNKNOWN
            elif latency >= 0:
                latency += number // part.per_second
            is_known = True
        elif part.field is not Field.SKIP:
            fields[part.field] = value
    if at != len(line) and not layout.is_open:
        return None
    return fields, latency if is_known else UNKNOWN


def behind(layout: Layout, line: bytes) -> bytes:
    """Return what *line* has behind the values of *layout*; b"" if it is no such line."""
    at = len(layout.head)
    for part in layout.parts:
        found = _value(line, at, part, is_open=layout.is_open and part is layout.parts[-1])
        if found is None:
            return b""
        at = found[1]
    return line[at:]


def _value(line: bytes, at: int, part: Part, *, is_open: bool) -> tuple[bytes, int] | None:
    """Return the value at *at* and where the next one begins; None if it does not end."""
    if part.quoting is Quoting.OWN and line[at : at + 1] == b'"':
        end = _unescaped(line, b'"', at + 1)
        behind = end + 1 + len(part.after)
        if end < 0 or line[end + 1 : behind] != part.after:
            return None
        return (line[at + 1 : end], behind) if part.after or behind == len(line) else None
    if not part.after:
        end = line.find(b" ", at) if is_open else len(line)
        end = len(line) if end < 0 else end
        return line[at:end], end
    if part.quoting is Quoting.LAYOUT:
        end = _unescaped(line, part.after, at)
    else:
        end = line.find(part.after, at)
        while part.quoting is Quoting.LIST and end >= 0 and _goes_on(line, at, end):
            end = line.find(part.after, end + 1)
    return None if end < 0 else (line[at:end], end + len(part.after))


def _unescaped(line: bytes, text: bytes, start: int) -> int:
    """Return where *text* first stands from *start* on with no backslash before it, -1: nowhere."""
    end = line.find(text, start)
    while end >= 0:
        # Escapes are counted from the start of the value: each takes the byte behind it.
        place = start
        while (back := line.find(b"\\", place, end)) >= 0:
            place = back + 2
        if place <= end:
            return end
        end = line.find(text, end + 1)
    return -1


def _goes_on(line: bytes, start: int, end: int) -> bool:
    """Return whether the space at *end* stands within a list: "a, b" or "a : b"."""
    return line[max(start, end - 1) : end] in (b",", b":") or line[end + 1 : end + 3] == b": "


def sum_of(text: bytes) -> int:
    """Return the sum of a list of times in millionths, - being none; -1 if it has no time.

    nginx writes the time of each server that was tried: "0.1, 0.2", or "0.1 : 0.2" after an
    internal redirect.
    """
    found = number_of(text)
    if found >= 0 or not (b"," in text or b":" in text):
        return found
    known = [number_of(each) for each in re.split(rb", | : ", text) if each != b"-"]
    return sum(known) if known and min(known) >= 0 else -1


def number_of(text: bytes) -> int:
    """Return a number of at least 0 in millionths, rounded down; -1 if it is none."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return -1
    found = int(match[1]) * 10**6 + int((match[2] or b"").ljust(6, b"0")[:6])
    return found if int(match[1]) <= 9 * 10**12 else -1


def time_of(form: TimeForm, fields: dict[Field, bytes]) -> tuple[int, bool]:
    """Return microseconds since 1970, -1 for no time, and whether a zone is known."""
    if form is TimeForm.DATE_AND_CLOCK:
        day, clock = _DATE.fullmatch(fields[Field.DATE]), _CLOCK.fullmatch(fields[Field.CLOCK])
        if day is None or clock is None:
            return -1, True
        return _at(
            *map(int, day.groups()), *map(int, clock.group(1, 2, 3)),
            fraction=clock[4] or b"", zone=UTC,
        ), True  # fmt: skip
    text = fields[Field.TIME]
    if form is TimeForm.CLF:
        return _clf(text), True
    if form is TimeForm.ISO:
        return iso(text)
    return epoch(text, form), True


def epoch(text: bytes, form: TimeForm) -> int:
    """Return microseconds since 1970 of a number of *form*, -1 if it is none."""
    match = _NUMBER.fullmatch(text)
    if match is None or int(match[1]) >= _LARGEST + 10:
        return -1
    whole = int(match[1])
    if whole > 9 * 10**12:
        return {TimeForm.MICROSECONDS: whole, TimeForm.NANOSECONDS: whole // 1000}.get(form, -1)
    millionths = whole * 10**6 + int((match[2] or b"").ljust(6, b"0")[:6])
    per_thousand: int = 1000 ** (int(form) - int(TimeForm.SECONDS))
    return millionths // per_thousand


def _clf(text: bytes) -> int:
    match = _CLF.fullmatch(text)
    if match is None or len(text) != 26 or match[2] not in _MONTHS:
        return -1
    return _at(
        int(match[3]), _MONTHS[match[2]], int(match[1]), *map(int, match.group(4, 5, 6)),
        zone=_zone(match[7], match[8], match[9]),
    )  # fmt: skip


def iso(text: bytes) -> tuple[int, bool]:
    """Return microseconds since 1970 of an ISO 8601 time, -1 for none, and whether it has a zone.

    A time without a zone is taken as UTC.
    """
    match = _ISO.fullmatch(text)
    if match is None:
        return -1, True
    has_zone = match[8] is not None
    zone = _zone(match[9], match[10], match[11]) if match[9] else UTC
    return _at(*map(int, match.group(1, 2, 3, 4, 5, 6)), fraction=match[7] or b"", zone=zone), (
        has_zone
    )


def _zone(sign: bytes, hours: bytes, minutes: bytes) -> timezone | None:
    if int(hours) > 23 or int(minutes) > 59:
        return None
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if sign == b"-" else offset)


def _at(
    year: int, month: int, day: int, hour: int, minute: int, second: int, *,
    zone: timezone | None, fraction: bytes = b"",
) -> int:  # fmt: skip
    if zone is None or year < 1970:
        return -1
    try:
        at = datetime(year, month, day, hour, minute, second, tzinfo=zone)
    except ValueError:
        return -1
    return (at - _EPOCH) // _MICROSECOND + int(fraction[:6].ljust(6, b"0"))


def reads_plainly(layout: Layout, data: bytes) -> Sequence[bool]:
    """Return of each line of *data* whether it is one of *layout*, with a time."""
    found = []
    for line in data.splitlines():
        if not line or line.startswith(b"#"):
            continue
        values = _values(line, layout)
        found.append(values is not None and time_of(layout.time, values[0])[0] >= 0)
    return found
