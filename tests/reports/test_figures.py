"""Figures: their titles say what the data say, nothing overlaps, equal data give equal bytes."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from core.metrics.kpi import Outcome, parse_kpi
from core.metrics.verdict import compare
from reports import style
from reports.breach import first_breach
from reports.figures import capacity, scorecard, spectrum, timeline
from tests.reports import records
from tests.reports.drawn import check_texts

TRACK = parse_kpi("p95_track", "< 100ms", "> 200ms")


def _good() -> dict[str, Figure]:
    predicted, measured = records.predicted(), records.measured()
    return {
        "scorecard": scorecard(compare(records.KPIS, predicted, measured)),
        "spectrum": spectrum(predicted, measured, records.KPIS),
        "timeline": timeline(predicted, measured, records.KPIS),
        "capacity": capacity(records.plan(), records.KPIS),
    }


def _bad() -> dict[str, Figure]:
    faults = [{"at": "6.0s", "for": "4.0s", "tier": "l3", "kind": "slow", "value": 3.0}]
    predicted = records.predicted(slow=3.2, peak=2.0, faults=faults)
    measured = records.measured(slow=3.3, failed=0.08, peak=2.0, hidden=("memory", "queue"))
    return {
        "scorecard": scorecard(compare(records.KPIS, predicted, measured)),
        "spectrum": spectrum(predicted, measured, records.KPIS),
        "timeline": timeline(predicted, measured, records.KPIS),
        "capacity": capacity(records.plan(saturation=100.0), records.KPIS),
    }


def _sparse() -> dict[str, Figure]:
    predicted, measured = records.predicted(), records.measured(rate=4.0)
    return {
        "scorecard": scorecard(compare(records.KPIS[:1], predicted, None)),
        "spectrum": spectrum(None, measured, records.KPIS[1:2]),
        "timeline": timeline(None, measured, records.KPIS),
        "capacity": capacity(records.plan(records.KPIS[:2], saturation=1e4), records.KPIS),
    }


def _stormy() -> dict[str, Figure]:
    faults = [{"at": "20.0s", "for": "5.0s", "tier": "l3", "kind": "slow", "value": 3.0}]
    sides = (
        records.predicted(failed=0.8, faults=faults), records.measured(failed=0.7, faults=faults)
    )  # fmt: skip
    predicted, measured = (
        replace(
            side,
            windows=replace(
                side.windows,
                attempts=tuple(
                    asked + 3 * failed
                    for asked, failed in zip(
                        side.windows.requests, side.windows.failed, strict=True
                    )
                ),
            ),
        )
        for side in sides
    )
    return {"timeline": timeline(predicted, measured, records.KPIS)}


def test_a_timeline_of_clients_that_try_again_says_how_often_and_what_is_answered() -> None:
    finding = style.finding(_stormy()["timeline"])
    told = re.search(r"measured (\d\.\d\d) and (\d+) %; predicted (\d\.\d\d) and (\d+) %", finding)
    assert told is not None, finding
    attempts, answered, expected, good = map(float, told.groups())
    assert attempts == pytest.approx(1 + 3 * (1 - answered / 100), abs=0.02)
    assert expected == pytest.approx(1 + 3 * (1 - good / 100), abs=0.02)
    assert good < answered


@pytest.mark.parametrize("build", [_good, _bad, _sparse, _stormy])
def test_no_text_overlaps_another_or_leaves_the_figure(
    build: Callable[[], dict[str, Figure]],
) -> None:
    for name, figure in build().items():
        check_texts(figure, name)


def test_equal_records_give_equal_bytes() -> None:
    for (name, one), other in zip(_good().items(), _good().values(), strict=True):
        assert style.svg(one) == style.svg(other), name
        assert style.png(one) == style.png(other), name


def test_drawing_twice_from_one_figure_gives_equal_bytes() -> None:
    figure = _good()["timeline"]
    assert style.svg(figure) == style.svg(figure)


def test_drawing_leaves_the_settings_of_others_alone() -> None:
    before = dict(matplotlib.rcParams)
    style.svg(_good()["scorecard"])
    assert dict(matplotlib.rcParams) == before


def test_an_svg_says_neither_when_nor_where_it_was_made() -> None:
    for name, figure in _good().items():
        drawn = re.sub(r'xmlns(:\w+)?="[^"]+"|<!DOCTYPE[^>]+>', "", style.svg(figure).decode())
        assert "http" not in drawn, name
        assert "<metadata>" not in drawn, name


def test_the_scorecard_counts_what_holds_and_names_what_does_not() -> None:
    good = compare(records.KPIS, records.predicted(), records.measured())
    assert {row.measured.outcome for row in good if row.measured} == {Outcome.PASS}
    assert style.finding(scorecard(good)) == "All 8 KPIs meet their targets, as measured"
    bad = compare(records.KPIS, None, records.measured(slow=3.3, hidden=("memory",)))
    outcomes = {row.kpi.name: row.measured.outcome for row in bad if row.measured}
    title = style.finding(scorecard(bad))
    met = sum(outcome is Outcome.PASS for outcome in outcomes.values())
    assert title.startswith(f"{met} of 7 KPIs met as measured (1 not seen)")
    for name, outcome in outcomes.items():
        assert (name in title) == (outcome in (Outcome.WARN, Outcome.FAIL)), name


def test_the_timeline_names_the_first_window_that_misses() -> None:
    record = records.measured(slow=2.5, peak=3.0)
    windows = record.windows
    missing = [i for i, v in enumerate(windows.p95) if v is not None and v >= 0.1]
    assert 0 < missing[0] < len(windows.p95) - 1
    expected = f"{windows.start + missing[0] * windows.width:g} s"
    title = style.finding(timeline(None, record, records.KPIS))
    assert f"The measured p95 first misses 100 ms at {expected} (" in title
    assert f"in {len(missing)} of 50 windows" in title
    assert f"({windows.requests[missing[0]] / windows.width:,.0f} requests/s)" in title


def test_the_timeline_compares_with_the_prediction() -> None:
    calm, busy = records.predicted(), records.measured(slow=2.5, peak=3.0)
    title = style.finding(timeline(calm, busy, records.KPIS))
    assert title.endswith("predicted in no window")
    title = style.finding(timeline(calm, records.measured(), records.KPIS))
    slowest = max(v for v in records.measured().windows.p95 if v is not None)
    assert f"the slowest has {1000 * slowest:.1f} ms, as predicted" in title


def test_a_failed_window_is_a_miss() -> None:
    record = records.measured(failed=0.5)
    breach = first_breach(record.windows, TRACK)
    assert breach is not None
    assert math.isinf(breach.latency)
    assert breach.time == pytest.approx(30, abs=1)


def test_the_spectrum_names_the_targets_that_are_missed() -> None:
    record = records.measured(slow=5.0)
    title = style.finding(spectrum(None, record, records.KPIS))
    for kpi in records.KPIS:
        value = record.metric(kpi.metric)
        if kpi.metric.series in ("track", "attribution", "query", "queue") and value is not None:
            assert (kpi.name in title) == (not kpi.target.holds(value)), kpi.name
    assert "p95_track" in title


def test_the_spectrum_ends_where_ten_requests_are_left() -> None:
    figure = spectrum(None, records.measured(), records.KPIS)
    count = records.measured().latencies["track"].count
    line = np.asarray(figure.axes[0].lines[0].get_xdata(), dtype=float)
    assert line.max() == pytest.approx(count / 10)


def test_the_capacity_names_the_rate_that_holds_and_what_breaks_first() -> None:
    plan = records.plan()
    title = style.finding(capacity(plan, records.KPIS))
    assert f"up to {plan.highest_rate:,.0f} requests/s" in title
    assert f"p95_query breaks first, at {plan.breaking_rate:,.0f} requests/s" in title
    left = capacity(plan, records.KPIS).axes[0]
    assert left.get_title(loc="left") == "p95_query"
    title = style.finding(capacity(records.plan(saturation=100.0), records.KPIS))
    assert title.startswith("No rate tried holds every KPI")
    title = style.finding(capacity(records.plan(saturation=1e5), records.KPIS))
    assert title.endswith("1,560 requests/s, the highest rate tried")


def test_a_capacity_figure_without_a_kpi_is_refused() -> None:
    with pytest.raises(ValueError, match="none of the KPIs"):
        capacity(records.plan(), [])


def test_a_run_in_which_nothing_happened_is_drawn() -> None:
    silent = records.silent()
    rows = compare(records.KPIS, None, silent)
    assert style.finding(scorecard(rows)) == "Nothing could be judged"
    assert style.finding(timeline(None, silent, records.KPIS)).startswith("No request")
    style.svg(timeline(records.predicted(), silent, records.KPIS))
    style.svg(spectrum(records.predicted(), silent, records.KPIS))
    with pytest.raises(ValueError, match="no latency"):
        spectrum(None, silent, records.KPIS)


def test_a_run_in_which_everything_failed_is_drawn() -> None:
    record = records.measured(failed=1.0, slow=1.0)
    lost = replace(
        record, windows=replace(record.windows, p50=(math.inf,) * 50, p95=(math.inf,) * 50)
    )
    for histogram in lost.latencies.values():
        histogram.failed += sum(histogram.counts.values())
        histogram.counts.clear()
    style.svg(spectrum(records.predicted(), lost, records.KPIS))
    style.svg(timeline(None, lost, records.KPIS))
    title = style.finding(scorecard(compare(records.KPIS, records.predicted(), lost)))
    assert "error_ratio" in title


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=12),
    st.floats(0.001, 0.2),
)
def test_spread_keeps_order_distance_and_bounds(positions: list[float], gap: float) -> None:
    moved = style.spread(positions, gap=gap, low=0.0, high=1.0)
    gap = min(gap, 1 / max(1, len(positions) - 1))
    ordered = sorted(moved)
    assert ordered[0] >= -1e-9
    assert ordered[-1] <= 1 + 1e-9
    assert all(b - a >= gap - 1e-9 for a, b in itertools.pairwise(ordered))
    for (p, m), (q, n) in itertools.combinations(zip(positions, moved, strict=True), 2):
        assert (p < q) <= (m < n)


def test_spread_leaves_what_is_apart_where_it_is() -> None:
    assert style.spread([0.9, 0.1, 0.5], gap=0.2, low=0, high=1) == pytest.approx([0.9, 0.1, 0.5])
    assert style.spread([0.5, 0.5], gap=0.2, low=0, high=1) == pytest.approx([0.4, 0.6])


def test_no_text_is_read_as_a_formula() -> None:
    figures = _good().values()
    with style.drawing():  # ticks are made when they are first looked at
        texts = [text for figure in figures for text in figure.findobj(Text)]
    assert texts
    assert not [text for text in texts if isinstance(text, Text) and text.get_parse_math()]
