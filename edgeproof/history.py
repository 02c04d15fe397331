"""edgeproof bench history: the figures of each benchmark over versions, and where they changed."""

from __future__ import annotations

import json as json_module
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.changes import LEVEL, SHORTEST, Change, changes
from bench.history import Entry, Series, read, series
from core.errors import InputError
from core.texts import count_of
from edgeproof.options import JsonOption
from edgeproof.paired.options import share
from edgeproof.paired.table import duration
from edgeproof.paired.versions import Unusable
from edgeproof.places import check_writable, history_path
from reports.words import printable

DEFAULT = "bench-history"
_BARS = "▁▂▃▄▅▆▇█"
_SHOWN = 40
"""Runs in a row of the table; --out draws all."""
_FLAT = 0.1
"""A range of less than this does not fill a row's height."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """One series, the seconds that are looked at, and their changes."""

    of: Series
    values: tuple[float, ...]
    changes: tuple[Change, ...]


def command(
    file: Annotated[
        str,
        typer.Argument(
            metavar="[NAME|FILE]", help="What `bench run --save` appended to; NAME is NAME.jsonl."
        ),
    ] = DEFAULT,
    select: Annotated[
        str | None,
        typer.Option("-k", metavar="NAME", help="Only benchmarks whose name holds NAME."),
    ] = None,
    absolute: Annotated[
        bool,
        typer.Option(
            "--absolute",
            help="Show times as measured, not as they were at the machine's usual speed.",
        ),
    ] = False,
    at_least: Annotated[
        str,
        typer.Option("--at-least", metavar="SHARE", help="Leave smaller changes out."),
    ] = "2%",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Draw it: a file that ends in .svg, .png or .html.",
            rich_help_panel="Output",
        ),
    ] = None,
    json: JsonOption = False,
) -> int:
    """Show each benchmark over versions, and where its level changed.

    A run is one point. Machines, and versions of Python, are series of their own. At most 5 % of
    histories of unchanged code show any change. It is no gate and exits with 0: `bench compare` is.
    """
    try:
        smallest = share(at_least, "--at-least")
    except Unusable as error:
        raise InputError(f"bench history: {error}") from None
    path = history_path(file)
    if out is not None:
        if out.suffix not in (".svg", ".png", ".html"):
            raise InputError(f"--out {out}: give a file that ends in .svg, .png or .html")
        check_writable(out, "--out")
    found = read(path)
    chosen = [one for one in series(found.entries) if select is None or select in one.name]
    if not chosen:
        raise InputError(f"-k {select}: no benchmark's name in {path} holds that")
    rows = judged(chosen, is_absolute=absolute, at_least=smallest)
    if out is not None:
        _draw(out, rows, path, is_absolute=absolute)
    if json:
        facts = {"file": str(path), "runs": len(found.entries), "notes": list(found.notes)}
        print(json_module.dumps({"schema_version": 1, **facts, **as_json(rows, absolute)}))
        return 0
    for line in (*found.notes, *lines(rows, found.entries, is_absolute=absolute)):
        print(printable(line))
    return 0


def judged(
    chosen: Sequence[Series], *, is_absolute: bool, at_least: float
) -> tuple[HistoryRow, ...]:
    """Return the series with their changes; all share the rate of false alarms."""
    values = {
        str(number): [p.median if is_absolute else p.relative for p in one.points]
        for number, one in enumerate(chosen)
    }
    found = changes(values, at_least=at_least)
    return tuple(
        HistoryRow(of=one, values=tuple(values[str(number)]), changes=found[str(number)])
        for number, one in enumerate(chosen)
    )


def lines(
    rows: Sequence[HistoryRow], entries: Sequence[Entry], *, is_absolute: bool
) -> Iterator[str]:
    """Yield a table for each machine, then the changes."""
    for machine in dict.fromkeys(row.of.machine for row in rows):
        own = [row for row in rows if row.of.machine == machine]
        runs = sum(one.machine.label == machine for one in entries)
        yield f"{machine}: {count_of(runs, 'run')}"
        yield from _table(own)
        yield ""
    changed = [(row, change) for row in rows for change in row.changes]
    machines = {row.of.machine for row in rows}
    for row, change in changed:
        yield _told(row, change) + (f" on {row.of.machine}" if len(machines) > 1 else "")
    longest = max(len(row.values) for row in rows)
    if longest < 2 * SHORTEST:
        yield f"Too few runs to tell a change: {longest}, and it takes {2 * SHORTEST} or more."
    elif not changed:
        yield "No change of level."
    yield (
        f"At most {LEVEL:.0%} of histories of unchanged code show any change. "
        + ("Times as measured." if is_absolute else
           "Times as at the machine's usual speed, by a fixed piece of work in each run; "
           "--absolute shows them as measured.")
    )  # fmt: skip


def _table(rows: Sequence[HistoryRow]) -> Iterator[str]:
    cells = [("benchmark", "first", "latest", "oldest to latest")]
    cells += [
        (row.of.name, duration(1e9 * row.values[0]), duration(1e9 * row.values[-1]), spark(row))
        for row in rows
    ]
    widths = [max(len(cell[column]) for cell in cells) for column in range(3)]
    for name, first, latest, drawn in cells:
        yield (
            f"{name.ljust(widths[0])}  {first.rjust(widths[1])}  {latest.rjust(widths[2])}  {drawn}"
        )


def spark(row: HistoryRow) -> str:
    """Return a bar for each of the latest runs, with | before a run that begins another level."""
    start = max(0, len(row.values) - _SHOWN)
    logs = [math.log(value) for value in row.values[start:]]
    low, high = min(logs), max(logs)
    middle, reach = (low + high) / 2, max(high - low, _FLAT)
    steps = {change.index - start for change in row.changes}
    drawn = "".join(
        "|" * (number in steps) + _BARS[min(7, int(8 * max(0.0, (value - middle) / reach + 0.5)))]
        for number, value in enumerate(logs)
    )
    return ("…" if start else "") + drawn


def _told(row: HistoryRow, change: Change) -> str:
    point = row.of.points[change.index]
    word = "slower" if change.ratio > 1 else "faster"
    return (
        f"{row.of.name}: {word}, ×{change.ratio:.3f}, from {point.version} ({point.date:%Y-%m-%d}) "
        f"on, run {change.index + 1} of {len(row.values)}: {duration(1e9 * change.before)} to "
        f"{duration(1e9 * change.after)}"
    )


def as_json(rows: Sequence[HistoryRow], is_absolute: bool) -> dict[str, Any]:
    """Return the series and their changes for --json, in seconds."""
    return {
        "times": "as measured" if is_absolute else "relative",
        "series": [
            {
                "machine": row.of.machine,
                "benchmark": row.of.name,
                "points": [
                    {
                        "date": point.date.isoformat(), "version": point.version,
                        "median": point.median, "low": point.low, "high": point.high,
                        "relative": point.relative,
                    }
                    for point in row.of.points
                ],
                "changes": [
                    {
                        "run": change.index, "version": row.of.points[change.index].version,
                        "date": row.of.points[change.index].date.isoformat(),
                        "before": change.before, "after": change.after, "ratio": change.ratio,
                        "probability": change.probability,
                    }
                    for change in row.changes
                ],
            }
            for row in rows
        ],
    }  # fmt: skip


def _draw(out: Path, rows: Sequence[HistoryRow], path: Path, *, is_absolute: bool) -> None:
    from reports import style  # matplotlib is slow to import
    from reports.trend import Step, Trend, page, trend

    machines = list(dict.fromkeys(row.of.machine for row in rows))
    trends = [
        Trend(
            name=row.of.name + (f" [{machines.index(row.of.machine) + 1}]" * (len(machines) > 1)),
            machine=row.of.machine,
            versions=tuple(point.version for point in row.of.points),
            values=row.values,
            steps=tuple(
                Step(
                    index=change.index, version=row.of.points[change.index].version,
                    before=change.before, after=change.after,
                )
                for change in row.changes
            ),
        )
        for row in rows
    ]  # fmt: skip
    what = "time of a call" if is_absolute else "time of a call at the machine's usual speed"
    figure = trend(trends, subtitle=f"{path.name}: {what}, a point for each run")
    if out.suffix == ".html":
        listed = [f"[{n}] {m}" if len(machines) > 1 else m for n, m in enumerate(machines, 1)]
        data = page(figure, f"Benchmarks in {path.name}", listed).encode()
    else:
        data = style.svg(figure) if out.suffix == ".svg" else style.png(figure)
    try:
        out.write_bytes(data)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror})") from None
