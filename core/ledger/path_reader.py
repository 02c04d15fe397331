"""Journeys of many users from SQLite: ordered scans into flat arrays, by ranges of users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.attribution.parameters import Parameters
from core.attribution.paths import Codes, Integers, Paths
from core.errors import InputError
from core.ledger.connections import Reader, columns_of, rows_of
from core.query import scan_statements
from core.query.statement import Statement

RANGE_TOUCHES = 250_000
"""Touches of a range of users, more only if one user has more. This bounds the memory."""

_WIDEST = 2**62
"""The smallest range of keys of users and times that may overflow 64-bit integers."""

EVERYONE: tuple[str, str | bytes] = ("", b"")
"""The range of all users: in SQLite's order every text is less than every blob."""


class UnusableRow(InputError):
    """A row from which no credit can be computed; the message names it, or its column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Conversions from *start_ms* up to, not including, *end_ms*; None where it is open.

    Events at or after the end are ignored, so figures of the past do not change later.
    """

    start_ms: int | None = None
    end_ms: int | None = None

    def __post_init__(self) -> None:
        if self.start_ms is not None and self.end_ms is not None and self.start_ms >= self.end_ms:
            raise InputError(
                f"the window from {self.start_ms} to {self.end_ms} ms is empty; let it end after "
                "its start"
            )

    def holds(self, times_ms: Integers) -> NDArray[np.bool_]:
        """Return which of *times_ms* lie in the window."""
        inside = np.ones(len(times_ms), dtype=np.bool_)
        if self.start_ms is not None:
            inside &= times_ms >= self.start_ms
        if self.end_ms is not None:
            inside &= times_ms < self.end_ms
        return inside


def events_at_most(connection: Reader) -> int:
    """Return a number of events that the database does not exceed, without counting them."""
    return rows_of(connection, scan_statements.NEWEST_EVENT)[0][0] or 0


def user_ranges(
    connection: Reader, *, touches: int = RANGE_TOUCHES
) -> Iterator[tuple[str, str | bytes]]:
    """Yield ranges of users that cover all of them, each of about *touches* events.

    No range has more conversions than that either, unless a single user has. The ranges depend
    on the data and *touches* alone, and so do sums over them.
    """
    low, everything = EVERYONE

    def next_user(statement: Statement, *parameters: Any) -> list[str]:
        return [user for (user,) in rows_of(connection, statement, *parameters) if user is not None]

    while True:
        ends = (
            next_user(scan_statements.END_OF_RANGE, low, touches)
            + next_user(scan_statements.END_OF_CONVERSIONS, low, touches)
        )  # fmt: skip
        high = min(ends, default=None)
        if high is not None and high == low:  # one user with more than a range's share
            ends = (
                next_user(scan_statements.NEXT_USER, low)
                + next_user(scan_statements.NEXT_CONVERTING_USER, low)
            )  # fmt: skip
            high = min(ends, default=None)
        if high is None:
            yield low, everything
            return
        yield low, high
        low = high


