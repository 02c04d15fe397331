"""Claims about the order of accesses, of times of whole seconds, and of the run's window."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.intake.figures import busiest, rates, zipf_exponent
from scenarios.intake.ordering import ACCESS, SORTED_WITHIN, Waiting, outliers, spread
from scenarios.intake.window import choose


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, SORTED_WITHIN), min_size=1, max_size=20), max_size=6))
def test_accesses_within_the_bound_come_out_in_order_with_their_texts(
    parts: list[list[int]],
) -> None:
    waiting = Waiting()
    out: list[tuple[int, bytes]] = []
    for number, times in enumerate(parts):
        rows = np.zeros(len(times), ACCESS)
        rows["time"] = np.array(times) + number * SORTED_WITHIN
        waiting.add(rows, [b"%d" % time for time in rows["time"].tolist()])
        for found, texts in waiting.ready(number * SORTED_WITHIN):
            out += zip(found["time"].tolist(), texts, strict=True)
    for found, texts in waiting.rest():
        out += zip(found["time"].tolist(), texts, strict=True)
    expected = sorted(t + n * SORTED_WITHIN for n, times in enumerate(parts) for t in times)
    assert [time for time, _ in out] == expected
    assert all(text == b"%d" % time for time, text in out)
    assert waiting.late == 0


def test_what_waits_is_bounded_and_what_comes_too_late_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scenarios.intake.ordering._MOST_WAITING", 100)
    waiting = Waiting()
    rows = np.zeros(200, ACCESS)
    rows["time"] = np.arange(200)
    waiting.add(rows, None)
    ((found, _),) = waiting.ready(0)
    assert found["time"].tolist() == list(range(100))
    late = np.zeros(1, ACCESS)
    waiting.add(late, None)
    assert waiting.late == 1


def test_times_of_whole_seconds_are_spread_in_their_order() -> None:
    times = np.repeat(np.array([5, 6, 7]) * 10**6, 200)
    found = spread(times, np.random.Generator(np.random.Philox(1)))
    assert (found // 10**6 == times // 10**6).all()
    assert (np.diff(found) >= 0).all()
    within = found % 10**6 / 1e6
    assert abs(within.mean() - 0.5) < 0.05
    assert within.max() > 0.95


def test_a_time_days_from_its_neighbours_is_an_outlier_and_a_gap_is_none() -> None:
    times = np.arange(100, dtype=np.int64) * 10**6 + 10**15
    assert not outliers(times).any()
    times[7] += 400 * 86_400 * 10**6
    assert np.flatnonzero(outliers(times)).tolist() == [7]
    times[50:] += 400 * 86_400 * 10**6  # a gap: half of the lines lie behind it
    assert not outliers(times).any()


def test_busiest_minutes_are_found() -> None:
    minutes = Counter({10: 5, 11: 6, 50: 8, 51: 1})
    assert busiest(minutes, 1) == (50, 8)
    assert busiest(minutes, 2) == (10, 11)


def written(path: Path, times: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Path:
    rows = np.zeros(times.size, ACCESS)
    rows["time"] = times
    rows.tofile(path)
    return path


def test_a_short_log_is_run_whole_and_of_a_long_one_its_busiest_time(tmp_path: Path) -> None:
    times = np.arange(0, 3600, 2, dtype=np.int64) * 10**6
    part = written(tmp_path / "part", times)
    minutes = Counter((times // 60_000_000).tolist())
    window = choose(part, minutes, 0, int(times[-1]), times.size, None)
    assert (window.is_whole, window.start, window.stop) == (True, 0, times.size)
    assert window.seconds > 3598
    busy = np.sort(np.concatenate((times, 1_800_000_000 + np.arange(600) * 100_000)))
    part = written(tmp_path / "part", busy)
    minutes = Counter((busy // 60_000_000).tolist())
    window = choose(part, minutes, 0, int(busy[-1]), busy.size, 60.0)
    assert not window.is_whole
    assert (window.begin, window.seconds) == (1_800_000_000, 60.0)
    assert (window.offset, window.stop - window.start) == (900, 630)


def test_stages_follow_the_rate_and_merge_what_is_chance() -> None:
    rng = np.random.Generator(np.random.Philox(3))
    slow, fast = rng.uniform(0, 60, 600), rng.uniform(60, 120, 6000)
    times = (np.sort(np.concatenate((slow, fast))) * 1e6).astype(np.int64)
    stages = rates(times, 120.0)
    assert sum(seconds for seconds, _ in stages) == pytest.approx(120)
    assert sum(seconds * rate for seconds, rate in stages) == pytest.approx(6600)
    assert stages[0][1] == pytest.approx(10, rel=0.3)
    assert stages[-1][1] == pytest.approx(100, rel=0.1)
    assert len(stages) <= 4


@pytest.mark.parametrize("exponent", [0.6, 0.9, 1.2])
def test_the_exponent_of_keys_that_follow_zipf_is_found(exponent: float) -> None:
    rng = np.random.Generator(np.random.Philox(4))
    weights = np.arange(1, 501) ** -exponent
    drawn = rng.choice(500, size=50_000, p=weights / weights.sum())
    counts = np.unique(drawn, return_counts=True)[1]
    assert zipf_exponent(counts) == pytest.approx(exponent, abs=0.05)


def test_keys_that_are_asked_for_once_tell_no_exponent() -> None:
    assert zipf_exponent(np.ones(1000, np.int64)) == 0.0
