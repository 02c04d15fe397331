"""Claims about what requests in doubt leave open, held against every way they could have gone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.metrics.doubt import Doubt
from core.metrics.histogram import LatencyHistogram
from core.metrics.kpi import Outcome, parse_kpi, parse_metric
from core.metrics.ranges import Ranges
from core.metrics.record import Audit, RunRecord, Windows
from core.metrics.retried import Tries
from core.metrics.verdict import compare, outcome, verdicts

LIMIT = 3.0
"""The time limit of a request; nothing that succeeds takes longer."""

GRID = (0.0, 0.05, 0.15, 0.4, LIMIT)
"""What a request in doubt could have taken; judging at both lines of a KPI lies between them."""

METRICS = ("p50(track)", "p95(track)", "p99(track)", "max(track)", "mean(track)", "error_ratio")
READ_METRICS = ("hit_ratio", "ratio(l1)", "ratio(l2)", "ratio(miss)")

Ends = tuple[float, float]


def record(latencies: Sequence[float], reads: dict[str, int], **changes: Any) -> RunRecord:
    base = RunRecord(
        engine="load", scenario={"name": "x", "timeout": f"{LIMIT:g}s"}, scenario_hash="", seed=1,
        workload_hash="", planned=1, duration=1.0,
        latencies={"track": LatencyHistogram.of(np.array(latencies))} if latencies else {},
        stages={}, reads={"lookup": reads}, memory_peak=None,
        windows=Windows(start=0.0, width=1.0, requests=(), failed=(), p50=(), p95=(), p99=(),
                        l1=(), l2=(), missed=()),
    )  # fmt: skip
    return replace(base, **changes)


def rank(ordered: list[float], q: float) -> float:
    return ordered[max(1, math.ceil(q * len(ordered) - 1e-9)) - 1]


def figure(name: str, latencies: Sequence[float]) -> float:
    """Return the figure that the plain definition gives for *latencies*, infinite ones failed."""
    ordered = sorted(latencies)
    succeeded = [each for each in ordered if math.isfinite(each)]
    if name == "error_ratio":
        return (len(ordered) - len(succeeded)) / len(ordered)
    if name == "max(track)":
        return ordered[-1]
    if name == "mean(track)":
        return math.fsum(succeeded) / len(succeeded) if succeeded else math.inf
    return rank(ordered, float(name[1:3]) / 100)


def ways(late: Sequence[float], excused: int, absent: int) -> Iterator[list[float]]:
    """Yield the latencies of the requests in doubt for every way they could have gone."""
    open_ones = [[*(t for t in GRID if t < most), most] for most in late]
    open_ones += [[*GRID, math.inf]] * (excused + absent)
    for way in itertools.product(*open_ones):
        yield list(way)


TIMES = st.sampled_from([0.01, 0.08, 0.12, 0.19, 0.25, 1.0])


@settings(max_examples=60, deadline=None)
@given(
    sure=st.lists(st.one_of(TIMES, st.just(math.inf)), max_size=8),
    late=st.lists(TIMES, max_size=3),
    excused=st.integers(0, 2),
    absent=st.integers(0, 1),
)
def test_range_is_that_of_every_way_the_requests_in_doubt_could_have_gone(
    sure: list[float], late: list[float], excused: int, absent: int
) -> None:
    found = record([*sure, *late, *[math.inf] * excused], {})
    doubt = Doubt(
        late={"track": LatencyHistogram.of(np.array(late))},
        excused={"track": excused},
        absent={"track": absent},
    )
    possible = [[*sure, *way] for way in ways(late, excused, absent)]
    for name in METRICS:
        kinds = parse_metric(name)
        told = Ranges(found, doubt).of(kinds)
        if not possible[0]:
            assert told is None
            continue
        truth = [figure(name, way) for way in possible]
        assert told == pytest.approx((min(truth), max(truth)), rel=0.002, abs=1e-9), name
        kpi = parse_kpi(name, "< 10%" if name == "error_ratio" else "< 100ms",
                        "> 30%" if name == "error_ratio" else "> 200ms")  # fmt: skip
        judged = {verdict_of(kpi, value) for value in truth}
        flawed = replace(found, audit=audit("late"), doubt=doubt)
        (verdict,) = verdicts(flawed, [kpi])
        assert verdict.outcome is (judged.pop() if len(judged) == 1 else Outcome.INVALID)


def test_open_requests_may_have_been_tried_once_or_as_often_as_may_be() -> None:
    scenario = {"name": "x", "timeout": "3s", "traffic": {"retries": {"attempts": 3}}}
    tries = Tries(attempts=13, first_failed=2, refused=0)
    found = record([0.1] * 8 + [math.inf] * 2, {}, scenario=scenario, tries=tries)
    late = {"track": LatencyHistogram.of(np.array([0.1]))}
    ranges = Ranges(found, Doubt(late=late, excused={"track": 1}, absent={"track": 2}))
    # 10 requests, 2 of them open, and 2 that are absent.
    assert ranges.of(parse_metric("ratio(attempts)")) == (12 / 12, (13 + 4 + 6) / 12)
    assert ranges.of(parse_metric("ratio(firsttry)")) == (0.0, (2 + 2 + 2) / 12)


def test_the_worst_mean_of_an_endpoint_is_that_at_its_own_time_limit() -> None:
    doubt = Doubt(absent={"track": 1})
    scenario = {"name": "x", "timeout": "3s", "targets": {"track": {"timeout": "7s"}}}
    found = replace(record([1.0], {}), scenario=scenario)
    assert Ranges(found, doubt).of(parse_metric("mean(track)")) == pytest.approx((0.5, 4.0))


def verdict_of(kpi: Any, value: float) -> Outcome:
    if kpi.target.holds(value):
        return Outcome.PASS
    return Outcome.FAIL if kpi.alert.holds(value) else Outcome.WARN


OUTCOMES = ("l1", "l2", "miss", "bypass")
COUNTS = st.fixed_dictionaries({name: st.integers(0, 4) for name in OUTCOMES})


@settings(max_examples=60, deadline=None)
@given(sure=COUNTS, late=st.lists(st.sampled_from(OUTCOMES), max_size=3), unknown=st.integers(0, 2))
def test_range_of_a_ratio_of_reads_is_that_of_every_way_they_could_have_gone(
    sure: dict[str, int], late: list[str], unknown: int
) -> None:
    told = {name: sure[name] + late.count(name) for name in OUTCOMES}
    doubt = Doubt(reads={n: late.count(n) for n in OUTCOMES}, unknown_reads=unknown)
    found = record([0.1], told)
    for name in READ_METRICS:
        series = parse_metric(name).series
        counted = {"hit": ("l1", "l2"), "miss": ("miss", "bypass")}.get(series, (series,))
        if not sum(told.values()):
            assert Ranges(found, doubt).of(parse_metric(name)) is None
            continue
        truth = []
        choices = [OUTCOMES] * len(late) + [(*OUTCOMES, None)] * unknown  # or no read at all
        for way in itertools.product(*choices):
            made = [each for each in way if each]
            total = sum(sure.values()) + len(made)
            if total:
                truth.append(
                    (sum(sure[n] for n in counted) + sum(map(made.count, counted))) / total
                )
        assert Ranges(found, doubt).of(parse_metric(name)) == pytest.approx(
            (min(truth), max(truth))
        )


@settings(max_examples=60, deadline=None)
@given(
    sure=st.lists(TIMES, min_size=1, max_size=6),
    known=st.lists(TIMES, max_size=2),
    unplaced=st.integers(0, 2),
    unknown=st.integers(0, 2),
)
def test_samples_in_doubt_could_have_had_any_time(
    sure: list[float], known: list[float], unplaced: int, unknown: int
) -> None:
    stage = LatencyHistogram.of(np.array([*sure, *known]))
    doubt = Doubt(
        stages={"l3": LatencyHistogram.of(np.array(known))},
        unplaced={"l3": unplaced},
        unknown={"l3": unknown},
    )
    found = record([0.1], {}, stages={"l3": stage})
    any_time = (0.0, math.inf)
    for name, q in (("p50(l3)", 0.5), ("p95(l3)", 0.95), ("max(l3)", 1.0)):
        truth = []
        for gone in itertools.combinations(range(len(sure)), min(unplaced, len(sure))):
            kept = [time for place, time in enumerate(sure) if place not in gone]
            free = len(sure) - len(kept) + len(known)
            for more in range(unknown + 1):
                times = itertools.product(any_time, repeat=free + more)
                truth += [rank(sorted([*kept, *way]), q) for way in times if kept or way]
        low, high = Ranges(found, doubt).of(parse_metric(name)) or (math.nan, math.nan)
        assert low == pytest.approx(min(truth), rel=0.002, abs=1e-9)
        assert high == pytest.approx(max(truth), rel=0.002)


def audit(*flaws: str) -> Audit:
    return Audit(
        lag_p50=0.0, lag_p99=0.0, lag_limit=0.005, cpu_share=0.1, planned=1, sent=1, dropped=(),
        rendered_hash="", inversions=0, largest_displacement=0, delay_error_mean=None,
        generator_speed=None, service_speed=None, invalid=flaws,
    )  # fmt: skip


KPIS = (parse_kpi("error_ratio", "< 0.1%", "> 1%"), parse_kpi("p95_track", "< 100ms", "> 200ms"))


def flawed(latencies: Sequence[float], **doubt: Any) -> RunRecord:
    return record(latencies, {}, audit=audit("flaw"), doubt=Doubt(**doubt))


def test_a_run_fails_that_fails_whatever_the_unsent_requests_had_met() -> None:
    """69 of 228 were never sent and 159 timed out: at least 70 % failed."""
    rows = compare(KPIS, None, flawed([math.inf] * 228, excused={"track": 69}))
    assert rows[0].measured is not None
    assert rows[0].measured.possible == pytest.approx((159 / 228, 1.0))
    assert outcome(rows) is Outcome.FAIL


def test_a_run_fails_though_one_of_its_figures_cannot_be_told() -> None:
    found = flawed([0.01] * 90 + [math.inf] * 10, excused={"track": 6})
    rows = compare(KPIS, None, found)
    told = [row.measured.outcome for row in rows if row.measured]
    assert told == [Outcome.FAIL, Outcome.INVALID]
    assert outcome(rows) is Outcome.FAIL


def test_a_run_that_passes_at_best_and_fails_at_worst_is_invalid() -> None:
    rows = compare(KPIS, None, flawed([0.01] * 95 + [math.inf] * 5, excused={"track": 5}))
    assert outcome(rows) is Outcome.INVALID
    assert outcome(rows, ["error_ratio"]) is Outcome.INVALID


def test_late_requests_that_were_fast_enough_even_so_pass() -> None:
    late = LatencyHistogram.of(np.array([0.06] * 10))
    rows = compare(KPIS, None, flawed([0.01] * 50 + [0.06] * 10, late={"track": late}))
    assert outcome(rows) is Outcome.PASS
    assert rows[1].measured is not None
    assert rows[1].measured.possible is not None


def test_a_figure_that_only_lateness_may_have_made_too_slow_is_invalid() -> None:
    late = LatencyHistogram.of(np.array([0.3] * 10))
    rows = compare(KPIS, None, flawed([0.01] * 50 + [0.3] * 10, late={"track": late}))
    assert outcome(rows) is Outcome.INVALID


def test_times_that_say_nothing_leave_the_counts() -> None:
    timeless = flawed([0.01] * 90, is_timeless=True)
    told = [verdict.outcome for verdict in verdicts(timeless, KPIS)]
    assert told == [Outcome.PASS, Outcome.INVALID]


def test_what_a_target_does_not_show_is_not_measured_in_a_flawed_run_either() -> None:
    found = flawed([0.01] * 90, excused={}, unknown_reads=3, unknown={"query": 3})
    kpis = [parse_kpi(m, "> 0%", "< 0%") if "ratio" in m else parse_kpi(m, "< 1s", "> 2s")
            for m in ("hit_ratio", "p95_query")]  # fmt: skip
    assert [v.outcome for v in verdicts(found, kpis)] == [Outcome.NOT_MEASURED] * 2


def test_doubt_survives_being_written_and_read() -> None:
    histogram = LatencyHistogram.of(np.array([0.01, 0.2]))
    found = flawed(
        [0.01] * 3, late={"track": histogram}, excused={"track": 1}, reads={"l1": 2},
        stages={"l3": histogram}, unplaced={"query": 2}, unknown={"queue": 1}, memory=1.5,
    )  # fmt: skip
    read = RunRecord.from_json(found.to_json())
    assert read.to_json() == found.to_json()
    assert verdicts(read, KPIS) == verdicts(found, KPIS)


@pytest.mark.parametrize("memory", [1.0, 1.5])
def test_memory_is_at_worst_that_of_the_requests_that_were_never_sent(memory: float) -> None:
    found = replace(flawed([0.01], memory=memory), memory_peak=60e6)
    assert found.doubt is not None
    assert Ranges(found, found.doubt).of(parse_metric("peak_memory")) == (60e6, 60e6 * memory)
