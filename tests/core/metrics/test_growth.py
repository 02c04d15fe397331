"""Claims about the growth of traffic and the month in which it reaches a limit."""

from __future__ import annotations

import math
from datetime import date

import pytest

from core.errors import InputError
from core.metrics.growth import MONTH_DAYS, Forecast, forecast, parse_growth

SINCE = date(2026, 11, 29)
LN = math.log1p(0.08)


def test_growth_is_compound_and_of_any_period() -> None:
    month = parse_growth("8%/month")
    assert (month.rate, month.low, month.high) == pytest.approx((0.08, 0.08, 0.08))
    assert month.months(2.0) == pytest.approx(math.log(2) / LN)
    assert 1.0 + parse_growth("100% per year").rate == pytest.approx(2 ** (1 / 12))
    assert 1.0 + parse_growth("1%/week").rate == pytest.approx(1.01 ** (MONTH_DAYS / 7))
    ranged = parse_growth("8%±2%/month")
    assert (ranged.low, ranged.high) == pytest.approx((0.06, 0.10))
    assert parse_growth("8%+-2%/month") == parse_growth("8% +- 2%/month").__class__(
        text="8%+-2%/month", rate=ranged.rate, low=ranged.low, high=ranged.high
    )


@pytest.mark.parametrize(
    "text",
    ["8", "8%", "8%/day", "x%/month", "1.2.3%/month", "-3%/month", "0%/month", "2000%/year", ""],
)
def test_growth_that_is_none_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(InputError, match=r"--growth is .*(8%/month|leave it out|at most)") as error:
        parse_growth(text)
    assert "\n" not in str(error.value)


def test_month_is_that_in_which_compound_growth_reaches_the_limit() -> None:
    found = forecast(
        parse_growth("8%/month"), today=100.0, limit=200.0, interval=(190.0, 210.0), since=SINCE
    )
    assert found.months == pytest.approx(math.log(2) / LN)
    # Without a range of the growth the interval is the knee's.
    assert found.interval == pytest.approx((math.log(1.9) / LN, math.log(2.1) / LN))
    assert found.month_after(found.months) == "August 2027"
    assert Forecast.from_json(found.to_json()) == found


def test_range_of_the_growth_widens_the_interval_and_may_reach_never() -> None:
    narrow, wide, never = (
        forecast(
            parse_growth(text), today=100.0, limit=200.0, interval=(190.0, 210.0), since=SINCE
        ).interval
        for text in ("8%/month", "8%±2%/month", "8%±9%/month")
    )
    assert wide[0] < narrow[0]
    assert wide[1] is not None
    assert narrow[1] is not None
    assert wide[1] > narrow[1]
    # Independent sources add as the root of their squares, so less than one after the other.
    fast = math.log(1.9) / math.log1p(0.10)
    assert wide[0] > fast
    assert never[1] is None


def test_limit_below_todays_rate_is_reached_already() -> None:
    found = forecast(
        parse_growth("8%/month"), today=300.0, limit=200.0, interval=(190.0, 210.0), since=SINCE
    )
    assert (found.months, found.interval) == (0.0, (0.0, 0.0))


def test_limit_that_is_reached_is_so_however_little_traffic_may_grow() -> None:
    found = forecast(
        parse_growth("8%±20%/month"), today=300.0, limit=200.0, interval=(190.0, 210.0), since=SINCE
    )
    assert (found.months, found.interval) == (0.0, (0.0, 0.0))


def test_limit_that_nothing_broke_at_has_no_latest_month() -> None:
    found = forecast(parse_growth("8%/month"), today=100.0, limit=200.0, interval=None, since=SINCE)
    assert found.at_least
    assert found.interval[1] is None
    assert found.month_after(None) == "never"


def test_twice_the_limit_buys_the_time_of_a_doubling() -> None:
    found = forecast(
        parse_growth("8%/month"), today=100.0, limit=200.0, interval=(190.0, 210.0), since=SINCE
    )
    months, ends = found.bought(2.0, (1.9, 2.1))
    assert months == pytest.approx(math.log(2) / LN)
    assert ends == pytest.approx((math.log(1.9) / LN, math.log(2.1) / LN))
    lost, _ = found.bought(0.5)
    assert lost == pytest.approx(-months)
