"""Claims about JUnit documents: what GitLab and Jenkins read, and what each case says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.metrics.capacity import CapacityPlan
from core.metrics.kpi import Outcome
from core.metrics.verdict import compare, outcome
from reports.junit import Case, junit, written
from reports.report import Report
from tests.reports import records
from tests.reports.junit_schema import checked


def planned(plan: CapacityPlan) -> Report:
    is_held = plan.highest_rate is not None
    return Report(
        title="p: capacity", rows=[], outcome=Outcome.PASS if is_held else Outcome.FAIL,
        plan=plan, kpis=records.KPIS,
    )  # fmt: skip


def test_names_that_repeat_and_control_characters_are_told_apart() -> None:
    name = "test[\x1b[31m\x00\ud800\u202e]"
    root = checked(
        written(
            [
                Case(group="g", name=name),
                Case(
                    group="g", name=name, kind="failure", type="T", message="a\nb", text="x\ny\x07",
                ),
                Case(group="h", name=name),
                Case(group="g", name="test (2)"),
                Case(group="g", name="test"),
                Case(group="g", name="test"),
            ],
            name="s\x08", seconds=1.25, output="one\n\x0ctwo",
        )
    )  # fmt: skip
    (suite,) = root
    shown = r"test[\x1b[31m\x00\ud800\u202e]"
    names = [case.get("name") for case in suite.iter("testcase")]
    assert names == [shown, f"{shown} (2)", shown, "test (2)", "test", "test (3)"]
    assert (suite.get("name"), suite.get("time"), root.get("time")) == (r"s\x08", "1.250", "1.250")
    (failure,) = suite.iter("failure")
    assert (failure.get("message"), failure.text) == (r"a\nb", "x\ny\\x07\n")
    output = suite.find("system-out")
    assert output is not None
    assert output.text == "one\n\\x0ctwo\n"


@pytest.mark.parametrize(
    "record",
    [
        records.measured(slow=50.0, failed=0.1),
        records.measured(invalid=("late \x1b[2J",), failed=0.1),
        records.silent(),
        records.predicted(),
    ],
    ids=["failing", "invalid", "silent", "predicted"],
)
def test_every_report_is_what_the_schema_allows(record: object) -> None:
    assert isinstance(record, type(records.silent()))
    predicted = record if record.engine == "simulate" else None
    measured = None if predicted else record
    rows = compare(records.KPIS, predicted, measured)
    report = Report(
        title="t", rows=rows, outcome=outcome(rows), predicted=predicted, measured=measured,
        seconds=3.0,
    )  # fmt: skip
    assert checked(junit(report)).get("time") == "3.000"
    assert checked(junit(replace(report, seconds=None))).get("time") is None


def test_a_sure_miss_whose_alert_line_is_open_fails_as_the_command_does() -> None:
    predicted = records.predicted()
    values = [{**run, "p95_track": 0.18 + 0.01 * i} for i, run in enumerate(predicted.replications)]
    rows = compare(records.KPIS, replace(predicted, replications=tuple(values)), None)
    (row,) = (row for row in rows if row.kpi.name == "p95_track")
    assert row.predicted is not None
    assert (row.predicted.outcome, row.predicted.misses) == (Outcome.INCONCLUSIVE, True)
    report = Report(title="t", rows=rows, outcome=outcome(rows))
    (failure,) = checked(junit(report)).iter("failure")
    assert (failure.get("message") or "").startswith("INCONCLUSIVE: p95_track is predicted")


def test_a_plan_that_holds_has_cases_that_pass() -> None:
    root = checked(junit(planned(records.plan())))
    assert [case.get("name") for case in root.iter("testcase")] == [
        "some rate meets every KPI", *(kpi.name for kpi in records.KPIS),
    ]  # fmt: skip
    assert root.get("failures") == "0"


def test_a_plan_without_a_rate_fails_and_names_the_kpis_that_no_rate_meets() -> None:
    plan = records.plan()
    points = tuple(
        replace(
            point,
            outcomes={
                **point.outcomes, "p95_track": Outcome.WARN.value,
                "peak_memory": Outcome.NOT_MEASURED.value,
            },
        )
        for point in plan.points
    )  # fmt: skip
    found = replace(
        plan, points=points, highest_rate=None, breaking_rate=None, breaks_first=(),
        unmeasured={"peak_memory": "no process was seen"},
    )  # fmt: skip
    root = checked(junit(planned(found)))
    failed = [
        case.get("name") for case in root.iter("testcase") if case.find("failure") is not None
    ]
    assert failed == ["some rate meets every KPI", "p95_track"]
    (skipped,) = root.iter("skipped")
    assert skipped.get("message") == "peak_memory was not measured: no process was seen"
    assert root[0].get("failures") == "2"
