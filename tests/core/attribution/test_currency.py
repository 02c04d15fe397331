"""Claims about amounts in several currencies."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.attribution.costs import read_costs
from core.attribution.path_file import read_paths
from core.errors import InputError


def test_values_and_costs_of_two_currencies_are_refused(tmp_path: Path) -> None:
    paths, costs = tmp_path / "paths.csv", tmp_path / "costs.csv"
    head = "path,total_conversions,total_conversion_value,Currency\n"
    paths.write_text(f"{head}a > b,1,10,EUR\nb,0,0,USD\na,1,5,usd\n")
    with pytest.raises(InputError, match=r"paths.csv:4: currency is USD, and EUR at .*csv:2; "):
        read_paths(paths)
    costs.write_text("channel,cost,currency_code\na,5,EUR\nb,5,USD\n")
    with pytest.raises(InputError, match=r"costs.csv:3: currency is USD, and EUR"):
        read_costs(costs)


def test_one_currency_is_a_column_that_is_passed_over(tmp_path: Path) -> None:
    paths, costs = tmp_path / "paths.csv", tmp_path / "costs.csv"
    head = "path,total_conversions,total_conversion_value,currency\n"
    paths.write_text(f"{head}a > b,1,10,EUR\nb,0,0,USD\na,1,5,\na,1,5,eur\n")
    assert read_paths(paths)[0].values.tolist() == [10, 0, 5, 5]
    costs.write_text("channel,cost,currency\na,5,EUR\nb,0,USD\nb,5,EUR\n")
    assert sum(cost.amount for cost in read_costs(costs)[0]) == 10
