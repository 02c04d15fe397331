"""Claims about the tables of the command line on a terminal."""

from __future__ import annotations

import io
import re
import sys
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.metrics.kpi import Interval, Outcome, judge, parse_kpi
from core.metrics.verdict import ComparisonRow
from edgeproof.finish import exit_code, outcomes, show_table
from edgeproof.options import judging
from reports.junit import junit
from reports.report import Report


class Terminal(io.StringIO):
    """Text that was shown on a terminal."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True

    @property
    def lines(self) -> list[str]:
        """What was shown, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.getvalue()).splitlines()


def shown(rows: list[list[str]], columns: int) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        terminal = Terminal()
        patch.setenv("COLUMNS", str(columns))
        patch.setenv("TERM", "xterm")
        patch.setattr(sys, "stdout", terminal)
        show_table(rows, plain=False)
    return terminal.lines


NAMES = st.text("ab_", min_size=1, max_size=40)
AMOUNTS = st.floats(0, 1e15).map(lambda amount: f"{amount:,.2f}")


@given(
    st.lists(NAMES, min_size=1, max_size=4),
    st.lists(st.lists(AMOUNTS, min_size=4, max_size=4), min_size=9, max_size=9),
    st.integers(50, 200),
)
def test_no_figure_is_cut_or_broken_on_any_width(
    names: list[str], columns: list[list[str]], width: int
) -> None:
    heads = [f"model_number_{n}" for n in range(len(columns))]
    rows = [["channel", *heads]]
    rows += [[name, *(column[n] for column in columns)] for n, name in enumerate(names)]
    lines = shown(rows, width)
    assert max(map(len, lines)) <= width
    words = [word for line in lines for word in line.split()]
    for head in heads:
        assert words.count(head) == 1
    for row in rows[1:]:
        for amount in row[1:]:
            assert words.count(amount) >= sum(amount in other[1:] for other in rows[1:])
    assert "…" not in words


def test_verdicts_stay_in_one_table_on_80_columns() -> None:
    rows = [
        ["KPI", "target", "predicted", "measured", "error", "verdict"],
        ["p95_attribution", "< 500ms", "24.1 ms (23.4–24.9)", "26.3 ms", "+3.4 %", "PASS"],
        ["error_ratio", "< 0.1 %", "0.000 % (0.000–0.001)", "2.00 %", "—",
         "FAIL (predicted PASS)"],
    ]  # fmt: skip
    lines = shown(rows, 80)
    assert max(map(len, lines)) <= 80
    heads = [line for line in lines if "KPI" in line]
    assert len(heads) == 1
    assert heads[0].split() == rows[0]
    for words in ("24.1 ms", "(23.4–24.9)", "FAIL"):
        assert any(words in line for line in lines)


TRACK = parse_kpi("p95_track", "< 100ms", "> 200ms")


@pytest.mark.parametrize(
    ("interval", "target", "alert", "strict"),
    [
        ((0.05, 0.09), 0, 0, 0),
        ((0.05, 0.15), 0, 0, 4),  # may meet the target
        ((0.15, 0.25), 1, 0, 4),  # surely misses it, and may cross the alert line
        ((0.12, 0.15), 1, 0, 0),  # surely misses it, and nothing else
        ((0.25, 0.30), 1, 1, 1),
    ],
)
def test_a_sure_miss_of_the_target_is_a_miss_though_the_alert_line_is_open(
    interval: Interval, target: int, alert: int, strict: int
) -> None:
    verdict = judge(TRACK, sum(interval) / 2, interval, runs=10)
    rows = [ComparisonRow(kpi=TRACK, predicted=verdict, measured=None, error=None)]

    def code(gate: str, *, is_strict: bool = False) -> int:
        options = judging(gate, None, strict=is_strict, plain=True, as_json=False)
        code = exit_code(verdict.outcome, [*outcomes(rows, gate).values()], options)
        report = Report(title="t", rows=rows, outcome=verdict.outcome, gate=gate, strict=is_strict)
        failures = [*ElementTree.fromstring(junit(report)).iter("failure")]
        assert bool(failures) == bool(code)  # what CI shows is what ends the job
        return code

    assert code("target") == target
    assert code("alert") == alert
    assert code("alert", is_strict=True) == strict
    assert (verdict.outcome is Outcome.PASS) == (interval[1] < 0.1)


def test_a_prediction_that_is_off_fails_a_case_at_the_gate_on_the_model() -> None:
    verdict = judge(TRACK, 0.05, (0.04, 0.06), runs=10)
    rows = [ComparisonRow(kpi=TRACK, predicted=verdict, measured=None, error=None)]
    report = Report(
        title="t", rows=rows, outcome=verdict.outcome, model_verdict="off by 50 %",
        gate="model", model_holds=False,
    )  # fmt: skip
    (failure,) = ElementTree.fromstring(junit(report)).iter("failure")
    assert failure.get("message") == "off by 50 %"
