"""Claims about the tables beside an account, by plain Python over journeys."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.attribution import anatomy as module
from core.attribution.account import account_of
from core.attribution.anatomy import CONVERSION, NULL, START, Anatomy
from core.attribution.costs import costed, read_costs
from core.attribution.models import BUILT_IN
from core.attribution.parameters import Parameters
from core.attribution.paths import Paths, chosen_paths
from core.attribution.periods import Trend, compared, day_name, parse_days, period_of
from core.attribution.study import Study, Table
from core.errors import InputError
from tests.core.attribution.flat import DAY_MS, channels_of, path_sets, paths_from

PLAIN = Parameters()


def tables_of(paths: Paths, cut: int = 0) -> dict[str, Table]:
    """Return the tables of *paths*, added in two parts."""
    anatomy = Anatomy(PLAIN)
    for part in (np.arange(min(cut, len(paths))), np.arange(min(cut, len(paths)), len(paths))):
        anatomy.add(chosen_paths(paths, part))
    account = account_of(paths, PLAIN, models=["data_driven"], minimum=1)
    return {table.name: table for table in anatomy.tables(account.fitted)}


@given(path_sets(), st.integers(0, 8))
def test_tables_are_those_of_plain_python(paths: Paths, cut: int) -> None:
    tables = tables_of(paths, cut)
    steps: Counter[tuple[str, str]] = Counter()
    walked: Counter[str] = Counter()
    last: Counter[str] = Counter()
    first: Counter[str] = Counter()
    assisted: Counter[str] = Counter()
    lengths: Counter[str] = Counter()
    top: Counter[str] = Counter()
    for n in range(len(paths)):
        channels = channels_of(paths, n)
        converted, lost = float(paths.conversions[n]), float(paths.nulls[n])
        for before, after in zip((START, *channels), (*channels, ""), strict=True):
            if after:
                steps[before, after] += converted + lost  # type: ignore[assignment]  # fractions
            else:
                steps[before, CONVERSION] += converted  # type: ignore[assignment]  # as above
                steps[before, NULL] += lost  # type: ignore[assignment]  # as above
            walked[before] += converted + lost  # type: ignore[assignment]  # as above
        lengths[str(len(channels))] += converted  # type: ignore[assignment]  # as above
        if channels:
            top[" > ".join(channels)] += converted  # type: ignore[assignment]  # as above
            first[channels[0]] += converted  # type: ignore[assignment]  # as above
            last[channels[-1]] += converted  # type: ignore[assignment]  # as above
            for channel in set(channels) - {channels[-1]}:
                assisted[channel] += converted  # type: ignore[assignment]  # as above
    found = {(row[0], row[1]): row[2:] for row in tables["transitions"].rows}
    assert {key: count for key, (count, _) in found.items()} == pytest.approx(
        {key: count for key, count in steps.items() if count}
    )
    for (source, _), (count, share) in found.items():
        assert share == pytest.approx(float(count or 0) / walked[str(source)])
    for key, opened, ended, helped, ratio, *_ in tables["roles"].rows:
        name = str(key)
        assert [opened, ended, helped] == pytest.approx([first[name], last[name], assisted[name]])
        assert ratio == (pytest.approx(assisted[name] / last[name]) if last[name] else None)
    rows = {str(row[0]): float(row[1] or 0) for row in tables["lengths"].rows if row[1]}
    assert rows == pytest.approx({key: count for key, count in lengths.items() if count})
    rows = {str(row[0]): float(row[1] or 0) for row in tables["paths"].rows}
    assert rows == pytest.approx({key: count for key, count in top.items() if count})


def test_rare_paths_are_dropped_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PATHS", 4)
    paths = paths_from([(["a"] * (n + 1), float(10 - n), 0.0, 1.0) for n in range(8)])
    table = tables_of(paths, 6)["paths"]
    assert table.rows[0][:2] == ("a", 10)
    assert len(table.rows) <= 4
    assert "rare ones were dropped" in table.how


def timed(days: list[tuple[list[str], int, int]]) -> Paths:
    """Return converting paths of (channels, day of the first touch, day of the conversion)."""
    rows = [(channels, 1.0, 2.0, 0.0) for channels, _, _ in days]
    paths = paths_from(rows, times=[[start * DAY_MS] * len(c) for c, start, _ in days])
    when = np.array([end * DAY_MS + 3_600_000 for _, _, end in days], dtype=np.int64)
    return Paths(
        channels=paths.channels, codes=paths.codes, offsets=paths.offsets,
        conversions=paths.conversions, nulls=paths.nulls, values=paths.values,
        times_ms=paths.times_ms, converted_ms=when,
    )  # fmt: skip


def test_time_lag_counts_whole_days_from_the_first_touch() -> None:
    anatomy = Anatomy(PLAIN)
    anatomy.add(timed([(["a", "b"], 19_000, 19_000), (["a"], 19_000, 19_003), (["b"], 1, 900)]))
    (lags,) = [table for table in anatomy.tables(None) if table.name == "lags"]
    assert [row[:2] for row in lags.rows] == [("0", 1), ("3", 1), ("100 or more", 1)]


@pytest.mark.parametrize(
    ("day", "week"), [("2026-01-01", "2025-12-29"), ("2026-01-04", "2025-12-29"),
                      ("2026-01-05", "2026-01-05"), ("1970-01-01", "1969-12-29")],
)  # fmt: skip
def test_a_week_begins_on_monday(day: str, week: str) -> None:
    found = parse_days(day)
    assert found is not None
    place = found[0]
    assert place is not None
    times = np.array([place * DAY_MS, (place + 1) * DAY_MS - 1])
    assert [day_name(found) for found in period_of(times, "week").tolist()] == [week] * 2
    assert [day_name(found) for found in period_of(times, "day").tolist()] == [day] * 2
    assert (parse_days("2026-W02"), parse_days("soon")) == (range(20458, 20465), None)
    assert parse_days("2026-02") == range(20485, 20513)


def test_trend_is_the_account_of_each_period() -> None:
    paths = timed([(["a", "b"], 19_000, 19_001), (["b", "c"], 19_001, 19_001), (["c"], 3, 19_008)])
    account = account_of(paths, PLAIN, minimum=1)
    trend = Trend(
        by="day", models=list(BUILT_IN.values()), parameters=PLAIN, fitted=account.fitted
    )  # fmt: skip
    for part in (np.array([0, 2]), np.array([1])):
        trend.add(chosen_paths(paths, part))
    rows = trend.table().rows
    for row in account.rows:
        own = [r for r in rows if (r[1], r[2]) == (row.model, row.channel)]
        assert sum(float(r[3] or 0) for r in own) == pytest.approx(row.conversions)
        assert sum(float(r[4] or 0) for r in own) == pytest.approx(row.value)
    day = account_of(chosen_paths(paths, np.array([0, 1])), PLAIN, fitted=account.fitted)
    found = {(r[1], r[2]): r[3] for r in rows if r[0] == day_name(19_001)}
    assert found == pytest.approx({(r.model, r.channel): r.conversions for r in day.rows
                                   if r.conversions})  # fmt: skip


@given(path_sets(), path_sets())
def test_parts_of_a_change_add_up_and_rules_have_no_part_of_credit(
    before: Paths, after: Paths
) -> None:
    old = account_of(before, PLAIN, minimum=1)
    new = account_of(after, PLAIN, minimum=1)
    table = compared(old, account_of(after, PLAIN, fitted=old.fitted), new)
    for _, model, _, first, last, change, volume, mix, credit in table.rows:
        assert change == pytest.approx(float(last or 0) - float(first or 0))
        assert float(volume or 0) + float(mix or 0) + float(credit or 0) == pytest.approx(
            change, abs=1e-9
        )
        if model != "data_driven":
            assert credit == pytest.approx(0, abs=1e-9)


def test_twice_the_journeys_are_volume_and_nothing_else() -> None:
    rows = [(["a", "b"], 10.0, 50.0, 20.0), (["b"], 5.0, 10.0, 40.0)]
    old = account_of(paths_from(rows), PLAIN)
    twice = paths_from([(c, 2 * n, 2 * v, 2 * lost) for c, n, v, lost in rows])
    table = compared(old, account_of(twice, PLAIN, fitted=old.fitted), account_of(twice, PLAIN))
    for row in table.rows:
        assert row[6] == pytest.approx(row[5])
        assert [row[7], row[8]] == pytest.approx([0, 0], abs=1e-9)


def test_costs_give_cpa_and_return_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "costs.csv"
    file.write_text("Channel;Cost;Period\nA;60;2026-01\na;40;2026-02\nradio;5;2026-01-03\n")
    account = account_of(
        paths_from([(["A", "b"], 10, 300, 5)]), PLAIN, models=["last_click", "linear"]
    )
    table, said = costed(account, read_costs(file)[0])
    rows = {row[:2]: row[2:] for row in table.rows}
    assert rows["linear", "A"] == (100, 5, 20, 150, 1.5, 0.5)
    assert rows["last_click", "A"] == (100, 0, None, 0, 0, -1)
    assert rows["linear", "b"] == (None, 5, None, 150, None, None)
    assert rows["linear", "radio"] == (5, 0, None, 0, 0, -1)
    assert rows["linear", "total"] == pytest.approx((105, 10, 10.5, 300, 300 / 105, 195 / 105))
    assert any("costs of 5 are of channels without a touch: 'radio'" in line for line in said)
    assert any("1 channel has no cost, such as 'b'" in line for line in said)
    february = 20485
    table, said = costed(account, read_costs(file)[0], lambda day: day >= february)
    assert {row[:2]: row[2] for row in table.rows}["linear", "A"] == 40
    assert said[0] == "costs of 65 lie outside of the time asked for and are left out"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("channel,clicks\na,3\n", "costs.csv:1: no columns channel and cost; its columns are"),
        ("channel,cost\na,12 €\n", "costs.csv:2: cost is '12 €'; a number of at least 0"),
        ("channel,cost\na,-3\n", "cost is '-3'"),
        ("channel,cost,period\na,3,soon\n", "costs.csv:2: period is 'soon'; write a date"),
        ("channel,cost\n", "has no rows below its header"),
        ("channel,cost\na\n", "costs.csv:2: has 1 column, fewer than the header"),
    ],
)
def test_unusable_costs_are_named_by_line_and_value(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "costs.csv"
    file.write_text(text)
    with pytest.raises(InputError) as refused:
        read_costs(file)
    assert said in str(refused.value)


def test_study_is_the_same_after_a_file() -> None:
    paths = paths_from([(["a", "b"], 10.0, 50.0, 20.0), (["b"], 5.0, 10.0, 40.0)])
    account = account_of(paths, PLAIN)
    tables = tuple(tables_of(paths).values())
    study = Study(account=account, source="x.csv", tables=tables, found={"shapley": {"a": 1}})
    assert Study.from_json(study.to_json()).to_json() == study.to_json()
    for broken in ({}, {**study.to_json(), "tables": [{"name": "x"}]}):
        with pytest.raises(InputError, match="no attribution can be read"):
            Study.from_json(broken)


def test_columns_of_costs_are_recognised_and_said_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "costs.csv"
    file.write_text("Report\nSource,Spend\na,5\n")
    costs, said = read_costs(file)
    assert [(cost.channel, cost.amount) for cost in costs] == [("a", 5.0)]
    assert said == [
        f"{file}: the header stands in line 2; line 1 before it is passed over",
        f"{file}: takes the column 'Source' as channel, 'Spend' as cost",
    ]
    file.write_text("channel,budget,cost\na,100,5\n")
    assert [cost.amount for cost in read_costs(file)[0]] == [5.0]
    file.write_text("channel,budget,spend\na,100,5\n")
    with pytest.raises(InputError, match=r"costs.csv:1: columns budget and spend may each be the "):
        read_costs(file)


def test_a_period_partly_inside_counts_by_its_days(tmp_path: Path) -> None:
    file = tmp_path / "costs.csv"
    file.write_text("channel,period,cost\na,2026-11,300\na,2026-W46,70\na,2026-12-01,9\n")
    account = account_of(paths_from([(["a"], 1, 1, 0)]), PLAIN, models=["linear"])
    first = (date(2026, 11, 1) - date(1970, 1, 1)).days
    table, said = costed(account, read_costs(file)[0], lambda day: first <= day < first + 10)
    assert table.rows[0][:2] == ("linear", "a")
    assert table.rows[0][2] == pytest.approx(300 * 10 / 30 + 70 * 2 / 7)
    assert said == [
        "costs of 9 lie outside of the time asked for and are left out",
        "costs of periods that lie partly outside of the time asked for count by their days: "
        "250 are left out",
    ]


def test_a_cost_is_of_one_channel_and_counts_once(tmp_path: Path) -> None:
    file = tmp_path / "costs.csv"
    file.write_text("channel,cost\nAds,60\nads,40\nMAIL,5\nradio,1\nRadio,2\n")
    account = account_of(
        paths_from([(["ads", "Ads"], 1, 1, 0), (["Mail"], 1, 1, 0)]), PLAIN, models=["linear"]
    )
    table, _ = costed(account, read_costs(file)[0])
    assert {row[1]: row[2] for row in table.rows} == {
        "Ads": 60.0, "ads": 40.0, "Mail": 5.0, "radio": 3.0, "total": 108.0,
    }  # fmt: skip
    file.write_text("channel,cost\nADS,60\n")
    with pytest.raises(InputError, match=r"'ADS' may be '[Aa]ds' or '[Aa]ds'; write its name"):
        costed(account, read_costs(file)[0])