def read_paths(
    connection: Reader,
    parameters: Parameters,
    *,
    users: tuple[str, str | bytes] = EVERYONE,
    window: Window | None = None,
    with_ids: bool = False,
    with_times: bool = False,
) -> Paths:
    """Return the journeys of *users* as paths: those of conversions, then those without one.

    The touches of a conversion lie within the lookback before it, its two ends included, and after
    the user's previous conversion; they are ordered by (time, id). Events that are conversions are
    no touches. A path without a conversion has the touches after the user's last conversion, within
    the lookback before its last touch. *window* chooses conversions by their time and other paths
    by the time of their last touch before its end. Conversions before the window still close
    journeys; everything at or after its end is left out. with_times: whether the times of the
    conversions are kept. A milestone is the first event of its name
    in a journey. Raise UnusableRow for data that cannot be used.
    """
    window = window or Window()
    touches = _Touches(connection, parameters, users, window.end_ms)
    ids, times, owners, values = _conversions(connection, users, touches.users)
    if window.end_ms is not None:
        known = np.flatnonzero(times < window.end_ms)
        ids = [ids[place] for place in known.tolist()]
        times, owners, values = times[known], owners[known], values[known]
    previous, newest = _previous(owners, times, len(touches.users))
    lookback = parameters.lookback_ms
    chosen = window.holds(times)
    starts = touches.after(owners, np.maximum(times - lookback - 1, previous))
    ends = touches.after(owners, times)
    starts, ends, values = starts[chosen], ends[chosen], values[chosen]
    everyone = np.arange(len(touches.users))
    last = touches.offsets[1:] - 1
    # Every user here has a touch, so the last one exists.
    last_times = touches.times[last]
    is_null = (last_times > newest) & (last_times >= 0) & window.holds(last_times)
    null_starts = touches.after(everyone, np.maximum(last_times - lookback - 1, newest))[is_null]
    null_ends = (last + 1)[is_null]
    begins, stops = np.concatenate((starts, null_starts)), np.concatenate((ends, null_ends))
    lengths = np.maximum(stops - begins, 0)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    at = np.arange(offsets[-1]) + np.repeat(begins - offsets[:-1], lengths)
    converted = np.arange(len(lengths)) < len(starts)
    names: tuple[str, ...] | None = None
    if with_ids or parameters.own_event:
        names = (*(ids[i] for i in np.flatnonzero(chosen)), *("",) * len(null_starts))
        if parameters.own_event:
            at, offsets = _without_others(touches.conversions, names, at, offsets)
    channels, codes = _walked(touches.channels, touches.codes[at])
    return Paths(
        channels=channels,
        codes=codes,
        offsets=offsets,
        times_ms=touches.times[at],
        conversions=converted.astype(np.float64),
        nulls=(~converted).astype(np.float64),
        values=np.concatenate((values, np.zeros(len(null_starts)))),
        lead=touches.first_named(parameters.milestones[0], at, offsets),
        opportunity=touches.first_named(parameters.milestones[1], at, offsets),
        conversion_ids=names if with_ids else None,
        converted_ms=(
            np.concatenate((times[chosen], np.full(len(null_starts), -1))) if with_times else None
        ),
    )


def _without_others(
    conversions: Sequence[str | None], named: Sequence[str], at: Integers, offsets: Integers
) -> tuple[Integers, Integers]:
    """Return the touches *at* and their offsets without the own events of other conversions.

    Those events have the conversion's own time: a journey begins after any earlier conversion.
    """
    owners = np.repeat(np.arange(len(named)), np.diff(offsets)).tolist()
    kept = np.array(
        [
            conversions[place] in (None, named[owner])
            for place, owner in zip(at.tolist(), owners, strict=True)
        ],
        dtype=np.bool_,
    )
    return at[kept], np.concatenate(([0], np.cumsum(kept)))[offsets]


class _Touches:
    """The touches of a range of users as flat arrays, ordered by user, time and id.

    end_ms: touches at or after it are left out, and so are users without earlier touches.
    """

    def __init__(
        self,
        connection: Reader,
        parameters: Parameters,
        users: tuple[str, str | bytes],
        end_ms: int | None,
    ) -> None:
        own = parameters.own_event
        names, sizes = columns_of(
            connection,
            scan_statements.OWN_TOUCHES_PER_USER if own else scan_statements.TOUCHES_PER_USER,
            users, 2,
        )  # fmt: skip
        counts = np.array(sizes, dtype=np.int64)
        self._events: list[Any] = []
        self.conversions: list[Any] = []
        if own:
            times, sources, self._events, self.conversions = columns_of(
                connection, scan_statements.OWN_TOUCHES_IN_ORDER, users, 4
            )
        elif parameters.has_milestones:
            times, sources, self._events = columns_of(
                connection, scan_statements.NAMED_TOUCHES_IN_ORDER, users, 3
            )
        else:
            times, sources = columns_of(connection, scan_statements.TOUCHES_IN_ORDER, users, 2)
        self.times = _whole("event_timestamp", times)
        numbers = {name: number for number, name in enumerate(_sorted_texts(sources))}
        self.channels = tuple(numbers)
        self.codes: Codes = np.fromiter(
            map(numbers.__getitem__, sources), dtype=np.int32, count=len(sources)
        )
        owners = np.repeat(np.arange(len(counts)), counts)
        if end_ms is not None:
            known = np.flatnonzero(self.times < end_ms)
            self.times, self.codes = self.times[known], self.codes[known]
            self._events, self.conversions = (
                [column[place] for place in known.tolist() if column]
                for column in (self._events, self.conversions)
            )
            present, owners = np.unique(owners[known], return_inverse=True)
            names = [names[place] for place in present.tolist()]
            counts = np.bincount(owners, minlength=len(names))
        self.users = {user: number for number, user in enumerate(names)}
        self.offsets: Integers = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        self._base = int(self.times.min()) if len(self.times) else 0
        self._span = int(self.times.max()) - self._base + 2 if len(self.times) else 1
        self._ranks: Integers | None = None
        if len(self.users) * self._span >= _WIDEST:  # some times are far off
            self._ranks = np.unique(self.times)
            self._base, self._span = 0, len(self._ranks) + 1
        self._keys: Integers = owners * self._span + self._relative(self.times)

    def after(self, owners: Integers, times_ms: Integers) -> Integers:
        """Return, for each owner, the place of the first touch after the time, if any.

        An owner of -1 has no touches. Touches before the epoch count as never.
        """
        relative = np.clip(self._relative(np.maximum(times_ms, -1)), -1, self._span - 1)
        keys: Integers = owners * self._span + relative
        return np.searchsorted(self._keys, keys, side="right").astype(np.int64, copy=False)

    def _relative(self, times_ms: Integers) -> Integers:
        """Return numbers that order *times_ms* among the times of the touches."""
        if self._ranks is None:
            return times_ms - self._base
        return np.searchsorted(self._ranks, times_ms, side="right").astype(np.int64) - 1

    def first_named(self, name: str, at: Integers, offsets: Integers) -> Codes | None:
        """Return the first touch named *name* in each path of the touches *at*, -1 for none."""
        if not name:
            return None
        is_named = np.array([event == name for event in self._events], dtype=np.bool_)
        found = np.flatnonzero(is_named[at])[::-1]
        paths = np.searchsorted(offsets, found, side="right") - 1
        marks = np.full(len(offsets) - 1, -1, dtype=np.int32)
        marks[paths] = found - offsets[paths]  # in reverse order, so the first is written last
        return marks


