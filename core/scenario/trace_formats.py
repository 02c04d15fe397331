"""The formats of published cache traces: how a line, or a record, becomes an access."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from core.scenario.trace_source import Source, TraceFault
from core.texts import count_of

Row = dict[str, object]
"""An access's fields: key, and time, size, op, ttl, type, endpoint where the format has them."""

TraceFormat = Literal[
    "csv", "tsv", "jsonl", "words", "oracleGeneral", "twitter", "cachelib", "wikimedia", "lirs",
    "arc", "spc", "webcachesim",
]  # fmt: skip

READ, SET, DELETE = 0, 1, 2
_OPERATIONS: Mapping[int, tuple[str, ...]] = {
    READ: ("get", "gets", "read", "r", "get_lease", "gat", "gats", "head", "lookup"),
    SET: (
        "set", "add", "replace", "cas", "append", "prepend", "incr", "decr", "put", "write", "w",
        "set_lease", "update", "copy", "post",
    ),
    DELETE: ("delete", "del", "remove", "invalidate", "d"),
}  # fmt: skip
_CODES = {name: code for code, names in _OPERATIONS.items() for name in names}


def operation(text: object) -> int:
    """Return what the operation *text* is: READ, SET or DELETE; TraceFault if it is none.

    REST.GET.OBJECT, as object stores log it, is a get.
    """
    name = str(text).strip().lower()
    code = _CODES.get(name)
    if code is None and "." in name:
        code = next((_CODES[part] for part in name.split(".") if part in _CODES), None)
    if code is None:
        raise TraceFault(
            f"op is {str(text)[:40]!r}; known are get, gets, read, set, add, replace, cas, put, "
            "write, delete and their like: map another column, or leave op out"
        )
    return code


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which column of a table is which field: by name, or by number from 1 on.

    separator: between columns, "" for any white space; has_header: whether the first line names
    them, None where the columns tell.
    """

    columns: Mapping[str, str]
    separator: str = ","
    has_header: bool | None = None

    @property
    def is_numbered(self) -> bool:
        """Whether every column is told by its number."""
        return all(column.isdecimal() for column in self.columns.values())


LAYOUTS: Mapping[str, Layout] = {
    # Analytics/Data Lake/Traffic/Caching of Wikitech: releases of 2019, upload and text.
    "wikimedia": Layout(
        columns={"time": "relative_unix", "key": "hashed_path_query|hashed_host_path_query",
                 "type": "image_type", "size": "response_size"},
        separator="\t", has_header=True,
    ),
    # UMass Storage Repository, "SPC trace file format": ASU, LBA, size, opcode, time.
    "spc": Layout(columns={"type": "1", "key": "2", "size": "3", "op": "4", "time": "5"},
                  has_header=False),
    "webcachesim": Layout(columns={"time": "1", "key": "2", "size": "3"}, separator="",
                          has_header=False),
}  # fmt: skip


def table_rows(source: Source, layout: Layout, note: Callable[[str], None]) -> Iterator[Row]:
    """Yield the accesses of a table; comments and unknown columns are passed over.

    Raise TraceFault if a stated column is not there, or a row has too few.
    """
    places: dict[str, int] = {}
    width = 0
    separator = layout.separator
    comment = ""
    for line in source.lines():
        if line.startswith("#"):
            comment = comment or line.lstrip("# ")
            continue
        cells = line.split(separator) if separator else line.split()
        if '"' in line or "\r" in line:
            try:
                cells = next(csv.reader([line], delimiter=separator or " ", strict=True))
            except csv.Error as error:
                raise TraceFault(
                    f"the row is no CSV ({error}); close quotes on their line"
                ) from None
        if not places:
            has_header = layout.has_header
            if has_header is None:
                has_header = not layout.is_numbered or _names_columns(cells, layout)
            places = _places(cells, layout, is_header=has_header)
            width = max(places.values()) + 1
            if "time" in places:  # a comment may name the columns
                names = cells if has_header else comment.split(separator or None)
                source.time_column = dict(enumerate(names)).get(places["time"], "").strip()
            if has_header:
                if layout.is_numbered:
                    note(f"The first line of the trace, {line[:60]!r}, is taken as a header.")
                continue
        if len(cells) < width:
            raise TraceFault(
                f"the row has {count_of(len(cells), 'column')} and column {width} is asked "
                "for; write a value "
                "a column, or see --columns"
            )
        yield {field: cells[place] for field, place in places.items()}


def _names_columns(cells: Sequence[str], layout: Layout) -> bool:
    """Return whether a line of numbered columns is a header: no number where one has to be."""
    for field in ("size", "ttl"):
        if field in layout.columns:
            at = int(layout.columns[field]) - 1
            return at < len(cells) and not cells[at].strip().lstrip("+-").isdecimal()
    if "time" in layout.columns:
        at = int(layout.columns["time"]) - 1
        return at < len(cells) and not any(letter.isdecimal() for letter in cells[at])
    return False


def _places(cells: Sequence[str], layout: Layout, *, is_header: bool) -> dict[str, int]:
    names = [cell.strip().strip('"') for cell in cells]
    places = {}
    for field, column in layout.columns.items():
        for name in column.split("|"):
            if is_header and name in names:
                places[field] = names.index(name)
                break
            if name.isdecimal() and 1 <= int(name) <= len(cells):
                places[field] = int(name) - 1
                break
        else:
            if field == "type" and layout in LAYOUTS.values():
                continue  # not every release has it
            has = ", ".join(names[:10]) if is_header else f"{len(cells)} of them, from 1 on"
            raise TraceFault(f"there is no column {column} for the {field}; the columns are {has}")
    return places


def twitter_rows(source: Source) -> Iterator[Row]:
    """Yield the accesses of github.com/twitter/cache-trace.

    Columns: time in seconds, key, key size, value size, client, operation, TTL in seconds. A key
    may hold commas.
    """
    for line in source.lines():
        time, _, rest = line.partition(",")
        cells = rest.rsplit(",", 5)
        if len(cells) != 6:
            raise TraceFault(
                "the row has not the 7 columns of Twitter's traces: time, key, key size, value "
                "size, client, operation, TTL; see --columns"
            )
        key, key_size, value_size, _, op, ttl = cells
        try:
            size = int(key_size) + int(value_size)
        except ValueError:
            raise TraceFault(
                f"the sizes are {key_size[:20]!r} and {value_size[:20]!r}; whole numbers are needed"
            ) from None
        yield {"time": time, "key": key, "size": size, "op": op, "ttl": ttl}


def cachelib_rows(source: Source) -> Iterator[Row]:
    """Yield the accesses of CacheLib's kvcache traces, a CSV with a header.

    key, op, size and op_count (how often in a row), ttl and op_time in newer ones.
    """
    names: list[str] = []
    for line in source.lines():
        cells = line.split(",")
        if not names:
            names = [cell.strip() for cell in cells]
            for needed in ("key", "op"):
                if needed not in names:
                    raise TraceFault(
                        f"the header has no column {needed}, as CacheLib's traces have; see "
                        "--columns"
                    )
            continue
        if len(cells) != len(names):
            raise TraceFault(
                f"the row has {count_of(len(cells), 'column')} and the header {len(names)}"
            )
        row = dict(zip(names, cells, strict=True))
        count = row.get("op_count") or "1"
        if not count.isdecimal() or not 0 < int(count) <= 10**6:
            raise TraceFault(f"op_count is {count[:20]!r}; it is a number from 1 on")
        access: Row = {"key": row["key"], "op": row["op"]}
        if "op_time" in row:
            access["time"] = row["op_time"]
        if "size" in row:
            access["size"] = row["size"] or "0"
        if "ttl" in row:
            access["ttl"] = row["ttl"] or "0"
        for _ in range(int(count)):
            yield access


def lirs_rows(source: Source) -> Iterator[Row]:
    """Yield the accesses of the LIRS traces: a block's number a line, or a mark of the end."""
    for line in source.lines():
        text = line.strip()
        if text == "*":
            continue
        if not text.isdecimal():
            raise TraceFault(f"the line is {text[:40]!r}; LIRS traces have a block's number a line")
        yield {"key": text}


