"""The subjects that a scenario names itself: how many, how popular, and by which ids."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from core.endpoint import PLACEHOLDERS as OF_THE_CDP
from core.endpoint import check_name
from core.errors import InputError
from core.scenario.popularity import Popularity
from core.scenario.table import Table
from core.scenario.targets import PLACEHOLDERS

MAX_IDS = 1_000_000
MAX_ID_CHARS = 512
MAX_IDS_BYTES = 64_000_000

MOST_SUBJECTS = 10_000_000


class Subject(Table):
    """What requests of an endpoint are about: a count of numbers, or the ids in a column of a CSV.

    prefix: what stands before the number, which begins with 1. column: the heading of the column;
    without it the file has one column, with or without the subject's name as its heading. sha256:
    of the file, by which a run's record knows it.
    """

    count: Annotated[int, Field(ge=1, le=MOST_SUBJECTS)] | None = None
    prefix: Annotated[str, Field(max_length=100)] = ""
    ids: Annotated[str, Field(min_length=1)] | None = None
    column: Annotated[str, Field(min_length=1)] | None = None
    popularity: Popularity = Popularity()
    sha256: SkipJsonSchema[str | None] = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if self.ids is None:
            if self.column is not None:
                raise ValueError("column is of ids; give ids, or leave it out")
        elif self.prefix or (self.count is not None and self.sha256 is None):
            raise ValueError("ids stand for themselves; leave out count and prefix")
        return self

    def id_of(self, number: int) -> str:
        """Return the id of the subject with *number*, from 0, where no file has ids."""
        return f"{self.prefix}{number + 1}"


def check_subjects(subjects: Mapping[str, Subject]) -> None:
    """Raise ValueError for a name that cannot be one of a subject."""
    taken = {*PLACEHOLDERS, *OF_THE_CDP}
    for name in subjects:
        check_name(name, "subject")
        if name in taken:
            raise ValueError(f"subject {name!r} has a name of the CDP's; choose another one")


def with_files(subjects: Any, folder: Path, source: str) -> Any:
    """Return the data of [subjects] with the count and the hash of each file of ids.

    A path counts from *folder*. Raise InputError, naming *source*, for a file that cannot be used.
    """
    if not isinstance(subjects, Mapping):
        return subjects
    return {
        name: _with_file(name, table, folder, source)
        if isinstance(table, Mapping) and isinstance(table.get("ids"), str)
        else table
        for name, table in subjects.items()
    }


def _with_file(name: str, table: Mapping[str, Any], folder: Path, source: str) -> Mapping[str, Any]:
    if "count" in table or "prefix" in table:
        raise InputError(
            f"{source}: subjects.{name}: ids stand for themselves; leave out count and prefix"
        )
    column = table.get("column")
    path = folder / table["ids"]
    where = f"{source}: subjects.{name}.ids"
    ids, digest = read_ids(path, name, column if isinstance(column, str) else None, where)
    return {**table, "ids": str(path), "count": len(ids), "sha256": digest}


def ids_of(subjects: Mapping[str, Subject], source: str) -> dict[str, tuple[str, ...]]:
    """Return the ids of each of *subjects* that has a file.

    Raise InputError, naming *source*, for a file that has changed or cannot be used.
    """
    found = {}
    for name, subject in subjects.items():
        if subject.ids is not None:
            where = f"{source}: subjects.{name}.ids"
            ids, digest = read_ids(Path(subject.ids), name, subject.column, where)
            if subject.sha256 not in (None, digest):
                raise InputError(f"{where}: {subject.ids} has changed meanwhile; start again")
            found[name] = ids
    return found


def read_ids(path: Path, name: str, column: str | None, where: str) -> tuple[tuple[str, ...], str]:
    """Return the ids in *column* of the CSV at *path*, in their order, and the SHA-256 of the file.

    Raise InputError, with *where* and the line, for a file that is missing or empty, or an id that
    no request can hold.
    """
    try:
        facts = os.stat(path)
        return _read(path, name, column, (facts.st_ino, facts.st_size, facts.st_mtime_ns))
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(
            f"{where}: {path} cannot be read ({reason}); give a CSV with an id a line, by a path "
            "from the scenario's folder"
        ) from None
    except (ValueError, csv.Error) as error:
        raise InputError(f"{where}: {path}{error}") from None


@lru_cache(maxsize=8)
def _read(
    path: Path, name: str, column: str | None, facts: tuple[int, ...]
) -> tuple[tuple[str, ...], str]:
    if facts[1] > MAX_IDS_BYTES:
        raise ValueError(f" has {facts[1]:,} bytes; at most {MAX_IDS_BYTES:,} are read")
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f", byte {error.start}: is not UTF-8; save it as UTF-8") from None
    rows = csv.reader(text.splitlines(), strict=True)
    place = 0
    found: dict[str, None] = {}
    for row in rows:
        line = rows.line_num
        if not row:
            continue
        if not found and line == 1 and column is not None:
            if column not in row:
                raise ValueError(
                    f", line 1: has no column {column!r}; it has {', '.join(row)[:200]}"
                )
            place = row.index(column)
            continue
        if column is None:
            if len(row) > 1:
                raise ValueError(
                    f", line {line}: has {len(row)} columns; name one with column, or leave one"
                )
            if line == 1 and row[0].strip().lower() in ("id", "ids", name, f"{name}_id"):
                continue
        if place >= len(row) or not row[place] or len(row[place]) > MAX_ID_CHARS:
            raise ValueError(f", line {line}: an id has 1 to {MAX_ID_CHARS} characters")
        if not row[place].isprintable():
            raise ValueError(f", line {line}: {row[place]!r:.60} holds a control character")
        if row[place] in found:
            raise ValueError(
                f", line {line}: {row[place]!r:.60} stands twice; keep each id once (sort -u)"
            )
        found[row[place]] = None
        if len(found) > MAX_IDS:
            raise ValueError(f", line {line}: more than {MAX_IDS:,} ids; leave some out")
    if not found:
        raise ValueError(" holds no id; write one a line")
    return tuple(found), hashlib.sha256(raw).hexdigest()
