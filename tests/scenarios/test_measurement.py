"""The record of a load, from results that are made by hand."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.metrics.failures import Cause
from core.metrics.histogram import LatencyHistogram
from core.metrics.kpi import parse_metric
from core.metrics.ranges import Ranges
from core.metrics.record import RunRecord
from core.scenario.workload import Workload, generate_workload
from core.wire import L1_HIT
from scenarios.audit import inversions, largest_displacement
from scenarios.measurement import measure, reason_lines, requests_of, summary
from scenarios.result import Kind, LoadResult, Rows, Snapshot
from scenarios.tally import Tally
from tests.scenarios.loads import (
    all_answered,
    load_result,
    small_plan,
    small_scenario,
    some_rows,
)

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


def test_service_whose_process_was_restarted_makes_the_load_invalid(workload: Workload) -> None:
    def looked(*counts: int, last: int) -> LoadResult:
        after = Snapshot(histograms={}, counters={"requests": last, "queue_pending": 0}, process={})
        result = load_result(all_answered(workload), planned=len(workload), after=after)
        polls = [
            {"t": 1.0, "counters": {"requests": n, "queue_pending": -n}, "process": {}}
            for n in counts
        ]
        return replace(result, polls=(tuple(polls),))

    assert reasons(looked(0, 40, 40, last=90), workload) == ()
    for result in (looked(0, 40, 3, last=90), looked(0, 40, last=39)):
        (reason,) = reasons(result, workload)
        assert reason.startswith("the statistics of host 1 began anew during the load")


def test_late_generator_is_invalid(workload: Workload) -> None:
    lag = np.where(np.arange(len(workload)) % 50 == 0, 0.0123, 0.0001)
    (reason,) = reasons(
        load_result(all_answered(workload, lag=lag), planned=len(workload)), workload
    )
    assert "requests (2.0%) more than 5.0 ms late; at most 1% may be" in reason


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


def timed(workload: Workload, **stages: tuple[list[int], list[float]]) -> LoadResult:
    """Return a load whose answers timed *stages*: positions of the rows, and seconds."""
    rows = all_answered(workload)
    samples = {
        **rows.samples,
        **{
            name: (np.array(positions, dtype=np.int64), np.array(seconds))
            for name, (positions, seconds) in stages.items()
        },
    }
    return load_result(replace(rows, samples=samples), planned=len(workload))


@pytest.mark.parametrize(
    ("wait", "seconds", "note"),
    [
        (([], []), [0.003, 0.004, 0.006], "l3, taken to include waiting, as no l3wait is sent"),
        # Answers come in any order, and the second query of the first one waited for nothing.
        (([900, 901], [0.1, 0.2]), [0.004, 0.103, 0.206], "l3 and l3wait together"),
    ],
)
def test_query_times_come_from_server_timing_where_no_statistics_are(
    workload: Workload, wait: tuple[list[int], list[float]], seconds: list[float], note: str
) -> None:
    # The first row lies in the warm-up.
    l3 = ([901, 0, 900, 900], [0.006, 9.0, 0.003, 0.004])
    record = recorded(timed(workload, l3=l3, l3wait=wait), workload)
    assert record.stages["query"].count == 3
    assert sorted(seconds) == pytest.approx(seconds)
    worst = record.metric(parse_metric("max(query)"))
    assert worst == pytest.approx(seconds[-1])
    assert record.stages["query"].mean == pytest.approx(sum(seconds) / 3)
    assert f"headers: query times are from Server-Timing: {note}" in record.notes


def test_statistics_of_the_service_tell_query_times_better(workload: Workload) -> None:
    result = timed(workload, l3=([900], [0.5]))
    result = replace(result, before=(snapshot([]),), after=(snapshot([0.002]),))
    record = recorded(result, workload)
    assert record.metric(parse_metric("max(query)")) == pytest.approx(0.002)
    assert not any("Server-Timing" in note for note in record.notes)


def test_reads_that_an_endpoint_does_not_describe_are_counted_by_endpoint(
    workload: Workload,
) -> None:
    reads = np.zeros((len(workload), 2), dtype=np.uint8)
    reads[:, 1] = L1_HIT
    record = recorded(load_result(all_answered(workload, reads=reads), planned=1), workload)
    assert sorted(record.reads) == [
        "attribution (unnamed)", "channels (unnamed)", "journey (unnamed)", "lookup",
    ]  # fmt: skip


def some_failed(workload: Workload, *kinds: Kind) -> Rows:
    """Return rows of which the last ones ended as *kinds*, the last first."""
    kind = np.full(len(workload), Kind.ANSWERED, dtype=np.uint8)
    status = np.full(len(workload), 200, dtype=np.uint16)
    last = len(workload) - np.arange(1, len(kinds) + 1)
    kind[last] = kinds
    status[last] = np.where(kind[last] == Kind.STATUS, 500, 0)
    latency = np.where(kind == Kind.ANSWERED, 0.005, math.inf)
    return all_answered(workload, kind=kind, status=status, latency=latency)


def by_cause(record: RunRecord) -> dict[Cause, int]:
    counts: Counter[Cause] = Counter()
    for failure in record.failures:
        counts[failure.cause] += failure.count + failure.in_warm_up
    return dict(counts)


def test_every_failed_request_has_a_reason(workload: Workload) -> None:
    # A failed check is named by the endpoint, and this scenario has none.
    kinds = [kind for kind in Kind if kind not in (Kind.ANSWERED, Kind.CHECK)]
    rows = some_failed(workload, *kinds)
    record = recorded(load_result(rows, planned=len(workload)), workload)
    assert by_cause(record) == {kind.cause: 1 for kind in kinds}
    assert sum(h.failed for h in record.latencies.values()) == len(kinds)
    by_endpoint = Counter({name: h.failed for name, h in record.latencies.items()})
    for failure in record.failures:
        by_endpoint[failure.endpoint] -= failure.count
    assert set(by_endpoint.values()) == {0}


def test_dropped_arrivals_found_no_free_connection(workload: Workload) -> None:
    record = recorded(load_result(without(workload, 600), planned=len(workload)), workload)
    assert by_cause(record) == {Cause.DROPPED: 600}
    early = int(np.count_nonzero(workload.intended[:600] < SCENARIO.warm_up))
    assert 0 < early < 600
    assert sum(f.in_warm_up for f in record.failures) == early
    assert min(f.first or 0.0 for f in record.failures) == workload.intended[0]


def test_what_an_interruption_cut_off_has_not_failed(workload: Workload) -> None:
    rows = some_failed(workload, Kind.UNFINISHED, Kind.REFUSED)
    result = load_result(rows, planned=len(workload), interrupted=True)
    assert by_cause(recorded(result, workload)) == {Cause.REFUSED: 1}


@pytest.mark.parametrize("kind", [Kind.EXHAUSTED, Kind.UNFINISHED])
def test_failures_of_the_generator_itself_make_a_run_invalid(
    kind: Kind, workload: Workload
) -> None:
    few = load_result(some_failed(workload, kind), planned=len(workload))
    many = load_result(some_failed(workload, *[kind] * 20), planned=len(workload))
    assert reasons(few, workload) == ()
    (reason,) = reasons(many, workload)
    assert reason.startswith("20 of ")
    assert "generator's own fault" in reason


def test_tallies_of_several_processes_add_up_to_the_failures_of_one(workload: Workload) -> None:
    plan = small_plan(SCENARIO, ["http://127.0.0.1:1"])
    rows = some_failed(workload, Kind.STATUS, Kind.REFUSED, Kind.REFUSED)
    result = load_result(rows, planned=len(workload))
    total = Tally(lag_limit=1.0, timeout=plan.timeout)
    for _ in range(2):
        total.add(Tally.from_message(json.loads(json.dumps(Tally.of(plan, result).to_message()))))
    once = recorded(result, workload).failures
    assert [(f.endpoint, f.cause, f.status, f.count) for f in total.failures] == [
        (f.endpoint, f.cause, f.status, 2 * f.count) for f in once
    ]
    lines = reason_lines(total.failures, timeout=plan.timeout)
    assert any(line.endswith("connection refused") for line in lines)


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


def test_a_part_of_a_load_is_judged_by_itself() -> None:
    scenario = small_scenario(
        rate=2000,
        kpis=[
            {"metric": f"{what}, 0.5s..1s)", "target": "< 1s", "alert": "> 2s"}
            for what in ("p95(track", "p50(l2", "max(total")
        ],
    )
    workload = generate_workload(scenario)
    late = workload.intended >= 0.5
    times = np.where(late, 0.2, 0.005)
    rows = all_answered(workload, latency=times, total=times / 2)
    rows.samples["l2"] = (np.arange(len(workload)), times / 4)  # type: ignore[index]
    record, _ = measure(scenario, workload, load_result(rows, planned=len(workload)))
    figures = [record.metric(kpi.metric) for kpi in scenario.judged()]
    assert figures == [pytest.approx(value, rel=0.003) for value in (0.2, 0.05, 0.1)]
    assert record.parts["0.5s..1s"].latencies["track"].count < record.latencies["track"].count


def test_regions_are_measured_where_the_service_emulates_their_distances() -> None:
    regions = [{"name": "near", "share": 1}, {"name": "far", "share": 1}]
    kpis = [
        {"metric": f"p95(far{part})", "target": "< 1s", "alert": "> 2s"}
        for part in ("", ", 0.5s..1s")
    ]
    scenario = small_scenario(rate=2000, regions=regions, kpis=kpis)
    workload = generate_workload(scenario)
    is_far = workload.isolate >= scenario.topology.isolates
    rows = all_answered(workload, latency=np.where(is_far, 0.2, 0.005))
    result = load_result(rows, planned=len(workload))
    record, _ = measure(scenario, workload, result, clean=True)
    values = [record.metric(kpi.metric) for kpi in scenario.judged()]
    assert values == [pytest.approx(0.2, rel=0.003)] * 2
    assert any(note.startswith("Region far: ") for note in record.notes)
    # A load sends every request from here: of another service nothing is known of regions.
    record, _ = measure(scenario, workload, result)
    assert [record.metric(kpi.metric) for kpi in scenario.judged()] == [None, None]
    late = replace(rows, lag=np.full(len(workload), 0.5))
    record, _ = measure(scenario, workload, load_result(late, planned=len(workload)), clean=True)
    assert record.doubt is not None
    assert Ranges(record, record.doubt).of(scenario.judged()[0].metric) == (0.0, math.inf)
