"""Claims about cells of CSV files: no formula gets out, and every text comes back."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.attribution.cells import guarded, unguarded

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "＠x", "-", "'=1")


@pytest.mark.parametrize("cell", FORMULAS)
def test_what_a_spreadsheet_takes_for_a_formula_begins_with_an_apostrophe(cell: str) -> None:
    assert guarded(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", [-1, -2.5, 0, None, "", "a=1", "1+1", "'quoted'", "(direct)"])
def test_numbers_and_plain_text_stay_as_they_are(cell: object) -> None:
    assert guarded(cell) == cell
    assert type(guarded(cell)) is type(cell)


@given(st.text(alphabet="'=+-@\t\r\n＝＋a 1", max_size=6))
def test_every_text_comes_back(cell: str) -> None:
    text = io.StringIO()
    csv.writer(text).writerow([guarded(cell), 1])
    (row,) = csv.reader(io.StringIO(text.getvalue(), newline=""))
    assert not row[0].startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋"))
    assert unguarded(row[0]) == cell
