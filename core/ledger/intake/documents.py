"""Rows whose cells may hold further ones: NDJSON and Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.ledger.intake.cells import Cells, Form
from core.ledger.intake.fields import FIELDS, Column, Columns

_SEARCHED = 100
"""Rows of NDJSON whose keys are the columns; a later row may lack some."""
_FETCHED = 10_000
_NESTED = frozenset((dict, list))
_NO_OBJECT = "the line is no JSON object"
_TOGETHER = 100
"""Lines of NDJSON that are parsed as one."""


class JsonRows:
    """The rows of NDJSON, an object a line."""

    is_nested = True
    note = ""
    form: Form = "ndjson"

    def __init__(
        self, file: Path, lines: Iterator[str], number: int, share: Callable[[], float]
    ) -> None:
        self._file, self._number, self.share = file, number - 1, share
        self._documents = self._read(lines)
        self._first = list(islice(self._documents, _SEARCHED))
        self._ahead = self._number - len(self._first)
        self.names = list(dict.fromkeys(name for each in self._first for name in each or ()))
        if not self.names:
            raise InputError(
                f"{file}:{number}: is no JSON object on one line; write one a line: jq -c '.' does "
                "so"
            )

    @property
    def place(self) -> str:
        return f"{self._file}:{self._ahead if self._first else self._number}"

    def _read(self, lines: Iterator[str]) -> Iterator[dict[str, Any] | None]:
        decode = json.JSONDecoder().decode
        while chunk := list(islice(lines, _TOGETHER)):
            try:  # many lines as one list take half the time
                documents = decode(f"[{','.join(chunk)}]")
                if len(documents) != len(chunk):
                    documents = None
            except (ValueError, RecursionError):
                documents = None
            for position, line in enumerate(chunk):
                self._number += 1
                if documents is not None:
                    document = documents[position]
                elif not line.strip():
                    continue
                else:
                    try:
                        document = decode(line)
                    except (ValueError, RecursionError):
                        document = None
                yield document if type(document) is dict else None

    def cells(self, columns: Columns) -> Iterator[Cells | str]:
        get = _picker(columns)
        for document in self._first:
            self._ahead += 1
            yield _NO_OBJECT if document is None else get(document)
        self._first = []
        for document in self._documents:
            yield _NO_OBJECT if document is None else get(document)


def _picker(columns: Columns) -> Callable[[dict[str, Any]], Cells | str]:
    """Return what picks the fields' cells out of a document."""
    chosen = [columns.columns.get(field) for field in FIELDS]
    if all(c is None or (len(c.places) == 1 and len(c.places[0]) == 1) for c in chosen):
        keys = [None if c is None else c.places[0][0] for c in chosen]

        def plain(document: dict[str, Any]) -> Cells | str:
            return _flat(tuple(map(document.get, keys)))  # type: ignore[arg-type]  # None: no key

        return plain

    def one(document: dict[str, Any], column: Column | None) -> Any:
        if column is None:
            return None
        found = (_at(document, place) for place in column.places)
        if column.joins:
            return "/".join("" if value is None else str(value) for value in found)
        return next((value for value in found if value not in (None, "")), None)

    def picked(document: dict[str, Any]) -> Cells | str:
        return _flat(tuple([one(document, column) for column in chosen]))

    return picked


def _flat(cells: Cells) -> Cells | str:
    """Return *cells*, or which of them is an object or a list and has to be led into."""
    if _NESTED.isdisjoint(map(type, cells)):
        return cells
    field = next(name for name, cell in zip(FIELDS, cells, strict=True) if type(cell) in _NESTED)
    return f"{field} is an object or a list (--columns {field}=A.B names what is in it)"


def _at(value: Any, place: Sequence[str]) -> Any:
    """Return what *place* leads to in *value*, None if nothing.

    A list of keys and values, as GA4's event_params, is led into by a key; of a parameter's value
    the one type that is filled counts.
    """
    for key in place:
        if type(value) is dict:
            value = value.get(key)
        elif type(value) is list:
            value = next(
                (each.get("value") for each in value
                 if type(each) is dict and each.get("key") == key), None,
            )  # fmt: skip
            if type(value) is dict:
                value = next((each for each in value.values() if each is not None), None)
        else:
            return None
    return value


# Older writers mark no text as text.
_READ = "read_parquet(?, binary_as_string = true)"
NO_DUCKDB = (
    "is a Parquet file, which needs a package: pip install 'edgeproof[formats]', or export the "
    "events as CSV or NDJSON"
)


@contextmanager
def open_parquet(file: Path) -> Iterator[ParquetRows]:
    try:
        import duckdb
    except ImportError:
        raise InputError(f"{file}: {NO_DUCKDB}") from None
    if not file.is_file():
        raise InputError(f"{file}: is a pipe, and Parquet is read from its end; give a file")
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        try:
            yield ParquetRows(file, connection)
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{file}: is a Parquet file that cannot be read ({reason})") from None


class ParquetRows:
    """The rows of a Parquet file, read by DuckDB."""

    is_nested = True
    note = ""
    form: Form = "parquet"

    def __init__(self, file: Path, connection: Any) -> None:
        self._file, self._connection = file, connection
        # Brackets are a pattern's; in brackets of their own they stand for themselves.
        self._pattern = "".join(f"[{c}]" if c in "*?[" else c for c in str(file))
        described = connection.execute(
            f"DESCRIBE SELECT * FROM {_READ}", [self._pattern]
        ).fetchall()
        self._types: dict[str, str] = {name: kind for name, kind, *_ in described}
        self.names = list(self._types)
        self._row = 0
        self._count: int = connection.execute(
            f"SELECT count(*) FROM {_READ}", [self._pattern]
        ).fetchone()[0]

    def share(self) -> float:
        return self._row / max(1, self._count)

    @property
    def place(self) -> str:
        return f"{self._file}: row {self._row:,}"

    def cells(self, columns: Columns) -> Iterator[Cells | str]:
        needed = list(
            dict.fromkeys(place[0] for c in columns.columns.values() for place in c.places)
        )
        chosen = ", ".join(_selected(name, self._types[name]) for name in needed)
        self._connection.execute(f"SELECT {chosen} FROM {_READ}", [self._pattern])
        get = _picker(columns)
        while rows := self._connection.fetchmany(_FETCHED):
            for row in rows:
                self._row += 1
                yield get(dict(zip(needed, row, strict=True)))


def _selected(name: str, kind: str) -> str:
    """Return the SQL of a column; times become texts, with their zone if they have one."""
    quoted = '"' + name.replace('"', '""') + '"'
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"strftime(make_timestamp(epoch_us({quoted})), '%Y-%m-%dT%H:%M:%S.%f+00:00')"
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return f"CAST({quoted} AS VARCHAR)"
    return quoted
