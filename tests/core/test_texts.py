"""Claims about texts from outside: what would cost too much is refused before it is parsed."""

from __future__ import annotations

import json
import os
import threading
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.texts import (
    MAX_DEPTH,
    MAX_PARTS,
    SHOWN,
    GivenTwice,
    bounded_text,
    count_of,
    parse_json,
    parse_request,
    parse_toml,
    read_json,
    shown,
)
from tests.conftest import ROOT


def refusal(text: str) -> str:
    """Return why *text* is refused as TOML."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse_toml(text)
    return str(caught.value)


def dotted(parts: int) -> str:
    return ".".join("a" * parts)


# What is refused here is small: that it would be parsed in no time makes no difference to the scan.
@pytest.mark.parametrize(
    "text",
    [
        f"{dotted(MAX_PARTS + 1)} = 1",
        f"[{dotted(MAX_PARTS + 1)}]",
        f"[[{dotted(MAX_PARTS + 1)}]]",
        f"x = {{ y = 1, {dotted(MAX_PARTS + 1)} = 1 }}",
        " . ".join(['"a.b"'] * (MAX_PARTS + 1)) + " = 1",
        "# a comment\n" + dotted(200) + " = 1",
        f"x = '''\n'''\n{dotted(200)} = 1",
        f'x = """ "quotes" \\""""\n{dotted(200)} = 1',
    ],
)
def test_key_of_too_many_parts_is_refused_by_its_line(text: str) -> None:
    assert f"a key of more than {MAX_PARTS} parts; shorten it" in refusal(text)
    line = text[: text.rindex("a")].count("\n") + 1
    assert refusal(text).startswith(f"line {line}: ")


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a=", "}"), ("[{a=", "}]")])
def test_brackets_that_nest_too_deeply_are_refused(opening: str, closing: str) -> None:
    deep = MAX_DEPTH // len(opening.replace("a=", "")) + 1
    assert "brackets nest more than" in refusal(f"x = {opening * deep}1{closing * deep}")
    fits = deep - 1
    assert "x" in parse_toml(f"x = {opening * fits}1{closing * fits}")


@pytest.mark.parametrize(
    "text",
    [
        f"{dotted(MAX_PARTS)} = 1",
        f"x = '{dotted(200)}'",
        f'x = "{"[" * 200}"',
        f'x = "\\"{"[" * 200}"',
        f"# {dotted(200)} {'[' * 200}",
        f"x = '''\n{dotted(200)}\n{'[' * 200}''\n'''",
        f'x = """\n{dotted(200)}\n"" {"[" * 200} \\""" """""',
        f'"{dotted(200)}" = 1',
        "x = [" + "1.5, " * 500 + "]",
        "x = [" + "[1.5],\n " * 500 + "]",
        "".join(f"a.b{number} = 1\n" for number in range(500)),
        "x = 1.5\n" * 0 + "\r\n".join(f"y{number} = 0.5" for number in range(100)),
    ],
)
def test_the_scan_refuses_nothing_else(text: str) -> None:
    assert parse_toml(text) == tomllib.loads(text)


def test_the_scan_passes_the_shipped_scenarios() -> None:
    files = [*(ROOT / "scenarios").glob("*.toml")]
    assert files
    for file in files:
        text = file.read_text()
        assert parse_toml(text) == tomllib.loads(text)


@given(st.text(st.sampled_from("ab.=\"'\\\n[]{}#, 1"), max_size=60))
def test_scan_answers_for_any_text_as_the_parser_does(text: str) -> None:
    try:
        wanted = tomllib.loads(text)
    except ValueError:
        wanted = None
    try:
        found = parse_toml(text)
    except ValueError:
        found = None
    assert found == wanted  # 60 characters reach neither bound without being wrong otherwise


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = " + "9" * 5_000, "an integer has too many digits"),
        ("[a]\nx = [1, 0x" + "f" * 17 + "]", '"x" is an integer of more than 64 bits'),
        ("x = -9223372036854775809", '"x" is an integer of more than 64 bits'),
    ],
)
def test_integer_that_toml_does_not_have_is_refused(text: str, reason: str) -> None:
    assert reason in refusal(text)


def test_the_largest_integers_pass_the_scan() -> None:
    text = "x = [9223372036854775807, -9223372036854775808]"
    assert parse_toml(text) == tomllib.loads(text)


def test_file_is_read_no_further_than_its_bound(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_bytes(b"12345")
    assert bounded_text(file, 5, "a number") == "12345"
    with pytest.raises(ValueError, match=r"larger than 4 bytes; is it a number\?"):
        bounded_text(file, 4, "a number")
    with pytest.raises(ValueError, match="larger than 1,000 bytes"):
        bounded_text(Path("/dev/zero"), 1_000, "a number")


def test_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("name = 'x'",))
    writer.start()
    assert bounded_text(pipe, 100, "a scenario") == "name = 'x'"
    writer.join()


# --- JSON -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("parse", [parse_json, parse_request])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[" * 2_000 + b"]" * 2_000, "brackets nest too deeply"),
        (b"[" + b"9" * 5_000 + b"]", "a number has too many digits"),
        (b"{]", "Expecting property name"),
        (b"\xff", "codec can't decode"),
        (b"", "Expecting value"),
    ],
)
def test_json_that_cannot_be_read_is_a_value_error_of_one_line(
    parse: object, text: bytes, reason: str
) -> None:
    assert callable(parse)
    with pytest.raises(ValueError, match=reason) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    assert "sys." not in str(caught.value)


def test_key_that_stands_twice_in_a_request_is_refused() -> None:
    with pytest.raises(GivenTwice, match='"b" stands twice in an object; give it once'):
        parse_request(b'[{"a": 1}, {"a": 1, "b": {"b": 1}, "c": 1, "b": 2}]')
    assert parse_request('{"a": {"a": "ü"}}'.encode()) == {"a": {"a": "ü"}}
    assert parse_request('{"a": 1}'.encode("utf-16")) == {"a": 1}


def test_file_of_json_beyond_its_bound_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    file.write_text(json.dumps([1] * 10))
    assert read_json(file, "a record") == [1] * 10
    with pytest.raises(ValueError, match=r"larger than 29 bytes; is it a record\?"):
        read_json(file, "a record", most=29)


def test_value_is_shown_in_short_whatever_it_is() -> None:
    nested: list[object] = []
    for _ in range(5_000):
        nested = [nested]
    for value in (nested, int("9" * 4_000) ** 3, "x" * 100_000, {"a": [1] * 1_000}, object()):
        assert 0 < len(shown(value)) <= SHOWN
    assert shown("x") == '"x"'


def test_a_count_has_its_noun_in_the_number_that_fits() -> None:
    assert [count_of(n, "row") for n in (0, 1, 2, 1_234)] == [
        "0 rows", "1 row", "2 rows", "1,234 rows",
    ]  # fmt: skip
    assert (count_of(2, "access"), count_of(3, "touch")) == ("2 accesses", "3 touches")
    assert (count_of(1.0, "conversion"), count_of(2.5, "conversion")) == (
        "1 conversion", "2.5 conversions",
    )  # fmt: skip
    assert count_of(1, "row has", "rows have") == "1 row has"
    assert count_of(2, "row has", "rows have") == "2 rows have"
