"""edgeproof bench run: the micro-benchmarks, with the margin that each reached."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bench.history import append, entry
from bench.micro import CONFIDENCE, Figure, Precision, Run, run_benchmarks
from core.errors import InputError, InvalidRun
from edgeproof.ci import write
from edgeproof.invocation import current
from edgeproof.paired.options import seconds, share
from edgeproof.paired.table import duration
from edgeproof.paired.versions import Unusable
from edgeproof.places import check_writable, history_path
from reports.words import printable

MARK = "!"
"""Beside a margin that is larger than the one asked for."""


def command(
    select: Annotated[
        str | None,
        typer.Option("-k", metavar="NAME", help="Only benchmarks whose name holds NAME."),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="SHARE",
            help=f"Measure until the mean is known within this share, at {CONFIDENCE:.0%}.",
        ),
    ] = "1%",
    max_time: Annotated[
        str,
        typer.Option(
            "--max-time", metavar="TIME", help="What a benchmark may take for that, e.g. 10s."
        ),
    ] = "2s",
    json: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write pytest-benchmark's JSON."),
    ] = None,
    save: Annotated[
        str | None,
        typer.Option(
            "--save",
            metavar="NAME|FILE",
            help="Append the run to this history, for `bench history`; NAME is NAME.jsonl.",
        ),
    ] = None,
) -> int:
    """Time an L1 hit, an L2 hit, a full miss, a simulated request and an attribution batch.

    Nothing is left in the working folder but what --json and --save ask for. Ctrl-C
    prints what was measured.
    """
    try:
        asked = Precision(
            margin=share(precision, "--precision"), seconds=seconds(max_time, "--max-time")
        )
    except Unusable as error:
        raise InputError(f"bench run: {error}") from None
    if json is not None:
        check_writable(json, "--json")
        current().watch(json)
    history = None if save is None else history_path(save)
    if history is not None:
        check_writable(history, "--save")
        current().watch(history)
    run = run_benchmarks(
        select=select, with_json=json is not None, precision=asked, on_benchmark=_tell
    )
    for line in lines(run, asked):
        print(printable(line))
    sys.stdout.flush()
    faults = []
    try:
        if history is not None and run.figures:
            append(history, entry(run, datetime.now(UTC)))
            print(f"appended to {history}", file=sys.stderr)
    except InputError as error:
        faults.append(f"--save {error}")
    try:
        if json is not None and run.json:
            write(json, run.json)
    except InputError as error:
        faults.append(f"--json {error}")
    if faults:
        raise InputError("\n".join(faults))
    if run.is_interrupted:
        return 130
    if not (run.figures or run.failed):
        raise InvalidRun("bench run: nothing was measured: every benchmark was skipped; see above")
    return int(bool(run.failed))


def lines(run: Run, asked: Precision) -> Iterator[str]:
    """Yield what the halves of the run have to say, the table, and what was not measured."""
    if run.line:
        yield run.line
    if run.figures:
        yield from _table(run.figures, asked)
    if run.failed:
        yield f"FAILED, no figure: {', '.join(run.failed)}"
    if run.not_measured:
        why = "Interrupted, not measured" if run.is_interrupted else "Not measured"
        yield f"{why}: {', '.join(run.not_measured)}"


def _table(figures: Sequence[Figure], asked: Precision) -> Iterator[str]:
    rows = [("benchmark", "median", "mean", "margin", "rounds")]
    rows += [
        (
            one.name, duration(1e9 * one.median), duration(1e9 * one.mean),
            f"±{one.margin:.2%}{MARK if one.margin > asked.margin else ' '}",
            f"{one.rounds:,} x {one.iterations:,}",
        )
        for one in figures
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for first, *rest in rows:
        cells = [text.rjust(width) for text, width in zip(rest, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells]).rstrip()
    missed = [one for one in figures if one.margin > asked.margin]
    known = f"margin: of the mean, at {CONFIDENCE:.0%}, in this process"
    if not missed:
        yield f"{known}; ±{100 * asked.margin:g} % was asked for and reached by all."
        return
    yield (
        f"{known}; {MARK} ±{100 * asked.margin:g} % was asked for and not reached by "
        f"{len(missed)} of {len(figures)}: a longer --max-time or a quieter machine would."
    )


def _tell(number: int, of: int, name: str) -> None:
    print(f"measuring {number} of {of}: {printable(name)}", file=sys.stderr, flush=True)
