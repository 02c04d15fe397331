"""The first page answers a manager's questions, on a phone and on paper."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from core.metrics.capacity import CapacityPlan, Knee
from core.metrics.growth import forecast, parse_growth
from core.metrics.kpi import Outcome
from core.metrics.verdict import compare, outcome
from core.metrics.what_helps import Effect, IsolateSplit, WhatHelps
from reports.briefing import answers
from reports.document import Report, write_report
from reports.helps_words import forecast_finding, helps_finding, helps_notes, helps_table
from reports.isolate_shares import isolate_shares
from reports.style import finding
from reports.tornado import tornado
from tests.reports import records
from tests.reports.drawn import check_texts
from tests.reports.printed import printed, width_needed

COSTS = {"cost_per_million": 3.52, "cost_per_month": 2150.0}
KNEE = Knee(
    rate=1250.0, interval=(1230.0, 1270.0), runs=10, first={"p95_query": 10}, each=(1250.0,)
)
EFFECTS = (
    Effect(
        field="tiers.l3.concurrency", before="1", after="2", meaning="more databases",
        ratio=2.13, interval=(2.10, 2.16), rate=2660.0, first={"p95_track": 4}, costs=COSTS,
    ),
    Effect(
        field="tiers.l3.write_execution", before="p50 1.00 ms", after="500 µs", meaning="writes",
        ratio=2.12, interval=(2.09, 2.14), rate=2650.0, first={"p95_query": 4}, costs=COSTS,
    ),
    Effect(
        field="topology.processes", before="1", after="2", meaning="more CPUs", ratio=4.0,
        bound="at least", rate=5000.0, costs=COSTS,
    ),
    Effect(
        field="topology.isolates", before="4", after="8", meaning="more isolates", ratio=0.25,
        bound="at most", rate=300.0, first={"peak_memory": 1},
        costs={"cost_per_million": 3.56, "cost_per_month": 2178.69},
    ),
)  # fmt: skip
SPLITS = tuple(
    IsolateSplit(
        isolates=number,
        shares={"ratio(l1)": l1, "ratio(l2)": 0.97 - l1, "ratio(miss)": 0.03},
        intervals={"ratio(l1)": (l1 - 0.01, l1 + 0.01)},
    )
    for number, l1 in ((1, 0.89), (4, 0.80), (16, 0.69))
)
HELPS = WhatHelps(
    effects=tuple(sorted(EFFECTS, key=lambda e: -e.size)), splits=SPLITS, threshold=0.05, runs=4,
    little=(
        "tiers.l1.ttl 60s → 120s", "tiers.l1.max_bytes 16.0MB → 32.0MB", "topology.isolates 4 → 2"
    ),
    untried={}, rate=240.0, costs=COSTS,
)  # fmt: skip


def planned(**changes: object) -> CapacityPlan:
    """Return a plan with costs, changes and a forecast."""
    plan = records.plan()
    points = tuple(replace(p, costs={**COSTS, "cost_per_month": 9 * p.rate}) for p in plan.points)
    grown = forecast(
        parse_growth("8%±2%/month"), today=240.0, limit=KNEE.rate, interval=KNEE.interval,
        since=date(2026, 11, 29),
    )  # fmt: skip
    full = replace(
        plan, points=points, knee=KNEE, today=240.0, helps=HELPS, forecast=grown,
        replications=4,
    )  # fmt: skip
    return replace(full, **changes)  # type: ignore[arg-type]  # fields of a plan


def report(plan: CapacityPlan) -> Report:
    verdict = Outcome.PASS if plan.highest_rate is not None else Outcome.FAIL
    return Report(title="shop: capacity", rows=(), outcome=verdict, plan=plan, kpis=plan.kpis)


def told(plan: CapacityPlan) -> dict[str, tuple[str, str]]:
    return {each.question: (each.short, each.more) for each in answers(report(plan))}


def test_plan_answers_the_five_questions() -> None:
    found = told(planned())
    assert list(found) == [
        "Will it hold?", "Until when?", "What breaks first?", "What to change?",
        "What does it cost?",
    ]  # fmt: skip
    assert found["Will it hold?"][0] == "Yes, at 240 requests/s"
    assert "1,250 requests/s (1,230–1,270), 5.2 times" in found["Will it hold?"][1]
    assert found["Until when?"][0] == "Until September 2028"
    assert "21.4 months (" in found["Until when?"][1]
    assert found["What breaks first?"][0] == "p95_query"
    assert "target < 50ms" in found["What breaks first?"][1]
    assert found["What to change?"][0] == "topology.processes 1 → 2 (more CPUs)"
    assert "5,000 requests/s, > 4.00 times" in found["What to change?"][1]
    assert found["What does it cost?"] == (
        "$2,160 a month",
        "At 240 requests/s, $3.52 a million. At 1,200 requests/s, the highest rate tried that "
        "holds, $10,800 a month.",
    )


def test_limits_of_the_platform_stand_on_the_first_page_though_no_kpi_judges_them() -> None:
    full = "a database of 10.0 GB is full after 3.8 days"
    plan = planned(refused={full: f"{full}; delete old rows"})
    assert told(plan)["What would the platform refuse?"] == (
        "A database of 10.0 GB is full after 3.8 days",
        f"At 240 requests/s: {full}; delete old rows.",
    )
    assert CapacityPlan.from_json(plan.to_json()).refused == plan.refused
    assert "refused" not in planned().to_json()


def test_first_page_says_how_to_get_what_was_not_asked() -> None:
    found = told(planned(helps=None, forecast=None))
    assert "--growth 8%/month" in found["Until when?"][1]
    assert "--what-helps" in found["What to change?"][1]


@pytest.mark.parametrize(
    ("today", "short"),
    [(1229.0, "Yes, at"), (1240.0, "Not surely, at"), (1300.0, "No, not at")],
)
def test_todays_rate_is_judged_with_the_knees_interval(today: float, short: str) -> None:
    assert told(planned(today=today))["Will it hold?"][0].startswith(short)


def test_plan_that_no_rate_meets_says_what_misses_and_what_brings_it_nearer() -> None:
    nearer = Effect(
        field="tiers.l1.ttl", before="60s", after="120s", meaning="older values", closed=0.4,
        interval=(0.3, 0.5), values={"p95_query": 0.06}, costs=COSTS,
    )  # fmt: skip
    never = records.plan(saturation=100.0)
    helps = replace(HELPS, effects=(nearer,), missed={"p95_query": 0.08}, splits=())
    found = told(replace(never, today=240.0, helps=helps))
    assert found["Will it hold?"][0] == "No"
    assert found["Until when?"][0] == "It does not hold today"
    assert found["What to change?"][0] == "tiers.l1.ttl 60s → 120s (older values)"
    assert "40 % (30–50) of the gap" in found["What to change?"][1]
    table = helps_table(replace(never, helps=helps), never.kpis)
    assert table[0][:3] == ("change", "of the way", "p95_query")
    check_texts(tornado(replace(never, helps=helps)))


def test_change_that_is_no_more_than_chance_is_not_recommended() -> None:
    unsure = replace(EFFECTS[0], ratio=1.06, interval=(0.98, 1.14))
    found = told(planned(helps=replace(HELPS, effects=(unsure, EFFECTS[3]))))
    assert found["What to change?"][0] == "No single field"


def test_changes_that_intervals_do_not_tell_apart_are_said_to_do_as_much() -> None:
    plan = planned(helps=replace(HELPS, effects=EFFECTS[:2]))
    text = helps_finding(plan)
    assert text.startswith("tiers.l3.concurrency 1 → 2 (more databases) helps most")
    assert text.endswith("tiers.l3.write_execution p50 1.00 ms → 500 µs does as much")
    notes = helps_notes(plan)
    assert "less than 5 %" in notes[1]
    assert "tiers.l1: ttl, max_bytes; topology: isolates" in notes[1]
    assert "September 2028" in forecast_finding(plan)


def test_months_and_costs_stand_beside_each_change() -> None:
    table = helps_table(planned(), records.KPIS)
    rows = {row[0]: dict(zip(table[0], row, strict=True)) for row in table[1:]}
    harm = rows["topology.isolates 4 → 8"]
    assert harm["holds up to"] == "less than 300"
    assert harm["a month at 240 requests/s"] == "$2,179 (+$28.69)"
    assert rows["tiers.l3.concurrency 1 → 2"]["months"].startswith("+9.8 (")


def test_no_text_of_the_new_figures_overlaps_another() -> None:
    for plan in (planned(), planned(helps=replace(HELPS, effects=EFFECTS[:1]))):
        figure = tornado(plan)
        check_texts(figure, "tornado")
        assert "helps most" in finding(figure)
    check_texts(isolate_shares(SPLITS, at="240 requests/s"), "isolates")
    with pytest.raises(ValueError, match="two numbers"):
        isolate_shares(SPLITS[:1], at="240 requests/s")


def test_run_answers_whether_it_holds_and_what_is_nearest_to_breaking() -> None:
    rows = compare(records.KPIS, records.predicted(), records.measured())
    found = answers(Report(title="run", rows=rows, outcome=outcome(rows)))
    assert found[0].short == "Yes"
    assert found[0].more == f"{len(rows)} of {len(rows)} KPIs meet their targets."
    assert found[1].question == "What is nearest to breaking?"
    slow = compare(records.KPIS, records.predicted(slow=4.0), None)
    found = answers(Report(title="run", rows=slow, outcome=outcome(slow)))
    assert (found[0].question, found[0].short) == ("Will it hold?", "No")
    assert found[1].question == "What breaks?"
    assert "p95_query" in found[1].short


def test_pages_fit_a_phone_and_print_on_full_sheets_with_whole_tables(
    chromium: Path, tmp_path: Path
) -> None:
    rows = compare(records.KPIS, records.predicted(), records.measured())
    proof = Report(
        title="shop", rows=rows, outcome=outcome(rows), predicted=records.predicted(),
        measured=records.measured(),
    )  # fmt: skip
    for name, one in (("plan", report(planned())), ("proof", proof)):
        write_report(tmp_path / name, one)
        page = tmp_path / name / "report.html"
        needed, screen = width_needed(chromium, page, width=390)
        assert needed <= screen, name
        seen = printed(chromium, page)
        assert seen.tables, name
        assert set(seen.tables) == {1}, (name, seen)
        # The answers and the first figure share a sheet; none but the last is half empty.
        assert min(seen.filled[:-1]) > 0.5, (name, seen)