def arc_rows(source: Source) -> Iterator[Row]:
    """Yield the accesses of the ARC traces: first block, number of blocks, and two more."""
    for line in source.lines():
        cells = line.split()
        if len(cells) < 2 or not cells[0].isdecimal() or not cells[1].isdecimal():
            raise TraceFault(
                f"the line is {line[:40]!r}; ARC traces have the first block and their number"
            )
        for block in range(int(cells[0]), int(cells[0]) + int(cells[1])):
            yield {"key": str(block)}


SPECIAL: Mapping[str, Callable[[Source], Iterator[Row]]] = {
    "twitter": twitter_rows,
    "cachelib": cachelib_rows,
    "lirs": lirs_rows,
    "arc": arc_rows,
}
"""Text formats that are more than a table."""

UNITS_OF: Mapping[str, Literal["s"]] = {"twitter": "s", "cachelib": "s", "wikimedia": "s",
                                        "spc": "s", "oracleGeneral": "s"}  # fmt: skip
"""Units of times that a format fixes."""


def recognised(line: str) -> str:
    """Return the format that the first *line* of a CSV without our header shows, "" for none."""
    names = [cell.strip().strip('"') for cell in line.split(",")]
    if {"key", "op", "op_count"}.issubset(names):
        return "cachelib"
    cells = line.rsplit(",", 5)
    if len(cells) == 6 and cells[4].lower() in _CODES and cells[0].partition(",")[0].isdecimal():
        return "twitter"
    return ""
