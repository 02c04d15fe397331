"""Claims about Server-Timing: the metrics and durations that are read of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.wire import server_timing
from scenarios.server_timing import MAX_FIELD, Timing, metrics_of, parse_server_timing

STAGES = st.lists(
    st.tuples(
        st.sampled_from(["l1", "l2", "l3", "l3wait", "cpu", "total"]),
        st.floats(0, 100),
    ),
    max_size=8,
)


@given(stages=STAGES)
def test_timings_read_back_to_a_tenth_of_a_microsecond_in_their_order(
    stages: list[tuple[str, float]],
) -> None:
    again = parse_server_timing(server_timing(stages))
    assert [name for name, _ in again] == [name for name, _ in stages]
    assert [s for _, s in again] == pytest.approx([s for _, s in stages], abs=0.51e-7)


@pytest.mark.parametrize(
    ("value", "stages"),
    [
        ("", []),
        ("miss", []),
        ("l2;dur=4.2", [("l2", 0.0042)]),
        (" l2 ; dur = 4.2 ,total;dur=5", [("l2", 0.0042), ("total", 0.005)]),
        ('l2;desc="store";dur=4', [("l2", 0.004)]),
        ("l2;desc=store;dur=4", [("l2", 0.004)]),
        ("l2;dur=4;desc=store", [("l2", 0.004)]),
        ("l2;dur=1e-3", [("l2", 1e-6)]),
        ("l2;dur=.5", [("l2", 0.0005)]),
        ("cdn-cache;dur=9, x-l2;dur=7, total;dur=1", [("total", 0.001)]),
        ('cdn;desc="a, l2;dur=9", total;dur=1', [("total", 0.001)]),
        ("cdn;desc=l2;dur=9, total;dur=1", [("total", 0.001)]),
        ("l2;dur=1.2.3, total;dur=1", [("total", 0.001)]),
        ("l2;dur=..., l3;dur=, total;dur=1", [("total", 0.001)]),
        ("l2;dur=-4, total;dur=1", [("total", 0.001)]),
        ("l2;duration=4, total;dur=1", [("total", 0.001)]),
        ('l2;dur="4.2"', [("l2", 0.0042)]),
        ('l2;desc="9";dur="4"', [("l2", 0.004)]),
        ('l2;dur="4, l3;dur=9", total;dur=1', [("total", 0.001)]),
        ("l2;dur=4;dur=9", [("l2", 0.004)]),
        ("l2;Dur=4", [("l2", 0.004)]),
    ],
)
def test_what_other_services_time_is_read_by_its_own_name(
    value: str, stages: list[tuple[str, float]]
) -> None:
    ours = [(n, s) for n, s in parse_server_timing(value) if n in ("l2", "l3", "total")]
    assert [name for name, _ in ours] == [name for name, _ in stages]
    assert [s for _, s in ours] == pytest.approx([s for _, s in stages])


@given(value=st.text(st.sampled_from('l2;dur=1.e-, "\\') | st.characters()))
def test_no_server_timing_breaks_the_reader(value: str) -> None:
    assert all(seconds >= 0 for _, seconds in parse_server_timing(value))


@pytest.mark.parametrize(
    "value",
    [
        "total;dur=" + "1" * 2_000 + "x",
        'total;desc="' + '\\"' * 1_000,
        "total" + "; " * 1_000,
        ", " * 1_000,
        '"' * 2_001,
        '"1' * 2_001,
    ],
)
def test_field_that_means_nothing_is_read_as_nothing(value: str) -> None:
    # Such fields took seconds while the expressions could try every division of digits or quotes.
    assert parse_server_timing(value) == []


def test_field_beyond_the_limit_tells_nothing() -> None:
    value = "total;dur=1," + " " * MAX_FIELD
    assert parse_server_timing(value) == []
    assert metrics_of(value) == []


@pytest.mark.parametrize("duration", ["1e999", "1" * 400, "1e13"])
def test_duration_that_nobody_waited_for_is_left_out(duration: str) -> None:
    assert parse_server_timing(f"cpu;dur=2, total;dur={duration}") == [("cpu", 0.002)]


def test_every_metric_is_named_with_its_seconds_where_they_can_be_read() -> None:
    value = 'miss, l2;dur=4, l3;desc="a, b", l3wait;dur=fast, total;desc="all";dur="5"'
    assert metrics_of(value) == [
        Timing("miss", None), Timing("l2", 0.004), Timing("l3", None), Timing("l3wait", None),
        Timing("total", 0.005),
    ]  # fmt: skip


@given(value=st.text(st.sampled_from('l2;dur=1.e-, "\\') | st.characters()))
def test_both_readers_agree(value: str) -> None:
    told = [(m.name, m.seconds) for m in metrics_of(value) if m.seconds is not None]
    assert told == parse_server_timing(value)
