"""The result of a comparison, its exit code, and its form for scripts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeproof.paired.verdicts import Verdict, Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of a comparison: what is compared, and what fails."""

    limit: float = 0.05
    budget: float = 300.0
    allow_missing: bool = False
    allow_counts: bool = False
    counts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """An exact figure of a benchmark in both versions."""

    name: str
    base: int
    head: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRow:
    """A benchmark that both versions have."""

    name: str
    verdict: Verdict
    is_regression: bool
    counts: tuple[Count, ...] = ()

    @property
    def different_counts(self) -> tuple[Count, ...]:
        return tuple(count for count in self.counts if count.base != count.head)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A benchmark that only one version can run; *fault*: whether it is broken in the head."""

    name: str
    told: str
    fault: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The findings."""

    rows: tuple[BenchmarkRow, ...]
    missing: tuple[Missing, ...]
    notes: tuple[str, ...]
    faults: tuple[str, ...] = ()
    """The requested benchmarks and counts that could not be compared."""
    is_interrupted: bool
    seconds: float
    processes: int

    def code(self, rules: Rules, *, strict: bool) -> int:
        """Return 130 for an interrupted comparison, 2 for a fault of what was asked for, 1 for a
        regression, 4 as *strict* says.
        """
        if self.is_interrupted:
            return 130
        if self.faults:
            return 2
        if any(row.is_regression for row in self.rows):
            return 1
        if not rules.allow_counts and any(row.different_counts for row in self.rows):
            return 1
        if any(one.fault or not rules.allow_missing for one in self.missing):
            return 1
        undecided = any(row.verdict.word is Word.UNDECIDED for row in self.rows)
        return 4 if strict and undecided else 0


def told_processes(number: int) -> str:
    """Return "1 process" or "12 processes"."""
    return f"{number} process{'' if number == 1 else 'es'}"


def as_json(
    found: Comparison,
    facts: Mapping[str, Any],
    instructions: Mapping[str, tuple[float, float]],
    *,
    code: int,
) -> dict[str, Any]:
    """Return the comparison for scripts: times in seconds, ratios head/base."""
    return {
        "schema_version": 1,
        **facts,
        "exit_code": code,
        "benchmarks": [
            {
                "name": row.name,
                "verdict": str(row.verdict.word),
                "is_regression": row.is_regression,
                "base_seconds": _finite(row.verdict.base / 1e9),
                "head_seconds": _finite(row.verdict.head / 1e9),
                "ratio": _finite(row.verdict.ratio),
                "interval": row.verdict.interval,
                "processes": row.verdict.processes,
                "pairs": row.verdict.pairs,
                "reason": row.verdict.reason,
                "instructions": instructions.get(row.name),
                "counts": {count.name: [count.base, count.head] for count in row.counts},
            }
            for row in found.rows
        ],
        "missing": [{"name": one.name, "why": one.told} for one in found.missing],
        "notes": [*found.notes, *found.faults],
        "seconds": round(found.seconds, 1),
        "processes": found.processes,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
