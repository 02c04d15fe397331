"""Checks of an endpoint's answers: what the body has to hold for a request to count as answered."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_serializer, model_validator

from core.scenario.table import Table
from core.units import Size

_STEP = re.compile(r"\.?([A-Za-z_][\w-]*)|\[(\d{1,6})\]|\[\"([^\"]*)\"\]")
_NOTHING = object()
_SHOWN = 60


def _steps(path: str) -> tuple[str | int, ...]:
    """Return the names and indices of *path* ("$.lines[0].sku"); ValueError if it is none."""
    steps: list[str | int] = []
    position = 1 if path.startswith("$") else 0
    while position < len(path):
        found = _STEP.match(path, position)
        if found is None:
            raise ValueError(f"json is {path!r}; write names and indices, such as $.lines[0].sku")
        name, index, quoted = found.groups()
        steps.append(int(index) if index is not None else name if name is not None else quoted)
        position = found.end()
    return tuple(steps)


class Check(Table):
    """One claim about a body: a JSON path equals or exists, a text is in it, a bound of its size.

    equals: a text, a number, true, false or a list of these.
    """

    json_: Annotated[str | None, Field(alias="json", min_length=1, max_length=500)] = None
    equals: Any = None
    exists: bool | None = None
    contains: Annotated[str | None, Field(min_length=1, max_length=1000)] = None
    min_size: Size | None = None
    max_size: Size | None = None

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True
    )

    @model_validator(mode="after")
    def _claims_one_thing(self) -> Self:
        given = {"json" if name == "json_" else name for name in self.model_fields_set}
        if given not in (
            {"json", "equals"}, {"json", "exists"}, {"contains"}, {"min_size"}, {"max_size"},
        ):  # fmt: skip
            raise ValueError(
                "a check is json with equals or exists, or contains, min_size or max_size alone"
            )
        if self.json_ is not None:
            _steps(self.json_)
        return self

    @model_serializer
    def _as_given(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in self.model_fields_set}
        if "json_" in given:
            given = {"json": given.pop("json_"), **given}
        for name in ("min_size", "max_size"):
            if name in given:
                given[name] = f"{given[name]}B"
        return given

    @property
    def name(self) -> str:
        """The claim in one phrase: what reports call a check that failed."""
        if self.contains is not None:
            return f"contains {self.contains[:_SHOWN]!r}"
        if self.json_ is None:
            is_most = self.max_size is not None
            bound = self.max_size if is_most else self.min_size
            return f"size at {'most' if is_most else 'least'} {bound} bytes"
        if self.exists is not None:
            return f"{self.json_} {'exists' if self.exists else 'does not exist'}"
        return f"{self.json_} = {json.dumps(self.equals)[:_SHOWN]}"


class Checks:
    """The checks of an endpoint, compiled: a body is parsed once, and only if one asks for it."""

    __slots__ = ("_checks", "_paths", "names")

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = tuple(checks)
        self._paths = [None if c.json_ is None else _steps(c.json_) for c in checks]
        self.names = tuple(check.name for check in checks)

    def failed(self, body: bytes) -> int:
        """Return the number, from 1, of the first check that *body* fails; 0 if it fails none."""
        document: Any = None
        is_parsed = False
        for number, (check, path) in enumerate(zip(self._checks, self._paths, strict=True), 1):
            if path is not None:
                if not is_parsed:
                    is_parsed = True
                    try:
                        document = json.loads(body)
                    except (ValueError, RecursionError):
                        document = _NOTHING
                if document is _NOTHING:
                    return number
                found = _at(document, path)
                if check.exists is not None:
                    holds = (found is not _NOTHING) is check.exists
                else:
                    holds = found is not _NOTHING and _equal(found, check.equals)
            elif check.contains is not None:
                holds = check.contains.encode() in body
            elif check.max_size is not None:
                holds = len(body) <= check.max_size
            else:
                holds = len(body) >= (check.min_size or 0)
            if not holds:
                return number
        return 0


def _at(document: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        try:
            if isinstance(document, dict) is not isinstance(step, str):
                return _NOTHING
            document = document[step]
        except (IndexError, KeyError, TypeError):
            return _NOTHING
    return document


def _equal(found: Any, expected: Any) -> bool:
    """Return whether both are the same JSON: 1 and 1.0 are, 1 and true are not."""
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    return bool(found == expected)
