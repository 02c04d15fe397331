"""Claims about attribution models: who gets how much of one conversion."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.attribution.models import (
    HEURISTICS,
    MODELS,
    check_model,
    role_of,
    touch_credits,
)
from core.attribution.names import DIRECT
from core.attribution.parameters import HALF_LIFE_MS, Parameters
from core.errors import InputError
from tests.core.ledger.worlds import credits_of

DAY_MS = 24 * 3_600_000
DECADE_MS = 3_653 * DAY_MS
NOW = 1_767_225_600_000
POSITIONAL = ("last_click", "first_click", "linear", "u_shape", "w_shape")

F = Fraction

# The definitions, row by row: one touch, two touches, three or more.
TABLE = {
    "last_click": {1: [F(1)], 2: [F(0), F(1)], 3: [F(0), F(0), F(1)], 5: [F(0)] * 4 + [F(1)]},
    "first_click": {1: [F(1)], 2: [F(1), F(0)], 3: [F(1), F(0), F(0)], 5: [F(1)] + [F(0)] * 4},
    "linear": {1: [F(1)], 2: [F(1, 2)] * 2, 3: [F(1, 3)] * 3, 7: [F(1, 7)] * 7},
    "u_shape": {
        1: [F(1)],
        2: [F(1, 2)] * 2,
        3: [F(2, 5), F(1, 5), F(2, 5)],
        4: [F(2, 5), F(1, 10), F(1, 10), F(2, 5)],
        6: [F(2, 5), *[F(1, 20)] * 4, F(2, 5)],
    },
    "w_shape": {
        1: [F(1)],
        2: [F(1, 2)] * 2,
        3: [F(1, 3)] * 3,
        4: [F(3, 10), F(3, 10), F(1, 10), F(3, 10)],
        5: [F(3, 10), F(1, 20), F(3, 10), F(1, 20), F(3, 10)],
        6: [F(3, 10), F(1, 30), F(3, 10), F(1, 30), F(1, 30), F(3, 10)],
        7: [F(3, 10), F(1, 40), F(1, 40), F(3, 10), F(1, 40), F(1, 40), F(3, 10)],
    },
}
ROWS = [(model, count, row) for model, rows in TABLE.items() for count, row in rows.items()]


def exactly(model: str, count: int) -> list[Fraction]:
    """Return the credits of a positional model over *count* touches, without rounding."""
    if count == 1:
        return [F(1)]
    if model == "linear":
        return [F(1, count)] * count
    weights = [F(0)] * count
    if model in ("last_click", "first_click"):
        weights[0 if model == "first_click" else -1] = F(1)
        return weights
    milestones = {0, count - 1}
    if model == "w_shape" and count >= 3:
        milestones.add((count - 1) // 2)
    for milestone in milestones:
        weights[milestone] = F(4 if model == "u_shape" else 3, 10)
    rest = [position for position in range(count) if position not in milestones]
    for position in rest:
        weights[position] = F(2 if model == "u_shape" else 1, 10) / len(rest)
    # Where a part of the shape is missing, the others take its share in proportion.
    return [weight / sum(weights) for weight in weights]


@st.composite
def journeys(draw: st.DrawFn, max_size: int = 60) -> tuple[list[int], int]:
    """Draw the times of one to *max_size* touches, with ties, and that of their conversion."""
    ages = draw(
        st.lists(
            st.one_of(st.integers(0, 40 * DAY_MS), st.integers(0, 3 * DECADE_MS), st.just(0)),
            min_size=1,
            max_size=max_size,
        )
    )
    return sorted(NOW - age for age in ages), NOW


def test_table_and_oracle_name_every_model() -> None:
    assert set(TABLE) == set(POSITIONAL) == set(HEURISTICS) - {"time_decay"}


@pytest.mark.parametrize(("model", "count", "row"), ROWS)
def test_credits_are_those_of_the_definitions(model: str, count: int, row: list[Fraction]) -> None:
    assert sum(row) == 1
    assert exactly(model, count) == row
    credits = credits_of(model, range(count), count)
    assert credits == pytest.approx([float(share) for share in row], abs=1e-15)


@given(model=st.sampled_from(POSITIONAL), journey=journeys())
def test_positional_credits_equal_exact_fractions(
    model: str, journey: tuple[list[int], int]
) -> None:
    credits = credits_of(model, *journey)
    expected = exactly(model, len(journey[0]))
    assert len(credits) == len(expected)
    for credit, share in zip(credits, expected, strict=True):
        assert abs(Fraction(credit) - share) < Fraction(1, 10**15)


@given(model=st.sampled_from(HEURISTICS), journey=journeys(max_size=400))
def test_credits_sum_to_one_whatever_the_journey(
    model: str, journey: tuple[list[int], int]
) -> None:
    credits = credits_of(model, *journey)
    assert abs(math.fsum(credits) - 1) < 1e-9
    assert all(0 <= credit <= 1 for credit in credits)


@pytest.mark.parametrize("model", HEURISTICS)
def test_single_touch_gets_everything_and_none_gets_nothing(model: str) -> None:
    assert credits_of(model, [NOW - 50 * DECADE_MS], NOW) == (1.0,)
    assert credits_of(model, [], NOW) == ()


def test_time_decay_gives_adobes_worked_case() -> None:
    times = [NOW - age * DAY_MS for age in (9, 6, 0, 0)]
    percentages = [100 * credit for credit in credits_of("time_decay", times, NOW)]
    assert [round(percentage, 1) for percentage in percentages] == [13.8, 18.6, 33.8, 33.8]


@given(journey=journeys(max_size=12))
def test_time_decay_halves_with_every_half_life(journey: tuple[list[int], int]) -> None:
    times, converted = journey
    credits = credits_of("time_decay", times, converted)
    newest = credits[-1]
    for time, credit in zip(times, credits, strict=True):
        ratio = 2.0 ** (-(times[-1] - time) / HALF_LIFE_MS)
        assert credit / newest == pytest.approx(ratio, rel=1e-12, abs=1e-300)


@given(journey=journeys(max_size=12), shift=st.integers(0, 80 * DECADE_MS))
def test_time_decay_depends_on_ages_relative_to_each_other_only(
    journey: tuple[list[int], int], shift: int
) -> None:
    times, converted = journey
    assert credits_of("time_decay", times, converted + shift) == credits_of(
        "time_decay", times, converted
    )


def test_time_decay_survives_ages_of_decades() -> None:
    # 2^-(age / half-life) alone is 0 from about 21 years on, and 0 / 0 is no credit.
    times = [NOW - 60 * DECADE_MS, NOW - 50 * DECADE_MS, NOW - 50 * DECADE_MS]
    assert credits_of("time_decay", times, NOW) == (0.0, 0.5, 0.5)


@pytest.mark.parametrize("half_life_ms", [0, -1])
def test_half_life_must_be_positive(half_life_ms: int) -> None:
    with pytest.raises(InputError, match=r"half_life_ms is .*; a whole number of"):
        credits_of("time_decay", [1, 2], 3, half_life_ms=half_life_ms)


def test_shorter_half_life_favours_the_newest() -> None:
    times = [NOW - 7 * DAY_MS, NOW]
    week = credits_of("time_decay", times, NOW)
    day = credits_of("time_decay", times, NOW, half_life_ms=DAY_MS)
    assert week == pytest.approx((1 / 3, 2 / 3))
    assert day == pytest.approx((1 / 129, 128 / 129))


def test_first_click_credits_the_oldest_and_last_click_the_newest() -> None:
    oldest_first = [NOW - 3 * DAY_MS, NOW - 2 * DAY_MS, NOW - DAY_MS]
    assert credits_of("first_click", oldest_first, NOW) == (1.0, 0.0, 0.0)
    assert credits_of("last_click", oldest_first, NOW) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("model", HEURISTICS)
def test_touches_with_the_newest_first_are_refused(model: str) -> None:
    with pytest.raises(ValueError, match="oldest first"):
        credits_of(model, [NOW, NOW - 1], NOW)


@pytest.mark.parametrize("model", HEURISTICS)
@pytest.mark.parametrize("times", [[NOW + 1], [NOW, NOW + 1]])
def test_touch_after_the_conversion_is_refused(model: str, times: list[int]) -> None:
    with pytest.raises(ValueError, match="after the conversion"):
        credits_of(model, times, NOW)


@pytest.mark.parametrize("model", HEURISTICS)
def test_touch_at_the_instant_of_the_conversion_counts(model: str) -> None:
    assert sum(credits_of(model, [NOW, NOW], NOW)) == 1


@pytest.mark.parametrize(
    "model",
    [
        "", "constructor", "__proto__", "toString", "LINEAR", "linear ", "lastclick", "markov",
        "__class__", "a'; DROP TABLE conversions; --",
    ],
)  # fmt: skip
def test_unknown_model_is_refused_by_name_with_the_list(model: str) -> None:
    for refuse in (check_model, lambda name: credits_of(name, [1, 2, 3], 4)):
        with pytest.raises(InputError) as caught:
            refuse(model)
        message = str(caught.value)
        assert repr(model) in message
        assert all(known in message for known in MODELS)


def test_data_driven_without_a_model_is_refused_with_its_reason() -> None:
    with pytest.raises(InputError, match="data_driven needs a fitted model"):
        credits_of("data_driven", [1], 2)


def test_huge_model_name_is_not_repeated_in_full() -> None:
    with pytest.raises(InputError) as caught:
        check_model("x" * 100_000)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("count", "roles"),
    [
        (1, ["only"]),
        (2, ["first", "last"]),
        (4, ["first", "middle", "middle", "last"]),
    ],
)
def test_every_touch_has_one_role(count: int, roles: list[str]) -> None:
    assert [role_of(position, count) for position in range(count)] == roles


@st.composite
def touched(draw: st.DrawFn) -> tuple[list[int], list[str]]:
    times, _ = draw(journeys(max_size=9))
    names = st.lists(st.sampled_from(["a", "b", DIRECT]), min_size=len(times), max_size=len(times))
    return times, draw(names)


SHAPES = st.sampled_from(
    [
        Parameters(),
        Parameters(w_shape=(0.0, 0.5, 0.0, 0.5), u_shape=(0.6, 0.2, 0.2)),
        Parameters(direct="ignore unless all direct", w_shape=(0.0, 0.0, 1.0, 0.0)),
    ]
)


@given(st.sampled_from(MODELS), touched(), SHAPES, st.integers(0, 8), st.integers(0, 8))
def test_credits_sum_to_one_under_any_parameters(
    model: str, journey: tuple[list[int], list[str]], parameters: Parameters, lead: int, end: int
) -> None:
    times, channels = journey
    credits = touch_credits(
        model, times, channels, NOW, parameters, weights={"a": 0.25},
        lead=lead if lead < len(times) else None, opportunity=end if end < len(times) else None,
    )  # fmt: skip
    assert len(credits) == len(times)
    assert abs(math.fsum(credits) - 1) < 1e-9
    assert all(0 <= credit <= 1 for credit in credits)
    if parameters.direct != "own channel" and any(name != DIRECT for name in channels):
        assert all(c == 0 for c, name in zip(credits, channels, strict=True) if name == DIRECT)


def given_to(model: str, channels: str, **changes: Any) -> list[float]:
    times = [NOW - len(channels) + n for n in range(len(channels))]
    parameters = changes.pop("parameters", Parameters())
    return [round(c, 12) for c in touch_credits(model, times, channels, NOW, parameters, **changes)]


def test_three_touches_of_w_shape_get_a_third_to_the_last_bit() -> None:
    assert credits_of("w_shape", [1, 2, 3], 4) == (1 / 3, 1 / 3, 1 / 3)


def test_two_touches_without_a_middle_keep_the_proportion_of_the_ends() -> None:
    # Adobe's rule: 60/20/20 becomes 75/25.
    parameters = Parameters(u_shape=(0.6, 0.2, 0.2), w_shape=(0.6, 0.1, 0.2, 0.1))
    assert given_to("u_shape", "ab", parameters=parameters) == [0.75, 0.25]
    assert given_to("w_shape", "ab", parameters=parameters) == [0.75, 0.25]


def test_marked_touches_take_the_milestones_of_w_shape() -> None:
    assert given_to("w_shape", "abcde", lead=1) == [0.3, 0.3, 0.05, 0.05, 0.3]
    assert given_to("w_shape", "abcde", lead=1, opportunity=3) == [0.3, 0.3, 0.05, 0.3, 0.05]
    # One touch may be two milestones.
    assert given_to("w_shape", "abcd", lead=0) == [0.6, 0.05, 0.05, 0.3]
    assert given_to("w_shape", "ab", lead=0) == [round(2 / 3, 12), round(1 / 3, 12)]


def test_data_driven_shares_by_removal_effect_within_the_journey() -> None:
    assert given_to("data_driven", "aab", weights={"a": 0.2, "b": 0.4}) == [0.25, 0.25, 0.5]
    assert given_to("data_driven", "ac", weights={"a": 0.2}) == [1.0, 0.0]
    assert given_to("data_driven", "cd", weights={"a": 0.2}) == [0.5, 0.5]
    with pytest.raises(InputError, match="needs a fitted model"):
        given_to("data_driven", "ab")


def test_unknown_model_names_the_seven() -> None:
    with pytest.raises(InputError) as caught:
        given_to("markov", "ab")
    assert all(name in str(caught.value) for name in MODELS)
    assert len(MODELS) == 7
