"""Claims about the search for the highest rate of a live service, on services of a formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from core.errors import InputError
from core.metrics.doubt import Doubt
from core.metrics.histogram import LatencyHistogram
from core.metrics.kpi import parse_kpi
from core.metrics.record import RunRecord
from core.scenario.workload import generate_workload
from scenarios.growth import growth
from scenarios.hosts import HostUnreachable
from scenarios.knee import HOLDS, RESOLUTION, KneeSearch, Load
from scenarios.result import Kind
from tests.reports.records import run
from tests.scenarios.loads import all_answered, load_result, small_scenario

KPI = parse_kpi("p95(track)", "< 100ms", "> 200ms")
HIT = parse_kpi("p95_query", "< 1s", "> 2s")
BASE = run("load")
CAPACITY = 500.0


def answering(
    p95: float, *, invalid: tuple[str, ...] = (), held: int = 0, doubt: Doubt | None = None
) -> RunRecord:
    assert BASE.audit is not None
    audit = replace(
        BASE.audit, invalid=invalid, dropped=tuple(range(held)), held=held, planned=1000
    )
    latencies = {"track": LatencyHistogram.of(np.full(100, p95))}
    return replace(BASE, latencies=latencies, stages={}, audit=audit, doubt=doubt)


def mm1(rate: float, noise: float = 0.0, seed: int = 0) -> Load:
    """Answer as a queue with one server of CAPACITY requests/s: p95 = ln(20)/(mu - lambda)."""
    if rate >= CAPACITY:
        return Load(record=answering(math.inf), growth=rate - CAPACITY)
    shaken = float(np.random.default_rng([seed, round(1e6 * rate)]).normal(1, noise))
    return Load(record=answering(math.log(20) / (CAPACITY - rate) * shaken), growth=0.0)


TRUE = CAPACITY - math.log(20) / 0.1  # where p95 is 100 ms: 470.04 requests/s


def search(load: Callable[[float, int], Load], **changes: float) -> KneeSearch:
    bounds = {"start": 50.0, "bound": 2000.0, "most_seconds": 3600.0} | changes
    return KneeSearch(
        [KPI, HIT], load, start=bounds["start"], bound=bounds["bound"], seconds=20.0,
        most_seconds=bounds["most_seconds"],
    )  # fmt: skip


def test_the_knee_of_a_queue_is_found_held_and_bracketed() -> None:
    loads: list[float] = []

    def load(rate: float, number: int) -> Load:
        assert number == loads.count(rate)  # other arrivals each time
        loads.append(rate)
        return mm1(rate)

    found = search(load)
    found.run()
    assert found.highest is not None
    assert found.breaking is not None
    assert found.highest <= TRUE < found.breaking
    assert found.breaking / found.highest <= 1 + RESOLUTION
    assert found.points[found.highest].runs == HOLDS
    assert found.points[found.highest].intervals
    assert (found.ended, found.unseen) == ("", {"p95_query"})


def test_one_slow_load_does_not_end_the_search_and_noise_keeps_it_near_the_knee() -> None:
    hiccups = iter([True])

    def load(rate: float, number: int) -> Load:
        if rate == 100 and next(hiccups, False):
            return Load(record=answering(5.0), growth=0.0)
        return mm1(rate, noise=0.05, seed=number)

    found = search(load)
    found.run()
    assert found.highest is not None
    assert 0.85 * TRUE < found.highest < 1.05 * TRUE
    assert found.points[100].runs == 3
    assert found.points[100].values["p95_track"] < 0.1


def test_growing_requests_in_flight_break_a_rate_whose_latency_still_holds() -> None:
    found = search(lambda rate, _: Load(record=answering(0.01), growth=max(0.0, rate - 300)))
    found.run()
    assert found.highest is not None
    assert 285 < found.highest < 316  # 5 % of the rate may be left behind
    breaking = found.points[found.breaking or 0]
    assert (breaking.saturated, breaking.broken) == (("service",), ())


def test_arrivals_without_a_connection_break_the_rate_and_are_no_fault_of_the_load() -> None:
    full = answering(0.01, held=100)
    found = search(lambda rate, _: Load(record=full if rate > 90 else answering(0.01), growth=0))
    found.run()
    assert found.highest is not None
    assert found.highest <= 90
    assert found.points[100.0].saturated == ("service",)


@pytest.mark.parametrize(("late", "is_sendable"), [(1, True), (100, False)])
def test_a_flaw_of_the_load_ends_the_search_only_where_it_could_change_a_verdict(
    late: int, is_sendable: bool
) -> None:
    doubt = Doubt(late={"track": LatencyHistogram.of(np.full(late, 0.3))})
    flawed = answering(0.3, invalid=("late",), doubt=doubt)
    found = search(lambda rate, _: Load(record=flawed if rate > 90 else answering(0.01), growth=0))
    found.run()
    assert (100.0 in found.points) is is_sendable
    assert ("INVALID" in found.ended) is not is_sendable


@pytest.mark.parametrize(
    ("sure", "failed", "kpis"),
    [
        # 16 to 20 % failed, and p75 meets its target or crosses its alert.
        (0.01, 25, ("error_ratio", "p75(track)")),
        # Between the target and the alert at best, beyond the alert at worst.
        (0.15, 0, ("p95(track)",)),
    ],
)
def test_a_load_that_breaks_whatever_the_doubts_breaks_its_rate(
    sure: float, failed: int, kpis: tuple[str, ...]
) -> None:
    histogram = LatencyHistogram.of(np.array([sure] * 90 + [0.3] * 10))
    histogram.fail(failed)
    late = LatencyHistogram.of(np.array([0.3] * 10))
    doubt = Doubt(late={"track": late}, excused={"track": failed // 5})
    flawed = replace(answering(0.3, invalid=("late",), doubt=doubt), latencies={"track": histogram})
    lines = {"error_ratio": ("< 1%", "> 10%")}
    found = KneeSearch(
        [parse_kpi(name, *lines.get(name, ("< 100ms", "> 200ms"))) for name in kpis],
        lambda rate, _: Load(record=flawed if rate > 90 else answering(0.01), growth=0),
        start=50.0, bound=2000.0, seconds=20.0, most_seconds=3600.0,
    )  # fmt: skip
    found.run()
    assert not found.points[100.0].holds
    assert found.ended == ""


def dying(at: float, *, after: int) -> Callable[[float, int], Load]:
    """Answer until load number *after* at the rate *at*, from which on no host is there."""

    def load(rate: float, number: int) -> Load:
        if rate == at and number >= after:
            raise HostUnreachable("http://x takes no connection")
        is_dead = rate == at and number == after - 1
        return Load(record=answering(math.inf if is_dead else 0.01), growth=0)

    return load


def test_a_service_that_dies_at_a_rate_breaks_there_and_what_was_found_stays() -> None:
    found = search(dying(200.0, after=1))
    found.run()
    assert (found.highest, found.breaking) == (100, 200)
    assert found.ended == "load 4 at 200 requests/s: http://x takes no connection"


def test_a_load_without_a_result_ends_the_search_and_not_what_it_found() -> None:
    found = search(dying(200.0, after=0))
    found.run()
    assert (found.highest, found.breaking) == (100, None)
    assert found.ended == "load 3 at 200 requests/s: http://x takes no connection"


def test_a_service_that_dies_while_a_rate_is_held_breaks_there() -> None:
    found = search(dying(50.0, after=2), bound=50.0)
    found.run()
    assert (found.highest, found.breaking) == (None, 50)
    assert found.ended.startswith("load 3 at 50 requests/s: ")


def test_a_first_load_without_a_result_is_an_error() -> None:
    with pytest.raises(HostUnreachable):
        search(dying(50.0, after=0)).run()


def test_a_rate_below_the_first_is_found_by_halving() -> None:
    found = search(mm1_from(8.0))
    found.run()
    assert found.highest is not None
    assert found.highest <= 8.0 < (found.breaking or 0.0)


def mm1_from(capacity: float) -> Callable[[float, int], Load]:
    return lambda rate, _: Load(record=answering(0.01 if rate <= capacity else 5.0), growth=0)


def test_what_never_holds_has_no_rate() -> None:
    found = search(mm1_from(0.0))
    found.run()
    assert found.highest is None
    assert len(found.points) == 7


def test_no_rate_above_the_bound_is_tried() -> None:
    found = search(mm1_from(1e9), bound=170.0)
    found.run()
    assert (found.highest, found.breaking) == (170.0, None)
    assert max(found.points) == 170.0


def test_a_generator_that_cannot_send_ends_the_search_and_is_named() -> None:
    def load(rate: float, _: int) -> Load:
        invalid = ("sent late",) if rate > 300 else ()
        return Load(record=answering(0.01, invalid=invalid), growth=0)

    found = search(load)
    found.run()
    assert found.highest is not None
    assert 280 < found.highest <= 300
    assert found.breaking is None
    assert "the load itself was INVALID: sent late" in found.ended


def test_the_bound_on_seconds_is_kept_and_what_was_found_stays() -> None:
    loads: list[float] = []

    def load(rate: float, _: int) -> Load:
        loads.append(rate)
        return mm1(rate)

    found = search(load, most_seconds=65.0)
    found.run()
    assert loads == [50, 100, 200]
    assert (found.highest, found.ended) == (200, "--max-duration ended the search")


def test_ctrl_c_keeps_what_was_tried() -> None:
    def load(rate: float, _: int) -> Load:
        return replace(mm1(rate), interrupted=rate == 200)

    found = search(load)
    found.run()
    assert (found.highest, found.interrupted, found.ended) == (100, True, "")
    assert 200 not in found.points


def test_held_loads_that_scatter_about_the_target_move_the_rate_down() -> None:
    """A rate whose interval reaches beyond the target is not claimed."""

    def load(rate: float, number: int) -> Load:
        scatter = [0.02, 0.095, 0.03, 0.099][number % 4] if rate > 90 else 0.05
        return Load(record=answering(scatter if rate <= 95 else 5.0), growth=0)

    found = search(load)
    found.run()
    assert found.highest is not None
    assert found.highest <= 90
    assert found.points[found.breaking or 0].undecided == ("p95_track",)


def test_nothing_that_the_service_shows_is_an_error() -> None:
    load = Load(record=replace(answering(0.1), latencies={}), growth=0)
    with pytest.raises(InputError, match="no KPI could be measured at 50"):
        search(lambda *_: load).run()


def test_growth_is_the_slope_of_the_requests_in_flight() -> None:
    scenario = small_scenario(rate=500, duration="4s", warm_up="1s")
    workload = generate_workload(scenario)
    steady = load_result(all_answered(workload), planned=len(workload))
    assert abs(growth(scenario, workload, steady)) < 1
    # A server of 300/s under 500/s: each request waits for those before it.
    late = np.arange(len(workload)) / 300 - workload.intended
    rows = all_answered(workload, latency=np.maximum(late, 0.001))
    slow = load_result(rows, planned=len(workload))
    assert growth(scenario, workload, slow) == pytest.approx(200, rel=0.15)


def test_requests_without_an_answer_are_in_flight_for_the_timeout() -> None:
    scenario = small_scenario(rate=500, duration="2s", warm_up="0s", timeout="1s")
    workload = generate_workload(scenario)
    n = len(workload)
    kind = np.full(n, Kind.TIMEOUT, dtype=np.uint8)
    rows = all_answered(workload, latency=np.full(n, math.inf), kind=kind)
    assert growth(scenario, workload, load_result(rows, planned=n)) > 100
    refused = np.full(n, Kind.REFUSED, dtype=np.uint8)
    rows = all_answered(workload, latency=np.full(n, math.inf), kind=refused)
    assert abs(growth(scenario, workload, load_result(rows, planned=n))) < 1
