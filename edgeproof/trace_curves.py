"""edgeproof curve --trace: the curve of a trace alone."""

from __future__ import annotations

import json as json_module
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from core.errors import InputError
from core.scenario.trace_formats import TraceFormat
from core.scenario.trace_time import TimeUnit
from core.texts import count_of
from edgeproof.curve_panels import answer_of, csv_of, panels_of, table_of
from edgeproof.finish import show_table
from edgeproof.invocation import current
from edgeproof.progress import Display
from edgeproof.runs import new_folder, run_facts, write_json

SHOWN = 12
"""Rows of a table on the terminal, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfTrace:
    """What was asked for of a trace; first: the share of accesses that fills the cache."""

    trace: Path
    format: TraceFormat | None
    columns: dict[str, str] | None
    time_unit: TimeUnit | None
    limit: int | None
    sizes: tuple[int, ...]
    policies: tuple[Any, ...]
    ttls: tuple[float, ...]
    isolates: tuple[int, ...]
    rate: float | None
    first: float
    shuffles: int
    seed: int


def curve_of_trace(asked: OfTrace, *, out: Path | None, plain: bool, json: bool) -> int:
    """Count, write and print the curve of a trace; return the exit code."""
    from sim.curves.reading import read_accesses  # numba is slow to import
    from sim.curves.trace_curve import trace_curve

    trace, rate, lives, time_unit = asked.trace, asked.rate, asked.ttls, asked.time_unit
    started = monotonic()
    display = Display(plain=plain, quiet=json)
    steps = 4 + len(asked.policies) + len(lives)
    with display.open():
        display.update("reading", 0.0, trace.name)
        read = read_accesses(
            trace, stop=asked.limit, format_=asked.format, columns=asked.columns,
            time_unit=time_unit, with_times=rate is None and bool(lives), with_sizes=False,
        )  # fmt: skip
        accesses, notes = read.accesses, list(read.notes)
        if accesses.ttls is None and not lives and (rate is not None or time_unit is not None):
            option = "--time-unit" if rate is None else "--rate"
            raise InputError(
                f"{option} has no effect: the trace has no TTLs; give --ttl, or leave it out"
            )
        accesses = _timed(accesses, rate, lives, has_ttls=read.has_ttls, notes=notes)
        done = 0

        def tell(step: str) -> None:
            nonlocal done
            done += 1
            display.update("counting", min(0.99, done / steps), step)

        found = trace_curve(
            read.source, accesses, sizes=asked.sizes, policies=asked.policies, ttls=lives,
            isolates=asked.isolates, start=int(asked.first * accesses.keys.size),
            shuffles=asked.shuffles, seed=asked.seed, tell=tell,
        )  # fmt: skip
        display.update("counting", 1.0)
    panels = panels_of(found)
    folder = new_folder(out, f"curve-{trace.name.partition('.')[0]}")
    from reports.document import write_exhibit
    from reports.exhibit import Exhibit, Section

    table = table_of(found)
    answer = answer_of(found)
    counted = count_of(found.counted, "access", "accesses")
    exhibit = Exhibit(
        kind="Miss-ratio curve",
        title=f"{found.source}: {counted} of {count_of(found.key_count, 'key')}",
        answer=answer,
        sections=[
            *(Section(heading=panel.heading, panel=panel) for panel in panels),
            Section(heading="Miss ratios by size", table=table),
        ],
        notes=notes,
        data={
            "accesses": found.accesses, "counted": found.counted, "keys": found.key_count,
            "first_accesses": found.first_accesses, "panels": [each.to_json() for each in panels],
        },
    )  # fmt: skip
    told = {
        "command": shlex.join(["edgeproof", *current().arguments]), "trace": str(trace),
        "seed": asked.seed,
    }  # fmt: skip
    write_exhibit(folder, exhibit, "curve", {"curve.csv": csv_of(found.exact)})
    write_json(
        folder / "run.json", run_facts("curve", {"curve": monotonic() - started}, asked=told)
    )
    if json:
        print(json_module.dumps({"out": str(folder), "answer": answer, **exhibit.data}))
        return 0
    step = max(1, len(table[1:]) // SHOWN)
    show_table([table[0], *table[1:][step - 1 :: step]], plain=plain)
    print(answer)
    for line in notes:
        print(line)
    print(f"Report: {folder / 'curve.html'}")
    return 0


def _timed(
    accesses: Any, rate: float | None, lives: Sequence[float], *, has_ttls: bool, notes: list[str]
) -> Any:
    """Return *accesses* with the times and TTLs that count, and note what was taken."""
    if rate is not None:
        times = np.arange(accesses.keys.size) / rate
        notes.append(f"Times are at equal gaps, {rate:g} accesses/s.")
        return replace(accesses, times=times)
    if lives and accesses.times is None:
        raise InputError("--ttl: the trace has no times; give --rate R")
    if has_ttls:
        notes.append("Policies and isolates heed the trace's TTLs; the exact curve has none.")
        return accesses
    return replace(accesses, ttls=None)
