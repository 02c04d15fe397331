"""Reading aggregated paths from CSV files in the shape that attribution tools exchange."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from math import isnan
from pathlib import Path

import numpy as np

from core.attribution.cells import unguarded
from core.attribution.currency import OneCurrency
from core.attribution.joiner import DEFAULT, Parts, named
from core.attribution.names import DIRECT, is_absent
from core.attribution.path_columns import (
    CONVERSIONS,
    COUNT,
    NULLS,
    PATH,
    VALUE,
    Columns,
    Placed,
    placed,
    unusable,
)
from core.attribution.path_numbers import (
    LARGEST,
    Numbers,
    counted,
    least_of,
    number_of,
    rows_of,
    unusual,
)
from core.attribution.paths import Paths
from core.attribution.table import NoHeader, Table, find_table, open_text
from core.errors import InputError
from core.packed import access_log_hint
from core.texts import count_of

COLUMNS = (PATH, CONVERSIONS, VALUE, NULLS)
_SUMS = ("total", "totals", "grand total", "sum", "all", "all channels", "overall")


def read_paths(
    file: Path,
    *,
    joiner: str | None = None,
    columns: Columns | None = None,
    direct: Sequence[str] = (),
) -> tuple[Paths, list[str]]:
    """Return the paths of *file*, and notices about it.

    The file has a header with the columns path, total_conversions and, where known,
    total_conversion_value and total_null, separated by ",", ";", tab or "|", in any case; *columns*
    states other names or numbers, and names of other tools are recognised and said. Other columns
    are passed over, and so are lines before the header. Where the conversions of all rows are True
    or False, or a column that is named so holds 1 and 0, a row is as many journeys as its count
    says, by default 1, that all converted or all did not. `open_text` says how it may be
    encoded and compressed. A mark of absence (see `is_absent`) in a value or in total_null is 0,
    and as a path it is an empty one; a notice tells of both. A path is channels joined by ">", or
    as `named` finds; spaces around them do not count. With *joiner* only that joins them. An empty
    path has no touch. direct: names of channels that are direct traffic, besides the usual ones.
    Raise InputError that names file, line and value.
    """
    if joiner is not None and not joiner.strip(" "):
        raise InputError("--joiner is empty; give the text between two channels, such as '|'")
    columns = columns or Columns()
    chosen: list[Placed] = []

    def is_header(where: str, names: Sequence[str]) -> bool:
        found = placed(where, names, columns)
        chosen.extend([] if found is None else [found])
        return found is not None

    def is_row(cells: Sequence[str]) -> bool:
        at = int(columns.conversions)
        return max(at, int(columns.path)) <= len(cells) and not isnan(number_of(cells[at - 1])[0])

    with open_text(file) as stream:
        try:
            numbered = is_row if columns.are_numbers else None
            table = find_table(file, stream, is_header, is_row=numbered)
        except NoHeader as found:
            if columns.are_numbers:
                raise InputError(
                    f"{found.place}: no row has a path in column {columns.path} and a number in "
                    f"column {columns.conversions}"
                ) from None
            told = unusable(found.place, found.names, columns)
            raise InputError(f"{told}{access_log_hint(file)}") from None
        if columns.are_numbers:
            is_header(table.place(0), table.names)
        return _read(table, chosen[-1], joiner, direct)


class _Walked:
    """The paths of a file as they are read, split at the joiner."""

    def __init__(self, joiner: str | None) -> None:
        self.is_given = joiner is not None
        self.joiner = DEFAULT if joiner is None else joiner
        self.texts: list[str] = []
        self.seen: list[str] = []
        self.known: dict[str, int] = {}  # codes of the parts between joiners
        self.marks: dict[str, int] = {}  # those of marks of absence, which may be a whole path
        self.absent: dict[str, int] = {}  # marks that are a whole path, and their rows

    def codes(self, where: str, path: str) -> list[int]:
        """Return the codes of a path's parts; new parts get the next codes."""
        path = unguarded(path)
        parts = path.split(self.joiner)
        if is_absent(path):
            if mark := path.strip():
                self.absent[mark] = self.absent.get(mark, 0) + 1
            return []
        codes = []
        for part in parts:
            code = self.known.get(part, self.marks.get(part))
            if code is None:
                code = len(self.texts)
                (self.marks if is_absent(part) else self.known)[part] = code
                self.texts.append(part)
                self.seen.append(f"{where}: path {path[:60]!r}")
            codes.append(code)
        return codes


