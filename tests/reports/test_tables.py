"""The tables say what the rows say, in the words of the reader."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.metrics.kpi import Kpi, judge, parse_kpi, parse_metric
from core.metrics.record import RunRecord
from core.metrics.verdict import ComparisonRow, compare
from reports import tables, words
from tests.reports import records

TRACK = parse_kpi("p95_track", "< 100ms", "> 200ms")
HIT = parse_kpi("hit_ratio", ">= 95%", "< 85%")


def _row(
    predicted: float | None, measured: float | None, interval: tuple[float, float] | None = None
) -> ComparisonRow:
    return ComparisonRow(
        kpi=TRACK,
        predicted=judge(TRACK, predicted, interval),
        measured=judge(TRACK, measured),
        error=predicted / measured - 1 if predicted and measured else None,
    )


def test_a_line_holds_figures_with_unit_interval_error_and_verdict() -> None:
    line = tables.kpi_table([_row(0.0241, 0.0252, (0.0234, 0.0249))])[1]
    assert line == (
        "p95_track",
        "< 100ms",
        "24.1 ms (23.4–24.9)",
        "25.2 ms",
        "−4.4 %",
        "PASS",
    )


def test_a_verdict_that_was_not_predicted_names_both() -> None:
    assert tables.kpi_table([_row(0.150, 0.050)])[1][-1] == "PASS (predicted WARN)"
    assert tables.kpi_table([_row(0.050, 0.250)])[1][-1] == "FAIL (predicted PASS)"


def test_what_was_not_seen_is_a_dash() -> None:
    seen, unseen = tables.kpi_table([_row(0.050, 0.060), _row(0.050, None)])[1:]
    assert "—" not in seen
    assert unseen[3:] == ("—", "—", "NOT MEASURED (predicted PASS)")


def test_a_column_that_no_line_fills_is_left_out() -> None:
    header, line = tables.kpi_table([_row(0.050, None)])
    assert header == ("KPI", "target", "predicted", "verdict")
    assert line[-1] == "NOT MEASURED (predicted PASS)"
    only = ComparisonRow(kpi=TRACK, predicted=None, measured=judge(TRACK, 0.05), error=None)
    assert tables.kpi_table([only])[0] == ("KPI", "target", "measured", "verdict")


def test_a_reads_table_has_no_column_of_waiting_that_nobody_did() -> None:
    record = replace(records.predicted(), reads={"lookup": {"l1": 7, "l2": 2, "miss": 1}})
    header, line = tables.reads_table(record, None)
    assert header == ("cache read", "side", "reads", "L1", "L2", "database")
    assert line == ("lookup", "predicted", "10", "70.0 %", "20.0 %", "10.0 %")
    waited = replace(record, reads={"lookup": {"l1": 7, "miss": 2, "collapsed": 1}})
    assert tables.reads_table(waited, None)[0][-1] == "of these waited"
    assert tables.reads_table(waited, None)[1][-3:] == ("0.0 %", "30.0 %", "10.0 %")


@pytest.mark.parametrize(
    ("kpi", "value", "text"),
    [
        (TRACK, 0.09996, "99.96 ms"),  # 100 ms would miss the target
        (TRACK, 0.1, "100 ms"),
        (TRACK, 0.0999999, "99.9999 ms"),
        (TRACK, 0.0964, "96.4 ms"),
        (HIT, 0.949996, "94.9996 %"),
        (HIT, 0.95, "95.00 %"),
        (HIT, 0.9501, "95.01 %"),
    ],
)
def test_rounding_never_moves_a_figure_over_a_line(kpi: Kpi, value: float, text: str) -> None:
    assert words.figure_and_interval(judge(kpi, value))[0] == text
    assert words.with_interval(judge(kpi, value, (value * 0.9, min(1.0, value * 1.1)))).startswith(
        f"{text} ("
    )


@given(st.sampled_from([TRACK, HIT]), st.floats(1e-4, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_printed_figure_stands_within_the_interval_printed_beside_it(
    kpi: Kpi, value: float, below: float, above: float
) -> None:
    ends = (value * below, value + (1 - value) * above)
    ends = (min(ends[0], value), max(ends[1], value))
    text, shown = words.figure_and_interval(judge(kpi, value, ends))
    figure = float(text.split(" ")[0])
    if shown:
        low, high = map(float, shown.split("–"))
        assert low <= figure <= high
    digits, unit = text.split(" ")
    assert kpi.target.holds(kpi.metric.parse_value(f"{digits}{unit}")) == kpi.target.holds(value)


def test_without_a_measurement_the_prediction_gives_the_verdict() -> None:
    rows = compare([TRACK], records.predicted(slow=5.0), None)
    assert tables.kpi_table(rows)[1][-1] == rows[0].predicted.outcome  # type: ignore[union-attr]  # simulated


def test_an_infinite_figure_is_a_sign_not_a_number() -> None:
    assert tables.kpi_table([_row(0.05, math.inf)])[1][3] == "∞"
    assert words.interval(TRACK.metric, math.inf, (0.12, math.inf)) == "120 ms–∞"
    assert words.interval(TRACK.metric, 0.12, (0.1, math.inf)) == "100–∞"


@pytest.mark.parametrize(
    ("error", "metric", "text"),
    [
        (0.0321, "p95_track", "+3.2 %"),
        (-0.0321, "p95_track", "−3.2 %"),
        (0.006, "hit_ratio", "+0.6 pt"),
        (-0.0005, "error_ratio", "−0.05 pt"),
        (-0.0001e-3, "p95_track", "0.0 %"),
        (None, "p95_track", "—"),
    ],
)
def test_errors_are_signed_percent_or_points(error: float | None, metric: str, text: str) -> None:
    assert words.signed(error, parse_metric(metric)) == text


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [
        (0.9731, (0.972, 0.9745), "97.20–97.45"),
        (0.0, (0.0, 0.0), ""),
        (0.0, (0.0, 0.001), "0.00–0.10"),
    ],
)
def test_the_interval_of_a_ratio_is_in_percent(
    value: float, interval: tuple[float, float], text: str
) -> None:
    assert words.interval(HIT.metric, value, interval) == text


def test_allowance_is_one_at_the_target_and_more_beyond_it() -> None:
    for kpi in records.KPIS:
        assert words.used(kpi, kpi.target.value) == pytest.approx(1)
        assert words.used(kpi, kpi.alert.value) > 1
    assert words.used(HIT, 0.97) == pytest.approx(0.6)
    assert words.used(TRACK, 0.05) == pytest.approx(0.5)
    floor = parse_kpi("p95(track)", "> 10ms", "< 5ms")
    assert words.used(floor, 0.02) == pytest.approx(0.5)
    nothing = parse_kpi("error_ratio", "<= 0%", "> 1%")
    assert words.used(nothing, 0.0) == 1
    assert math.isinf(words.used(nothing, 0.5))


def test_shares_of_cache_reads_are_of_all_reads() -> None:
    record = records.measured()
    for line in tables.reads_table(None, record)[1:]:
        shares = [float(cell.removesuffix(" %")) for cell in line[3:6]]
        assert sum(shares) == pytest.approx(100, abs=0.2)
        assert int(line[2].replace(",", "")) == sum(
            count for outcome, count in record.reads[line[0]].items() if outcome != "negative"
        )


def test_the_audit_names_the_limit_that_was_broken() -> None:
    record = records.measured()
    assert record.audit is not None
    slow = _late(record, 0.012)
    found = {line[0]: line[-1] for line in tables.audit_table(slow)[1:]}
    assert found["sent late by (p99)"] == "✗ broken"
    assert found["generator's CPU"] == "✓ kept"
    assert found["emulated delays off by (mean)"] == "✓ kept"
    assert tables.audit_table(records.predicted()) == [tables.AUDIT_HEADER]


@pytest.mark.parametrize("error", [0.00047, -0.00047])
def test_the_audit_holds_the_emulated_delays_against_their_limit(error: float) -> None:
    record = records.measured()
    assert record.audit is not None
    off = replace(record, audit=replace(record.audit, delay_error_mean=error))
    lines = {line[0]: line[1:] for line in tables.audit_table(off)[1:]}
    found, limit, verdict = lines["emulated delays off by (mean)"]
    assert (found.lstrip("-"), limit, verdict) == ("470 µs", "at most 100 µs", "✗ broken")


def test_the_audit_gives_the_speed_of_each_machine_with_its_unit() -> None:
    lines = {line[0]: line[1] for line in tables.audit_table(records.measured())[1:]}
    assert lines["a fixed piece of work takes the generator"] == "101 µs"
    assert lines["a fixed piece of work takes the service"] == "102 µs"


def _late(record: RunRecord, lag: float) -> RunRecord:
    assert record.audit is not None
    return replace(record, audit=replace(record.audit, lag_p99=lag))


def test_markdown_shows_hostile_text_as_text() -> None:
    table = [("a", "b"), ("<script>|", "*x* `y` [z](u)\nnext")]
    lines = tables.markdown(table).splitlines()
    assert lines[2] == r"| &lt;script&gt;\| | \*x\* \`y\` \[z\](u) next |"
    assert len(lines) == 3
    assert tables.escape("$x$ _y_ ~z~ p95_track") == r"\$x\$ \_y\_ \~z\~ p95_track"
    assert [tables.escape(text) for text in ("# a", "- a", "2. a", "-1.0 %", "\x1b[2J\x00")] == [
        r"\# a", r"\- a", r"2\. a", "-1.0 %", r"\\x1b\[2J\\x00",
    ]  # fmt: skip
