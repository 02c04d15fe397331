"""Claims about durations, sizes, ratios and times: what is written is what is meant."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from core.clock import DATA_EPOCH_MS
from core.units import (
    EARLIEST_MS,
    LATEST_MS,
    Duration,
    Size,
    format_duration,
    format_ratio,
    format_size,
    format_time,
    is_plausible,
    other_unit,
    parse_duration,
    parse_ratio,
    parse_size,
    slip,
)

SECONDS = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "min": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}
BYTES = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}


@given(number=st.integers(0, 10**6), unit=st.sampled_from(list(SECONDS)))
def test_a_whole_duration_is_the_float_nearest_to_it(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == float(number * SECONDS[unit])


@given(
    number=st.decimals(0, 10**6, places=3, allow_nan=False),
    unit=st.sampled_from(list(SECONDS)),
    space=st.sampled_from(["", " ", "\t"]),
)
def test_a_decimal_duration_may_hold_spaces(number: object, unit: str, space: str) -> None:
    expected = float(Fraction(str(number)) * SECONDS[unit])
    assert parse_duration(f"{space}{number}{space}{unit}{space}") == pytest.approx(
        expected, rel=1e-15
    )


@given(number=st.integers(0, 10**6), unit=st.sampled_from(list(BYTES)))
def test_a_size_is_whole_bytes(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number * BYTES[unit]
    assert parse_size(f"{number}.5 {unit}") == round((number + 0.5) * BYTES[unit])


@given(percent=st.integers(0, 100))
def test_a_percentage_and_its_fraction_are_the_same_ratio(percent: int) -> None:
    assert parse_ratio(f"{percent}%") == parse_ratio(f"{percent / 100!r}") == percent / 100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "ms",
        "5 m s",
        "5sec",
        "5S",
        "-",
        "five ms",
        "1,5s",
        "5ms5",
        "nans",
        "infs",
        "inf",
        "0x5s",
        "1_000s",
        "5%",
        "5MB",
        "1e999s",
        "1e308d",
        "5\nms 5",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration") as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["", "128", "128mb", "128 M B", "5ms", "MB", "1e999B", "1e308GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize("text", ["", "%", "95 percent", "0.95x", "nan", "inf", "1e999", "1e999%"])
def test_what_is_no_ratio_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a ratio"):
        parse_ratio(text)


@given(seconds=st.floats(1e-9, 1e6))
def test_a_formatted_duration_is_within_half_a_percent(seconds: float) -> None:
    text = format_duration(seconds)
    assert parse_duration(text) == pytest.approx(seconds, rel=0.0051)
    assert re.fullmatch(r"[\d.]+ (s|ms|µs|ns)", text)


@given(size=st.integers(0, 10**12))
def test_a_formatted_size_is_within_half_a_percent(size: int) -> None:
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.0051)


@given(ratio=st.floats(0, 1))
def test_a_formatted_ratio_has_two_decimals(ratio: float) -> None:
    text = format_ratio(ratio)
    assert parse_ratio(text) == pytest.approx(ratio, abs=0.5001e-4)
    assert re.fullmatch(r"\d+\.\d\d %", text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0165, "16.5 ms"),
        (0.0, "0 s"),
        (float("inf"), "∞"),
        (90.0, "90.0 s"),
        (1.0, "1.00 s"),
        (250e-9, "250 ns"),
        (-0.002, "-2.00 ms"),
    ],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


class Model(BaseModel):
    """Fields as a scenario file has them."""

    wait: Duration = 0.5
    room: Size = 5


@given(wait=st.floats(0, 1e9), room=st.integers(0, 10**15))
def test_fields_read_back_exactly(wait: float, room: int) -> None:
    model = Model.model_construct(wait=wait, room=room)
    assert Model.model_validate(model.model_dump(mode="json")) == model


@pytest.mark.parametrize("value", [5, 5.0, None, True, ["5s"], {"s": 5}])
def test_a_field_without_a_unit_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(ValidationError, match="has no unit; write a duration as text such as '30s"):
        Model.model_validate({"wait": value})
    with pytest.raises(ValidationError, match="has no unit; write a size as text such as '128MB"):
        Model.model_validate({"room": value})


@pytest.mark.parametrize("data", [{"wait": "-1ms"}, {"room": "-1B"}])
def test_a_negative_field_is_refused(data: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="is negative"):
        Model.model_validate(data)


def test_the_schema_takes_what_the_parser_takes() -> None:
    properties = Model.model_json_schema()["properties"]
    duration, size = properties["wait"]["pattern"], properties["room"]["pattern"]
    assert all(re.search(duration, f"1.5e3 {unit}") for unit in SECONDS)
    assert all(re.search(size, f" 12{unit} ") for unit in BYTES)
    assert not re.search(duration, "5")
    assert not re.search(size, "5ms")
    assert not re.search(duration, "-5ms")


@given(st.integers(EARLIEST_MS // 1000, LATEST_MS // 1000).map(lambda seconds: seconds * 1000))
def test_every_unit_of_a_time_is_told_from_the_others(milliseconds: int) -> None:
    assert is_plausible(milliseconds)
    assert slip(milliseconds) == ""
    assert other_unit(milliseconds) is None
    assert other_unit(milliseconds // 1000) == ("seconds", milliseconds)
    assert other_unit(milliseconds * 1000) == ("microseconds", milliseconds)
    assert other_unit(milliseconds * 1_000_000) == ("nanoseconds", milliseconds)


@pytest.mark.parametrize("number", [0, -1, 50_000_000, 5_000_000_000_000, 10**19])
def test_what_is_a_time_in_no_unit_is_none(number: int) -> None:
    assert other_unit(number) is None
    assert "times from 1973 to 2100" in slip(number)


def test_simulated_time_is_a_time() -> None:
    assert is_plausible(DATA_EPOCH_MS)


def test_time_beyond_the_calendar_is_shown_by_its_year() -> None:
    assert format_time(1_764_000_000_000_000) == "the year 57,868"
    assert format_time(DATA_EPOCH_MS) == "2026-01-01T00:00Z"
