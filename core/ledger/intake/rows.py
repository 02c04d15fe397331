"""The rows of a file of events: CSV, TSV, NDJSON or Parquet, one tuple of cells each."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, Protocol

from core.errors import InputError
from core.ledger.intake.fields import FIELDS, Column, Columns
from core.packed import PARQUET, open_packed, text_lines
from core.texts import count_of

Form = Literal["csv", "tsv", "ndjson", "parquet"]
FORMS: tuple[Form, ...] = ("csv", "tsv", "ndjson", "parquet")

Cells = tuple[Any, ...]
"""A row's cells in the order of FIELDS; "" or None where it has none."""

_SEPARATORS = (",", ";", "\t", "|")
_SEARCHED = 100
"""Rows of NDJSON whose keys are the columns; a later row may lack some."""
_FETCHED = 10_000
_NESTED = frozenset((dict, list))
_NO_OBJECT = "the line is no JSON object"
_TOGETHER = 100
"""Lines of NDJSON that are parsed as one."""


class Rows(Protocol):
    """The rows of one file, read once.

    names: of its columns; is_nested: whether a cell may hold further ones; form: of the file; note:
    about lines before the header, "" if there is nothing to say.
    """

    names: list[str]
    note: str
    is_nested: bool
    form: Form

    @property
    def place(self) -> str:
        """Where reading stands, such as "events.csv:12"."""
        ...

    def share(self) -> float:
        """Return the share of the file that has been read."""
        ...

    def cells(self, columns: Columns) -> Iterator[Cells | str]:
        """Yield the cells of each row, or why it has none."""
        ...


@contextmanager
def open_rows(file: Path, form: Form | None = None, *, has_header: bool = True) -> Iterator[Rows]:
    """Open the rows of *file*, whose form is told by its content where *form* is None.

    has_header: whether a CSV or TSV begins with the names of its columns; without them the columns
    are called by their numbers. Raise InputError, also while rows are read, for what is no such
    file.
    """
    with open_packed(file) as stream:
        head = stream.peek(4096)[:4096]
        if head.startswith(PARQUET) or form == "parquet":
            if form not in (None, "parquet"):
                raise InputError(f"{file}: is a Parquet file; leave --format {form} out")
            if not head.startswith(PARQUET):
                raise InputError(f"{file}: is no Parquet file; --format says what it is")
            with _parquet(file) as rows:
                yield rows
            return
        with text_lines(file, stream) as lines:
            first, passed, titles = _first_row(lines, form)
            if not first:
                raise InputError(f"{file}: holds no rows; give a file with events")
            start = first.lstrip()[:1]
            if form == "ndjson" or (form is None and start in "{["):
                if start == "[":
                    raise InputError(
                        f"{file}: is one JSON list; write one object a line: jq -c '.[]' does so"
                    )
                yield _JsonRows(file, chain([first], lines), passed, stream.share)
                return
            if form is None and start == "<":
                raise InputError(f"{file}: is HTML or XML; export the events as CSV or NDJSON")
            table = _table(file, first, lines, passed, form, has_header=has_header)
            table.share = stream.share
            if titles:
                table.note = (
                    f"the header stands in line {passed}; {count_of(titles, 'line')} before it "
                    "passed over"
                )
            yield table


def _first_row(lines: Iterator[str], form: Form | None) -> tuple[str, int, int]:
    """Return the first line that is a row, its number, and how many lines of text stand before it.

    Comments and blank lines do not count. A title holds no separator, and a row of events holds
    one; where no line does, the first one is returned.
    """
    titles: list[tuple[str, int]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        is_row = form == "ndjson" or line.lstrip()[:1] in "{[<" or "=" in line[:6]
        if is_row or any(separator in line for separator in _SEPARATORS):
            return line, number, len(titles)
        titles.append((line, number))
        if len(titles) == _SEARCHED:
            break
    return (*titles[0], 0) if titles else ("", 0, 0)


def _table(
    file: Path,
    first: str,
    lines: Iterator[str],
    passed: int,
    form: Form | None,
    *,
    has_header: bool,
) -> _TableRows:
    separator = "\t" if form == "tsv" else ""
    stated = first.strip().strip('"')
    if stated.casefold().startswith("sep=") and len(stated) == len("sep=") + 1:
        separator, passed = stated[-1], passed + 1
        first = next(lines, "")
    separator = separator or max(_SEPARATORS, key=first.count)
    try:
        names = next(csv.reader([first], delimiter=separator), [])
    except csv.Error as error:
        raise InputError(f"{file}:{passed}: is no row of a table ({error})") from None
    if not has_header:
        count = len(names)
        names = [str(number) for number in range(1, count + 1)]
        lines, passed = chain([first], lines), passed - 1
    for name in names:
        if name and names.count(name) > 1:
            raise InputError(f"{file}:{passed}: the column {name} stands twice; rename one")
    return _TableRows(file, [name.strip() for name in names], separator, lines, passed)


class _TableRows:
    """The rows of a CSV or TSV."""

    is_nested = False
    note = ""
    share: Callable[[], float]

    def __init__(
        self, file: Path, names: list[str], separator: str, lines: Iterator[str], passed: int
    ) -> None:
        self.names = names
        self.form: Form = "tsv" if separator == "\t" else "csv"
        self._file, self._passed = file, passed
        # Strict: a quote that is not closed would swallow all rows behind it.
        self._reader = csv.reader(lines, delimiter=separator, strict=True)

    @property
    def place(self) -> str:
        return f"{self._file}:{self._passed + self._reader.line_num}"

    def cells(self, columns: Columns) -> Iterator[Cells | str]:
        width = len(self.names)
        at = {name: position for position, name in enumerate(self.names)}
        chosen, made = [], []
        for field in FIELDS:
            column = columns.columns.get(field)
            if column is None:
                chosen.append(width)
            elif len(column.places) == 1:
                chosen.append(at[column.places[0][0]])
            else:
                made.append(_of_cells(column, at))
                chosen.append(width + len(made))
        pick = itemgetter(*chosen)
        try:
            for row in self._reader:
                if len(row) != width:
                    if not row:
                        continue
                    if len(row) < width or any(cell.strip() for cell in row[width:]):
                        yield "the row has other columns than the header"
                        continue
                    del row[width:]
                row.append("")
                if made:
                    row += [make(row) for make in made]
                yield pick(row)
        except csv.Error as error:
            raise InputError(
                f"{self.place}: is no row of a table ({error}); close its quotes"
            ) from None


def _of_cells(column: Column, at: dict[str, int]) -> Callable[[list[str]], str]:
    places = [at[place[0]] for place in column.places]
    if column.joins:
        return lambda row: "/".join(row[place] for place in places)
    return lambda row: next((row[place] for place in places if row[place]), "")


class _JsonRows:
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
def _parquet(file: Path) -> Iterator[Rows]:
    try:
        import duckdb
    except ImportError:
        raise InputError(f"{file}: {NO_DUCKDB}") from None
    if not file.is_file():
        raise InputError(f"{file}: is a pipe, and Parquet is read from its end; give a file")
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        try:
            yield _ParquetRows(file, connection)
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{file}: is a Parquet file that cannot be read ({reason})") from None


class _ParquetRows:
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
