"""Rows of cells become events and conversions, or are left out with a reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from core.attribution.names import DIRECT, is_absent
from core.errors import InputError
from core.event import MAX_ID_LENGTH
from core.ledger.intake.cells import Cells
from core.ledger.intake.times import Times, Unusable

SEGMENT = "new"
"""The segment of a user whom the service does not know, as tracking stores it."""

_TRUE = frozenset(("1", "true", "t", "yes", "y", "1.0"))
_FALSE = frozenset(("0", "false", "f", "no", "n", "0.0"))
_LARGEST_VALUE = 1e15
_LONGEST_ABSENT = 15
_NAMES_KEPT = 12
_MOST_KEPT = 100_000
"""Channels and names whose reading is kept; more are read anew, so that memory is bounded."""

Event = tuple[str | int | None, ...]
"""event_id, user_id, event_name, utm_source, event_timestamp, segment, conversion_id; and, where
the file has campaigns, utm_medium, utm_campaign, utm_term, utm_content."""

Conversion = tuple[str, str, str, int, float]
"""conversion_id, event_id, user_id, conversion_timestamp, value."""


@dataclass(slots=True)
class Batch:
    """Rows to store."""

    events: list[Event] = field(default_factory=list)
    conversions: list[Conversion] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What counts as what.

    conversions: names of events that are conversions; touches: names of events that are touches,
    empty for every event that is no conversion; currency: of the values that count, "" for the one
    that there is; has_flag, has_id, has_campaign: whether the file has such a
    column; prefix: of the ids of rows that have none.
    """

    conversions: frozenset[str] = frozenset()
    touches: frozenset[str] = frozenset()
    currency: str = ""
    has_flag: bool = False
    has_id: bool = False
    has_campaign: bool = False
    prefix: str = ""


