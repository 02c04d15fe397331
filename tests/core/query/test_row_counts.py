"""Claims about the rows that D1 bills: the line through what was seen, and what is committed."""

from __future__ import annotations

import pytest

from bench.platform.known import OF_FILES, STATEMENTS
from core.query.row_counts import line_through, row_counts


@pytest.mark.parametrize(
    ("points", "at"),
    [
        ([(0, 1), (5, 6), (20, 21)], {0: 1, 10: 11}),  # an index lookup reads one row more
        ([(0, 0), (2, 2), (5, 6)], {0: 0, 10: 10}),
        ([(1, 3)], {0: 0, 10: 30}),
        ([(0, 4), (2, 6)], {0: 4, 10: 30}),  # one size tells no slope
        ([(0, 7), (0, 3)], {0: 7, 10: 7}),
    ],
)
def test_line_goes_through_what_was_seen(
    points: list[tuple[int, int]], at: dict[int, float]
) -> None:
    line = line_through(points)
    assert {rows: line.at(rows) for rows in at} == at
    assert max(abs(line.at(rows) - billed) for rows, billed in points) == line.off_by


def test_no_point_gives_no_line() -> None:
    with pytest.raises(ValueError, match="needs a point"):
        line_through([])


def test_every_statement_has_committed_figures() -> None:
    counts = row_counts()
    assert {*counts.statements} == {*STATEMENTS} - {*OF_FILES}
    assert counts.statements["insert_event"].written.at(1) == (
        counts.operations["a touch"].rows_written
    )
    assert counts.operations["a duplicate"].rows_written == 0
    assert {*counts.versions} == {"node", "miniflare", "workerd"}
