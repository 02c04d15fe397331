"""Claims about the bill: counts times prices, what the plan includes, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.cost import rows
from core.cost.cost import MONTH, Cost, cost_of
from core.cost.tally import Tally
from core.query.row_counts import row_counts
from core.scenario.scenario import Scenario

READS = {
    "config": {"l1": 900, "l2": 100},
    "lookup": {"l1": 500, "l2": 400, "miss": 100},
    "journey": {"l2": 50, "miss": 50},
}


def tally(**changes: Any) -> Tally:
    """Return a run of 1,100 requests in 10 s, 60 of whose 1,000 events are conversions."""
    told: dict[str, Any] = {
        "seconds": 10.0,
        "requests": {"track": 1000, "journey": 100},
        "reads": READS,
        "counters": {"conversions_processed": 60.0, "queue_batches": 10.0},
        "cpu": 0.001,
        "key_writes": 1,
    }
    return Tally(**{**told, **changes})


def scenario(**data: Any) -> Scenario:
    return Scenario(**{"name": "x", **data})


def line(cost: Cost, name: str) -> Any:
    product, _, unit = name.partition(".")
    return next(each for each in cost.lines if (each.product, each.unit) == (product, unit))


def test_each_unit_is_counted_from_who_answered() -> None:
    cost = cost_of(scenario(), tally())
    per_million = 1_000_000 / 1100
    assert line(cost, "workers.requests").per_million == pytest.approx(1110 * per_million)
    assert line(cost, "workers.cpu_ms").per_million == pytest.approx(1_000_000)
    assert line(cost, "kv.reads").per_million == pytest.approx(700 * per_million)
    assert line(cost, "kv.writes").per_million == pytest.approx(150 * per_million)
    assert line(cost, "queues.operations").per_million == pytest.approx(180 * per_million)
    results = rows.results(6.0, has_queue=False)
    assert line(cost, "d1.rows_written").per_million == pytest.approx(
        (3 * 1000 + 2 * 60 + 10 * results.written) * per_million
    )


def test_each_attempt_of_a_client_is_charged_and_what_is_left_out_is_said() -> None:
    plain, tried = cost_of(scenario(), tally()), cost_of(scenario(), tally(attempts=2.5))
    share = (1100 * 2.5 + 10) / 1110
    for name, factor in (("requests", share), ("cpu_ms", 2.5)):
        of = f"workers.{name}"
        assert line(tried, of).per_million == pytest.approx(factor * line(plain, of).per_million)
    assert line(tried, "kv.reads") == line(plain, "kv.reads")
    assert any(note.startswith("Clients made 2.50 attempts a request") for note in tried.notes)


def test_a_million_requests_cost_the_sum_of_their_units_at_list_prices() -> None:
    cost = cost_of(scenario(), tally())
    assert cost.per_million == pytest.approx(
        sum(each.per_million * each.price / 1e6 for each in cost.lines)
    )
    assert cost.per_million == pytest.approx(
        sum(map(cost.million_of, ("workers", "kv", "d1", "queues")))
    )
    assert cost.figures["cost_per_million"] == cost.per_million


def test_a_month_is_thirty_days_less_what_the_plan_includes() -> None:
    cost = cost_of(scenario(), tally())
    reads = line(cost, "kv.reads")
    assert reads.month == pytest.approx(70 * MONTH)
    assert reads.month_dollars == pytest.approx((70 * MONTH - 10e6) * 0.5 / 1e6)
    assert line(cost, "d1.rows_read").month_dollars == 0.0  # 25 G are included
    assert cost.per_month == pytest.approx(5 + sum(each.month_dollars for each in cost.lines))


def test_the_free_plan_has_no_bill_and_refuses_by_name() -> None:
    cost = cost_of(scenario(prices={"plan": "free"}), tally())
    assert cost.per_month == 0.0
    told = {each.limit: each.text for each in cost.refused}
    assert {"workers.requests", "kv.reads", "kv.writes", "d1.rows_written"} <= set(told)
    assert told["kv.reads"].startswith("6.05 M reads of KV a day, 100,000 allowed")


def test_a_read_of_the_store_is_charged_though_it_finds_nothing() -> None:
    hit = tally(reads={**READS, "journey": {"l2": 100}})
    miss = tally(reads={**READS, "journey": {"miss": 100}})
    counted = [line(cost_of(scenario(), each), "kv.reads").per_million for each in (hit, miss)]
    assert counted[0] == counted[1]


def test_deletes_and_lists_are_charged_and_are_what_l2_costs() -> None:
    counters = {"conversions_processed": 60.0, "queue_batches": 10.0}
    none = cost_of(scenario(), tally(counters=counters | {"l2_deletes": 0.0, "l2_lists": 0.0}))
    some = cost_of(scenario(), tally(counters=counters | {"l2_deletes": 44.0, "l2_lists": 11.0}))
    assert none.per_million is not None
    assert some.per_million is not None
    assert line(some, "kv.deletes").per_million == pytest.approx(40_000)
    assert line(some, "kv.lists").per_million == pytest.approx(10_000)
    more = (40_000 + 10_000) * 5 / 1e6
    assert some.per_million - none.per_million == pytest.approx(more)
    l2 = [next(s.dollars for s in each.savings if s.tier == "L2") for each in (none, some)]
    assert l2[0] - l2[1] == pytest.approx(more)
    free = cost_of(
        scenario(prices={"plan": "free"}),
        tally(counters=counters | {"l2_deletes": 44.0, "l2_lists": 11.0}),
    )
    told = {each.limit: each.text for each in free.refused}
    assert told["kv.deletes"].startswith("380,160 deletes of KV a day, 1,000 allowed")
    assert told["kv.lists"].startswith("95,040 lists of KV a day, 1,000 allowed")


def test_deletes_that_nobody_counted_are_named() -> None:
    note = "Deletes and lists of KV are left out: nobody counted them."
    assert note in cost_of(scenario(), tally()).notes
    told = cost_of(scenario(), tally(counters={"l2_deletes": 0.0, "l2_lists": 0.0}))
    assert note not in told.notes


def test_hits_of_l1_are_free() -> None:
    more = {**READS, "config": {"l1": 10_000, "l2": 100}}
    assert cost_of(scenario(), tally(reads=more)).per_million == pytest.approx(
        cost_of(scenario(), tally()).per_million
    )


def test_conversions_that_wait_in_rows_of_d1_write_there_and_use_no_queue() -> None:
    queues, d1 = (cost_of(scenario(prices={"queue": where}), tally()) for where in ("queues", "d1"))
    assert line(d1, "queues.operations").month == 0
    more = line(d1, "d1.rows_written").per_million - line(queues, "d1.rows_written").per_million
    # Each row is written with its index as it is queued, and deleted with the results.
    assert more == pytest.approx(60 * (2 + 1) * 1_000_000 / 1100)


def test_a_read_that_nobody_saw_leaves_no_bill() -> None:
    cost = cost_of(scenario(), tally(reads={"journey": READS["journey"]}))
    assert cost.per_million is None
    assert cost.lines == ()
    assert "cost_per_million" not in cost.figures
    assert cost.unknown == (
        "who answered 1,000 of 1,000 config reads", "who answered 1,000 of 1,000 lookup reads"
    )  # fmt: skip


def test_a_few_unseen_reads_are_those_of_failed_requests() -> None:
    few = {**READS, "config": {"l1": 860, "l2": 100}}
    assert cost_of(scenario(), tally(reads=few)).per_million is not None
    more = {**READS, "config": {"l1": 840, "l2": 100}}
    found = cost_of(scenario(), tally(reads=more))
    assert found.unknown == ("who answered 60 of 1,000 config reads",)


def test_cpu_that_no_service_tells_is_that_of_the_scenario_and_said_so() -> None:
    cost = cost_of(scenario(), tally(cpu=None))
    assert any("CPU time is that of the scenario" in note for note in cost.notes)
    seconds = line(cost, "workers.cpu_ms").per_million * 1100 / 1e9
    cpu = scenario().topology.cpu
    own = 1000 * cpu.of("track") + 100 * cpu.of("journey")
    # 850 operations of KV; of D1 150 loads, 1,000 events and 10 batches of two.
    assert seconds == pytest.approx(own + 850 * cpu.per_l2_operation + 1170 * cpu.per_l3_operation)


def test_l2_saves_queries_and_costs_money_at_list_prices() -> None:
    saved = {each.tier: each for each in cost_of(scenario(), tally()).savings}
    assert saved["L2"].dollars < 0 < saved["L2"].queries
    assert saved["L2"].queries == pytest.approx(55.0)
    assert saved["L1"].dollars > 0
    assert saved["batches"].dollars > 0 < saved["batches"].queries


def test_the_most_that_an_invocation_asks_for_is_that_of_its_deepest_reads() -> None:
    figures = cost_of(scenario(), tally()).figures
    # config: one read of KV; lookup: a read, a query, a write; the event, and its message.
    assert figures["subrequests"] == 1 + 3 + 2
    largest = row_counts().operations["results of 50"].statements
    assert figures["queries"] >= largest


def test_writes_of_one_key_beyond_the_limit_are_a_finding() -> None:
    assert not any(r.limit == "kv_key_writes" for r in cost_of(scenario(), tally()).refused)
    found = cost_of(scenario(), tally(key_writes=4)).refused
    text = next(each.text for each in found if each.limit == "kv_key_writes")
    assert "4 writes of one key of KV within a second, 1 allowed" in text
    assert "429" in text


def test_a_cost_survives_its_json() -> None:
    cost = cost_of(scenario(), tally())
    assert Cost.from_json(cost.to_json()) == cost
    assert json.loads(json.dumps(cost.to_json())) == cost.to_json()


def test_no_request_has_no_cost() -> None:
    with pytest.raises(ValueError, match="no request"):
        cost_of(scenario(), tally(requests={}))
