"""The growth of traffic, and when it reaches the knee of a plan."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Self

from core.errors import InputError
from core.metrics.kpi import Interval

MONTH_DAYS = 365.25 / 12
_MONTHS = {"week": 7 / MONTH_DAYS, "month": 1.0, "year": 12.0}
_FORM = re.compile(
    r"\s*\+?(?P<rate>[\d.]+)\s*%\s*(?:(?:±|\+-|\+/-)\s*(?P<more>[\d.]+)\s*%\s*)?"
    r"(?:/|per\s+|a\s+)\s*(?P<unit>week|month|year)\s*"
)
_MOST = 10.0
_LATEST = 9_000  # years that a date may be of


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Compound growth a month: the rate, and the range that it lies in (95 %); 0.08 is 8 %."""

    text: str
    rate: float
    low: float
    high: float

    def months(self, factor: float, rate: float | None = None) -> float:
        """Return the months in which traffic grows by *factor*; infinite without growth.

        0 for a factor of 1 or less. rate: in place of its own.
        """
        rate = self.rate if rate is None else rate
        if factor <= 1:
            return 0.0
        return math.inf if rate <= 0 else math.log(factor) / math.log1p(rate)


def parse_growth(text: str) -> Growth:
    """Return the growth of "8%/month", or with its range "8%±2%/month"; by week and year, too.

    Raise InputError if the text is none.
    """
    remedy = "give a percentage a week, month or year, such as 8%/month or 8%±2%/month"
    match = _FORM.fullmatch(text)
    if match is None:
        raise InputError(f"--growth is {text[:80]!r}; {remedy}")
    try:
        rate, more = float(match["rate"]) / 100, float(match["more"] or 0) / 100
    except ValueError:
        raise InputError(f"--growth is {text[:80]!r}; {remedy}") from None
    if rate <= 0:
        raise InputError(
            f"--growth is {text}; traffic that does not grow reaches no limit: leave it out"
        )
    if rate + more > _MOST:
        raise InputError(f"--growth is {text}; it is at most {100 * _MOST:.0f} %")
    months = _MONTHS[match["unit"]]
    low, rate, high = (
        math.expm1(math.log1p(max(each, -0.99)) / months)
        for each in (rate - more, rate, rate + more)
    )
    return Growth(text=" ".join(text.split()), rate=rate, low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """When traffic that grows reaches the rate that a plan holds.

    today: requests/s on the day *since*. limit: the rate that is reached. months: until then; 0 if
    it is reached already. interval: 95 % of it, from those of the knee and of the growth; None for
    an end that is never reached. at_least: whether nothing broke up to that rate. monthly: the
    growth a month, monthly_range: where it lies.
    """

    growth: str
    monthly: float
    monthly_range: Interval
    today: float
    limit: float
    months: float
    interval: tuple[float, float | None]
    at_least: bool
    since: str

    def month_after(self, months: float | None) -> str:
        """Return the calendar month *months* after the first day: "April 2028"."""
        if months is None or months > 12 * _LATEST:
            return "never"
        try:
            day = date.fromisoformat(self.since) + timedelta(days=months * MONTH_DAYS)
        except OverflowError:
            return "never"
        return f"{day:%B %Y}"

    def bought(self, ratio: float, interval: Interval | None = None) -> tuple[float, Interval]:
        """Return the months that a limit *ratio* times as high adds, and 95 % of them.

        interval: that of the ratio. Raise ValueError for a ratio of 0 or less.
        """
        months = math.log(ratio) / math.log1p(self.monthly)
        low, high = interval or (ratio, ratio)
        slowest, fastest = (max(rate, 1e-12) for rate in self.monthly_range)
        # Traffic that hardly grows makes any ratio worth more months, also one below 1.
        by_growth = sorted(math.log(ratio) / math.log1p(rate) for rate in (slowest, fastest))
        by_ratio = [math.log(max(end, 1e-9)) / math.log1p(self.monthly) for end in (low, high)]
        before = math.hypot(months - by_ratio[0], months - by_growth[0])
        after = math.hypot(by_ratio[1] - months, by_growth[1] - months)
        return months, (months - before, months + after)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` wrote."""
        pairs = {name: tuple(data[name]) for name in ("monthly_range", "interval")}
        return cls(**{**data, **pairs})


def forecast(
    growth: Growth,
    *,
    today: float,
    limit: float,
    interval: Interval | None,
    since: date,
) -> Forecast:
    """Return when *today*'s rate, growing, reaches *limit*.

    interval: that of the limit, None where nothing broke up to it. The two sources of doubt are
    taken as independent, so the distances from the answer to the ends that each gives by itself
    add as the root of their squares (Zou and Donner, "Construction of confidence limits about
    effect measures", 2008).
    """
    months = max(0.0, growth.months(limit / today))
    low, high = interval or (limit, limit)
    ends = [
        [max(0.0, growth.months(max(end, today) / today)) for end in (low, high)],
        [growth.months(max(limit, today) / today, rate) for rate in (growth.high, growth.low)],
    ]
    before = math.hypot(*(months - each[0] for each in ends))
    after = math.hypot(*(each[1] - months for each in ends))
    latest = None if interval is None or math.isinf(after) else months + after
    return Forecast(
        growth=growth.text,
        monthly=growth.rate,
        monthly_range=(growth.low, growth.high),
        today=today,
        limit=limit,
        months=months,
        interval=(max(0.0, months - before), latest),
        at_least=interval is None,
        since=since.isoformat(),
    )
