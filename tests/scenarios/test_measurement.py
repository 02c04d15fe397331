"""The record of a load, from results that are made by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from core.histogram import LatencyHistogram
from core.kpi import parse_metric
from core.record import RunRecord
from core.workload import Workload, generate_workload
from scenarios.audit import inversions, largest_displacement
from scenarios.measurement import measure, requests_of, summary
from scenarios.result import Kind, LoadResult, Rows, Snapshot
from tests.scenarios.loads import all_answered, load_result, small_scenario, some_rows

SCENARIO = small_scenario(rate=2000)


@pytest.fixture(scope="module")
def workload() -> Workload:
    return generate_workload(SCENARIO)


def recorded(result: LoadResult, workload: Workload, **options: Any) -> RunRecord:
    return measure(SCENARIO, workload, result, **options)[0]


def reasons(result: LoadResult, workload: Workload) -> tuple[str, ...]:
    audit = recorded(result, workload).audit
    assert audit is not None
    return audit.invalid


def without(workload: Workload, dropped: int) -> Rows:
    kept = np.arange(dropped, len(workload))
    everything = all_answered(workload)
    return all_answered(workload, **some_rows(everything, kept), dropped=np.arange(dropped))


def test_flawless_load_is_valid(workload: Workload) -> None:
    result = load_result(all_answered(workload), planned=len(workload))
    record = recorded(result, workload)
    assert record.audit is not None
    assert record.audit.invalid == ()
    assert record.audit.rendered_hash == workload.identity() == record.workload_hash
    assert record.metric(parse_metric("error_ratio")) == 0
    assert sum(record.windows.requests) == sum(h.count for h in record.latencies.values())


def test_warm_up_is_left_out(workload: Workload) -> None:
    is_warm = workload.intended >= SCENARIO.warm_up
    latency = np.where(is_warm, 0.005, 9.0)
    result = load_result(all_answered(workload, latency=latency), planned=len(workload))
    record, requests = measure(SCENARIO, workload, result)
    assert sum(h.count for h in record.latencies.values()) == np.count_nonzero(is_warm)
    assert max(h.maximum for h in record.latencies.values()) == 0.005
    assert requests.latency.size == len(workload)


def test_few_drops_are_failures_and_change_the_hash(workload: Workload) -> None:
    result = load_result(without(workload, 1), planned=len(workload))
    record = recorded(result, workload)
    assert record.audit is not None
    assert record.audit.invalid == ()
    assert record.audit.dropped == (0,)
    assert record.audit.rendered_hash != workload.identity()
    assert math.isinf(requests_of(workload, result).latency[0])


def test_many_drops_are_invalid(workload: Workload) -> None:
    result = load_result(without(workload, 20), planned=len(workload))
    (reason,) = reasons(result, workload)
    assert reason.startswith(f"20 of {len(workload):,} arrivals")
    assert "0.1%" in reason


def test_late_generator_is_invalid(workload: Workload) -> None:
    lag = np.where(np.arange(len(workload)) % 50 == 0, 0.0123, 0.0001)
    (reason,) = reasons(
        load_result(all_answered(workload, lag=lag), planned=len(workload)), workload
    )
    assert "more than 12.3 ms late; at most 5.0 ms" in reason


def test_busy_generator_is_invalid(workload: Workload) -> None:
    result = load_result(all_answered(workload), planned=len(workload), cpu_seconds=0.95)
    assert reasons(result, workload) == ("the generator used 95% of its CPU core; at most 90%",)


def test_other_requests_than_planned_are_invalid(workload: Workload) -> None:
    other = all_answered(workload, subject=workload.subject + np.uint32(1))
    result = load_result(other, planned=len(workload))
    assert reasons(result, workload) == (
        "the requests sent are not those planned: their hashes differ",
    )


def test_order_of_sending_does_not_change_the_hash(workload: Workload) -> None:
    turned = np.arange(len(workload))[::-1]
    rows = all_answered(workload, **some_rows(all_answered(workload), turned))
    record = recorded(load_result(rows, planned=len(workload)), workload)
    assert record.audit is not None
    n = len(workload)
    assert record.audit.invalid == ()
    assert record.audit.rendered_hash == workload.identity()
    assert (record.audit.inversions, record.audit.largest_displacement) == (n * (n - 1) // 2, n - 1)


def test_interrupted_load_is_invalid_and_keeps_what_is_done(workload: Workload) -> None:
    half = np.arange(len(workload) // 2)
    rows = all_answered(workload, **some_rows(all_answered(workload), half))
    result = load_result(rows, planned=len(workload), interrupted=True)
    record, requests = measure(SCENARIO, workload, result)
    assert record.audit is not None
    assert record.audit.invalid == (
        f"interrupted after {half.size:,} of {len(workload):,} requests",
    )
    assert requests.latency.size == half.size
    assert record.metric(parse_metric("error_ratio")) == 0


def test_nothing_done_is_still_a_record(workload: Workload) -> None:
    rows = all_answered(workload, **some_rows(all_answered(workload), np.arange(0)))
    result = load_result(rows, planned=len(workload), interrupted=True, wall_seconds=0.0)
    assert recorded(result, workload).latencies == {}


def snapshot(query: list[float], **process: float) -> Snapshot:
    return Snapshot(
        histograms={"query": LatencyHistogram.of(np.array(query))},
        counters={"l2_operations": len(query), "queue_pending": 3 - len(query)},
        process={
            "cpu_seconds": 0.0,
            "own_cpu_seconds": 0.0,
            "peak_rss_bytes": 70e6,
            "start_rss_bytes": 65e6,
            **process,
        },
    )


def test_wrong_delays_are_invalid(workload: Workload) -> None:
    result = load_result(
        all_answered(workload),
        planned=len(workload),
        before=snapshot([], delay_count=100, delay_error_seconds=0.0),
        after=snapshot([], delay_count=300, delay_error_seconds=0.1),
    )
    assert reasons(result, workload) == (
        "the service's emulated delays were +0.50 ms off on average; at most 0.1 ms",
    )


def test_statistics_are_subtracted(workload: Workload) -> None:
    result = load_result(
        all_answered(workload),
        planned=len(workload),
        before=snapshot([9.0]),
        after=snapshot([9.0, 0.01, 0.02], speed_count=20.0),
    )
    record = recorded(result, workload)
    assert record.stages["query"].count == 2
    assert record.stages["query"].quantile(1.0) == pytest.approx(0.02, rel=0.01)
    assert record.memory_peak == SCENARIO.topology.base_memory + 5e6
    assert record.counters == {"l2_operations": 2}
    assert "queue" not in record.stages


def test_cpu_is_the_requests_own_and_a_share_of_the_rest(workload: Workload) -> None:
    is_warm = workload.intended >= SCENARIO.warm_up
    number = int(np.count_nonzero(is_warm))
    used, own = 5.0 + number * 300e-6, 1.0 + number * 100e-6
    result = load_result(
        all_answered(workload, cpu=np.full(len(workload), 100e-6)),
        planned=len(workload),
        before=snapshot([], cpu_seconds=5.0, own_cpu_seconds=1.0),
        after=snapshot([], cpu_seconds=used, own_cpu_seconds=own),
    )
    cpu = recorded(result, workload).stages["cpu"]
    assert cpu.count == number
    assert cpu.quantile(0.5) == pytest.approx(300e-6, rel=0.01)


def test_cpu_share_is_never_negative(workload: Workload) -> None:
    result = load_result(
        all_answered(workload, cpu=np.full(len(workload), 100e-6)),
        planned=len(workload),
        before=snapshot([]),
        after=snapshot([], own_cpu_seconds=1.0),
    )
    assert recorded(result, workload).stages["cpu"].quantile(0.5) == pytest.approx(100e-6, rel=0.01)


def test_unseen_stages_are_not_measured(workload: Workload) -> None:
    record = recorded(load_result(all_answered(workload), planned=len(workload)), workload)
    for metric in ("p95_query", "p95_queue", "peak_memory", "p95_cpu", "hit_ratio"):
        assert record.metric(parse_metric(metric)) is None
    assert any("no statistics" in note for note in record.notes)


def test_failures_are_counted_by_kind(workload: Workload) -> None:
    kind = np.full(len(workload), Kind.ANSWERED, dtype=np.uint8)
    status = np.full(len(workload), 200, dtype=np.uint16)
    last = len(workload) - np.arange(1, 7)
    kind[last] = [
        *(Kind.TIMEOUT, Kind.CONNECTION, Kind.CHECK, Kind.STATUS, Kind.STATUS, Kind.UNFINISHED)
    ]
    status[last[3:5]] = (500, 404)
    latency = np.where(kind == Kind.ANSWERED, 0.005, math.inf)
    rows = all_answered(workload, kind=kind, status=status, latency=latency)
    record = recorded(load_result(rows, planned=len(workload)), workload)
    assert record.counters == {
        "failed_timeout": 2,
        "failed_connection": 1,
        "failed_check": 1,
        "failed_status_404": 1,
        "failed_status_500": 1,
    }
    assert sum(h.failed for h in record.latencies.values()) == 6


def test_notes_say_how_the_load_began(workload: Workload) -> None:
    rows = all_answered(workload)
    foreign = load_result(rows, planned=len(workload), clean_start="not possible: a: 404")
    assert "clean start: not possible: a: 404" in recorded(foreign, workload).notes
    assert "clean start: fresh service processes" in recorded(foreign, workload, clean=True).notes


@pytest.mark.parametrize(("order", "pairs"), [([], 0), ([1, 2, 3], 0), ([3, 1, 2], 2), ([2, 1], 1)])
def test_inversions_count_pairs(order: list[int], pairs: int) -> None:
    assert inversions(np.array(order, dtype=np.int64)) == pairs


def test_inversions_of_a_long_order_equal_those_counted_one_by_one() -> None:
    order = np.random.default_rng(3).permutation(300)
    expected = sum(int(np.count_nonzero(order[i] > order[i + 1 :])) for i in range(300))
    assert inversions(order) == expected


def test_displacement_is_counted_among_the_sent(workload: Workload) -> None:
    kept = np.array([5, 9, 7, 20])
    rows = all_answered(workload, **some_rows(all_answered(workload), kept))
    assert largest_displacement(rows) == 1


def test_summary_shows_a_failed_maximum_as_infinite() -> None:
    lines = summary({"track": LatencyHistogram.of(np.array([1e-7] * 30 + [math.inf]))})
    assert lines[1].split() == ["track", "31", "1", "0.00", "0.00", "∞", "∞"]
