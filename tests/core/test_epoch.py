"""Claims about epoch milliseconds: what other unit a number is in, by its size alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import DATA_EPOCH_MS
from core.units import EARLIEST_MS, LATEST_MS, format_time, is_plausible, other_unit, slip


@given(st.integers(EARLIEST_MS // 1000, LATEST_MS // 1000).map(lambda seconds: seconds * 1000))
def test_every_unit_of_a_time_is_told_from_the_others(milliseconds: int) -> None:
    assert is_plausible(milliseconds)
    assert slip(milliseconds) == ""
    assert other_unit(milliseconds) is None
    assert other_unit(milliseconds // 1000) == ("seconds", milliseconds)
    assert other_unit(milliseconds * 1000) == ("microseconds", milliseconds)
    assert other_unit(milliseconds * 1_000_000) == ("nanoseconds", milliseconds)


@pytest.mark.parametrize("number", [0, -1, 50_000_000, 5_000_000_000_000, 10**19])
def test_what_is_a_time_in_no_unit_is_none(number: int) -> None:
    assert other_unit(number) is None
    assert "times from 1973 to 2100" in slip(number)


def test_simulated_time_is_a_time() -> None:
    assert is_plausible(DATA_EPOCH_MS)


def test_time_beyond_the_calendar_is_shown_by_its_year() -> None:
    assert format_time(1_764_000_000_000_000) == "the year 57,868"
    assert format_time(DATA_EPOCH_MS) == "2026-01-01T00:00Z"
