"""KPIs: one notation for what is measured, its target and its alert line, and how it is judged."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from core.metrics.charge import CHARGES, Charge, charge_of
from core.metrics.metric_table import BUILT_IN, MetricTable
from core.metrics.part import REMEDY, Part, parse_part
from core.metrics.ratio import Ratio
from core.metrics.stage import Stage
from core.units import (
    format_count,
    format_dollars,
    format_duration,
    format_ratio,
    format_size,
    parse_count,
    parse_dollars,
    parse_duration,
    parse_ratio,
    parse_size,
)

ALIASES = BUILT_IN.aliases()
"""The eight metrics that every scenario judges, by the name that reports and JSON give them."""

SERIES = BUILT_IN.series

Unit = Literal["seconds", "bytes", "ratio", "dollars", "count"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a run: a function ("p95") of a series ("track").

    what: the stage, ratio or charge that the series is, None for an endpoint or memory; one that
    is left out is looked up among the built-in ones. part: the part of the run that it is about,
    None for all that is judged.
    """

    function: str
    series: str
    what: Stage | Ratio | Charge | None = field(default=None, compare=False, repr=False)
    part: Part | None = None

    def __post_init__(self) -> None:
        if self.what is None:
            object.__setattr__(self, "what", _described(self.function, self.series, BUILT_IN))

    @property
    def general(self) -> str:
        """The general notation, such as p95(track) or p95(track, stage 2)."""
        of = "" if self.part is None else f", {self.part.name}"
        return f"{self.function}({self.series}{of})"

    @property
    def whole(self) -> Metric:
        """The same figure of the whole run."""
        return self if self.part is None else replace(self, part=None)

    @property
    def name(self) -> str:
        """The name in reports and JSON: the short one where there is one."""
        general = self.general
        if self.part is None and isinstance(self.what, Ratio | Charge):
            return self.what.alias or general
        return next((alias for alias, full in ALIASES.items() if full == general), general)

    @property
    def unit(self) -> Unit:
        """The SI unit of the figure."""
        if isinstance(self.what, Charge):
            return self.what.unit
        if self.function == "ratio":
            return "ratio"
        return "bytes" if self.function == "peak" else "seconds"

    @property
    def quantile(self) -> float | None:
        """The fraction that a percentile stands for, None for other functions."""
        return (
            float(self.function[1:]) / 100
            if self.function[0] == "p" and self.unit == "seconds"
            else None
        )

    def format(self, value: float) -> str:
        """Return *value* with the unit that reads best."""
        formats = {
            "ratio": format_ratio, "bytes": format_size, "seconds": format_duration,
            "dollars": format_dollars, "count": format_count,
        }  # fmt: skip
        return formats[self.unit](value)

    def parse_value(self, text: str) -> float:
        """Return the SI value that *text* stands for; ValueError if it has another unit."""
        parsers = {
            "ratio": parse_ratio, "bytes": parse_size, "seconds": parse_duration,
            "dollars": parse_dollars, "count": parse_count,
        }  # fmt: skip
        return float(parsers[self.unit](text))


def _described(function: str, series: str, table: MetricTable) -> Stage | Ratio | Charge | None:
    if function in ("cost", "most", "daily"):
        return charge_of(f"{function}({series})")
    return table.ratio(series) if function == "ratio" else table.stage(series)


def parse_metric(text: str, table: MetricTable = BUILT_IN) -> Metric:
    """Return the metric that *text* ("hit_ratio", "p99(track)") names; ValueError lists them.

    table: the endpoints, stages and ratios that there are.
    """
    aliases = table.aliases()
    charge = charge_of(text)
    if charge is not None and text.strip() not in aliases:
        return Metric(charge.function, charge.name, charge)
    whole, part = _whole_and_part(text, {**aliases, **{each.alias: "" for each in CHARGES}})
    if part is not None:
        return _of_part(parse_metric(whole, table), text, part)
    match = re.fullmatch(r"\s*([a-z0-9.]+)\(([a-z0-9_]+)\)\s*", aliases.get(text, text))
    if match:
        function, series = match[1], match[2]
        metric = Metric(function, series, _described(function, series, table))
        if function == "ratio" and metric.what is not None:
            return metric
        if (function, series) == ("peak", "memory"):
            return metric
        is_percentile = re.fullmatch(r"p\d{1,2}(\.\d{1,3})?", function) and float(function[1:]) > 0
        if series in table.series and (is_percentile or function in ("mean", "max")):
            return metric
    ratios = "|".join(ratio.name for ratio in table.ratios)
    raise ValueError(
        f"{text!r} is not a metric; use {', '.join(aliases)}, ratio({ratios}), "
        f"peak(memory), {', '.join(each.alias for each in CHARGES)}, or p50, p95, mean, max of "
        f"({'|'.join(table.series)}); of a part of the run "
        "p95(track, stage 2) or p95(track, 60s..120s)"
    )


