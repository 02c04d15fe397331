"""Claims about a day's curve and bursts: their stages, their arrivals against theory, bad input."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import expm

from core.errors import InputError
from core.scenario.file import load_scenario, parse_scenario, scenario_data
from core.scenario.pace import rate_of, with_rate
from core.scenario.scenario import Scenario
from core.scenario.workload import arrivals
from scenarios.catalogue import shipped
from tests.sim.runs import t_statistic

DAY = {"mean": 40.0, "ratio": 5.0, "period": "100s", "peak": "30s"}


def scenario(duration: str | None = "90s", **traffic: Any) -> Scenario:
    data: dict[str, Any] = {"name": "s", "warm_up": "10s", "traffic": traffic}
    if duration is not None:
        data["duration"] = duration
    return parse_scenario(data, source="s.toml")


def refusal(duration: str | None = "90s", **traffic: Any) -> str:
    with pytest.raises(InputError) as caught:
        scenario(duration, **traffic)
    return str(caught.value)


def rate_at(found: Scenario, time: float) -> float:
    start = 0.0
    for stage in found.traffic.stages:
        length = stage.duration or math.inf
        if time <= start + length:
            end = stage.rate if stage.ramp_to is None else stage.ramp_to
            return stage.rate + (end - stage.rate) * (time - start) / length
        start += length
    raise AssertionError("the curve is over")


def test_a_sine_has_its_mean_its_ratio_and_its_peak() -> None:
    found = scenario(daily=DAY)
    rates = [rate for s in found.traffic.stages for rate in (s.rate, s.ramp_to or s.rate)]
    assert max(rates) / min(rates) == pytest.approx(5.0)
    assert rate_at(found, 30.0) == max(rates) == pytest.approx(40 * (1 + 4 / 6))
    area = sum(
        (s.rate + (s.rate if s.ramp_to is None else s.ramp_to)) / 2 * (s.duration or 0)
        for s in found.traffic.stages
    )
    assert area == pytest.approx(40.0 * 100)
    for time in np.linspace(0.0, 100.0, 37).tolist():
        exact = 40 * (1 + 4 / 6 * math.cos(2 * math.pi * (time - 30) / 100))
        assert rate_at(found, time) == pytest.approx(exact, abs=0.02)


def test_arrivals_of_a_sine_follow_it() -> None:
    found = scenario(daily=DAY)
    drawn = [arrivals(found, replication=number) / 1e9 for number in range(40)]
    assert abs(t_statistic([float(times.size) for times in drawn], 4000.0)) < 3.5
    swing = 4 / 6
    for start in range(0, 100, 20):
        turns = [2 * math.pi * (edge - 30) / 100 for edge in (start, start + 20)]
        wave = (math.sin(turns[1]) - math.sin(turns[0])) * 100 / (2 * math.pi)
        counts = [float(np.count_nonzero((t >= start) & (t < start + 20))) for t in drawn]
        assert abs(t_statistic(counts, 40 * (20 + swing * wave))) < 3.5
        assert abs(t_statistic(counts, 40 * 20)) > 3.5 or start == 40  # which a flat rate is not


def test_a_sine_of_too_many_periods_is_refused() -> None:
    assert len(scenario(daily={**DAY, "period": "1s"}).traffic.stages) > 9_000
    with pytest.raises(InputError, match=r"daily\.period is 0\.1s, which is 1,000 periods"):
        scenario(daily={**DAY, "period": "100ms"})


def test_a_run_without_a_duration_lasts_a_period_and_a_shorter_one_says_so(tmp_path: Path) -> None:
    assert scenario(None, daily=DAY).total_time == 100.0
    path = tmp_path / "s.toml"
    path.write_text(
        'name = "s"\nwarm_up = "10s"\nduration = "20s"\n[traffic]\n'
        'daily = { mean = 40.0, period = "100s" }\n'
    )
    told: list[str] = []
    load_scenario(path, on_notice=told.append)
    assert told == [
        "the run has the first 30 s of traffic.daily, which lasts 100 s; leave duration out to "
        "play all of it"
    ]


def test_the_rate_of_a_curve_is_its_highest_and_is_scaled_as_that_of_stages_is() -> None:
    found = scenario(daily=DAY)
    assert rate_of(found) == pytest.approx(40 * (1 + 4 / 6))
    assert rate_at(with_rate(found, 100.0), 30.0) == pytest.approx(100.0)


def test_a_curve_is_stages_for_records_and_plans() -> None:
    found = scenario(daily=DAY, bursts={"rates": [1, 8], "sojourns": ["9s", "1s"]})
    data = scenario_data(found)
    assert {"daily", "rates"}.isdisjoint(data["traffic"])
    assert parse_scenario(data, source="record") == found


@pytest.mark.parametrize("between", ["lines", "steps"])
def test_a_table_of_rates_is_played_from_its_file(tmp_path: Path, between: str) -> None:
    (tmp_path / "day.csv").write_text("time,rate\n08:00,10\n08:01,30\n\n482min,0\n29000,20\n")
    path = tmp_path / "s.toml"
    path.write_text('name = "s"\nwarm_up = "0s"\n[traffic]\nrates = "day.csv"\n')
    how = f"traffic.rates.between={between}"
    found = load_scenario(path, overrides=[how])
    assert found.total_time == (200.0 if between == "lines" else 280.0)
    expected = {"lines": [(0, 10), (30, 20), (60, 30), (160, 10)], "steps": [(1, 10), (90, 30)]}
    for time, rate in expected[between]:
        assert rate_at(found, time) == pytest.approx(rate)
    if between == "steps":
        assert rate_at(found, 190) == 0
        assert rate_at(found, 279) == 20
    # From the second minute on, four times as fast: the rates stay.
    part = ["traffic.rates.start=1min", "traffic.rates.speed=4"]
    faster = load_scenario(path, overrides=[how, *part])
    assert faster.total_time == pytest.approx((found.total_time - 60) / 4)
    assert rate_at(faster, 0.0) == 30
    assert rate_at(faster, (160 - 60) / 4) == pytest.approx(rate_at(found, 160))


def test_a_curve_of_the_command_line_goes_before_the_files_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.csv").write_text("rate,time\n10,0\n30,20\n")
    found = load_scenario(shipped()["baseline"], overrides=["traffic.rates=own.csv", "duration=9s"])
    assert rate_at(found, 10.0) == pytest.approx(20.0)
    daily = load_scenario(shipped()["flash-crowd"], overrides=["traffic.daily={mean=9.0}"])
    assert daily.traffic.stages[0].rate < 20


BAD_TABLES = {
    "at,rate\n0,1\n1,2\n": "line 1: the columns are 'at, rate'; name them time and rate",
    "time,rate\n0,1\n": "has 1 rows with a rate; a curve needs two",
    "time,rate\n0,1\n0,2\n": "line 3: the time 0 is not after the one before; sort it",
    "time,rate\n0,1\nnoon,2\n": "line 3: the time is 'noon'; give seconds, a duration",
    "time,rate\n0,1\n5,-2\n": "line 3: the rate is '-2'; give requests/s",
    "time,rate\n0,1\n5,nan\n": "line 3: the rate is 'nan'; give requests/s",
    "time,rate\n0,1\n5\n": "line 3: lacks a column",
    "time,rate\n0,0\n5,0\n": "every rate is 0",
}


@pytest.mark.parametrize("text", BAD_TABLES)
def test_a_bad_table_is_refused_with_its_line_and_the_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / "day.csv").write_text(text)
    path = tmp_path / "s.toml"
    path.write_text('name = "s"\n[traffic]\nrates = "day.csv"\n')
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: traffic.rates: {tmp_path}/day.csv")
    assert BAD_TABLES[text] in line


def test_a_table_that_is_missing_or_too_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('name = "s"\n[traffic]\nrates = "none.csv"\n')
    with pytest.raises(InputError, match=r"none\.csv cannot be read \(no such file\); give a CSV"):
        load_scenario(path)
    with pytest.raises(InputError, match=r"^--set traffic\.rates=n\.csv: traffic\.rates: n\.csv"):
        load_scenario(shipped()["baseline"], overrides=["traffic.rates=n.csv"])
    rows = [(0.0, 5.0), (40.0, 6.0)]
    assert "rates last 40s from their start on, and warm_up and duration 100s" in refusal(
        rates={"rows": rows}
    )
    assert "rates.start is 50s, and the table lasts 40s" in refusal(
        rates={"rows": rows, "start": "50s"}
    )
    assert "daily and stages are curves of the rate" in refusal(daily=DAY, stages=[{"rate": 1.0}])


BURSTS = (
    {"rates": [1, 6], "sojourns": ["8s", "2s"]},
    {"rates": [0, 1, 5], "sojourns": ["1s", "3s", "2s"]},
)


def moments(bursts: dict[str, Any], rate: float, span: float) -> tuple[float, float]:
    """Return mean and index of dispersion of the arrivals in *span* s of a stationary MMPP.

    Fischer and Meier-Hellstern, "The Markov-modulated Poisson process (MMPP) cookbook", 1993.
    """
    sojourns = np.array([float(text[:-1]) for text in bursts["sojourns"]])
    n = sojourns.size
    generator = np.full((n, n), 1.0) / (n - 1) / sojourns[:, None]
    np.fill_diagonal(generator, -1 / sojourns)
    share = sojourns / sojourns.sum()
    rates = np.array(bursts["rates"], dtype=float)
    rates *= rate / (share @ rates)
    always: NDArray[np.float64] = np.outer(np.ones(n), share)
    deviation = np.linalg.inv(always - generator) - always
    decay = deviation @ (np.eye(n) - expm(generator * span))
    weighted = share * rates
    variance = 2 * (weighted @ deviation @ rates * span - weighted @ deviation @ decay @ rates)
    return rate * span, 1 + float(variance) / (rate * span)


@pytest.mark.parametrize("bursts", BURSTS, ids=["two states", "three states"])
def test_bursts_keep_the_mean_and_have_the_dispersion_of_an_mmpp(bursts: dict[str, Any]) -> None:
    rate, span = 20.0, 10.0
    found = scenario("990s", stages=[{"rate": rate}], bursts=bursts)
    mean, dispersion = moments(bursts, rate, span)
    assert dispersion > 10
    counts, spread = [], []
    for number in range(50):
        times = arrivals(found, replication=number) / 1e9
        windows = np.histogram(times, np.arange(0.0, 1000.1, span))[0]
        counts.append(float(windows.mean()))
        spread.append(float(((windows - mean) ** 2).mean() / mean))
    assert abs(t_statistic(counts, mean)) < 3.5
    assert abs(t_statistic(spread, dispersion)) < 3.5
    # It has the power to tell a tenth: of the dispersion, as of a Poisson process.
    assert abs(t_statistic(spread, 0.8 * dispersion)) > 3.5
    assert abs(t_statistic(spread, 1.0)) > 10


def test_the_states_follow_from_the_seed_and_not_from_the_rate() -> None:
    bursts = BURSTS[0]
    slow, fast = (scenario(stages=[{"rate": rate}], bursts=bursts) for rate in (20.0, 200.0))
    paths = [
        s.traffic.bursts.path(100.0, seed=1, replication=r)
        for s in (slow, fast)
        for r in (0, 1)
        if s.traffic.bursts is not None
    ]
    assert paths[0] == paths[2] != paths[1]
    factors = {factor for _, factor in paths[0]}
    assert factors <= {1 / 2, 6 / 2}
    assert [a != b for (_, a), (_, b) in zip(paths[0], paths[0][1:], strict=False)] == [True] * (
        len(paths[0]) - 1
    )


def test_bursts_multiply_a_curve_too() -> None:
    bursts = {"rates": [1, 3], "sojourns": ["1s", "1s"]}
    found = scenario(daily=DAY, bursts=bursts)
    counts = [
        float(np.count_nonzero(arrivals(found, replication=number) < 50e9)) for number in range(60)
    ]
    # Of the sine from 0 to 50 s.
    wave = (math.sin(2 * math.pi * 0.2) - math.sin(-2 * math.pi * 0.3)) * 100 / (2 * math.pi)
    assert abs(t_statistic(counts, 40 * (50 + 4 / 6 * wave))) < 3.5


def test_bad_bursts_are_refused() -> None:
    assert "bursts has 2 rates and 1 sojourns" in refusal(
        bursts={"rates": [1, 2], "sojourns": ["1s"]}
    ) or "at least 2" in refusal(bursts={"rates": [1, 2], "sojourns": ["1s"]})
    assert "bursts has 2 rates and 3 sojourns" in refusal(
        bursts={"rates": [1, 2], "sojourns": ["1s", "1s", "2s"]}
    )
    assert "bursts.rates are all 0" in refusal(bursts={"rates": [0, 0], "sojourns": ["1s", "1s"]})
    assert "which has no effect" in refusal(bursts={"rates": [2, 2], "sojourns": ["1s", "1s"]})
    with pytest.raises(ValueError, match="give longer sojourns"):
        arrivals(
            scenario("30000s", stages=[{"rate": 0.01}],
                     bursts={"rates": [1, 2], "sojourns": ["1ms", "20ms"]})
        )  # fmt: skip


def test_what_a_trace_replaces_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys.csv").write_text("time,key\n" + "".join(f"{t},{t}\n" for t in range(90)))
    trace = {"file": str(tmp_path / "keys.csv")}
    for given, told in (
        ("traffic.sessions={requests=2.0}", "traffic.sessions has no effect: a trace has its own"),
        ("traffic.bursts={rates=[1,2],sojourns=['1s','1s']}", "traffic.bursts has no effect: the"),
        ("traffic.daily={mean=9.0}", "traffic.daily has no effect: the trace has times of its own"),
    ):
        with pytest.raises(InputError) as caught:
            load_scenario(shipped()["baseline"], overrides=[given], trace=trace)
        assert f"--set {given}: {told}" in str(caught.value)
