"""Claims about two runs compared: which changes count, and how sure they are."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.metrics.difference import Change, Difference, Differences, differences
from core.metrics.doubt import Doubt
from core.metrics.histogram import LatencyHistogram
from core.metrics.kpi import Kpi, parse_kpi
from core.metrics.record import RunRecord
from edgeproof.repeats import Repeats, combined
from reports.compared import Compared, change_of, data
from tests.reports.records import KPIS, SCENARIO, run

P95 = parse_kpi("p95_track", "< 10s", "> 20s")
HIT = parse_kpi("hit_ratio", ">= 1%", "< 0.5%")


def with_values(base: RunRecord, name: str, values: Sequence[float]) -> RunRecord:
    """Return *base* with replications whose metric *name* has *values* but the first."""
    others = tuple({name: value} for value in values[1:])
    return replace(base, replications=others)


def found(before: RunRecord, after: RunRecord, kpi: Kpi = P95, limit: float = 0.05) -> Difference:
    rows = differences(before, after, kpis=[kpi], limit=limit).rows
    return next(row for row in rows if row.kind == "kpi")


def test_a_run_is_no_worse_than_itself() -> None:
    record = run(replications=5)
    both = differences(record, record, kpis=KPIS, limit=0.05)
    assert both.compared
    assert {row.outcome for row in both.compared} == {Change.SAME}
    assert {row.change for row in both.rows if row.change is not None} == {0.0}
    assert all(row.is_paired for row in both.rows if row.interval is not None)


def test_common_random_numbers_make_the_interval_narrow() -> None:
    """Values that move together by 1 % differ by 1 %, however far the runs scatter."""
    base = run()
    own = base.metric(P95.metric)
    assert own is not None
    scatter = np.random.default_rng(3).uniform(0.5, 1.5, 9)
    values = [own, *(own * scatter)]
    before = with_values(base, "p95_track", values)
    same = replace(run(slow=1.01), replications=())
    after = with_values(same, "p95_track", [0.0, *(1.01 * v for v in values[1:])])
    paired = found(before, after)
    alone = found(before, replace(after, seed=2))
    assert paired.interval is not None
    assert alone.interval is not None
    assert paired.is_paired
    assert not alone.is_paired
    assert paired.change == pytest.approx(0.01, abs=0.003)
    assert paired.interval[1] - paired.interval[0] < 0.01
    assert alone.interval[1] - alone.interval[0] > 0.5
    assert (paired.outcome, alone.outcome) == (Change.SAME, Change.UNDECIDED)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    base, hits, number = run(), 0, 300
    for _ in range(number):
        shared = rng.normal(1.0, 0.2, 8)
        a = shared + rng.normal(0, 0.05, 8)
        b = 1.2 * (shared + rng.normal(0, 0.05, 8))
        before = with_values(without_own(base), "p95_track", [0.0, *a])
        after = with_values(without_own(base), "p95_track", [0.0, *b])
        row = found(before, after)
        assert row.interval is not None
        hits += row.interval[0] <= 0.2 <= row.interval[1]
    assert 0.90 <= hits / number <= 0.98


def without_own(record: RunRecord) -> RunRecord:
    """Return *record* without what its own run measured of tracking."""
    return replace(record, latencies={n: h for n, h in record.latencies.items() if n != "track"})


@pytest.mark.parametrize(
    ("slow", "limit", "outcome"),
    [
        (1.10, 0.05, Change.WORSE),
        (1.10, 0.20, Change.SAME),
        (1.03, 0.05, Change.SAME),
        (0.80, 0.05, Change.BETTER),
    ],
)
def test_of_single_runs_the_figure_decides(slow: float, limit: float, outcome: Change) -> None:
    row = found(run(), run(slow=slow), limit=limit)
    assert (row.outcome, row.interval) == (outcome, None)


def test_less_of_a_ratio_that_shall_be_high_is_worse_in_points() -> None:
    base = run()
    fewer = replace(base, reads={"config": {"l1": 50, "l2": 20, "miss": 30}})
    row = found(base, fewer, HIT, limit=0.05)
    assert row.change == pytest.approx(0.7 - (base.metric(HIT.metric) or 0.0))
    assert row.outcome is Change.WORSE
    assert change_of(row).endswith("pt")
    assert found(fewer, base, HIT).outcome is Change.BETTER


def test_a_kpi_that_crosses_its_alert_is_worse_however_small_the_change() -> None:
    errors = parse_kpi("error_ratio", "< 0.1%", "> 1%")
    row = found(run(), run(failed=0.04), errors, limit=0.5)
    assert row.outcome is Change.WORSE
    assert "crosses its alert" in row.why


def test_a_percentile_that_few_samples_decide_is_shown_and_not_judged() -> None:
    rows = differences(run(rate=5), run(rate=5, slow=3), kpis=[P95], limit=0.05).rows
    row = next(row for row in rows if row.name == "p99(attribution)")
    assert row.outcome is Change.NOT_COMPARED
    assert row.change is not None
    assert "fewer than 10 samples" in row.why


def test_what_one_side_could_not_see_is_named() -> None:
    query = parse_kpi("p95_query", "< 1s", "> 2s")
    row = found(run(), run(hidden=("query",)), query)
    assert (row.outcome, row.change, row.why) == (Change.NOT_COMPARED, None, "B could not see it")


def test_failing_requests_make_an_infinite_figure_worse_and_not_equal() -> None:
    row = found(run(), run(failed=1.0))
    assert row.after is not None
    assert math.isinf(row.after.value)
    assert row.outcome is Change.WORSE
    assert found(run(failed=1.0), run(failed=1.0)).outcome is Change.SAME


def test_an_invalid_run_is_named_and_stands_above_all() -> None:
    both = differences(run("load"), run("load", invalid=("late",)), kpis=KPIS, limit=0.05)
    assert both.invalid == ("B: late",)
    compared = Compared(names=("a", "b"), sides=("", ""), found=both)
    assert compared.outcome == "INVALID"


def test_a_figure_is_named_once_though_it_is_a_kpi_and_an_endpoints() -> None:
    both = differences(run(), run(slow=2.0), kpis=[P95], limit=0.05)
    sentence = Compared(names=("a", "b"), sides=("", ""), found=both).sentence
    assert sentence.count("p95_track") == 1
    assert "p95(track)" not in sentence


def test_no_figure_in_common_is_no_pass() -> None:
    empty = Differences(rows=(), limit=0.05, invalid=())
    compared = Compared(names=("a", "b"), sides=("", ""), found=empty)
    assert compared.outcome == "NOT_COMPARED"
    assert data(compared)["rows"] == []


def test_failed_share_of_an_endpoint_is_the_mean_of_all_runs() -> None:
    """A run that fails throughout weighs as much as its number says, whichever it is."""
    good, bad = run("load"), run("load", seed=2, failed=1.0)

    def of(*records: RunRecord) -> RunRecord:
        return combined(SCENARIO, Repeats(records=records), number=len(records))

    rows = [
        next(
            row
            for row in differences(of(good, good), after, kpis=[], limit=0.05).rows
            if row.name == "failed(track)"
        )
        for after in (of(good, bad), of(bad, good))
    ]
    share = bad.latencies["track"].failed / bad.latencies["track"].count
    for row in rows:
        assert row.after is not None
        assert row.after.value == pytest.approx(share / 2)
        assert row.after.runs == 2
        assert row.interval is not None
        assert row.outcome is Change.UNDECIDED


def timed(sure: float, late: Sequence[float] = (), **doubt: Any) -> RunRecord:
    """Return a load of 2,000 requests of *sure* seconds and those that were sent *late*."""
    base = run("load")
    assert base.audit is not None
    histogram = LatencyHistogram.of(np.array([*([sure] * 2000), *late]))
    told = Doubt(late={"track": LatencyHistogram.of(np.array(late))} if late else {}, **doubt)
    return replace(
        base, latencies={"track": histogram}, failures=(), reads={},
        audit=replace(base.audit, invalid=("late",) if late or doubt else ()),
        doubt=told if late or doubt else None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "outcome", "row"),
    [
        (timed(0.1, [0.11] * 9), timed(0.1, [0.12] * 9), "SAME", Change.SAME),
        (timed(0.1, [0.11] * 9), timed(0.2, [0.22] * 9), "WORSE", Change.WORSE),
        (timed(0.1), timed(0.1, [0.3] * 300), "INVALID", Change.INVALID),
        (timed(0.1, [0.3] * 300), timed(0.1), "SAME", Change.SAME),  # never worse, perhaps better
        (timed(0.1, is_timeless=True), timed(0.1), "INVALID", Change.INVALID),
        (timed(0.0, [0.1] * 1000), timed(0.1), "INVALID", Change.INVALID),
    ],
)  # fmt: skip
def test_flawed_runs_are_invalid_only_where_their_doubts_decide(
    before: RunRecord, after: RunRecord, outcome: str, row: Change
) -> None:
    both = differences(before, after, kpis=[P95], limit=0.05)
    compared = Compared(names=("a", "b"), sides=("", ""), found=both)
    assert compared.outcome == outcome
    assert both.rows[0].outcome is row
    is_invalid = outcome == "INVALID"
    assert bool(both.invalid) is is_invalid
    assert bool(compared.doubts) is not is_invalid
    assert ("could change the verdict on p95_track" in compared.sentence) is is_invalid
    told = data(compared)
    assert told["doubts"] == compared.doubts
    json.dumps(told, allow_nan=False)


def test_kpi_that_may_cross_its_alert_line_cannot_be_told() -> None:
    errors = parse_kpi("error_ratio", "< 1%", "> 3%")
    fallen = timed(0.1, excused={"track": 50})
    fallen.latencies["track"].fail(50)
    both = differences(timed(0.1), fallen, kpis=[errors], limit=0.5)
    assert both.rows[0].outcome is Change.SAME  # 2.4 % at worst
    fallen.latencies["track"].fail(30)  # 3.8 % at worst, 1.4 % at best
    both = differences(timed(0.1), fallen, kpis=[errors], limit=0.5)
    assert both.rows[0].outcome is Change.INVALID
    assert both.rows[0].at_ends == (Change.SAME, Change.WORSE)


def test_what_is_surely_worse_stands_beside_what_cannot_be_told() -> None:
    slow = timed(0.2, [0.9] * 30)
    both = differences(timed(0.1), slow, kpis=[P95], limit=0.05)
    assert (both.rows[0].outcome, both.invalid, both.doubts) == (Change.WORSE, (), ("B: late",))
