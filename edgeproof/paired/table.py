"""A comparison as text."""

from __future__ import annotations

import math
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from edgeproof.paired.result import BenchmarkRow, Comparison, Rules, told_processes
from edgeproof.paired.verdicts import LEVEL, Word

Instructions = Mapping[str, tuple[float, float]]
"""Per call of base and head, by benchmark; empty where they were not counted."""
_UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))


def lines(found: Comparison, rules: Rules, instructions: Instructions) -> Iterator[str]:
    """Yield the table, what is missing, the notes and the sentence at the end."""
    if found.rows:
        yield from _table(found, rules, instructions)
    for row in found.rows:
        for count in row.different_counts:
            yield f"{row.name}: {count.name} was {count.base} and is {count.head}"
    reasons: dict[str, list[str]] = {}
    for row in found.rows:
        if row.verdict.reason:
            reasons.setdefault(row.verdict.reason, []).append(row.name.rpartition("::")[2])
    for reason, names in reasons.items():
        yield f"UNDECIDED, {reason}: {', '.join(names)}"
    for one in found.missing:
        yield f"{one.name}: {one.told}"
    for note in found.notes:
        yield f"Note: {note}"
    yield sentence(found, rules)


def sentence(found: Comparison, rules: Rules) -> str:
    """Return the conclusion."""
    words = [row.verdict.word for row in found.rows]
    told = ", ".join(f"{words.count(word)} {word}" for word in Word if word in words)
    regressions = [row for row in found.rows if row.is_regression]
    faults = []
    if regressions:
        faults.append(f"{len(regressions)} slower by about {100 * rules.limit:g} % or more")
    changed = sum(bool(row.different_counts) for row in found.rows)
    if changed:
        faults.append(f"{changed} with other counts" + " (allowed)" * rules.allow_counts)
    broken = sum(one.fault for one in found.missing)
    if broken:
        faults.append(f"{broken} broken in head")
    if absent := len(found.missing) - broken:
        faults.append(f"{absent} not in both" + " (allowed)" * rules.allow_missing)
    end = f"; {', '.join(faults)}" if faults else "; no regression"
    return (
        f"{told or 'nothing compared'}{end}. {told_processes(found.processes)}, "
        f"{found.seconds:.0f} s; intervals hold at {LEVEL:.0%} for all benchmarks together."
    )


def _table(found: Comparison, rules: Rules, instructions: Instructions) -> Iterator[str]:
    folder = _folder([row.name for row in found.rows])
    first = f"benchmark in {folder}" if folder else "benchmark"
    rows: list[tuple[str, ...]] = [
        (first, "base median", "head median", "head/base", "interval", "verdict")
    ]
    rows += [_cells(row, rules, len(folder)) for row in found.rows]
    if instructions:
        extra = ["instructions", *(_instructions(row, instructions) for row in found.rows)]
        rows = [(*row[:-1], cell, row[-1]) for row, cell in zip(rows, extra, strict=True)]
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            _padded(text, width, is_left=column in (0, len(widths) - 1))
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _folder(names: Sequence[str]) -> str:
    """Return the folder that all benchmarks lie in, with its slash."""
    common = os.path.commonpath([name.partition("::")[0].rpartition("/")[0] for name in names])
    return common + "/" if common else ""


def _cells(row: BenchmarkRow, rules: Rules, cut: int) -> tuple[str, ...]:
    verdict = row.verdict
    interval = "" if verdict.interval is None else "{:.3f} to {:.3f}".format(*verdict.interval)
    word = str(verdict.word)
    if verdict.word is Word.SLOWER:
        word += ", regression" if row.is_regression else ", within the limit"
    if row.different_counts:
        word += ", counts differ"
    return (
        row.name[cut:], duration(verdict.base), duration(verdict.head),
        "" if math.isnan(verdict.ratio) else f"{verdict.ratio:.3f}", interval, word,
    )  # fmt: skip


def _instructions(row: BenchmarkRow, counts: Instructions) -> str:
    base, head = counts.get(row.name, (0.0, 0.0))
    return f"{head / base:.4f}" if base > 0 and head > 0 else ""


def duration(nanoseconds: float) -> str:
    """Return a time with three digits and its unit."""
    if math.isnan(nanoseconds):
        return "-"
    size, unit = next(((s, u) for s, u in _UNITS if nanoseconds >= s), _UNITS[-1])
    return (
        f"{nanoseconds / size:.3g} {unit}"
        if nanoseconds < 1000 * size
        else (f"{nanoseconds / size:,.0f} {unit}")
    )


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(mark) in "WF" else 1 for mark in text)


def _padded(text: str, width: int, *, is_left: bool) -> str:
    space = " " * (width - _width(text))
    return text + space if is_left else space + text
