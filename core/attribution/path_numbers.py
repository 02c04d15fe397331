"""The numbers of a table of paths: conversions or a flag, values, nulls, and what is unusual."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path

import numpy as np

from core.attribution.names import is_absent
from core.attribution.path_columns import CONVERSIONS, COUNT, NULLS, VALUE, Placed
from core.attribution.paths import Floats, Paths
from core.errors import InputError
from core.texts import count_of

LARGEST = 1e15  # larger counts are not exact as floats
_FLAGS = {
    "true": 1.0, "yes": 1.0, "t": 1.0, "y": 1.0, "false": 0.0, "no": 0.0, "f": 0.0, "n": 0.0,
}  # fmt: skip


@dataclass(slots=True)
class Numbers:
    """The numbers of a file as they are read, a list per column.

    empty: rows that have a mark of absence instead, by column; words: rows whose conversions are
    True or False; worded: the place of the first.
    """

    lists: dict[str, list[float]]
    empty: dict[str, int] = field(default_factory=dict)
    words: int = 0
    worded: str = ""

    def take(self, where: str, role: str, name: str, cell: str) -> float:
        """Return the number in *cell*, which is not a usual one, or refuse it."""
        number, is_word = number_of(cell)
        if is_word and role == CONVERSIONS:
            self.words += 1
            self.worded = self.worded or where
            return number
        if isnan(number) and role in (VALUE, NULLS) and is_absent(cell):
            self.empty[name] = self.empty.get(name, 0) + 1
            return 0.0
        least = least_of(role)
        if is_word or not least <= number <= LARGEST:
            needed = "a number of at least 0" if least == 0 else "a number"
            raise InputError(
                f"{where}: {name} is {cell[:40]!r}; {needed}, with a decimal point, is needed"
            )
        return number


def number_of(cell: str) -> tuple[float, bool]:
    """Return the number that *cell* is, NaN for none, and whether it is a word for 1 or 0."""
    try:
        return (math.nan if "_" in cell else float(cell)), False
    except ValueError:
        word = _FLAGS.get(cell.strip().casefold())
        return (math.nan, False) if word is None else (word, True)


def least_of(role: str) -> float:
    """Return the least number that the column of *role* may hold."""
    return -LARGEST if role in (CONVERSIONS, VALUE) else 0.0


def counted(file: Path, chosen: Placed, numbers: Numbers) -> tuple[Floats, Floats, list[str]]:
    """Return the conversions and the nulls of each row, and notices if rows have a flag."""
    lists = numbers.lists
    flags = np.array(lists[CONVERSIONS])
    name = chosen.names[CONVERSIONS]
    is_binary = bool(((flags == 0) | (flags == 1)).all())
    if numbers.words and numbers.words < len(flags) and not is_binary:
        raise InputError(
            f"{numbers.worded}: {name} is a flag, in other rows a number; give one of them"
        )
    count = chosen.names.get(COUNT)
    has_nulls = bool(lists[NULLS])
    if numbers.words and has_nulls:
        raise InputError(
            f"{numbers.worded}: {name} is a flag, and {chosen.names[NULLS]} counts the journeys "
            "without a conversion; give one of them, and --count-column for the journeys of a row"
        )
    is_flag = bool(numbers.words) or (chosen.may_be_flag and is_binary and not has_nulls)
    if not is_flag:
        notes = []
        if chosen.is_counted:
            raise InputError(
                f"{file}: {count} counts the journeys of a row, but {name} holds numbers and is no "
                "flag; leave --count-column out, or name the flag with --conversions-column"
            )
        if count is not None:
            notes.append(f"{count!r} is passed over: {name!r} holds numbers, not a flag")
        unwalked = int((flags == 0).sum())
        if unwalked and not has_nulls:
            notes.append(
                f"{rows_of(unwalked)} with 0 conversions and no column of nulls: they count for "
                "nothing"
            )
        return flags, np.array(lists[NULLS] or np.zeros(len(flags))), notes
    walks = np.array(lists[COUNT]) if count is not None else np.ones(len(flags))
    each = f"{count!r} counts its journeys" if count is not None else "each is one journey"
    said = f"{name!r} says of a row whether it converted; {each}"
    converted = flags == 1
    return np.where(converted, walks, 0.0), np.where(converted, 0.0, walks), [said]


def unusual(paths: Paths) -> list[str]:
    """Return notices about amounts that few files have: refunds, values without a conversion."""
    notes = []
    if number := int((paths.values < 0).sum()):
        notes.append(
            f"{rows_of(number)} with a negative value, {paths.values[paths.values < 0].sum():,.6g} "
            "together: every model shares it out as a positive one"
        )
    alone = (paths.conversions == 0) & (paths.values != 0)
    if number := int(alone.sum()):
        notes.append(
            f"{rows_of(number)} with a value and no conversion, {paths.values[alone].sum():,.6g} "
            "together: the value is shared out over the path"
        )
    if number := int((paths.conversions < 0).sum()):
        notes.append(
            f"{rows_of(number)} with negative conversions, "
            f"{paths.conversions[paths.conversions < 0].sum():,.6g} together: every model takes "
            "them off; data_driven is fitted as if they were 0"
        )
    return notes


def rows_of(number: int) -> str:
    """Return *number* rows in words."""
    return count_of(number, "row")
