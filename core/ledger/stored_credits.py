"""The stored credits: a row for each conversion, which holds its touches as JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring
from math import isfinite, nan
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

Shares = Sequence[Sequence[float]]
"""The credits of the touches, oldest first, under each of MODELS."""


def credit_rows(
    conversion_id: str, channels: Sequence[str], shares: Shares
) -> list[tuple[object, ...]]:
    """Return the rows of `insert_credits` for a conversion whose touches have *channels*.

    Raise Refused for a credit that is no finite number.
    """
    count = len(channels)
    if count <= TOUCHES_PER_ROW:  # nearly always
        text = _text(conversion_id, channels, shares)
        if len(text) <= _LETTERS_PER_ROW:
            return [(conversion_id, 0, count, text)] if count else []
    return [
        (conversion_id, first, count, text)
        for start in range(0, count, TOUCHES_PER_ROW)
        for first, text in _parts(
            conversion_id, channels, shares, start, min(start + TOUCHES_PER_ROW, count)
        )
    ]


def _parts(
    conversion_id: str, channels: Sequence[str], shares: Shares, start: int, end: int
) -> Iterator[tuple[int, str]]:
    """Yield rows of the touches from *start* to *end*: the first touch, and the text."""
    cut = slice(start, end)
    text = _text(conversion_id, channels[cut], [of_model[cut] for of_model in shares])
    if len(text) <= _LETTERS_PER_ROW or end - start == 1:
        yield start, text
        return
    half = (start + end) // 2
    yield from _parts(conversion_id, channels, shares, start, half)
    yield from _parts(conversion_id, channels, shares, half, end)


def _text(conversion_id: str, channels: Sequence[str], shares: Shares) -> str:
    names = ",".join(map(encode_basestring, channels))
    try:
        return f"[[{names}],{','.join([_column(tuple(of_model)) for of_model in shares])}]"
    except ValueError:
        raise Refused(f"a credit of {conversion_id!r} is no finite number") from None


# Under most models the credits depend on the number of touches alone.
@lru_cache(maxsize=1024)
def _column(credits: tuple[float, ...]) -> str:
    if not isfinite(sum(credits)):
        raise ValueError
    return f"[{','.join(map(float.__repr__, credits))}]"


@lru_cache(maxsize=1024)
def _credits(text: str) -> tuple[float, ...]:
    """Return the numbers in the *text* of a column without its brackets."""
    return tuple([nan if each == "null" else float(each) for each in text.split(",")])


def joined(conversion_id: str, texts: Iterable[str]) -> tuple[list[str], list[list[float]]]:
    """Return the channels of the touches and their credits under each of MODELS.

    texts: of the conversion's rows, in order. A credit that was never computed is NaN. Raise
    InputError if a text holds no touches.
    """
    channels: list[str] = []
    shares: list[list[float]] = [[] for _ in MODELS]
    for text in texts:
        _add(conversion_id, text, channels, shares)
    return channels, shares


def _add(conversion_id: str, text: str, channels: list[str], shares: Sequence[list[float]]) -> int:
    """Add the touches in *text* to *channels* and *shares*; return their number."""
    try:
        try:
            found, of_models = _split(text)
        except ValueError:  # JSON all the same, if another program has written it
            found, of_models = _parsed(text)
    except (TypeError, ValueError):
        raise _unreadable(conversion_id) from None
    count = len(found)
    if len(of_models) != len(MODELS) or any(len(column) != count for column in of_models):
        raise _unreadable(conversion_id)
    for column, more in zip(shares, of_models, strict=True):
        column += more
    channels += found
    return count


def _split(text: str) -> tuple[list[str], Sequence[Sequence[float]]]:
    """Return the columns of a text as `credit_rows` makes it; ValueError for any other.

    Faster than a parser of JSON: columns of numbers hold no brackets, and many are the same.
    """
    names, *columns = text.rsplit("],[", len(MODELS))
    if not columns:
        raise ValueError("no columns")
    columns[-1] = columns[-1].removesuffix("]]")
    of_models = [*map(_credits, columns)]
    return json.loads(f"{names[1:]}]"), of_models


def _parsed(text: str) -> tuple[list[str], Sequence[Sequence[float]]]:
    channels, *columns = json.loads(text)
    return channels, [[nan if each is None else float(each) for each in one] for one in columns]


def _unreadable(conversion_id: str) -> InputError:
    return InputError(
        f"the row of credits of {conversion_id!r} holds no touches; restore the database, or delete"
        " the row and recompute its credits"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCredits:
    """Conversions and their stored credits.

    values: of the conversions, NaN if the conversion is missing. owners: the conversion of each
    touch, by place. credits: of the touches under each of MODELS, NaN where none was computed.
    """

    conversion_ids: Sequence[str]
    values: NDArray[np.float64]
    owners: NDArray[np.int64]
    channels: Sequence[str]
    credits: Sequence[NDArray[np.float64]]


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
        last, end = held[-1][0], len(held)
        while end and held[end - 1][0] == last:  # it may go on
            end -= 1
        if end:
            yield _page(held[:end])
            held = held[end:]
    if held:
        yield _page(held)


def _page(rows: Sequence[Sequence[Any]]) -> StoredCredits:
    channels: list[str] = []
    shares: list[list[float]] = [[] for _ in MODELS]
    counts = [_add(name, text, channels, shares) for name, text, _ in rows]
    values = {name: value if type(value) in (int, float) else nan for name, _, value in rows}
    places = {name: place for place, name in enumerate(values)}
    return StoredCredits(
        conversion_ids=[*values],
        values=np.array([*values.values()], dtype=np.float64),
        owners=np.repeat([places[row[0]] for row in rows], counts),
        channels=channels,
        credits=[np.array(of_model, dtype=np.float64) for of_model in shares],
    )
