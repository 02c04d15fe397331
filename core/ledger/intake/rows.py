"""The rows of a file of events: CSV, TSV, NDJSON or Parquet, one tuple of cells each."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Protocol

from core.errors import InputError
from core.ledger.intake.cells import Cells, Form
from core.ledger.intake.documents import JsonRows, open_parquet
from core.ledger.intake.fields import FIELDS, Column, Columns
from core.packed import PARQUET, open_packed, text_lines
from core.texts import count_of

_SEPARATORS = (",", ";", "\t", "|")
_SEARCHED = 100
"""Lines that are searched for the header."""


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
            with open_parquet(file) as rows:
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
                yield JsonRows(file, chain([first], lines), passed, stream.share)
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
