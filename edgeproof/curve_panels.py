"""The figures, the table and the sentences of a trace's miss-ratio curve."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.metrics.panel import Line, Panel
from core.texts import count_of
from reports.tables import Table
from reports.words import axis_duration, listed

if TYPE_CHECKING:  # numba is slow to import
    from sim.curves.trace_curve import TraceCurve

_CSV_ROWS = 5_000


def panels_of(found: TraceCurve) -> list[Panel]:
    """Return the figures of *found*, what a reader asks first at the beginning."""
    places = tuple(float(size) for size in found.sizes)
    of = f"{count_of(found.counted, 'access', 'accesses')} of {count_of(found.key_count, 'key')}."

    def panel(name: str, heading: str, finding: str, how: str, lines: Sequence[Line]) -> Panel:
        return Panel(
            name=name, heading=heading, finding=finding, how=f"{how} {of}",
            x_label="size of the cache, entries", y_label="miss ratio", places=places,
            lines=tuple(lines),
        )  # fmt: skip

    panels = []
    aside = [
        Line(name=line.name, values=line.values, intervals=line.intervals, is_aside=True)
        for line in (found.shuffled, found.theory)
        if line is not None
    ]
    panels.append(
        panel("order", "Locality", _gap(found), "LRU in the trace's order, in random order, and "
              "by Che's approximation.", [found.real, *aside])
    )  # fmt: skip
    if found.policies:
        panels.append(
            panel(
                "policies", "Eviction policies", _best(found),
                "Each size simulated from an empty cache.", found.policies,
            )
        )  # fmt: skip
    if found.by_isolates:
        first, worst = found.by_isolates[0], found.by_isolates[-1]
        middle = len(places) // 2
        panels.append(
            panel(
                "isolates", "L1 by isolates",
                f"With {_isolates(worst.name)} of {found.sizes[middle]:,} entries each, L1 misses "
                f"{100 * worst.values[middle]:.1f} %, and with {_isolates(first.name)} "
                f"{100 * first.values[middle]:.1f} %",
                "Each access goes to a random isolate; the size is that of one isolate's cache.",
                [Line(name=_isolates(line.name), values=line.values) for line in found.by_isolates],
            )
        )  # fmt: skip
    if found.by_ttl:
        shortest, longest = found.by_ttl[0], found.by_ttl[-1]
        panels.append(
            panel(
                "ttl", "TTL",
                f"Entries that live {_ttl(shortest.name)} miss {100 * shortest.values[-1]:.1f} % "
                f"in the largest cache, entries that live {_ttl(longest.name)} "
                f"{100 * longest.values[-1]:.1f} %",
                "LRU; a life begins at a miss.",
                [Line(name=_ttl(line.name), values=line.values) for line in found.by_ttl],
            )
        )  # fmt: skip
    return panels


def _isolates(name: str) -> str:
    return count_of(int(name), "isolate")


def _ttl(name: str) -> str:
    return axis_duration(float(name))


def _gap(found: TraceCurve) -> str:
    gaps = found.locality_gap
    place = max(range(len(gaps)), key=lambda at: abs(gaps[at]))
    gap, size = 100 * gaps[place], found.sizes[place]
    if abs(gap) < 1:
        return "The order of the accesses hardly matters: popularity alone predicts the misses"
    way = "fewer" if gap > 0 else "more"
    return (
        f"In its own order the trace misses {abs(gap):.0f} points {way} than its popularity alone "
        f"would, at {size:,} entries"
    )


def _best(found: TraceCurve) -> str:
    place = len(found.sizes) // 2
    order = sorted(found.policies, key=lambda line: line.values[place])
    told = [f"{line.name} misses {100 * line.values[place]:.2f} %" for line in order]
    return f"At {found.sizes[place]:,} entries {listed(told)}"


def answer_of(found: TraceCurve) -> str:
    """Return what *found* shows, in a sentence or two."""
    floor = found.first_accesses
    parts = [
        f"{100 * floor:.2f} % of the accesses are the first of their key and miss in any cache."
    ]
    wanted = 0.05 + floor
    at = np.flatnonzero(found.exact <= wanted)
    if at.size:
        parts.append(
            f"LRU comes within 5 points of that with {count_of(int(at[0]), 'entry', 'entries')}, "
            f"{100 * at[0] / found.key_count:.1f} % of the keys."
        )
    return " ".join(parts)


def table_of(found: TraceCurve) -> Table:
    """Return every line of *found* as a column, a row for each size."""
    columns = [found.real, *filter(None, [found.shuffled]), found.theory]
    # Without lives the simulated LRU is the exact one.
    columns += [
        line for line in found.policies if line.name != "LRU" or line.values != found.real.values
    ]
    columns += [Line(name=_isolates(line.name), values=line.values) for line in found.by_isolates]
    columns += [Line(name=f"TTL {_ttl(line.name)}", values=line.values) for line in found.by_ttl]
    table: Table = [("entries", *(line.name for line in columns))]
    for place, size in enumerate(found.sizes):
        table.append((f"{size:,}", *(f"{100 * line.values[place]:.2f} %" for line in columns)))
    return table


def csv_of(exact: NDArray[np.float64]) -> bytes:
    """Return the exact curve as CSV; of many keys every size at which it has changed enough."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("entries", "miss_ratio"))
    sizes = np.arange(exact.size)
    if exact.size > _CSV_ROWS:
        sizes = np.unique(np.geomspace(1, exact.size - 1, _CSV_ROWS).astype(np.int64))
    rows.writerows((int(size), repr(float(exact[size]))) for size in sizes)
    return text.getvalue().encode()
