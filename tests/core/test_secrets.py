"""Claims about secrets: what may hold one, and that no text shows one."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from core.errors import InputError
from core.secrets import MASK, Blotter, is_secret_name, references, secret

SECRET = 's3cr3t"tok/en+äÿ-0123456789'


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        SECRET.upper(),
        json.dumps(SECRET)[1:-1],
        quote(SECRET, safe=""),
        base64.b64encode(SECRET.encode()).decode(),
        SECRET[:12],  # cut off in the middle
        SECRET[9:],
    ],
)
def test_secret_is_blotted_out_however_it_is_written(written: str) -> None:
    text = Blotter([SECRET]).blot(f"denied: <{written}> is no good")
    assert text.startswith("denied: <")
    assert text.endswith("> is no good")
    assert MASK in text
    for start in range(len(written) - 7):
        assert written[start : start + 8].lower() not in text.lower()


def test_password_of_basic_credentials_is_blotted_out() -> None:
    credentials = base64.b64encode(b"staging:correct horse").decode()
    assert "horse" not in Blotter([credentials]).blot("user staging, password correct horse")


def test_what_a_name_calls_a_secret_is_blotted_out_unknown() -> None:
    text = Blotter().blot('{"access_token": "abc", "error": "expired", "h": "Bearer 123456789"}')
    assert text == '{"access_token": "***", "error": "expired", "h": "Bearer ***"}'


def test_time_for_a_text_grows_no_faster_than_its_length() -> None:
    # With time by the square of the length this takes an hour.
    for text in ("token" * 100_000, "a" * 500_000):
        assert Blotter([SECRET * 100]).blot(text) == text


def test_short_secret_within_a_long_one_leaves_nothing_of_it() -> None:
    assert Blotter(["s3cr", "xx-s3cr-yyyyyyyy"]).blot("<xx-s3cr-yyyyyyyy> s3cr") == "<***> ***"


def test_secret_is_found_beside_a_letter_whose_lower_case_is_longer() -> None:
    assert Blotter(["s3cr3t-0123456789"]).blot("\u0130 S3CR3T-0123456789") == "\u0130 ***"


def test_text_without_a_secret_stays_as_it_is() -> None:
    text = '{"error": "token expired", "id": "u17"}'
    assert Blotter([SECRET]).blot(text) == text


@pytest.mark.parametrize("value", [None, "", "two\nlines", "x" * 20_000, "\N{SNOWMAN}"])
def test_unfit_variable_is_named_and_not_shown(value: str | None) -> None:
    environment = {} if value is None else {"STAGING_TOKEN": value}
    with pytest.raises(InputError) as caught:
        secret("STAGING_TOKEN", environment, where="endpoints.track.headers.Authorization")
    text = str(caught.value)
    assert text.startswith(
        "endpoints.track.headers.Authorization: the environment variable STAGING"
    )
    assert not value or value not in text


def test_reference_names_a_variable() -> None:
    assert references("Bearer ${A} and ${B_2}, {user_id}, $C") == ["A", "B_2"]
    with pytest.raises(ValueError, match=r"\$\{a b\} names no environment variable"):
        references("${a b}")


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("Authorization", True), ("Cookie", True), ("X-Api-Key", True), ("apikey", True),
        ("CF-Access-Client-Secret", True), ("X-Auth-Token", True), ("Accept", False),
        ("X-Keyboard", False), ("X-Auth", True), ("auth", True), ("X_Auth_Id", True),
        ("X-Authentication", True), ("X-Author", False), ("Authority", False),
        ("Content-Type", False), ("Idempotency-Key", False),
    ],
)  # fmt: skip
def test_names_of_headers_that_hold_secrets(name: str, is_secret: bool) -> None:
    assert is_secret_name(name) == is_secret
