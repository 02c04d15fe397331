"""Which column of a table of paths holds what: stated, or recognised by its name and then said."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from core.errors import InputError

PATH, CONVERSIONS, VALUE, NULLS, COUNT = (
    "path", "total_conversions", "total_conversion_value", "total_null", "count",
)  # fmt: skip
REQUIRED = (PATH, CONVERSIONS)

_OPTIONS = {
    PATH: "--path-column",
    CONVERSIONS: "--conversions-column",
    VALUE: "--value-column",
    NULLS: "--nulls-column",
    COUNT: "--count-column",
}
_KNOWN = {
    PATH: (
        "path", "paths", "transformedpath", "journey", "journeys", "channelsagg", "channelpath",
        "conversionpath", "touchpoints",
    ),
    CONVERSIONS: (
        "totalconversions", "conversions", "conversioncount", "conversion", "converted",
        "isconversion", "isconverted", "hasconverted", "hasconversion", "conv", "hastransaction",
    ),
    VALUE: (
        "totalconversionvalue", "conversionvalue", "conversionsvalue", "totalvalue", "value",
        "revenue", "totalrevenue",
    ),
    NULLS: (
        "totalnull", "totalnulls", "null", "nulls", "nonconversions", "nonconversion",
        "nonconverting",
    ),
    COUNT: ("count", "counts", "occurrences", "occurrence", "frequency", "freq"),
}  # fmt: skip
"""Names in this and other tools' tables, without case, spaces and underscores."""

_FLAGS = (
    "conversion", "converted", "isconversion", "isconverted", "hasconverted", "hasconversion",
    "conv", "hastransaction",
)  # fmt: skip
"""Names of a column that says of each row whether it converted."""

_PATH_NAME = re.compile("(?<!page)(?<!url)(?<!file)(?<!landing)(path|journey)s?$")
_USER = re.compile("user|visitor|client|customer")
_TIME = re.compile("time|date")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns that the caller states, by name or by number from 1; "" for one to recognise.

    path: of the channels; conversions: how many, or whether there was one; value, nulls: of these
    conversions, and the walks without one; count: the walks of a row whose conversions are a flag.
    """

    path: str = ""
    conversions: str = ""
    value: str = ""
    nulls: str = ""
    count: str = ""

    def __post_init__(self) -> None:
        for field, option in zip(fields(self), _OPTIONS.values(), strict=True):
            text = getattr(self, field.name)
            if text != text.strip() or (text.isdecimal() and int(text) == 0):
                raise InputError(f"{option} {text!r}: give a column's name, or its number from 1")

    def stated(self) -> dict[str, str]:
        """Return the columns that are stated, by what they hold."""
        texts = (getattr(self, field.name) for field in fields(self))
        return {role: text for role, text in zip(_OPTIONS, texts, strict=True) if text}

    @property
    def are_numbers(self) -> bool:
        """Whether path and conversions are numbers, so that no header is needed."""
        return self.path.isdecimal() and self.conversions.isdecimal()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The place of each column that was found, and what the header calls it.

    may_be_flag: whether the name of the conversions' column says that 1 and 0 are a flag.
    is_counted: whether the caller states a count, which only a flag has.
    """

    at: Mapping[str, int]
    names: Mapping[str, str]
    may_be_flag: bool
    is_counted: bool

    def said(self) -> list[str]:
        """Return a notice about the columns that have another name than the usual one."""
        others = [
            f"{name!r} as {role}"
            for role, name in self.names.items()
            if name.strip().casefold() != role
        ]
        if not others:
            return []
        return [f"takes the column {', '.join(others)}; --path-column and its like say otherwise"]