def _whole_and_part(text: str, aliases: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the metric without its part, and the part: "p95(track, X)", or "hit_ratio(X)"."""
    if match := re.fullmatch(r"\s*([a-z0-9.]+\([a-z0-9_]+)\s*,([^()]*)\)\s*", text):
        return f"{match[1]})", match[2]
    match = re.fullmatch(r"\s*([a-z0-9_]+)\(([^()]*)\)\s*", text)
    if match and match[1] in aliases:
        return match[1], match[2]
    return text, None


def _of_part(metric: Metric, text: str, part: str) -> Metric:
    """Return *metric* of one *part* of the run; ValueError if only the whole run tells it."""
    what = metric.what
    reason = ""
    if metric.function == "peak":
        reason = "memory is known as the peak of the whole run"
    elif isinstance(what, Charge):
        reason = "cost is told of the whole run"
    elif isinstance(what, Stage) and what.source == "profiler":
        reason = f"the service's profiler tells {what.name} times over the whole run"
    elif isinstance(what, Ratio) and not what.is_of_requests:
        reason = "domain counters are counted over the whole run"
    if reason:
        raise ValueError(f"{text!r}: {reason}; leave out the part, and judge {metric.name}")
    try:
        return replace(metric, part=parse_part(part))
    except ValueError as error:
        told = str(error)
        raise ValueError(f"{text!r}: {told if 'stage' in told else f'{told}; {REMEDY}'}") from None


@dataclass(frozen=True, slots=True)
class Bound:
    """A side of a line: "< 100ms"."""

    comparison: Literal["<", "<=", ">", ">="]
    value: float

    def holds(self, value: float) -> bool:
        """Return whether *value* is on this bound's side."""
        if self.comparison == "<":
            return value < self.value
        if self.comparison == "<=":
            return value <= self.value
        return value > self.value if self.comparison == ">" else value >= self.value

    @property
    def is_upper(self) -> bool:
        """True for < and <=."""
        return self.comparison[0] == "<"


def parse_bound(text: str, metric: Metric) -> Bound:
    """Return the bound that *text* ("< 100ms") writes for *metric*; ValueError if it is none."""
    match = re.fullmatch(r"\s*(<=|>=|<|>)\s*(.+?)\s*", text)
    if not match:
        raise ValueError(f"{text!r} is not a bound; write it as '< 100ms' or '>= 95%'")
    comparison: Literal["<", "<=", ">", ">="] = match[1]  # type: ignore[assignment]  # the pattern
    return Bound(comparison, metric.parse_value(match[2]))


class Outcome(StrEnum):
    """What a KPI or a whole run came to."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_MEASURED = "NOT_MEASURED"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True)
class Kpi:
    """A promise about one metric: the target it should meet and the line that raises an alert."""

    metric: Metric
    target: Bound
    alert: Bound
    target_text: str
    alert_text: str

    @property
    def name(self) -> str:
        """The metric's name."""
        return self.metric.name


def parse_kpi(metric: str, target: str, alert: str, table: MetricTable = BUILT_IN) -> Kpi:
    """Return the KPI of the three texts; ValueError if they contradict each other."""
    parsed = parse_metric(metric, table)
    good, bad = parse_bound(target, parsed), parse_bound(alert, parsed)
    if good.is_upper == bad.is_upper:
        raise ValueError(f"alert {alert!r} points the same way as target {target!r}")
    if (good.is_upper and bad.value < good.value) or (not good.is_upper and bad.value > good.value):
        raise ValueError(f"alert {alert!r} lies inside target {target!r}")
    return Kpi(parsed, good, bad, target.strip(), alert.strip())


Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A KPI judged on one figure: its value, its 95 % interval where there is one, the outcome.

    runs: how many runs the value is the mean of. possible: the least and the greatest value that
    flawed runs leave open, None without flaws. at_ends: the outcomes at best and at worst.
    misses_at_ends: whether it `misses` both times.
    """

    kpi: Kpi
    value: float | None
    interval: Interval | None
    outcome: Outcome
    runs: int = 1
    possible: Interval | None = None
    at_ends: tuple[Outcome, Outcome] | None = None
    misses_at_ends: bool | None = None

    @property
    def misses(self) -> bool:
        """Whether the value and all of its interval miss the target, whatever is in doubt."""
        if self.misses_at_ends is not None:
            return self.misses_at_ends
        if self.value is None:
            return False
        target = self.kpi.target
        return not any(target.holds(figure) for figure in (self.value, *(self.interval or ())))


def judge(
    kpi: Kpi, value: float | None, interval: Interval | None = None, *, runs: int = 1
) -> Verdict:
    """Judge *value* in SI units, the mean of *runs* runs, against *kpi*.

    Without an interval the outcome is that of the value. With one it is that of the value and of
    both ends, and INCONCLUSIVE where these disagree. A value of None was NOT_MEASURED. Raise
    ValueError if the value lies outside its interval.
    """
    if value is None or math.isnan(value):
        return Verdict(kpi=kpi, value=None, interval=None, outcome=Outcome.NOT_MEASURED)
    if interval is None:
        return Verdict(kpi=kpi, value=value, interval=None, outcome=_side(kpi, value), runs=runs)
    if not interval[0] <= value <= interval[1]:
        raise ValueError(f"{kpi.name} is {value}, outside its interval {interval}")
    sides = {_side(kpi, figure) for figure in (value, *interval)}
    outcome = sides.pop() if len(sides) == 1 else Outcome.INCONCLUSIVE
    return Verdict(kpi=kpi, value=value, interval=interval, outcome=outcome, runs=runs)


def _side(kpi: Kpi, value: float) -> Outcome:
    if kpi.target.holds(value):
        return Outcome.PASS
    return Outcome.FAIL if kpi.alert.holds(value) else Outcome.WARN


def overall(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the outcome that stands for all: the worst, NOT_MEASURED aside.

    NOT_MEASURED only if nothing was measured at all.
    """
    order = [Outcome.INVALID, Outcome.FAIL, Outcome.WARN, Outcome.INCONCLUSIVE, Outcome.PASS]
    seen = set(outcomes)
    return next((outcome for outcome in order if outcome in seen), Outcome.NOT_MEASURED)
