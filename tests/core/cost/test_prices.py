"""Claims about prices: one dated list, changed by a scenario or a file, and never in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError
from core.scenario.file import load_scenario, parse_scenario, scenario_data, scenario_hash
from core.scenario.prices import Prices, list_prices, price_file, read_prices
from core.scenario.scenario import Scenario


def test_the_list_names_its_date_and_a_source_for_each_product() -> None:
    text = price_file().read_text(encoding="utf-8")
    assert list_prices()["date"] == "2026-11-28"
    for product in ("workers", "kv", "d1", "queues", "limits"):
        line = next(line for line in text.splitlines() if line.startswith(f"[{product}"))
        assert "#" in line, f"[{product}] has no source"


def test_every_unit_of_the_list_has_a_price() -> None:
    meters = {f"{product}.{unit}": meter for product, unit, meter in Prices().meters()}
    assert len(meters) == 11
    assert all(meter.price > 0 for meter in meters.values())
    assert meters["kv.writes"].price == 5.0
    assert meters["d1.rows_written"].included == 50e6


def test_a_scenario_changes_one_price_and_keeps_the_rest() -> None:
    changed = Scenario(name="x", prices={"kv": {"reads": {"price": 0.1}}}).prices
    assert changed.kv.reads.price == 0.1
    assert changed.kv.reads.included == 10e6
    assert changed.kv.writes == Prices().kv.writes


def test_a_scenario_at_list_prices_is_as_without_the_table() -> None:
    plain, told = Scenario(name="x"), Scenario(name="x", prices=dict(list_prices()))
    assert "prices" not in scenario_data(told)
    assert scenario_hash(plain) == scenario_hash(told)


def test_changed_prices_are_kept_with_the_scenario() -> None:
    changed = Scenario(name="x", prices={"plan": "free"})
    again = parse_scenario(scenario_data(changed), source="a record")
    assert again.prices == changed.prices
    assert scenario_hash(changed) != scenario_hash(Scenario(name="x"))


def test_a_file_of_prices_goes_before_those_of_the_scenario(tmp_path: Path) -> None:
    scenario, prices = tmp_path / "s.toml", tmp_path / "p.toml"
    scenario.write_text(
        'name = "s"\n[prices.kv]\nreads = { price = 0.3 }\nwrites = { price = 4 }\n',
        encoding="utf-8",
    )
    prices.write_text("[kv]\nreads = { price = 0.2 }\n", encoding="utf-8")
    found = load_scenario(scenario, prices=prices).prices.kv
    assert (found.reads.price, found.writes.price, found.lists.price) == (0.2, 4.0, 5.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[kv]\nreed = { price = 1 }", "kv.reed is no price"),
        ("[kv]\nreads = { price = -1 }", "kv.reads.price is '-1'"),
        ("[kv\n", "not valid TOML"),
        ('plan = "gold"', "plan is 'gold'"),
    ],
)
def test_what_is_no_price_is_refused_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_prices(path)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_missing_file_of_prices_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: no such file"):
        read_prices(tmp_path / "none.toml")
