"""What a flawed load leaves open, held against loads in which it went another way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.metrics.kpi import Kpi, Outcome, parse_kpi, parse_metric
from core.metrics.lateness import MAX_LATE, is_too_late
from core.metrics.ranges import Ranges
from core.metrics.record import RunRecord
from core.metrics.verdict import compare, outcome
from core.scenario.workload import Workload, generate_workload
from core.wire import L1_HIT, MISS
from scenarios.measurement import measure
from scenarios.result import Kind, LoadResult, Rows
from tests.scenarios.loads import all_answered, load_result, small_scenario, some_rows

SCENARIO = small_scenario(rate=600)
METRICS = (
    "error_ratio", "hit_ratio", "ratio(l1)", "ratio(miss)", "p50(track)", "p95(track)",
    "mean(track)", "max(journey)", "p95(l3)", "p50(total)", "p95(cpu)",
)  # fmt: skip


@pytest.fixture(scope="module")
def workload() -> Workload:
    return generate_workload(SCENARIO)


def recorded(result: LoadResult, workload: Workload) -> RunRecord:
    return measure(SCENARIO, workload, result)[0]


def told(workload: Workload, rng: np.random.Generator, **columns: Any) -> Rows:
    """Return rows of a service that tells its reads and its times."""
    n = len(workload)
    reads = rng.choice((L1_HIT, MISS), size=(n, 2)).astype(np.uint8)
    reads[workload.endpoint != 0, 1] = 0
    rows = all_answered(
        workload, latency=rng.uniform(0.005, 0.3, n), reads=reads,
        total=rng.uniform(0.001, 0.2, n), cpu=rng.uniform(1e-4, 1e-3, n), **columns,
    )  # fmt: skip
    l3 = np.flatnonzero((reads == MISS).any(axis=1))
    samples = {**rows.samples, "l3": (l3, rng.uniform(0.001, 0.05, l3.size))}
    return replace(rows, samples=samples)


def part(rows: Rows, kept: np.ndarray[Any, Any], **columns: Any) -> Rows:
    """Return *rows* at *kept* only, with the samples that belong to them."""
    place = np.full(len(rows), -1)
    place[kept] = np.arange(kept.size)
    samples = {}
    for name, (positions, seconds) in rows.samples.items():
        inside = place[positions] >= 0
        samples[name] = (place[positions[inside]], seconds[inside])
    fields = {**some_rows(rows, kept), "samples": samples, "dropped": rows.dropped}
    return Rows(**{"held": rows.held, **fields, **columns})


@pytest.mark.parametrize("flaw", ["dropped", "own", "interrupted", "late", "busy"])
def test_the_load_as_it_could_have_gone_lies_within_what_is_left_open(
    flaw: str, workload: Workload
) -> None:
    rng = np.random.default_rng(7)
    n = len(workload)
    for _ in range(6):
        truth = told(workload, rng)
        hit = np.flatnonzero(rng.random(n) < 0.1)
        kept = np.setdiff1d(np.arange(n), hit)
        seen = truth
        facts: dict[str, Any] = {}
        if flaw == "dropped":
            seen = part(truth, kept, dropped=hit)
        elif flaw == "interrupted":
            seen, facts = part(truth, np.arange(n * 3 // 4)), {"interrupted": True}
        elif flaw == "own":
            kind, latency, reads = truth.kind.copy(), truth.latency.copy(), truth.reads.copy()
            kind[hit], latency[hit], reads[hit] = Kind.EXHAUSTED, math.inf, 0
            silent = [column.copy() for column in (truth.total, truth.cpu)]
            for column in silent:
                column[hit] = math.nan
            whole = part(truth, kept)
            samples = {k: (kept[p], s) for k, (p, s) in whole.samples.items()}
            seen = replace(truth, kind=kind, latency=latency, reads=reads, samples=samples,
                           total=silent[0], cpu=silent[1])  # fmt: skip
        elif flaw == "late":
            late, latency = truth.lag.copy(), truth.latency.copy()
            late[hit] += 0.02
            latency[hit] += rng.uniform(0.02, 0.1, hit.size)
            reads = truth.reads.copy()
            reads[hit] = np.where(reads[hit] == MISS, L1_HIT, reads[hit])  # another tier answered
            total = truth.total.copy()
            total[hit] = 5.0
            seen = replace(truth, lag=late, latency=latency, reads=reads, total=total)
        else:
            seen = replace(truth, latency=truth.latency + rng.uniform(0, 0.05, n))
            facts = {"cpu_seconds": 0.95}
        found = recorded(load_result(seen, planned=n, **facts), workload)
        whole_record = recorded(load_result(truth, planned=n), workload)
        assert found.audit is not None
        assert len(found.audit.invalid) == 1
        assert found.doubt is not None
        for name in METRICS:
            metric = parse_metric(name)
            low, high = Ranges(found, found.doubt).of(metric) or (math.nan, math.nan)
            value = whole_record.metric(metric)
            assert value is not None
            assert low * 0.998 <= value <= high * 1.002, (flaw, name)


def error_kpi() -> Kpi:
    return parse_kpi("error_ratio", "< 0.1%", "> 1%")


def outcome_of(rows: Rows, workload: Workload, kpis: Sequence[Kpi], **facts: Any) -> Outcome:
    return outcome(
        compare(kpis, None, recorded(load_result(rows, planned=len(workload), **facts), workload))
    )


def timed_out(workload: Workload, *, share: float, unsent: int) -> Rows:
    """Return rows without the last *unsent* requests, of which *share* timed out."""
    n = len(workload)
    kind = np.full(n, Kind.ANSWERED, dtype=np.uint8)
    kind[: int(share * n)] = Kind.TIMEOUT
    latency = np.where(kind == Kind.TIMEOUT, math.inf, 0.005)
    rows = all_answered(workload, kind=kind, latency=latency)
    return part(rows, np.arange(n - unsent), dropped=np.arange(n - unsent, n))


def test_a_target_slower_than_the_rate_fails_whatever_the_unsent_requests_had_met(
    workload: Workload,
) -> None:
    rows = timed_out(workload, share=0.6, unsent=len(workload) // 4)
    assert outcome_of(rows, workload, [error_kpi()]) is Outcome.FAIL


def test_requests_that_a_weak_generator_did_not_send_are_no_failures_of_the_service(
    workload: Workload,
) -> None:
    rows = timed_out(workload, share=0.0, unsent=len(workload) // 4)
    assert outcome_of(rows, workload, [error_kpi()]) is Outcome.INVALID


def test_requests_for_which_the_service_left_no_connection_have_failed(workload: Workload) -> None:
    rows = timed_out(workload, share=0.0, unsent=len(workload) // 4)
    held = replace(rows, held=rows.dropped)
    result = load_result(held, planned=len(workload))
    found = recorded(result, workload)
    assert found.audit is not None
    assert (found.audit.invalid, found.audit.held) == ((), rows.dropped.size)
    assert outcome_of(held, workload, [error_kpi()]) is Outcome.FAIL
    assert {failure.text(2.0) for failure in found.failures} == {
        "no free connection: the service held all of them"
    }


def test_interrupted_run_of_which_most_requests_failed_has_failed(workload: Workload) -> None:
    n = len(workload)
    kind = np.full(n, Kind.REFUSED, dtype=np.uint8)
    rows = all_answered(workload, kind=kind, latency=np.full(n, math.inf))
    most, few = part(rows, np.arange(n * 9 // 10)), part(rows, np.arange(n // 4, n // 4 + 3))
    assert outcome_of(most, workload, [error_kpi()], interrupted=True) is Outcome.FAIL
    good = part(all_answered(workload), np.arange(n * 9 // 10))
    assert outcome_of(good, workload, [error_kpi()], interrupted=True) is Outcome.INVALID
    assert outcome_of(few, workload, [error_kpi()], interrupted=True) is Outcome.INVALID


def test_other_requests_than_planned_leave_everything_open(workload: Workload) -> None:
    other = all_answered(workload, subject=workload.subject + np.uint32(1))
    found = recorded(load_result(other, planned=len(workload)), workload)
    assert found.doubt is None
    assert outcome_of(other, workload, [error_kpi()]) is Outcome.INVALID


@pytest.mark.parametrize(
    ("late", "sent"), [(0, 60), (1, 60), (2, 60), (3, 60), (30, 2000), (20, 2000)]
)
def test_too_many_are_late_where_chance_makes_so_many_in_less_than_one_of_twenty_runs(
    late: int, sent: int
) -> None:
    chance = 1 - math.fsum(
        math.comb(sent, k) * MAX_LATE**k * (1 - MAX_LATE) ** (sent - k) for k in range(late)
    )
    assert is_too_late(late, sent) == (chance < 0.05)