def placed(where: str, header: Sequence[str], columns: Columns) -> Placed | None:
    """Return the columns of *header*, None if it lacks those of the path or the conversions.

    A stated column is taken by its name or number; any other by its usual name, else by a name of
    other tools. Raise InputError where two columns could be the same one, and for a stated column
    that *header* lacks though it has the required ones.
    """
    found: dict[str, int] = {}
    stated = columns.stated()
    missing = ""
    for role in _OPTIONS:
        if role in stated:
            place = _stated(where, header, role, stated[role])
            missing = missing or (stated[role] if place is None else "")
        else:
            place = _recognised(where, header, role, set(stated.values()))
        if place is not None:
            found[role] = place
    if not all(role in found for role in REQUIRED):
        return None
    if missing:
        raise InputError(f"{where}: no column {missing!r}; its columns are {', '.join(header)}")
    squashed = _squash(header[found[CONVERSIONS]])
    is_usual = squashed == "totalconversions"
    if COUNT in found and COUNT not in stated and (is_usual or NULLS in found):
        del found[COUNT]
    return Placed(
        at=found,
        names={role: header[place] for role, place in found.items()},
        may_be_flag=squashed in _FLAGS or COUNT in stated,
        is_counted=COUNT in stated,
    )


def option_of(role: str) -> str:
    """Return the option that states the column of *role*."""
    return _OPTIONS[role]


def _stated(where: str, header: Sequence[str], role: str, text: str) -> int | None:
    exact = [place for place, name in enumerate(header) if name.strip() == text]
    loose = [n for n, name in enumerate(header) if name.strip().casefold() == text.casefold()]
    places = exact or loose
    if len(places) > 1:
        raise InputError(
            f"{where}: column {text} stands twice; give {_OPTIONS[role]} its number from 1"
        )
    if places:
        return places[0]
    if text.isdecimal() and int(text) <= len(header):
        return int(text) - 1
    return None


def _recognised(where: str, header: Sequence[str], role: str, taken: set[str]) -> int | None:
    names = [name.strip() for name in header]
    usual = [place for place, name in enumerate(names) if name.casefold() == role]
    if len(usual) > 1:
        raise InputError(f"{where}: column {role} stands twice; leave one")
    if usual:
        return usual[0]
    free = [place for place, name in enumerate(names) if name not in taken]
    others = [place for place in free if _squash(names[place]) in _KNOWN[role]]
    if role == PATH and not others and not is_of_events(names):
        others = [place for place in free if _PATH_NAME.search(_squash(names[place]))]
    if len(others) > 1 and role != COUNT:
        shown = " and ".join(names[place] for place in others)
        raise InputError(
            f"{where}: columns {shown} may each be {role}; name one with {_OPTIONS[role]}"
        )
    return others[0] if others else None


def is_of_events(names: Sequence[str]) -> bool:
    """Return whether *names* are the columns of single events: a user and a time."""
    lower = [name.casefold() for name in names]
    return any(map(_USER.search, lower)) and any(map(_TIME.search, lower))


def unusable(where: str, names: Sequence[str], columns: Columns) -> str:
    """Return what a table without the columns of paths lacks, and the remedy."""
    shown = ", ".join(names)[:200]
    for role, text in columns.stated().items():
        if _stated(where, names, role, text) is None:
            return (
                f"{where}: no column {text!r}, which {_OPTIONS[role]} states"
                f"{f'; its columns are {shown}' if shown else ''}"
            )
    missing = next(
        role
        for role in REQUIRED
        if role not in columns.stated() and _recognised(where, names, role, set()) is None
    )
    said = f"{where}: no column {missing}"
    if shown:
        said += f"; its columns are {shown}"
    needed = f"the header needs {' and '.join(REQUIRED)}, and may have {VALUE} and {NULLS}"
    if is_of_events(names):
        return (
            f"{said}: a row is one event, not a path with its conversions. Count the rows of each "
            f"path ({needed}), or import the events (`edgeproof import events FILE --db DATABASE`) "
            "and give that database as --db"
        )
    return (
        f"{said}; {needed}, separated by ',', ';' or a tab. {_OPTIONS[missing]} says which column "
        "it is, by name or number"
    )


def _squash(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())
