"""Claims about learning a service: the simulator is the service, so the truth is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.distributions import constant
from core.metrics.record import count_reads
from core.scenario.calibration import Calibration
from core.scenario.calibration_file import from_toml, to_toml
from core.scenario.file import parse_scenario
from core.scenario.outside import Learned
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from core.wire import L1_HIT
from scenarios.calibration_plan import CalibrationBounds, default_bounds, learning_workload
from scenarios.learning import learn
from sim.model import Played
from sim.simulate import simulate
from tests.edgeproof.taught import load_of

STATED: dict[str, Any] = {
    "name": "stated",
    "duration": "30s",
    "warm_up": "0s",
    "start": "cold",
    "traffic": {
        "stages": [{"rate": 60}], "users": 3000, "conversions": 2000, "conversion_share": 0.0,
    },
    "topology": {"isolates": 1},
    "tiers": {"single_flight": False},
}  # fmt: skip
BOUNDS = CalibrationBounds(rate=20, seconds=60)


def stated(**tiers: Any) -> Scenario:
    """Return the scenario that a user wrote, or with other *tiers* the service as it is."""
    return parse_scenario({**STATED, "tiers": {**STATED["tiers"], **tiers}}, source="test")


TRUTH = stated(
    l1={"ttl": "30s"},
    l2={"cold_read": {"p50": "30ms", "p99": "60ms"}, "read": {"p50": "6ms", "p99": "9ms"}},
    l3={
        "round_trip": {"p50": "25ms", "p99": "32ms"},
        "read_execution": "1.5ms", "write_execution": "7ms",
    },
)  # fmt: skip


def taught(truth: Scenario, user: Scenario, **load: Any) -> Calibration:
    workload = learning_workload(user, prepare(user).workload, BOUNDS)
    return learn(user, load_of(truth, workload, **load))


@pytest.mark.parametrize("tells_wait", [True, False])
def test_times_of_the_tiers_are_learned_whatever_the_scenario_says(tells_wait: bool) -> None:
    user = stated(l1={"ttl": "30s"})
    known = taught(TRUTH, user, tells_wait=tells_wait, noise=0.0002)
    applied = known.apply(user).tiers
    for place in ("cold_read", "read"):
        learned, true = getattr(applied.l2, place), getattr(TRUTH.tiers.l2, place)
        assert learned.mean == pytest.approx(true.mean, rel=0.08), place
        assert learned.sample(0.95) == pytest.approx(true.sample(0.95), rel=0.12), place
    # Executions from the waiting alone, though round trips vary by more than a read lasts.
    assert applied.l3.write_execution.mean == pytest.approx(7e-3, rel=0.1)
    assert applied.l3.read_execution.mean == pytest.approx(1.5e-3, rel=0.4)
    whole = applied.l3.round_trip.mean + applied.l3.write_execution.mean
    true_trip = TRUTH.tiers.l3.round_trip.mean
    assert whole == pytest.approx(true_trip + 7e-3, rel=0.02)
    assert known.concurrency == 1
    assert known.tiers["l3.write_execution"].samples > 200
    assert from_toml(to_toml(known)) == known


def test_a_clock_of_whole_milliseconds_teaches_the_same_times() -> None:
    user = stated(l1={"ttl": "2s"})
    tiers = TRUTH.tiers.model_copy(update={"l1": user.tiers.l1})
    truth = TRUTH.model_copy(update={"tiers": tiers})
    bounds = CalibrationBounds(rate=40, seconds=60)
    workload = learning_workload(user, prepare(user).workload, bounds)
    fine, coarse = (
        learn(user, load_of(truth, workload, noise=0.0003, step=step)) for step in (0.0, 1e-3)
    )
    assert fine.tiers["l2.read"].samples > 300
    for place in ("l2.read", "l2.cold_read", "l3.round_trip"):
        true, learned = (known.tiers[place].times for known in (fine, coarse))
        assert learned.mean == pytest.approx(true.mean, rel=0.01), place
        for quantile in (0.05, 0.5, 0.95):  # whole milliseconds would be 6 % off
            expected = pytest.approx(true.sample(quantile), rel=0.03)
            assert learned.sample(quantile) == expected, (place, quantile)
    assert any("whole milliseconds" in note for note in coarse.notes)
    assert not any("whole milliseconds" in note for note in fine.notes)


def test_a_service_whose_statistics_do_not_tell_its_speed_is_learned() -> None:
    user = stated()
    workload = learning_workload(user, prepare(user).workload, BOUNDS)
    polls = tuple(
        {"t": float(t), "counters": {}, "process": {"cpu_seconds": t / 10}} for t in range(6)
    )
    result = replace(load_of(TRUTH, workload), polls=(polls,))
    assert learn(user, result).speed is None


def test_a_clean_start_with_warm_caches_is_no_fault_of_others() -> None:
    user = stated()
    workload = learning_workload(user, prepare(user).workload, BOUNDS)
    again = load_of(TRUTH, workload)
    warm = replace(again, rows=replace(again.rows, reads=np.minimum(again.rows.reads, L1_HIT)))
    by_start = {
        start: learn(user, replace(warm, audit={"clean_start": start})).notes
        for start in ("clean", "not possible: 404")
    }
    found = {
        start: any("were cached before they were first asked" in note for note in notes)
        for start, notes in by_start.items()
    }
    assert found == {"clean": False, "not possible: 404": True}


def test_two_executions_at_a_time_are_told_from_one() -> None:
    two = TRUTH.model_copy(
        update={
            "tiers": TRUTH.tiers.model_copy(
                update={"l3": TRUTH.tiers.l3.model_copy(update={"concurrency": 2})}
            )
        }
    )
    user = stated()
    bounds = CalibrationBounds(rate=45, seconds=40)
    workload = learning_workload(user, prepare(user).workload, bounds)
    assert learn(user, load_of(two, workload, noise=0.0002)).concurrency == 2


def test_where_nothing_waits_all_of_it_is_round_trip() -> None:
    truth = stated(
        l3={
            "round_trip": {"p50": "25ms", "p99": "90ms"},
            "read_execution": "0s", "write_execution": "0s",
        }
    )  # fmt: skip
    known = taught(truth, stated(), tells_wait=False, noise=0.0002)
    assert known.tiers["l3.read_execution"].times.mean == 0
    assert known.tiers["l3.write_execution"].times.mean == 0
    assert known.tiers["l3.round_trip"].times.mean == pytest.approx(
        truth.tiers.l3.round_trip.mean, rel=0.05
    )
    assert known.concurrency is None
    assert sum("cannot be told from the round trip" in note for note in known.notes) == 2


def test_prediction_at_three_times_the_rate_holds_what_was_not_measured() -> None:
    """Waiting grows with the rate; the calibration saw a third of it."""
    user = stated(l1={"ttl": "30s"})
    known = taught(TRUTH, user, noise=0.0002)
    predicted = simulate(user, calibration=known, replications=0).record
    true = simulate(TRUTH, replications=0).record
    naive = simulate(user, replications=0).record
    for endpoint in ("track", "attribution", "journey"):
        for q in (0.5, 0.95):
            value, goal, other = (
                each.latencies[endpoint].quantiles((q,))[0] for each in (predicted, true, naive)
            )
            assert value == pytest.approx(goal, rel=0.05 if q == 0.5 else 0.10)
        assert abs(other / goal - 1) > 0.2  # the scenario's own times would not do


def test_life_of_entries_is_learned_where_no_l2_holds_them() -> None:
    short = {name: "20s" for name, _ in stated().tiers.l2.ttl if name != "default"}
    truth = stated(l1={"ttl": "20s"}, l2={"ttl": short})
    known = taught(truth, stated(l1={"ttl": "20s"}))
    assert known.ttls["user_journeys"] == 20
    assert known.ttls["attribution"] == 20
    assert known.apply(stated()).tiers.l2.ttl.of("attribution") == 20


def test_life_that_the_scenario_states_is_left_alone() -> None:
    user = stated(l1={"ttl": "20s"})
    assert taught(user, user).ttls == {}


def test_endpoint_that_reads_no_cache_is_predicted_without() -> None:
    known = Calibration(unread={"track": ("config", "lookup")})
    found = simulate(stated(), calibration=known, replications=0)
    reads = count_reads(found.requests, after=0, endpoints=stated().endpoints)
    assert "config" not in reads
    assert "journey" in reads
    quick = found.record.latencies["track"].quantiles((0.5,))[0]
    slow = simulate(stated(), replications=0).record.latencies["track"].quantiles((0.5,))[0]
    assert quick < slow


def test_played_requests_fill_the_caches_and_are_counted_nowhere() -> None:
    user = stated()
    workload = prepare(user).workload
    cold = simulate(user, replications=0)
    warm = simulate(user, replications=0, played=Played(workload=workload, ahead=40.0))
    assert len(warm.requests.latency) == len(workload)
    assert (warm.requests.intended == cold.requests.intended).all()
    assert warm.record.workload_hash == cold.record.workload_hash
    assert warm.record.counters["loads"] < 0.3 * cold.record.counters["loads"]
    late = simulate(user, replications=0, played=Played(workload=workload, ahead=100_000.0))
    assert late.record.counters["loads"] == cold.record.counters["loads"]


def test_part_of_a_run_keeps_its_times_where_requests_were_played_before() -> None:
    kpis = [{"metric": "p95(l3, 10s..20s)", "target": "< 50ms", "alert": "> 90ms"}]
    user = parse_scenario({**STATED, "kpis": kpis}, source="test")
    before = Played(workload=prepare(user).workload, ahead=100_000.0)  # all of it is forgotten
    cold, late = (simulate(user, replications=0, played=p).record for p in (None, before))
    metric = user.judged()[0].metric
    assert late.metric(metric) == pytest.approx(cold.metric(metric), rel=1e-9)


def test_warm_scenario_is_predicted_cold_where_the_service_is() -> None:
    user = stated().model_copy(update={"start": "warm"})
    cold = simulate(stated(), replications=0).record
    assert simulate(user, replications=0, is_cold=True).record.reads == cold.reads
    assert simulate(user, replications=0).record.reads != cold.reads


def test_plan_keeps_its_bounds_and_asks_for_unseen_ids_in_bursts() -> None:
    user = stated()
    workload = prepare(user).workload
    bounds = default_bounds(user, workload)
    asked = learning_workload(user, workload, bounds)
    assert len(asked) <= 0.2 * 60 * 60 + 1
    assert (np.diff(asked.intended_ns) >= 0).all()
    _, sizes = np.unique(asked.intended_ns, return_counts=True)
    assert {2, 4} <= set(sizes.tolist())
    for code in range(3):
        mine = asked.subject[asked.endpoint == code]
        assert np.unique(mine).size > 0.5 * mine.size
    more = learning_workload(user, workload, CalibrationBounds(rate=1000, seconds=60))
    assert len(more) < 5000  # enough samples of each stage end it


@pytest.mark.parametrize("step", [0.0, 1e-3])
def test_what_a_service_takes_longer_after_a_pause_is_learned_and_predicted_at_another_rate(
    step: float,
) -> None:
    """A process that sleeps is woken late: at four times the rate, answers come sooner.

    A clock of whole milliseconds blurs all but the answers from L1.
    """
    user = stated()
    known = taught(TRUTH, user, noise=0.0002, sleep=0.002, step=step)
    for pause, longer in ((0.02, 0.0008), (0.04, 0.0016), (0.06, 0.002)):
        found = known.idling.seconds(np.array([0.0, pause]))
        assert found[1] - found[0] == pytest.approx(longer, abs=0.0003), pause
    assert from_toml(to_toml(known)) == known
    fast = parse_scenario(
        {**STATED, "traffic": {**STATED["traffic"], "stages": [{"rate": 240}]}, "duration": "8s"},
        source="test",
    )
    workload = prepare(fast).workload
    measured = load_of(
        TRUTH.model_copy(update={"traffic": fast.traffic, "duration": fast.duration}),
        workload, noise=0.0002, sleep=0.002,
    ).rows.latency  # fmt: skip
    predicted = simulate(fast, calibration=known, replications=0).requests.latency
    assert np.median(predicted) == pytest.approx(np.median(measured), rel=0.03)
    awake = taught(TRUTH, user, noise=0.0002)
    assert awake.idling.after == ()


def spread(rate: float, bounds: CalibrationBounds) -> tuple[int, float, float]:
    """Return the pauses of a calibration of *rate*, its last second, and its rate between them."""
    stages = {"traffic": {**STATED["traffic"], "stages": [{"rate": rate}]}}
    tiers = {"tiers": {**STATED["tiers"], "l1": {"ttl": "300s"}}}  # nothing is repeated late
    user = parse_scenario({**STATED, **stages, **tiers}, source="test")
    asked = learning_workload(user, prepare(user).workload, bounds)
    times = asked.intended_ns / 1e9
    gaps = np.diff(times)
    assert len(asked) <= bounds.rate * bounds.seconds
    return int((gaps > 2).sum()), times[-1], times.size / (times[-1] - gaps[gaps > 2].sum())


def test_few_requests_come_at_the_rate_of_the_scenario_with_pauses_between() -> None:
    """What is asked five times a second answers later than what is asked 60 times."""
    for rate, share, pace in ((60, 5, 50), (20, 4, 20)):
        pauses, last, found = spread(rate, CalibrationBounds(rate=share, seconds=60))
        assert pauses == 5
        assert last == pytest.approx(51, abs=2)
        assert found == pytest.approx(pace, rel=0.2)


def test_what_is_asked_often_is_spread_evenly() -> None:
    pauses, last, pace = spread(200, CalibrationBounds(rate=60, seconds=20))
    assert pauses == 0
    assert pace == pytest.approx(60, rel=0.1)
    assert last == pytest.approx(20, abs=2)


def test_network_that_a_scenario_states_is_added_to_every_request_unless_it_was_learned() -> None:
    near = stated()
    far = parse_scenario({**STATED, "network": {"round_trip": "40ms"}}, source="test")
    assert "network" not in near.model_dump()
    plain, added = (simulate(scenario, replications=0) for scenario in (near, far))
    assert added.requests.latency - plain.requests.latency == pytest.approx(0.04, abs=1e-9)
    assert added.record.reads == plain.record.reads
    ten = Learned(times=constant(0.01), samples=100)
    known = Calibration(between={"track": dict.fromkeys(("l1", "l2", "l3"), ten)})
    learned = simulate(far, calibration=known, replications=0).requests
    is_track = learned.endpoint == 0
    more = learned.latency - plain.requests.latency
    assert more[is_track] == pytest.approx(0.01, abs=1e-9)
    assert more[~is_track] == pytest.approx(0.04, abs=1e-9)


def test_queries_of_endpoints_of_ones_own_are_not_learned_as_writes() -> None:
    """A search without a cache makes queries; only what states a write makes one, on a hit, too."""

    def shop(**tiers: Any) -> Scenario:
        document = {
            **STATED,
            "traffic": {"stages": [{"rate": 60}]},
            "subjects": {"item": {"count": 300}},
            "endpoints": {
                "items": {
                    "path": "/items/{item}", "weight": 1, "cpu": "0ms",
                    "reads": [{"type": "item", "ttl": "60s", "queries": 1}],
                },
                "search": {"path": "/search", "queries": 2, "weight": 2, "cpu": "0ms"},
                "orders": {
                    "path": "/orders/{item}", "method": "PUT", "weight": 2, "cpu": "0ms",
                    "reads": [{"type": "item", "ttl": "60s", "queries": 1}], "writes": 1,
                },
            },
            "tiers": {"single_flight": False, **tiers},
        }  # fmt: skip
        return parse_scenario(document, source="test")

    user = shop()
    bounds = CalibrationBounds(rate=30, seconds=40)
    workload = learning_workload(user, prepare(user).workload, bounds)
    truth = shop(l3={"round_trip": "20ms", "read_execution": "1ms", "write_execution": "8ms"})
    known = learn(user, load_of(truth, workload))
    orders = int((workload.endpoint == user.endpoints.index("orders")).sum())
    assert known.tiers["l3.write_execution"].samples == orders
    times = known.apply(user).tiers.l3
    assert times.write_execution.mean == pytest.approx(8e-3, rel=0.1)
    assert times.read_execution.mean == pytest.approx(1e-3, abs=0.5e-3)
    assert times.round_trip.mean == pytest.approx(20e-3, rel=0.05)
