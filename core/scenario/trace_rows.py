"""The rows of a text trace: tables and JSON lines, and what is wrong with their headers."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from core.scenario.trace_formats import LAYOUTS, SPECIAL, Layout, Row, recognised, table_rows
from core.scenario.trace_source import (
    BINARY,
    HEAD_BYTES,
    AccessLogFault,
    Source,
    TraceFault,
    holds_binary,
    log_of,
)
from core.scenario.trace_values import shown
from core.texts import count_of

FIELDS = ("key", "time", "endpoint", "type", "size", "op", "ttl")

_INTEGER = re.compile(r"-?\d{1,19}", re.ASCII)


def rows_of(
    source: Source,
    format_: str,
    columns: Mapping[str, str] | None,
    note: Callable[[str], None],
) -> Iterator[Row]:
    """Yield the accesses of a text trace in its format; TraceFault names what is wrong."""
    if columns and (format_ in SPECIAL or format_ in LAYOUTS):
        raise TraceFault(f"{format_} has columns of its own; leave --columns or --format out")
    if format_ in SPECIAL:
        yield from map(_numbers, SPECIAL[format_](source))
    elif format_ in LAYOUTS:
        yield from map(_numbers, table_rows(source, LAYOUTS[format_], note))
    elif format_ == "jsonl":
        yield from _json_rows(source, columns, note)
    elif columns:
        layout = Layout(columns=columns, separator="\t" if format_ == "tsv" else ",")
        yield from map(_numbers, table_rows(source, layout, note))
    else:
        yield from _csv_rows(source, "\t" if format_ == "tsv" else ",", note)


def _numbers(row: Row) -> Row:
    """Return *row* with whole sizes as numbers, as `size_of` needs them."""
    if "size" in row and _INTEGER.fullmatch(text := str(row["size"]).strip()):
        row["size"] = int(text)
    return row


def _csv_rows(source: Source, separator: str, note: Callable[[str], None]) -> Iterator[Row]:
    """Yield a dictionary a row; each line is a row, so an open quote is found where it stands.

    Lines that begin with # are passed over before the header, and columns that are no fields.
    """
    header: list[str] = []
    passed: list[str] = []
    comment = ""
    for line in source.lines():
        if not header and line.startswith("#"):
            _refuse_log(line)
            comment = comment or line
            continue
        cells = line.split(separator)
        if '"' in line or "\r" in line:
            try:
                cells = next(csv.reader([line], delimiter=separator, strict=True))
            except csv.Error as error:
                raise TraceFault(
                    f"the row is no CSV ({error}); close quotes on their line"
                ) from None
        if not header:
            _check_header(line, cells, separator, comment)
            header = cells
            passed = [name for name in header if name not in FIELDS]
            if passed:
                note(f"Columns of the trace that are passed over: {', '.join(passed[:10])}.")
            continue
        if len(cells) != len(header):
            message = (
                f"the row has {count_of(len(cells), 'value')} and the header "
                f"{count_of(len(header), 'field')}"
            )
            raise TraceFault(f"{message}; write one value a field, with commas between")
        row: Row = dict(zip(header, cells, strict=True))
        for name in passed:
            del row[name]
        if "size" in row and _INTEGER.fullmatch(text := str(row["size"])):
            row["size"] = int(text)
        yield row


def _json_rows(
    source: Source, columns: Mapping[str, str] | None, note: Callable[[str], None]
) -> Iterator[Row]:
    # Objects become tuples of pairs: a field that stands twice stays visible.
    decoder = json.JSONDecoder(object_pairs_hook=tuple)
    fields: set[str] = set()
    wanted = {name: field for field, name in columns.items()} if columns else None
    passed: list[str] = []
    for line in source.lines():
        try:
            pairs = decoder.decode(line)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", str(error))
            if not fields and holds_binary(line):
                raise TraceFault(BINARY) from None
            if not fields:
                reason += _other_format(line)
            raise TraceFault(f"the line is no JSON ({reason}); write one object a line") from None
        if not isinstance(pairs, tuple):
            raise TraceFault(f"the line is {shown(pairs)}; write one object a line")
        row: Row = dict(pairs)
        if wanted is not None:
            for name, field in wanted.items():
                if name not in row:
                    raise TraceFault(
                        f"there is no {shown(name)} for the {field}; the line has {', '.join(row)}"
                    )
            source.time_column = (columns or {}).get("time", "")
            yield {field: row[name] for name, field in wanted.items()}
            fields = fields or {"key"}
            continue
        if not fields or len(row) != len(pairs) or row.keys() != fields:
            _check_fields([name for name, _ in pairs])
            if not fields and (passed := [name for name in row if name not in FIELDS]):
                note(f"Fields of the trace that are passed over: {', '.join(passed[:10])}.")
            if fields:
                message = f"the fields are {', '.join(row)}, on line 1 {', '.join(sorted(fields))}"
                raise TraceFault(f"{message}; write the same on every line")
            fields = set(row)
        for name in passed:
            del row[name]
        yield row


_KNOWN = f"known are {', '.join(FIELDS)}"


def _other_format(line: str) -> str:
    """Return what the first *line* of a file named as JSON lines looks like, after a comma."""
    if line.startswith("["):
        return ", it begins a list: `jq -c '.[]'` unpacks it"
    is_csv = any(cell.strip('" ') in FIELDS for cell in line[:HEAD_BYTES].split(","))
    return ", it looks like the header of a CSV: name the file .csv" if is_csv else ""


def _check_header(line: str, cells: Sequence[str], separator: str, comment: str) -> None:
    """Raise TraceFault unless *cells*, those of the first *line* of a table, name the fields.

    comment: one before it.
    """
    if (known := recognised(line)) and separator == ",":
        raise TraceFault(
            f"the line {shown(line[:60])} is of a trace as {known} publishes them; say "
            f"--format {known}"
        )
    if any(cell in FIELDS for cell in cells):
        return _check_fields(cells)
    if line.lstrip().startswith(("{", "[")):
        raise TraceFault(
            "the line is JSON, no header of a CSV; name the file .jsonl, an object a line, or say "
            "--format jsonl"
        )
    start = shown(line[:60])
    for mark, name, remedy in ((";", "semicolons", "write commas"),
                               ("\t", "tabs", "say --format tsv, or write commas")):  # fmt: skip
        if any(cell.strip('"') in FIELDS for cell in line[:HEAD_BYTES].split(mark)):
            raise TraceFault(f"the header {start} has {name} between its fields; {remedy}")
    if holds_binary(line):
        raise TraceFault(BINARY)
    _refuse_log(line)
    message = "the first line must name the fields"
    near = {cell.strip(' "').lower() for cell in cells[:100]} & set(FIELDS)
    if near:
        raise TraceFault(
            f"{message} and is {start}; write {', '.join(sorted(near))} just so; {_KNOWN}"
        )
    said = f" (behind the comment {shown(comment[:60])})" if comment else ""
    raise TraceFault(
        f"{message} and is {start}{said}; say which column is what, by name or number: --columns "
        f"key=2,time=1; {_KNOWN}"
    )


def _refuse_log(line: str) -> None:
    if log := log_of(line.encode(errors="replace")):
        raise AccessLogFault(
            f"the line is of an access log ({log}); `edgeproof import log` makes a scenario and a "
            "trace of it"
        )


def _check_fields(names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise TraceFault(f"the field {shown(name)} stands twice; keep one")
        if name not in FIELDS and (near := name.strip(' "').lower()) in FIELDS:
            raise TraceFault(f"there is a field {shown(name)}; write {near} just so; {_KNOWN}")
    if "key" not in names:
        raise TraceFault(
            f"there is no field 'key', and every trace needs it; {_KNOWN}: --columns key=NAME says "
            "which column it is"
        )
