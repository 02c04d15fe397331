"""Claims about cache keys: no input reaches another key, and none is too long for the store."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.caching.keys import MAX_KEY_BYTES, cache_key

# What separates, escapes, globs and shortens is drawn far more often than chance would.
PART = st.text(st.sampled_from("ab:*%~?[]\\ é3A") | st.characters(exclude_categories=["Cs"]))
PARTS = st.lists(PART, max_size=4)
LONG_PARTS = st.lists(
    st.builds(lambda text, times: text * times, PART, st.integers(0, 300)), min_size=1, max_size=3
)


@given(one=PARTS, other=PARTS)
def test_different_parts_never_share_a_key(one: list[str], other: list[str]) -> None:
    assume(one != other)
    assert cache_key("user", *one) != cache_key("user", *other)


@given(parts=LONG_PARTS)
def test_no_key_is_longer_than_the_store_takes(parts: list[str]) -> None:
    assert len(cache_key("user", *parts).encode()) <= MAX_KEY_BYTES


@given(one=LONG_PARTS, other=LONG_PARTS)
def test_different_long_parts_never_share_a_key(one: list[str], other: list[str]) -> None:
    assume(one != other)
    assert cache_key("user", *one) != cache_key("user", *other)


@pytest.mark.parametrize("tail", ["", "b", "é"])
def test_long_keys_that_differ_only_behind_the_limit_stay_apart(tail: str) -> None:
    long = "a" * 600
    assert cache_key("user", long) != cache_key("user", long + "c" + tail)
    assert cache_key("user", long, tail) != cache_key("user", long + tail)


def test_no_part_can_spell_the_digest_of_a_long_key() -> None:
    shortened = cache_key("user", "a" * 600)
    assert len(shortened) == MAX_KEY_BYTES
    assert cache_key("user", shortened.removeprefix("user:")) != shortened


@given(parts=PARTS)
def test_parts_hold_nothing_that_separates_or_globs(parts: list[str]) -> None:
    key = cache_key("user", *parts)
    assert key.isascii()
    assert key.isprintable()
    assert key.count(":") == len(parts)
    assert not set(key) & set("*?[]\\ ~")


@given(parts=PARTS)
def test_a_key_starts_with_its_kind_so_that_a_prefix_reaches_all_of_it(parts: list[str]) -> None:
    assert cache_key("user", *parts, "x" * 600).startswith("user:")


def test_plain_parts_stay_readable() -> None:
    assert cache_key("attribution", "c17", "u_shape") == "attribution:c17:u_shape"
