"""Claims about the cost of simulated runs: it is that of what the stores were asked for."""

from __future__ import annotations

import pytest

from core.cost.cost import recorded
from core.cost.tally import tally_of
from core.cost.usage import usage_of
from core.metrics.kpi import parse_kpi
from core.scenario.replay import prepare
from sim.engine_name import EngineName
from sim.rates import why
from sim.simulate import simulate
from tests.sim.runs import small_scenario


@pytest.mark.parametrize("start", ["warm", "cold"])
def test_reads_and_writes_of_the_store_are_the_operations_that_it_had(start: str) -> None:
    # Without a warm-up all requests are judged, as all operations are counted.
    scenario = small_scenario(warm_up="0s", duration="3s", start=start)
    record = simulate(scenario, replications=0).record
    units = usage_of(scenario, tally_of(record)).units
    assert units["kv.reads"] + units["kv.writes"] == record.counters["l2_operations"]
    assert units["kv.writes"] == record.counters["loads"] > 0


@pytest.mark.parametrize("stale", ["0s", "1s"])
@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_values_too_old_to_keep_are_deleted_and_charged(engine: EngineName, stale: str) -> None:
    # A database that takes longer than the TTL: nothing that is loaded is worth a put.
    scenario = small_scenario(
        warm_up="0s", duration="2s", start="cold",
        tiers={
            "stale_if_error": stale,
            "l2": {"ttl": {"lookup_data": "1ms"}},
            "l3": {"round_trip": "20ms"},
        },
    )  # fmt: skip
    record = simulate(scenario, replications=0, engine=engine).record
    counters, outlived = record.counters, record.reads["lookup"]["miss"]
    assert counters["loads_outlived"] == outlived > 0
    # Only an older value that is still kept has to go.
    assert counters["l2_deletes"] == (outlived if stale == "1s" else 0)
    assert counters["l2_lists"] == 0
    units = usage_of(scenario, tally_of(record)).units
    assert units["kv.writes"] == counters["loads"] - outlived
    assert units["kv.deletes"] == counters["l2_deletes"]
    charged = sum(units[f"kv.{what}"] for what in ("reads", "writes", "deletes"))
    assert charged == counters["l2_operations"]


def test_both_engines_charge_the_same() -> None:
    scenario = small_scenario(duration="3s", start="cold")
    one, other = (
        simulate(scenario, replications=0, engine=engine).record
        for engine in ("reference", "compiled")
    )
    assert one.cost == other.cost
    cost = recorded(one)
    assert cost is not None
    assert cost.per_million is not None
    assert cost.figures["kv_key_writes"] >= 1


def test_a_cold_start_of_many_isolates_writes_one_key_too_often() -> None:
    scenario = small_scenario(
        rate=400.0, warm_up="0s", duration="1s", start="cold",
        topology={"isolates": 32}, traffic={"stages": [{"rate": 400.0}], "sites": 1, "users": 50},
    )  # fmt: skip
    cost = recorded(simulate(scenario, replications=0).record)
    assert cost is not None
    assert cost.figures["kv_key_writes"] > 1
    assert any(each.limit == "kv_key_writes" for each in cost.refused)


def test_a_plan_says_why_money_cannot_be_told() -> None:
    kpi = parse_kpi("cost_per_million", "< $2", "> $3")
    assert why(small_scenario(), kpi) == "what the requests use of the platform is not stated"


def test_an_endpoint_whose_queries_nobody_states_leaves_no_bill() -> None:
    own = {
        "preset": "cdp",
        "items": {"path": "/items/{user_id}", "reads": [{"type": "item"}], "weight": 1.0},
    }
    record = simulate(small_scenario(endpoints=own), replications=0).record
    cost = recorded(record)
    assert cost is not None
    assert cost.per_million is None
    assert "cost_per_million" not in cost.figures


def test_replications_give_cost_an_interval() -> None:
    scenario = small_scenario(
        duration="2s", kpis=[{"metric": "cost_per_million", "target": "< $100", "alert": "> $200"}]
    )
    record = simulate(scenario, replications=2).record
    (kpi,) = scenario.judged()
    found = record.estimate(kpi.metric)
    assert found is not None
    assert found.runs == 3
    assert found.interval is not None
    assert found.interval[0] <= record.cost["figures"]["cost_per_million"] * 1.5


def test_requests_that_visitors_had_no_time_left_for_take_nothing_off_the_bill() -> None:
    # Answers take so long that most of the planned requests are not sent before the end.
    scenario = small_scenario(
        warm_up="0s", traffic={"sessions": {"requests": 8, "think": "500ms"}},
        tiers={"l3": {"read_execution": "1s", "write_execution": "400ms"}},
    )  # fmt: skip
    run = simulate(scenario, replications=0)
    assert run.requests.intended.size < len(prepare(scenario).workload) / 2
    assert tally_of(run.record).counters == run.record.counters
