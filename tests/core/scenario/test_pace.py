"""Claims about the pace of a run: what a rate means, and that it changes nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from core.scenario.file import parse_scenario, scenario_data, scenario_hash
from core.scenario.pace import rate_of, with_rate, with_rate_text
from core.scenario.replay import prepare, prepare_measured
from core.scenario.scenario import Scenario

TIMES = [round(0.1 * index, 1) for index in range(100)]  # 10/s


def timed(folder: Path, times: list[float], name: str = "t.csv") -> str:
    path = folder / name
    rows = "".join(f"k{index % 7},{time}\n" for index, time in enumerate(times))
    path.write_text(f"key,time\n{rows}")
    return str(path)


def replayed(file: str | None, **fields: Any) -> Scenario:
    trace = {"file": file, **fields.pop("trace", {})}
    data = {"name": "p", "warm_up": "1s", "duration": "4s", "trace": trace}
    return Scenario.model_validate(data | fields)


def judged(scenario: Scenario) -> tuple[list[int], list[int]]:
    """Return the endpoints and subjects that *scenario* judges."""
    workload = prepare(scenario).workload
    after = workload.intended_ns >= scenario.warm_up * 1e9
    return workload.endpoint[after].tolist(), workload.subject[after].tolist()


def test_rate_of_a_timed_trace_is_the_mean_of_its_window(tmp_path: Path) -> None:
    file = timed(tmp_path, TIMES)
    assert rate_of(replayed(file)) == pytest.approx(10.0)
    assert rate_of(replayed(file, trace={"offset": 40})) == pytest.approx(10.0)
    assert rate_of(replayed(file, trace={"limit": 7})) == pytest.approx(10.0)
    # A trace that ends within the run: as far as it goes.
    assert rate_of(replayed(file, duration="400s")) == pytest.approx(10.0)
    assert rate_of(replayed(file, trace={"speed": 3.0})) == pytest.approx(30.0)
    assert rate_of(replayed(None)) == 240.0


@pytest.mark.parametrize("rate", [0.5, 2.4, 9.999, 10.0, 97.3, 2_000.0, 1e6])
@pytest.mark.parametrize("trace", [{}, {"offset": 13}, {"limit": 31}, {"speed": 0.37}])
def test_every_rate_judges_the_same_accesses_of_a_timed_trace(
    tmp_path: Path, rate: float, trace: dict[str, Any]
) -> None:
    asked = replayed(timed(tmp_path, TIMES), trace=trace, start="cold")
    scaled = with_rate(asked, rate)
    assert rate_of(scaled) == pytest.approx(rate)
    assert judged(scaled) == judged(asked)
    before, after = prepare(asked), prepare(scaled)
    faster = rate / rate_of(asked)
    assert after.workload.intended == pytest.approx(
        before.workload.intended / faster, abs=2e-9 + 1e-9 / faster
    )
    assert before.history is not None
    assert after.history is not None
    assert after.history.seconds == pytest.approx(before.history.seconds / faster)
    assert scaled.total_time == pytest.approx(asked.total_time / faster)
    assert scenario_hash(scaled) != scenario_hash(asked) or rate == rate_of(asked)
    # What a record keeps reads back as the same scenario.
    assert parse_scenario(scenario_data(scaled), source="record") == scaled


@given(
    steps=st.lists(st.integers(0, 30), min_size=3, max_size=60),
    rate=st.floats(1e-2, 1e5),
    whole=st.booleans(),
)
def test_accesses_at_the_window_s_edges_stay_on_their_side(
    steps: list[int], rate: float, whole: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    times = np.cumsum([0, 1, *steps]) / (10.0 if not whole else 1.0)
    folder = tmp_path_factory.mktemp("edges")
    file = timed(folder, [float(time) for time in times])
    asked = replayed(file, trace={"time_unit": "s"}, start="cold")
    if not rate_of(asked):
        return
    assert judged(with_rate(asked, rate)) == judged(asked)


@pytest.mark.parametrize("rate", [1e-300, 1e6])
def test_rate_beyond_what_a_run_can_hold_is_refused_with_the_bounds(
    tmp_path: Path, rate: float
) -> None:
    file = timed(tmp_path, [1e4 * index for index in range(100)])
    asked = replayed(file, duration="5000000s", trace={"time_unit": "s"})
    with pytest.raises(InputError, match=r"t\.csv runs at 5e-07 to 1e\+05 requests/s"):
        with_rate(asked, rate)
    for bound in (5.1e-7, 9.9e4):
        scaled = with_rate(asked, bound)
        assert parse_scenario(scenario_data(scaled), source="record") == scaled
        assert judged(scaled) == judged(asked)


def test_stages_do_not_bound_a_trace_with_times_of_its_own(tmp_path: Path) -> None:
    asked = replayed(timed(tmp_path, TIMES))
    assert len(prepare(with_rate(asked, 1e-6)).workload) == 50  # 240/s would be 1.2 billion


def test_staged_run_is_scaled_with_its_trace(tmp_path: Path) -> None:
    stages = [{"rate": 5.0, "duration": "3s"}, {"rate": 9.0, "duration": "2s"}]
    asked = replayed(timed(tmp_path, TIMES), traffic={"stages": stages})
    scaled = with_rate(asked, 80.0)
    assert parse_scenario(scenario_data(scaled), source="record") == scaled


@pytest.mark.parametrize(
    ("text", "rate"), [("8x", 80.0), ("0.5x", 5.0), (" 1 x ", 10.0), ("25", 25.0), ("1e2", 100.0)]
)
def test_rate_is_a_number_or_a_multiple_of_traces_and_stages(
    tmp_path: Path, text: str, rate: float
) -> None:
    asked = replayed(timed(tmp_path, TIMES))
    assert rate_of(with_rate_text(asked, text)) == pytest.approx(rate)
    stages = {"stages": [{"rate": 5, "ramp_to": 10, "duration": "1s"}, {"rate": 2}]}
    drawn = replayed(None, traffic=stages)
    scaled = with_rate_text(drawn, text).traffic.stages
    assert [stage.rate for stage in scaled] == pytest.approx([rate / 2, rate / 5])
    assert scaled[0].ramp_to == pytest.approx(rate)
    assert with_rate_text(drawn, text).total_time == drawn.total_time


@pytest.mark.parametrize(
    "text", ["", "x", "fast", "8xx", "x8", "-2x", "0x", "nanx", "infx", "1e9x", "1e9", "-1", "nan"]
)
def test_text_that_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^--rate "):
        with_rate_text(Scenario(name="x"), text)


@pytest.mark.parametrize("times", [[3.0] * 50, [1.0]])
def test_trace_at_one_time_has_no_rate(tmp_path: Path, times: list[float]) -> None:
    asked = replayed(timed(tmp_path, times))
    assert rate_of(asked) == 0.0
    with pytest.raises(InputError, match="lie at one time"):
        with_rate(asked, 10.0)
    with pytest.raises(InputError, match=r"^--rate 2x: .* has the rate 0, and so has every"):
        with_rate_text(asked, "2x")


def test_notes_say_the_speed_the_unit_and_a_window_that_is_too_short(tmp_path: Path) -> None:
    file = timed(tmp_path, [1_763_900_000_000 + 100 * index for index in range(100)])
    notes = prepare(with_rate(replayed(file), 20.0)).workload.notes
    assert notes == (
        "Real keys and times from t.csv (accesses 1 to 50), 20 requests/s on average; the "
        "scenario's arrival rates are not used.",
        "The trace's times run 2 times as fast as recorded: 20 requests/s on average instead of "
        "10.",
        "The trace's times look like milliseconds since 1970 and are taken so; --time-unit says "
        "otherwise.",
    )
    notes = prepare(replayed(file, duration="40s")).workload.notes
    assert "The trace's accesses last 10 s of the run's 41 s; nothing arrives later." in notes


def test_run_that_ends_within_the_warm_up_says_what_the_trace_has(tmp_path: Path) -> None:
    file = timed(tmp_path, TIMES[:8])
    with pytest.raises(InputError) as refused:
        prepare_measured(replayed(file))
    assert str(refused.value) == (
        "p: no request arrives after the warm-up of 1 s; the trace's window, 8 accesses, ends "
        "after 0.7 s: shorten warm_up, or lower --rate or trace.speed; --time-unit says what the "
        "times are, if they are not what they look like"
    )


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        ([0, 24, 51, 103, 159], "ms"),
        ([0.0, 24.5, 151.25], "ms"),
        ([0, 24_000, 51_000], "us"),
        ([0, 2, 4, 7], "ms"),
    ],
)
def test_times_that_look_like_no_seconds_have_to_be_called_so(
    tmp_path: Path, times: list[float], unit: str
) -> None:
    file = timed(tmp_path, times)
    with pytest.raises(InputError) as refused:
        prepare(replayed(file))
    assert f"say --time-unit {unit} if they are" in str(refused.value)
    assert str(refused.value).endswith("--time-unit s if they are seconds")
    for asked in ("s", unit):
        assert len(prepare(replayed(file, trace={"time_unit": asked})).workload) > 0


@pytest.mark.parametrize(("field", "value"), [("speed", 2.0), ("time_unit", "ms")])
def test_clock_of_a_trace_without_times_is_refused(
    tmp_path: Path, field: str, value: object
) -> None:
    path = tmp_path / "k.csv"
    path.write_text("key\n" + "a\n" * 5_000)
    with pytest.raises(InputError, match=f"trace.{field} is {value}: .* has no times"):
        prepare(replayed(str(path), trace={field: value}))


def test_rate_of_an_untimed_trace_is_that_of_its_stages(tmp_path: Path) -> None:
    path = tmp_path / "k.csv"
    path.write_text("key\n" + "a\n" * 5_000)
    scaled = with_rate_text(replayed(str(path)), "2x")
    assert scaled.trace.speed == 1.0
    assert scaled.traffic.stages[0].rate == 480.0


def test_rate_at_which_a_fault_could_not_strike_any_more_is_refused(tmp_path: Path) -> None:
    fault = {"at": "3s", "for": "1s", "tier": "l3", "kind": "dead"}
    asked = replayed(timed(tmp_path, TIMES), faults=[fault])
    assert with_rate(asked, 16.0).faults == asked.faults
    with pytest.raises(InputError, match=r"at 20 requests/s .* ends at 2.5 s, before faults\[0\]"):
        with_rate(asked, 20.0)
