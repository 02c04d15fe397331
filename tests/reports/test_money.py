"""Claims about money in reports: tables, sentences, and the figure of money against latency."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.cost.cost import cost_of_record
from core.metrics.record import RunRecord
from core.scenario.scenario import Scenario
from reports import money, style
from reports.tradeoff import Choice, choice_of, choices_table, headline, tradeoff
from tests.reports import records


def charged(record: RunRecord, **prices: object) -> RunRecord:
    """Return *record* with its cost."""
    scenario = Scenario.model_validate({**records.SCENARIO.model_dump(), "prices": prices})
    cost = cost_of_record(scenario, record, key_writes=3)
    assert cost is not None
    return replace(record, cost=cost.to_json())


PREDICTED, MEASURED = charged(records.predicted()), charged(records.measured())


def test_both_sides_stand_beside_each_other() -> None:
    table = money.money_table(PREDICTED, MEASURED)
    assert table[0][:3] == ("cost", "1M requests, predicted", "1M requests, measured")
    assert [row[0] for row in table[1:]] == ["Workers", "KV", "D1", "Queues", "total"]
    assert all(cell.startswith("$") for row in table[1:] for cell in row[1:4])


def test_products_add_up_to_the_total() -> None:
    cost = money.decisive(PREDICTED, None)
    assert cost is not None
    assert sum(map(cost.million_of, ("workers", "kv", "d1", "queues"))) == pytest.approx(
        cost.per_million
    )


def test_a_record_of_before_there_was_cost_shows_none() -> None:
    record = records.predicted()
    assert len(money.money_table(record, None)) == 1
    assert money.money_lines(record, None) == []
    assert money.data(record, None) == {"cost": {}}


def test_what_would_be_refused_is_named_once() -> None:
    lines = money.money_lines(PREDICTED, None)
    assert sum("3 writes of one key" in line for line in lines) == 1
    assert lines[0].startswith(
        "The paid plan would refuse: 3 writes of one key of KV within a second, 1 allowed"
    )
    assert lines[-1].startswith("The free plan would refuse: ")


def test_on_the_free_plan_its_refusals_are_the_runs() -> None:
    lines = money.money_lines(charged(records.predicted(), plan="free"), None)
    assert all(line.startswith("The free plan would refuse: ") for line in lines)
    assert any("requests a day, 100,000 allowed" in line for line in lines)


def test_an_unseen_read_is_said_in_place_of_a_bill() -> None:
    record = charged(replace(records.measured(), reads={}))
    assert len(money.money_table(None, record)) == 1
    (line, *_) = money.money_lines(None, record)
    assert line.startswith("Cost: cannot be told; nobody knows who answered ")


def choice(**changes: object) -> Choice:
    told = {
        "field": "tiers.l1.ttl", "value": "x1", "per_million": 4.0, "per_month": 2000.0,
        "mean": 0.02, "p95": 0.04, "hits": 0.97, "is_base": True,
    }  # fmt: skip
    return Choice(**{**told, **changes})  # type: ignore[arg-type]  # fields as they are


CHOICES = (
    choice(value="x0.25", per_million=4.4, mean=0.021, is_base=False),
    choice(),
    choice(value="x4", per_million=3.8, mean=0.022, is_base=False),
    choice(field="tiers.l2.ttl"),
    choice(field="tiers.l2.ttl", value="60s", per_million=4.1, mean=0.018, is_base=False),
)


def test_the_headline_names_the_cheapest_and_the_fastest() -> None:
    assert headline(CHOICES) == (
        "L1's TTL × 4 is cheapest, $3.80 a million requests at 22.0 ms; L2's TTLs 60s is fastest, "
        "$4.10 a million requests at 18.0 ms"
    )
    assert headline(CHOICES[1:2]).startswith("The scenario as it is is cheapest and fastest")


def test_a_value_that_changes_nothing_is_not_called_cheapest() -> None:
    same = choice(value="x0.25", is_base=False)
    dearer = choice(value="x4", per_million=5.0, is_base=False)
    assert headline((same, choice(), dearer)).startswith("The scenario as it is is cheapest and")
    assert headline((same, choice())) == (
        "No value of these changes cost or latency: $4.00 a million requests at 20.0 ms"
    )


def test_every_choice_stands_in_the_table() -> None:
    table = choices_table(CHOICES)
    assert len(table) == 1 + len(CHOICES)
    assert table[2][1] == "x1 (as it is)"


def test_the_figure_draws_a_line_for_each_field() -> None:
    figure = tradeoff(CHOICES)
    assert style.finding(figure) == headline(CHOICES)
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"as it is", "L1's TTL × 0.25", "L2's TTLs 60s", "× 4"} <= texts


def test_one_choice_is_no_trade_off() -> None:
    with pytest.raises(ValueError, match="two choices"):
        tradeoff(CHOICES[:1])


def test_a_run_without_a_bill_is_no_choice() -> None:
    assert choice_of("tiers.l1.ttl", "x1", records.predicted(), is_base=True) is None
    found = choice_of("tiers.l1.ttl", "x1", PREDICTED, is_base=True)
    assert found is not None
    assert found.per_million == PREDICTED.cost["figures"]["cost_per_million"]
