"""Reading aggregated paths from CSV files in the shape that attribution tools exchange."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.attribution.cells import unguarded
from core.attribution.joiner import DEFAULT, Parts, named
from core.attribution.names import is_absent
from core.attribution.paths import Paths
from core.attribution.table import NoHeader, Table, find_table, open_text
from core.errors import InputError

PATH, CONVERSIONS, VALUE, NULLS = (
    "path", "total_conversions", "total_conversion_value", "total_null",
)  # fmt: skip
COLUMNS = (PATH, CONVERSIONS, VALUE, NULLS)
_REQUIRED = (PATH, CONVERSIONS)
_LARGEST = 1e15  # larger counts are not exact as floats
_ELSEWHERE = {
    PATH: ("transformedpath", "journey", "paths", "channel_path", "conversion_path"),
    CONVERSIONS: ("conversions", "conversion_count"),
    VALUE: ("revenue", "value", "conversion_value", "total_value"),
    NULLS: ("nonconversions", "non_conversions", "nulls", "null", "total_nulls"),
}  # other tools' names for these columns
_SUMS = ("total", "totals", "grand total", "sum", "all", "all channels", "overall")
_USER = re.compile("user|visitor|client|customer")
_TIME = re.compile("time|date")


def read_paths(file: Path, *, joiner: str | None = None) -> tuple[Paths, list[str]]:
    """Return the paths of *file*, and notices about it.

    The file has a header with the columns path, total_conversions and, where known,
    total_conversion_value and total_null, separated by ",", ";", tab or "|", in any case; other
    columns are passed over, and so are lines before the header. `open_text` says how it may be
    encoded and compressed. A mark of absence (see `is_absent`) in the latter two columns is 0, and
    as a path it is an empty one; a notice tells of both. A path is channels joined by ">", or as
    `named` finds; spaces around them do not count. With *joiner* only that joins them. An empty
    path has no touch. Raise InputError that names file, line and value.
    """
    if joiner is not None and not joiner.strip(" "):
        raise InputError("--joiner is empty; give the text between two channels, such as '|'")
    with open_text(file) as stream:
        try:
            table = find_table(file, stream, _REQUIRED)
        except NoHeader as found:
            raise InputError(_unusable(found)) from None
        return _read(table, joiner)


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


def _read(table: Table, joiner: str | None) -> tuple[Paths, list[str]]:
    file, names, separator = table.file, table.names, table.separator
    reader = csv.reader(table.lines, delimiter=separator, strict=True)

    def here() -> str:
        return table.place(reader.line_num)

    codes: list[int] = []
    offsets = [0]
    counts: dict[str, list[float]] = {name: [] for name in (CONVERSIONS, VALUE, NULLS)}
    conversions, values = counts[CONVERSIONS], counts[VALUE]
    empty: dict[str, int] = {}
    walked = _Walked(joiner)
    known, joined_by = walked.known, walked.joiner
    place = _places(f"{file}:{table.header_line}", names)
    try:
        width, most = max(place.values()) + 1, len(names)
        columns = [(name, place[name], counts[name]) for name in counts if name in place]
        for row in reader:
            if not row:
                continue
            if len(row) < width:
                raise InputError(
                    f"{here()}: has {len(row)} columns, the header needs {width}; "
                    f"add what is missing, and put a path that holds {separator!r} in quotes"
                )
            if len(row) > most and any(cell.strip() for cell in row[most:]):
                raise InputError(
                    f"{here()}: has {len(row)} columns, the header {most}; put a "
                    f"path that holds {separator!r} in quotes, and write decimal points"
                )
            for name, at, column in columns:
                try:
                    number = float(row[at])
                except ValueError:
                    number = math.nan
                if not 0 <= number <= _LARGEST or "_" in row[at]:
                    if name == CONVERSIONS or not is_absent(row[at]):
                        raise InputError(
                            f"{here()}: {name} is {row[at][:40]!r}; a number of at "
                            "least 0, with a decimal point, is needed"
                        )
                    number = 0.0
                    empty[name] = empty.get(name, 0) + 1
                column.append(number)
            if values and values[-1] and not conversions[-1]:
                raise InputError(
                    f"{here()}: {VALUE} is {row[place[VALUE]]} where {CONVERSIONS} "
                    "is 0; only conversions have a value"
                )
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
    absent = [0.0] * (len(offsets) - 1)
    parts = Parts(
        texts=walked.texts,
        codes=np.array(codes, dtype=np.int32),
        offsets=np.array(offsets, dtype=np.int64),
        seen=walked.seen,
        joiner=walked.joiner,
        is_given=walked.is_given,
    )
    channels, coded, bounds, said = named(parts)
    paths = Paths(
        channels=channels,
        codes=coded,
        offsets=bounds,
        conversions=np.array(conversions),
        nulls=np.array(counts[NULLS] or absent),
        values=np.array(values or absent),
    )
    _refuse_sums(file, paths)
    notes = table.notes + [f"{file}: {note}" for note in said]
    notes += [
        f"{file} has no column {name}: {meaning}"
        for name, meaning in ((VALUE, "every value is 0"), (NULLS, "no path failed to convert"))
        if name not in place
    ]
    notes += [f"{file} has no {name} in {number:,} rows: it is 0" for name, number in empty.items()]
    notes += [
        f"{file}: path is {mark!r} in {_rows(rows)}: an empty path, without a touch"
        for mark, rows in walked.absent.items()
    ]
    return paths, notes


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


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number:,} rows"


def _places(where: str, header: Sequence[str]) -> dict[str, int]:
    names = [name.strip().casefold() for name in header]
    for name in COLUMNS:
        if names.count(name) > 1:
            raise InputError(f"{where}: column {name} stands twice; leave one")
    return {name: names.index(name) for name in COLUMNS if name in names}


def _unusable(found: NoHeader) -> str:
    """Return the columns of a header without the columns of paths, and the remedy."""
    by_name = {name.casefold(): name for name in found.names}
    missing = next(name for name in _REQUIRED if name not in by_name)
    shown = ", ".join(found.names)[:200]
    said = f"{found.place}: no column {missing}"
    if shown:
        said += f"; its columns are {shown}"
    needed = f"the header needs {' and '.join(_REQUIRED)}, and may have {VALUE} and {NULLS}"
    if any(map(_USER.search, by_name)) and any(map(_TIME.search, by_name)):
        return (
            f"{said}: a row is one event, not a path with its conversions. Count the rows of each "
            f"path ({needed}), or send the events to /track of `edgeproof serve` and give its "
            "database as --db"
        )
    if {"conversion", "occurrences"} <= set(by_name):
        return (
            f"{said}: conversion is a flag of each row. Write occurrences as {CONVERSIONS} where "
            f"it is true and as {NULLS} where it is false ({needed})"
        )
    renamed = [
        f"{by_name[other]} to {name}"
        for name, others in _ELSEWHERE.items()
        if name not in by_name
        for other in others
        if other in by_name
    ]
    if renamed:
        return f"{said}. Rename {', '.join(renamed)}: {needed}"
    return f"{said}; {needed}, separated by ',', ';' or a tab, and its first line names them"
