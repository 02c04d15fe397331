"""Rows of parameters as JSON text: one statement takes many rows by one parameter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from core.errors import Refused
from core.query.limits import MAX_VALUE_BYTES

_LARGEST = 2**63  # SQLite reads a larger integer of JSON as a float

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def json_rows(
    what: str, rows: Sequence[Sequence[Any]], most_bytes: int = MAX_VALUE_BYTES
) -> Iterator[str]:
    """Yield JSON arrays of *rows* in their order, each of *most_bytes* in UTF-8 at most.

    Raise Refused for a value that JSON or SQLite would change, and for a row that is longer than
    *most_bytes*. *what* names the operation in the error.
    """
    texts: list[str] = []
    size = 2  # the brackets
    for row in rows:
        text = _text(what, row)
        length = len(text.encode()) + 1  # the comma
        if length + 1 > most_bytes:
            raise Refused(f"{what}: a row of {length - 1:,} bytes as JSON, D1 takes {most_bytes:,}")
        if texts and size + length > most_bytes:
            yield f"[{','.join(texts)}]"
            texts, size = [], 2
        texts.append(text)
        size += length
    if texts:
        yield f"[{','.join(texts)}]"


def _text(what: str, row: Sequence[Any]) -> str:
    for value in row:
        kind = type(value)
        if kind is str:
            try:
                value.encode()
            except UnicodeEncodeError:
                raise Refused(f"{what}: {value[:60]!r} cannot be encoded as UTF-8") from None
        elif kind is int:
            if not -_LARGEST <= value < _LARGEST:
                raise Refused(f"{what}: the number {value} is beyond 64 bits")
        elif not (value is None or kind is bool or kind is float):
            raise Refused(f"{what}: a {kind.__name__} cannot be sent to D1")
    try:
        return _encode([int(value) if value is True or value is False else value for value in row])
    except ValueError:
        raise Refused(f"{what}: NaN and infinite numbers cannot be sent to D1") from None
