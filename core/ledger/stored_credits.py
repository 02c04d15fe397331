"""The stored credits: a row for each conversion, which holds its touches as JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from core.attribution.models import MODELS
from core.errors import InputError, Refused
from core.query.statements import STORED_CREDITS

TOUCHES_PER_ROW = 1_000
"""Touches of one row at most: the row of a very long journey would exceed D1's limit."""

_LETTERS_PER_ROW = 400_000  # of up to 4 bytes in UTF-8
_PAGE = 2_000

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

Touch = tuple[Any, ...]
"""The channel of a touch, and its credit under each of MODELS."""


def credit_rows(conversion_id: str, touches: Sequence[Touch]) -> list[tuple[object, ...]]:
    """Return the rows of `insert_credits` for the *touches* of a conversion, oldest first.

    Raise Refused for a credit that is no finite number.
    """
    count = len(touches)
    if count <= TOUCHES_PER_ROW:  # nearly always
        text = _text(conversion_id, touches)
        if len(text) <= _LETTERS_PER_ROW:
            return [(conversion_id, 0, count, text)] if count else []
    return [
        (conversion_id, first, count, text)
        for start in range(0, count, TOUCHES_PER_ROW)
        for first, text in _parts(conversion_id, start, touches[start : start + TOUCHES_PER_ROW])
    ]


def _parts(conversion_id: str, first: int, touches: Sequence[Touch]) -> Iterator[tuple[int, str]]:
    text = _text(conversion_id, touches)
    if len(text) <= _LETTERS_PER_ROW or len(touches) == 1:
        yield first, text
        return
    half = len(touches) // 2
    yield from _parts(conversion_id, first, touches[:half])
    yield from _parts(conversion_id, first + half, touches[half:])


def _text(conversion_id: str, touches: Sequence[Touch]) -> str:
    try:
        return _encode(touches)
    except ValueError:
        raise Refused(f"a credit of {conversion_id!r} is no finite number") from None


def touches_of(conversion_id: str, text: str) -> list[Touch]:
    """Return the touches that `credit_rows` wrote; InputError if *text* does not hold any."""
    try:
        return [(channel, *credits) for channel, *credits in json.loads(text)]
    except (TypeError, ValueError):
        raise _unreadable(conversion_id) from None


def _unreadable(conversion_id: str) -> InputError:
    return InputError(
        f"the row of credits of {conversion_id!r} holds no touches; restore the database, or delete"
        " the row and recompute its credits"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCredits:
    """Conversions and their stored credits.

    values: of the conversions, NaN for credits whose conversion is missing. owners: the
    conversion of each touch, by place. credits: of each touch under each of MODELS; NaN: none was
    computed.
    """

    conversion_ids: Sequence[str]
    values: NDArray[np.float64]
    owners: NDArray[np.int64]
    channels: Sequence[str]
    credits: NDArray[np.float64]


class _Reader(Protocol):
    def execute(self, sql: str, /) -> Any:
        """Return a cursor over the rows of *sql*."""
        ...


def stored_credits(connection: _Reader) -> Iterator[StoredCredits]:
    """Yield all stored credits in the order of conversions, whole conversions at a time.

    Raise InputError for a row that holds no touches.
    """
    cursor = connection.execute(STORED_CREDITS.sql)
    held: list[Sequence[Any]] = []
    while rows := cursor.fetchmany(_PAGE):
        held += rows
        last = held[-1][0]
        end = len(held)
        while end and held[end - 1][0] == last:  # it may go on
            end -= 1
        if end:
            yield _page(held[:end])
            held = held[end:]
    if held:
        yield _page(held)


def _page(rows: Sequence[Sequence[Any]]) -> StoredCredits:
    try:
        texts = ",".join(row[1] for row in rows)
        found = json.loads(f"[{texts}]")
        if len(found) != len(rows):
            raise ValueError
        touches = [touch for of_row in found for touch in of_row]
        channels = [touch[0] for touch in touches]
        credits = np.array([touch[1:] for touch in touches], dtype=np.float64)
        credits = credits.reshape(len(touches), len(MODELS))
    except (TypeError, ValueError, IndexError):
        raise _first_unreadable(rows) from None
    places: dict[str, int] = {}
    of_rows = [places.setdefault(row[0], len(places)) for row in rows]
    values = {row[0]: row[2] for row in rows}
    return StoredCredits(
        conversion_ids=[*places],
        values=np.array([values[name] for name in places], dtype=np.float64),
        owners=np.repeat(np.array(of_rows, dtype=np.int64), [len(of_row) for of_row in found]),
        channels=channels,
        credits=credits,
    )


def _first_unreadable(rows: Sequence[Sequence[Any]]) -> InputError:
    for conversion_id, text, _ in rows:
        touches = touches_of(conversion_id, text)
        try:
            np.array([touch[1:] for touch in touches], dtype=np.float64).reshape(-1, len(MODELS))
        except (TypeError, ValueError):
            break
    return _unreadable(conversion_id)
