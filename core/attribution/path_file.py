"""Reading aggregated paths from CSV files in the shape that attribution tools exchange."""

from __future__ import annotations

import csv
import math
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from core.attribution.paths import Paths
from core.errors import InputError

PATH, CONVERSIONS, VALUE, NULLS = (
    "path", "total_conversions", "total_conversion_value", "total_null",
)  # fmt: skip
COLUMNS = (PATH, CONVERSIONS, VALUE, NULLS)
_REQUIRED = (PATH, CONVERSIONS)
_ABSENT = ("", "na", "nan", "null", "<na>")  # what tools write for a number that is not there
_LARGEST = 1e15  # counts beyond it are no longer exact as floats


def read_paths(file: Path) -> tuple[Paths, list[str]]:
    """Return the paths of *file*, and what there is to say about it.

    The file has a header with the columns path, total_conversions and, where known,
    total_conversion_value and total_null, separated by "," or ";", in any case; other columns are
    passed over. An empty cell, NA, NaN or null in the latter two is 0, and is said.
    A path is channels joined by ">"; spaces around them do not count. An empty path is a
    conversion, or none, without a touch. Raise InputError that names file, line and value.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            kind = os.fstat(stream.fileno()).st_mode
            if stat.S_ISBLK(kind) or (stat.S_ISCHR(kind) and not stream.isatty()):
                raise InputError(f"{file}: is a device, and may never end; give a file or a pipe")
            return _read(file, stream)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: is not UTF-8 text ({error.reason}); save it as UTF-8") from None


def _read(file: Path, stream: Iterable[str]) -> tuple[Paths, list[str]]:
    lines = iter(stream)
    header = next(lines, "")
    separator = ";" if header.count(";") > header.count(",") else ","
    reader = csv.reader(_chained(header, lines), delimiter=separator, strict=True)
    codes: list[int] = []
    offsets = [0]
    counts: dict[str, list[float]] = {name: [] for name in (CONVERSIONS, VALUE, NULLS)}
    conversions, values = counts[CONVERSIONS], counts[VALUE]
    empty: dict[str, int] = {}
    numbers: dict[str, int] = {}
    known: dict[str, int] = {}  # the codes of what stands between two ">", spaces included
    try:
        names = next(reader, [])
        place = _places(file, names)
        width, most = max(place.values()) + 1, len(names)
        columns = [(name, place[name], counts[name]) for name in counts if name in place]
        for row in reader:
            if not row:
                continue
            if len(row) < width:
                raise InputError(
                    f"{file}:{reader.line_num}: has {len(row)} columns, the header needs {width}; "
                    f"add what is missing, and put a path that holds {separator!r} in quotes"
                )
            if len(row) > most and any(cell.strip() for cell in row[most:]):
                raise InputError(
                    f"{file}:{reader.line_num}: has {len(row)} columns, the header {most}; put a "
                    f"path that holds {separator!r} in quotes, and write decimal points"
                )
            for name, at, column in columns:
                try:
                    number = float(row[at])
                except ValueError:
                    number = math.nan
                if not 0 <= number <= _LARGEST or "_" in row[at]:
                    if name == CONVERSIONS or row[at].strip().casefold() not in _ABSENT:
                        raise InputError(
                            f"{file}:{reader.line_num}: {name} is {row[at][:40]!r}; a number of at "
                            "least 0, with a decimal point, is needed"
                        )
                    number = 0.0
                    empty[name] = empty.get(name, 0) + 1
                column.append(number)
            if values and values[-1] and not conversions[-1]:
                raise InputError(
                    f"{file}:{reader.line_num}: {VALUE} is {row[place[VALUE]]} where {CONVERSIONS} "
                    "is 0; only conversions have a value"
                )
            path = row[place[PATH]]
            try:
                codes += [known[part] for part in path.split(">")]
            except KeyError:
                codes += _codes(f"{file}:{reader.line_num}", path, numbers, known)
            offsets.append(len(codes))
    except csv.Error as error:
        raise InputError(
            f"{file}:{reader.line_num}: not a row of CSV ({error}); close every quote, and double "
            "those within a field"
        ) from None
    if len(offsets) == 1:
        raise InputError(f"{file}: has no rows below its header; give at least one path")
    absent = [0.0] * (len(offsets) - 1)
    paths = Paths(
        channels=tuple(numbers),
        codes=np.array(codes, dtype=np.int32),
        offsets=np.array(offsets, dtype=np.int64),
        conversions=np.array(conversions),
        nulls=np.array(counts[NULLS] or absent),
        values=np.array(values or absent),
    )
    notes = [
        f"{file} has no column {name}: {meaning}"
        for name, meaning in ((VALUE, "every value is 0"), (NULLS, "no path failed to convert"))
        if name not in place
    ]
    notes += [f"{file} has no {name} in {number:,} rows: it is 0" for name, number in empty.items()]
    return paths, notes


def _chained(header: str, lines: Iterable[str]) -> Iterable[str]:
    yield header
    yield from lines


def _places(file: Path, header: Sequence[str]) -> dict[str, int]:
    names = [name.strip().casefold() for name in header]
    for name in COLUMNS:
        if names.count(name) > 1:
            raise InputError(f"{file}:1: column {name} stands twice; leave one")
    for name in _REQUIRED:
        if name not in names:
            raise InputError(
                f"{file}:1: no column {name}; the header needs {' and '.join(_REQUIRED)}, and may "
                f"have {VALUE} and {NULLS}, separated by ',' or ';'"
            )
    return {name: names.index(name) for name in COLUMNS if name in names}


def _codes(where: str, text: str, numbers: dict[str, int], known: dict[str, int]) -> list[int]:
    """Return the codes of a path's channels; those that are new get the next ones."""
    if not text.strip():
        return []
    codes = []
    for part in text.split(">"):
        name = part.strip()
        if not name:
            raise InputError(
                f"{where}: path {text[:60]!r} has a channel without a name; join channels by ' > '"
            )
        code = known[part] = numbers.setdefault(name, len(numbers))
        codes.append(code)
    return codes