def _sorted_texts(sources: list[Any]) -> list[str]:
    names = set(sources)
    for name in names:
        if type(name) is not str:
            raise UnusableRow(
                f"utm_source is {str(name)[:40]!r}; a text is needed: correct the row"
            )
    return sorted(names)


def _walked(channels: tuple[str, ...], codes: Codes) -> tuple[tuple[str, ...], Codes]:
    """Return the channels that *codes* name, and the codes among them."""
    is_walked = np.bincount(codes, minlength=len(channels)) > 0
    if is_walked.all():
        return channels, codes
    place = (np.cumsum(is_walked) - 1).astype(np.int32)
    return tuple(np.array(channels, dtype=object)[is_walked]), place[codes]


def _conversions(
    connection: Reader, users: tuple[str, str | bytes], known: dict[str, int]
) -> tuple[list[Any], Integers, Integers, NDArray[np.float64]]:
    """Return ids, times, the places of their users among *known* (-1: no touches), and values."""
    who, times, values, ids = columns_of(connection, scan_statements.CONVERSIONS_IN_ORDER, users, 4)
    owners = np.fromiter((known.get(user, -1) for user in who), dtype=np.int64, count=len(who))
    try:
        amounts = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        amounts = np.array([np.nan])
    if not np.isfinite(amounts).all():
        name, wrong = next(
            (name, value)
            for name, value in zip(ids, values, strict=True)
            if not isinstance(value, int | float) or not abs(value) < np.inf
        )
        raise UnusableRow(
            f"conversions.value of conversion {name} is {wrong!r}; a finite number is needed: "
            "correct the row"
        )
    return ids, _whole("conversion_timestamp", times), owners, amounts


def _previous(owners: Integers, times: Integers, users: int) -> tuple[Integers, Integers]:
    """Return the time of the owner's conversion before each, and of each user's last; -1 for none.

    Conversions of one instant have the same one before them.
    """
    previous = np.full(len(times), -1, dtype=np.int64)
    newest = np.full(users, -1, dtype=np.int64)
    if len(times):
        is_same = owners[1:] == owners[:-1]
        begins = np.concatenate(([True], ~is_same | (times[1:] != times[:-1])))
        group = np.flatnonzero(begins)[np.cumsum(begins) - 1]  # first of an instant
        has = group > 0
        has[has] = owners[group[has] - 1] == owners[has]
        previous[has] = times[group[has] - 1]
        is_known = owners >= 0
        newest[owners[is_known]] = times[is_known]  # ascending, so the last one is written last
    return previous, newest


def _whole(column: str, numbers: list[Any]) -> Integers:
    """Return *numbers* as integers; UnusableRow names one that is not an integer."""
    if not numbers:
        return np.empty(0, dtype=np.int64)
    found = np.array(numbers)
    if found.dtype != np.int64:
        wrong = next((n for n in numbers if type(n) is not int), numbers[0])
        raise UnusableRow(f"{column} is {str(wrong)[:40]!r}; whole epoch milliseconds are needed")
    return found
