"""Claims about freezing: the same content, which nobody can change any more."""

from __future__ import annotations

import copy
import json
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.caching.frozen import FrozenDict, freeze, thaw

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=25,
)
MUTATIONS: list[Callable[[FrozenDict], Any]] = [
    lambda frozen: frozen.__setitem__("a", 1),
    lambda frozen: frozen.__delitem__("a"),
    lambda frozen: frozen.__ior__({"a": 1}),
    lambda frozen: frozen.clear(),
    lambda frozen: frozen.pop("a"),
    lambda frozen: frozen.pop("a", None),
    lambda frozen: frozen.popitem(),
    lambda frozen: frozen.setdefault("a", 1),
    lambda frozen: frozen.update({"a": 1}),
    lambda frozen: frozen.update(a=1),
]


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Point(NamedTuple):
    x: Any
    y: Any


Untyped = namedtuple("Untyped", ["items"])  # the other way to make one


@dataclass(frozen=True, slots=True)
class Journey:
    user: str
    steps: Any = ()


@dataclass(slots=True)
class Changeable:
    steps: list[str] = field(default_factory=list)


def plain(value: Any) -> Any:
    """Return *value* with lists for tuples, as JSON has no other sequence."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def dicts(value: Any) -> list[FrozenDict]:
    """Return every dict in *value*, which must be frozen."""
    if isinstance(value, dict):
        assert type(value) is FrozenDict
        return [value, *(found for item in value.values() for found in dicts(item))]
    assert not isinstance(value, list)
    return [found for item in value for found in dicts(item)] if isinstance(value, tuple) else []


def spoil(value: Any) -> None:
    """Change every list and dict in *value*."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in list(inner):
        spoil(item)
    if isinstance(value, dict):
        value.clear()
        value["spoilt"] = True
    elif isinstance(value, list):
        value[:] = ["spoilt"]


@given(value=JSON)
def test_frozen_value_has_the_content_of_the_original_and_cannot_be_changed(value: Any) -> None:
    before = json.dumps(value)
    frozen = freeze(value)
    assert plain(frozen) == value
    assert json.dumps(frozen) == before
    assert freeze(frozen) is frozen
    for each in dicts(frozen):
        for mutate in MUTATIONS:
            with pytest.raises(TypeError, match="a cached value cannot be changed"):
                mutate(each)
    spoil(value)
    assert json.dumps(frozen) == before


@given(value=JSON)
def test_thawed_copies_are_the_original_and_can_be_changed(value: Any) -> None:
    before = json.dumps(value)
    frozen = freeze(value)
    thawed = [thaw(frozen)]
    if isinstance(frozen, FrozenDict):
        thawed += [copy.copy(frozen), copy.deepcopy(frozen), frozen.copy()]
    for each in thawed:
        assert type(each) is type(value)
        assert each == value
        spoil(each)
    assert json.dumps(frozen) == before


@pytest.mark.parametrize(
    "value",
    [
        b"bytes", "text", 10**30, 1.5, True, None, Decimal("1.10"), Colour.RED, Level.HIGH,
        datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1), time(1, 2), timedelta(days=1),
        (1, (2, b"x")), Point(1, ()), frozenset({1, (2, 3)}), (), frozenset(),
        Journey("u1", (1, Point(2, frozenset()))), FrozenDict({"a": [1]}), (FrozenDict(),),
    ],
)  # fmt: skip
def test_what_cannot_be_changed_stays_the_same_object(value: Any) -> None:
    assert freeze(value) is value


@pytest.mark.parametrize(
    ("value", "frozen"),
    [
        ([1, [2]], (1, (2,))),
        ({1, 2}, frozenset({1, 2})),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        (Point([1], {2}), Point((1,), frozenset({2}))),
        (Untyped([[1]]), Untyped(((1,),))),
        (([1],), ((1,),)),
        (OrderedDict(b=[1], a=2), FrozenDict({"b": (1,), "a": 2})),
        ({(1, 2): {3}}, FrozenDict({(1, 2): frozenset({3})})),
    ],
)
def test_each_kind_becomes_its_immutable_one(value: Any, frozen: Any) -> None:
    found = freeze(value)
    assert found == frozen
    assert type(found) is type(frozen)
    assert list(found) == list(frozen)  # in the same order


def test_thawing_gives_lists_dicts_and_sets_and_keeps_named_tuples() -> None:
    frozen = freeze({"a": [Point([1], {2})], "b": b"x", "c": Journey("u1")})
    assert thaw(frozen) == {"a": [Point([1], {2})], "b": b"x", "c": Journey("u1")}


def test_frozen_dict_is_not_changed_by_its_initialiser_and_takes_no_attributes() -> None:
    frozen = FrozenDict([("a", [1])])
    frozen.__init__({"b": 2})  # type: ignore[misc]  # what a caller should not do
    assert frozen == {"a": (1,)}
    assert frozen | {"b": 2} == {"a": (1,), "b": 2}
    with pytest.raises(AttributeError):
        frozen.name = 1  # type: ignore[attr-defined]  # it has none
    with pytest.raises(TypeError, match="unhashable"):
        hash(frozen)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "object cannot be cached"),
        (Changeable(), r"test_frozen\.Changeable cannot be cached.*frozen dataclass"),
        ([{"a": Changeable()}], "Changeable cannot be cached"),
        (Journey("u1", [1]), r"Journey\.steps holds a list.*freeze\(\.\.\.\) of it"),
        (Journey("u1", Journey("u2", {})), r"Journey\.steps holds a dict"),
        (Journey("u1", (Changeable(),)), "Changeable cannot be cached"),
        (iter([1]), "list_iterator cannot be cached"),
        ({Colour}, "EnumType cannot be cached"),
    ],
)
def test_what_could_be_changed_is_refused_with_its_type_and_the_remedy(
    value: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        freeze(value)