def _read(
    table: Table, chosen: Placed, joiner: str | None, direct: Sequence[str]
) -> tuple[Paths, list[str]]:
    file, names, separator = table.file, table.names, table.separator
    reader = csv.reader(table.lines, delimiter=separator, strict=True)

    def here() -> str:
        return table.place(reader.line_num)

    codes: list[int] = []
    offsets = [0]
    place = chosen.at
    numbers = Numbers({role: [] for role in (CONVERSIONS, VALUE, NULLS, COUNT)})
    walked = _Walked(joiner)
    known, joined_by = walked.known, walked.joiner
    currency = OneCurrency(names)
    value_at = place[VALUE] if VALUE in place and currency.is_told else -1
    try:
        width, most = max(place.values()) + 1, len(names)
        columns = [
            (role, place[role], lists, least_of(role))
            for role, lists in numbers.lists.items()
            if role in place
        ]
        for row in reader:
            if not row or (not row[0].strip() and not any(map(str.strip, row))):
                continue
            if len(row) < width:
                raise InputError(
                    f"{here()}: has {count_of(len(row), 'column')}, the header needs {width}; "
                    f"add what is missing, and put a path that holds {separator!r} in quotes"
                )
            if len(row) > most and any(cell.strip() for cell in row[most:]):
                raise InputError(
                    f"{here()}: has {len(row)} columns, the header {most}; put a "
                    f"path that holds {separator!r} in quotes, and write decimal points"
                )
            for role, at, column, least in columns:
                try:
                    number = float(row[at])
                except ValueError:
                    number = math.nan
                if not least <= number <= LARGEST or "_" in row[at]:
                    number = numbers.take(here(), role, chosen.names[role], row[at])
                column.append(number)
            if value_at >= 0 and numbers.lists[VALUE][-1]:
                currency.see(here(), row)
            path = row[place[PATH]]
            try:
                codes += [known[part] for part in path.split(joined_by)]
            except KeyError:
                codes += walked.codes(here(), path)
            offsets.append(len(codes))
    except csv.Error as error:
        raise InputError(
            f"{here()}: not a row of CSV ({error}); close every quote, and "
            "double those within a field"
        ) from None
    if len(offsets) == 1:
        raise InputError(f"{file}: has no rows below its header; give at least one path")
    parts = Parts(
        texts=walked.texts,
        codes=np.array(codes, dtype=np.int32),
        offsets=np.array(offsets, dtype=np.int64),
        seen=walked.seen,
        joiner=walked.joiner,
        is_given=walked.is_given,
    )
    channels, coded, bounds, said = named(parts)
    conversions, nulls, shape = counted(file, chosen, numbers)
    values = np.array(numbers.lists[VALUE] or np.zeros(len(conversions)))
    channels, renamed = _with_direct(file, channels, direct)
    paths = Paths(
        channels=channels,
        codes=coded,
        offsets=bounds,
        conversions=conversions,
        nulls=nulls,
        values=values,
    )
    _refuse_sums(file, paths)
    notes = table.notes + [f"{file}: {note}" for note in (*chosen.said(), *shape, *said, *renamed)]
    has_nulls = NULLS in place or bool(nulls.any())
    notes += [
        f"{file} has no column {name}: {meaning}"
        for name, meaning, is_there in (
            (VALUE, "every value is 0", VALUE in place),
            (NULLS, "no path failed to convert", has_nulls),
        )
        if not is_there
    ]
    notes += [
        f"{file} has no {name} in {rows_of(number)}: it is 0"
        for name, number in numbers.empty.items()
    ]
    notes += [
        f"{file}: path is {mark!r} in {rows_of(rows)}: an empty path, without a touch"
        for mark, rows in walked.absent.items()
    ]
    return paths, notes + [f"{file}: {note}" for note in unusual(paths)]


def _with_direct(
    file: Path, channels: tuple[str, ...], direct: Sequence[str]
) -> tuple[tuple[str, ...], list[str]]:
    """Return *channels* with those that *direct* states as `DIRECT`, and a notice."""
    names = {name.strip().casefold() for name in direct}
    taken = [name for name in channels if name.casefold() in names]
    absent = [name for name in direct if name.strip().casefold() not in map(str.casefold, channels)]
    if absent:
        raise InputError(f"--direct-channel {absent[0]!r}: {file} has no channel of that name")
    if not taken:
        return channels, []
    if len(taken) > 1 or DIRECT in channels:
        raise InputError(
            f"--direct-channel: {file} has {' and '.join(map(repr, {*taken, DIRECT}))}; direct "
            "traffic is one channel, so give one name"
        )
    moved = tuple(DIRECT if name in taken else name for name in channels)
    return moved, [f"{taken[0]!r} is direct traffic, {DIRECT}"]


def _refuse_sums(file: Path, paths: Paths) -> None:
    """Raise InputError for a row that sums up all others: it would count each conversion twice."""
    total = float(paths.conversions.sum())
    alone = np.flatnonzero(np.diff(paths.offsets) == 1)
    only = paths.codes[paths.offsets[alone]]
    for code, channel in enumerate(paths.channels):
        if channel.casefold() not in _SUMS or len(paths) < 3:
            continue
        summed = float(paths.conversions[alone[only == code]].sum())
        if summed and math.isclose(2 * summed, total):
            raise InputError(
                f"{file}: the row {channel!r} has {summed:,.10g} conversions, as many as all "
                "others together: leave the sum out, or give a channel of that name another one"
            )
