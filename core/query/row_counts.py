"""Rows that D1 bills for each statement, as its own engine counted them: `row_counts.json`.

`python -m bench.d1_rows` measures them. A statement's figures are a line over the rows that one
execution returns or changes: an index lookup that returns n rows reads n + 1, say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

FILE = "row_counts.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The rows billed for an execution of n rows: base + per_row n, or *empty* if n is 0.

    off_by: the largest difference from what was seen.
    """

    base: float
    per_row: float
    empty: float
    off_by: float

    def at(self, rows: float) -> float:
        """Return the rows billed for an execution that returns or changes *rows*."""
        return self.base + self.per_row * rows if rows else self.empty


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementRows:
    """The rows that executions of one statement read and write."""

    read: Line
    written: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRows:
    """The statements of one operation of the product, and the rows that they read and write."""

    statements: int
    rows_read: int
    rows_written: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCounts:
    """What was measured, when, and on which versions of the runtime."""

    measured: str
    versions: Mapping[str, str]
    statements: Mapping[str, StatementRows]
    operations: Mapping[str, OperationRows]


@cache
def row_counts() -> RowCounts:
    """Return the committed figures."""
    text = resources.files("core.query").joinpath(FILE).read_text(encoding="utf-8")
    data = json.loads(text)
    return RowCounts(
        measured=data["measured"],
        versions=data["versions"],
        statements={
            name: StatementRows(read=Line(**found["read"]), written=Line(**found["written"]))
            for name, found in data["statements"].items()
        },
        operations={name: OperationRows(**found) for name, found in data["operations"].items()},
    )


def line_through(points: Sequence[tuple[int, int]]) -> Line:
    """Return the line that is nearest to *points*: the least sum of absolute errors.

    It goes through two of them, or through one with a slope of 0 to 6 rows; of equally near lines
    it is the one with the smallest largest error. Points of 0 rows give `empty`, their largest.
    Raise ValueError without a point.
    """
    if not points:
        raise ValueError("a line needs a point")
    nothing = [float(billed) for rows, billed in points if not rows]
    known = sorted({point for point in points if point[0]})
    if not known:
        empty = max(nothing)
        return Line(base=empty, per_row=0.0, empty=empty, off_by=empty - min(nothing))
    slopes = {float(slope) for slope in range(7)} | {
        (billed - y) / (other - x) for x, y in known for other, billed in known if other > x
    }
    if len({rows for rows, _ in known}) == 1:  # one size tells no slope: through 0
        slopes = {billed / rows for rows, billed in known}
    _, largest, base, slope = min(
        (sum(errors), max(errors), base, slope)
        for slope in slopes
        for x, y in known
        if slope >= 0 and (base := y - slope * x) >= -1e-9
        for errors in [[abs(base + slope * rows - billed) for rows, billed in known]]
    )
    empty = max(nothing, default=base)
    return Line(
        base=round(base, 6), per_row=round(slope, 6), empty=round(empty, 6),
        off_by=round(max(largest, *(empty - billed for billed in nothing), 0.0), 6),
    )  # fmt: skip