@dataclass(slots=True)
class Tally:
    """What became of the rows: left_out and examples by reason, and what was taken for granted.

    repeated: conversions whose id was there before, of the value repeated_value; cut: rows with a
    channel or name that is too long.
    """

    rows: int = 0
    conversions: int = 0
    value: float = 0.0
    left_out: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    currency: str = ""
    currency_place: str = ""
    without_channel: int = 0
    without_value: int = 0
    without_currency: int = 0
    repeated: int = 0
    repeated_value: float = 0.0
    cut: int = 0
    names: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str, place: Callable[[], str], value: object = None) -> None:
        """Count a row that is left out; the first one of a reason is its example."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1
        if reason not in self.examples:
            shown = "" if value is None else f", {str(value)[:40]!r}"
            self.examples[reason] = f"{place()}{shown}"


class Interpreter:
    """Makes events of the rows of one file, and counts what becomes of them in *tally*."""

    def __init__(self, rules: Rules, times: Times, tally: Tally, place: Callable[[], str]) -> None:
        self._rules, self._times, self.tally, self._place = rules, times, tally, place
        self._channels: dict[object, str] = {}
        self._flags: dict[object, bool] = {}
        self._names: dict[object, str] = {}

    def batches(self, rows: Iterator[Cells | str], size: int) -> Iterator[Batch]:
        """Yield batches of events of at most *size* rows, until *rows* end."""
        batch, left = Batch(), size
        rules, tally, time_of = self._rules, self.tally, self._times.reader()
        by_name, touches, has_flag = rules.conversions, rules.touches, rules.has_flag
        channels, flags, names = self._channels, self._flags, self._names
        has_id, has_campaign, prefix = rules.has_id, rules.has_campaign, rules.prefix
        place, leave_out = self._place, tally.leave_out
        add, segment = batch.events.append, SEGMENT
        for cells in rows:
            tally.rows += 1
            left -= 1
            if left < 0:
                tally.rows -= 1
                yield batch
                tally.rows += 1
                batch, left = Batch(), size - 1
                add = batch.events.append
            if isinstance(cells, str):
                leave_out(cells, place)
                continue
            (
                user, time, channel, event, event_id, flag, conversion_id, value, currency,
                medium, campaign, term, content,
            ) = cells  # fmt: skip
            if type(user) is not str:
                user = _text(user)
            if not user or (len(user) <= _LONGEST_ABSENT and is_absent(user)):
                leave_out("user is missing", place)
                continue
            if len(user) > MAX_ID_LENGTH or "\0" in user:
                leave_out(f"user has over {MAX_ID_LENGTH} characters, or a NUL", place, user)
                continue
            try:
                at_ms = time_of(time)
            except Unusable as error:
                leave_out(str(error), place, time)
                continue
            name = names.get(event)
            if name is None:
                name = self._name(event)
                if len(name) <= MAX_ID_LENGTH and len(names) < _MOST_KEPT:
                    names[event] = name
                elif len(name) > MAX_ID_LENGTH:
                    name = name[:MAX_ID_LENGTH]
                    tally.cut += 1
            try:
                converts = name in by_name or (has_flag and flags[flag])
            except (KeyError, TypeError):
                try:
                    converts = self._flag(flag)
                except Unusable as error:
                    leave_out(str(error), place, flag)
                    continue
            if not converts and touches and name not in touches:
                leave_out("the event is neither a touch (--touch) nor a conversion", place, name)
                continue
            source = channels.get(channel)
            if source is None:
                source = self._channel(channel)
                if len(source) <= MAX_ID_LENGTH and len(channels) < _MOST_KEPT:
                    channels[channel] = source
                elif len(source) > MAX_ID_LENGTH:
                    source = source[:MAX_ID_LENGTH]
                    tally.cut += 1
            if has_id:
                if type(event_id) is not str:
                    event_id = _text(event_id)
                if not event_id:
                    leave_out("id is missing", place)
                    continue
                if len(event_id) > MAX_ID_LENGTH:
                    leave_out(f"id has over {MAX_ID_LENGTH} characters", place, event_id)
                    continue
            else:
                event_id = f"{prefix}{tally.rows}"
            conversion = None
            if converts:
                try:
                    amount = self._amount(value, currency)
                except Unusable as error:
                    leave_out(str(error), place, currency if "currency" in str(error) else value)
                    continue
                conversion = _text(conversion_id)
                if is_absent(conversion):
                    conversion = event_id
                elif len(conversion) > MAX_ID_LENGTH:
                    leave_out(f"conversion_id has over {MAX_ID_LENGTH} characters", place)
                    continue
                batch.conversions.append((conversion, event_id, user, at_ms, amount))
            elif source is DIRECT and channel not in _OWN_DIRECT:
                tally.without_channel += 1
            if has_campaign:
                add(
                    (event_id, user, name, source, at_ms, segment, conversion,
                     _maybe(medium), _maybe(campaign), _maybe(term), _maybe(content))
                )  # fmt: skip
            else:
                add((event_id, user, name, source, at_ms, segment, conversion))
        yield batch

    def _name(self, event: object) -> str:
        name = _text(event)
        name = "event" if is_absent(name) else name
        if len(self.tally.names) < _NAMES_KEPT:
            self.tally.names[name[:MAX_ID_LENGTH]] = 0
        return name

    def _channel(self, channel: object) -> str:
        name = _text(channel)
        return DIRECT if is_absent(name) or name == DIRECT else name

    def _flag(self, flag: object) -> bool:
        text = _text(flag).casefold()
        if text not in _TRUE and text not in _FALSE and not is_absent(text):
            raise Unusable("conversion is no flag (1, 0, true, false)")
        self._flags[flag] = text in _TRUE
        return text in _TRUE

    def _amount(self, value: Any, currency: object) -> float:
        """Return a conversion's value; Unusable if it is none, or in another currency."""
        tally = self.tally
        is_number = isinstance(value, int | float | Decimal)
        text = "" if is_number else _text(value)
        if (is_number and math.isnan(value)) or (not is_number and is_absent(text)):
            tally.without_value += 1
            return 0.0
        try:
            if "_" in text:  # which float() passes over
                raise ValueError
            amount = float(value if is_number else text)
        except (ValueError, OverflowError):
            raise Unusable("value is no number (write decimal points)") from None
        if not abs(amount) < _LARGEST_VALUE:
            raise Unusable("value is no finite number below 1e15")
        if amount < 0:
            raise Unusable("value is negative: a refund is no conversion")
        code = _text(currency).upper()
        if is_absent(code):
            tally.without_currency += amount > 0
            return amount
        wanted = self._rules.currency
        if wanted and code != wanted:
            raise Unusable(f"currency is not {wanted}")
        if not tally.currency:
            tally.currency, tally.currency_place = code, self._place()
        elif code != tally.currency:
            raise InputError(
                f"{self._place()}: currency is {code}, and {tally.currency} at "
                f"{tally.currency_place}; values of two currencies make no sum: convert them, or "
                f"say --currency {tally.currency} to leave the others out"
            )
        return amount


_OWN_DIRECT: Collection[object] = frozenset((DIRECT,))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value).strip()


def _maybe(value: object) -> str | None:
    text = _text(value)
    return None if is_absent(text) else text[:MAX_ID_LENGTH]
