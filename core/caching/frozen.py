"""Values that may be handed to every reader: deeply immutable copies of plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from operator import is_
from types import NoneType
from typing import Any, NoReturn

_IMMUTABLE = frozenset(
    (bytes, str, int, float, bool, NoneType, Decimal, datetime, date, time, timedelta)
)


def freeze(value: Any) -> Any:
    """Return *value* as an object that its readers cannot change; itself if it is one already.

    A mapping becomes a `FrozenDict`, a list or tuple a tuple (named tuples keep their type), a
    set a frozenset, a bytearray or memoryview bytes, with all they hold. A frozen dataclass stays
    itself if its fields are frozen already. Raise TypeError for anything else.
    """
    kind = type(value)
    if kind is bytes or kind is str or kind in _IMMUTABLE:
        return value
    if kind is FrozenDict or isinstance(value, Enum):
        return value
    if isinstance(value, dict):
        return FrozenDict(value)
    if isinstance(value, list | tuple):
        items = [freeze(item) for item in value]
        is_named = isinstance(value, tuple) and hasattr(kind, "_make")
        if (is_named or kind is tuple) and all(map(is_, items, value)):
            return value
        return kind._make(items) if is_named else tuple(items)
    if isinstance(value, set | frozenset):
        frozen = [freeze(item) for item in value]
        unchanged = kind is frozenset and all(map(is_, frozen, value))
        return value if unchanged else frozenset(frozen)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if is_dataclass(kind) and kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]  # typeshed leaves it out
        for field in fields(kind):
            held = getattr(value, field.name)
            if freeze(held) is not held:
                raise TypeError(
                    f"{_name(kind)}.{field.name} holds a {_name(type(held))}, which its readers "
                    "could change; give the dataclass freeze(...) of it"
                )
        return value
    raise TypeError(
        f"{_name(kind)} cannot be cached, as its readers could change it; cache plain data "
        "(dicts, lists, sets, strings, bytes, numbers, dates), enum members or a frozen dataclass "
        "of these"
    )


def thaw(value: Any) -> Any:
    """Return a copy of what `freeze` returned that can be changed: dicts, lists and sets.

    Every plain tuple becomes a list, as nothing tells which were lists. Keys of dicts and members
    of sets stay as they are, as do dataclasses.
    """
    if isinstance(value, dict):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, tuple):
        items = [thaw(item) for item in value]
        return type(value)._make(items) if hasattr(value, "_make") else items  # a named tuple
    return set(value) if isinstance(value, frozenset) else value


class FrozenDict(dict[Any, Any]):
    """A dict that refuses to be changed, as does what it holds; its copies are thawed."""

    __slots__ = ()

    def __new__(cls, items: Mapping[Any, Any] | Iterable[tuple[Any, Any]] = ()) -> FrozenDict:
        """Freeze *items*; TypeError if that cannot be done (see `freeze`)."""
        made = super().__new__(cls)
        pairs = items.items() if isinstance(items, Mapping) else items
        dict.update(made, [(freeze(key), freeze(item)) for key, item in pairs])
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        """Do nothing: that of dict would add items to it."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a cached value cannot be changed; change a copy: thaw(value)")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def copy(self) -> dict[Any, Any]:
        """Return a plain dict with the same content, thawed."""
        return {key: thaw(item) for key, item in self.items()}

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[Any, Any]:
        return self.copy()


def _name(kind: type) -> str:
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
