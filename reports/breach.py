"""What the windows of a run say in words: when a latency first misses its target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.metrics.kpi import Kpi
from core.metrics.record import RunRecord, Windows
from core.texts import count_of
from reports import words

QUANTILES = ("p50", "p95", "p99")


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """The first window whose latency misses a target: when it starts, its load and its latency."""

    time: float
    rate: float
    latency: float
    windows: int


def window_kpi(kpis: Sequence[Kpi]) -> Kpi | None:
    """Return the KPI whose lines the windows are held against: a p50, p95 or p99 of an endpoint."""
    fitting = [
        kpi
        for kpi in kpis
        if kpi.metric.what is None
        and kpi.metric.part is None  # the windows are those of the whole run
        and kpi.metric.function in QUANTILES
        and kpi.target.is_upper
    ]
    return next((kpi for kpi in fitting if kpi.metric.series == "track"), next(iter(fitting), None))


def first_breach(windows: Windows, kpi: Kpi) -> Breach | None:
    """Return the first window in which all requests together miss the target of *kpi*."""
    column: tuple[float | None, ...] = getattr(windows, kpi.metric.function)
    bad = [i for i, v in enumerate(column) if v is not None and not kpi.target.holds(v)]
    if not bad:
        return None
    first = bad[0]
    latency = column[first]
    return Breach(
        time=windows.start + first * windows.width,
        rate=windows.requests[first] / windows.width,
        latency=math.inf if latency is None else latency,
        windows=len(bad),
    )


def over_time(predicted: RunRecord | None, measured: RunRecord | None, kpis: Sequence[Kpi]) -> str:
    """Say when the run that counts first misses its latency target, and when it was predicted to.

    Raise ValueError without a record.
    """
    kpi = window_kpi(kpis)
    main = measured or predicted
    if main is None:
        raise ValueError("a timeline needs a record")
    if main.windows.attempts:
        return _tried_at_the_end(predicted, measured)
    side = "measured" if measured is not None else "predicted"
    of_one = " (one run)" if main.runs > 1 else ""
    if kpi is None:
        return f"{count_of(sum(main.windows.requests), 'request')} over time, as {side}{of_one}"
    text = _clause(main.windows, kpi, side) + of_one
    if measured is not None and predicted is not None:
        breach = first_breach(predicted.windows, kpi)
        expected = f"at {breach.time:g} s" if breach else "in no window"
        if (first_breach(measured.windows, kpi) is None) != (breach is None) or breach:
            text += f"; predicted {expected}"
        else:
            text += ", as predicted"
    return text


def _tried_at_the_end(predicted: RunRecord | None, measured: RunRecord | None) -> str:
    """Say how often clients tried in the last quarter of the run, and how much was answered."""
    told = []
    for side, record in (("measured", measured), ("predicted", predicted)):
        if record is None or not record.windows.attempts:
            continue
        windows = record.windows
        last = slice(-max(1, len(windows.requests) // 4), None)
        asked, failed = sum(windows.requests[last]), sum(windows.failed[last])
        if asked:
            tries = sum(windows.attempts[last]) / asked
            told.append(f"{side} {tries:.2f} and {100 * (1 - failed / asked):.0f} %")
    return (
        "Attempts that clients send for a request, and requests that are answered, in the last "
        f"quarter of the run: {'; '.join(told) or 'there is no request in it'}"
    )


def _clause(windows: Windows, kpi: Kpi, side: str) -> str:
    name, line = kpi.metric.function, words.number(kpi.metric, kpi.target.value)
    column = [value for value in getattr(windows, name) if value is not None]
    if not column:
        return "No request falls into any window"
    breach = first_breach(windows, kpi)
    if breach is None:
        return (
            f"The {side} {name} stays under {line} in every window;"
            f" the slowest has {words.duration(max(column))}"
        )
    many = f"in {breach.windows} of {len(column)} windows"
    return (
        f"The {side} {name} first misses {line} at {breach.time:g} s"
        f" ({words.rate_text(breach.rate)}), {many}"
    )
