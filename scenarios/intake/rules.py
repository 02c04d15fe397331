"""Rules that say which endpoint a request belongs to, and what its key is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from core.endpoint import PLACEHOLDERS as OF_THE_CDP
from core.endpoint import check_name
from core.errors import InputError
from core.scenario.targets import PLACEHOLDERS
from core.texts import shown

LEFT_OUT = "-"
"""The name of a rule whose requests are left out."""

MOST_RULES = 200
MOST_SEGMENTS = 24

_LINE = re.compile(
    r"(?P<name>-|\S+?)\s*=\s*(?P<method>[A-Z][A-Z-]*|\*)\s+(?P<path>/\S*)(?:\s+by\s+(?P<by>\S+))?"
)
_PLACEHOLDER = re.compile(r"\{(\w*)\}")
_QUERY = re.compile(r"([^=&{}]+)=\{(\w+)\}")
_EXAMPLE = "write NAME = GET /items/{item}"


class KeyFrom(IntEnum):
    """What makes the key of a request."""

    PATH = 0
    NOTHING = 1
    QUERY = 2
    ADDRESS = 3
    USER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Requests of one endpoint.

    method: "*" for any. segments: of the path; None stands for any one, "" for one that is part of
    the key. placeholders: names of what makes the key.
    """

    name: str
    method: str
    path: str
    segments: tuple[bytes | None, ...]
    key: KeyFrom
    placeholders: tuple[str, ...] = ()
    parameter: bytes = b""

    def __str__(self) -> str:
        by = {KeyFrom.ADDRESS: " by address", KeyFrom.USER: " by user"}.get(self.key, "")
        return f"{self.name} = {self.method} {self.path}{by}"

    @property
    def subject(self) -> str:
        """The name of what its requests are about."""
        if self.key is KeyFrom.ADDRESS:
            return "client"
        if self.key is KeyFrom.USER:
            return "account"
        if not self.placeholders:
            return "everything"
        name = "_".join(self.placeholders).casefold()
        if name in PLACEHOLDERS or name in OF_THE_CDP:
            name = f"{name.removesuffix('_id')}_key"
        return name[:32]

    def covers(self, other: Rule) -> bool:
        """Return whether each request that fits *other* fits this rule."""
        return (
            self.method in ("*", other.method)
            and len(self.segments) == len(other.segments)
            and all(
                not mine or mine == theirs
                for mine, theirs in zip(self.segments, other.segments, strict=True)
            )
        )


def parse_rule(text: str, where: str) -> Rule:
    """Return the rule that *text* states; InputError, naming *where*, if it states none."""
    match = _LINE.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{where}: {shown(text.strip())} is no rule; {_EXAMPLE}")
    name, path, by = match["name"], match["path"], match["by"]
    if name != LEFT_OUT:
        try:
            check_name(name, "endpoint")
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
    if match["method"] in ("CONNECT", "TRACE") and name != LEFT_OUT:
        raise InputError(f"{where}: {match['method']} is no request that can be sent again")
    if by not in (None, "address", "user"):
        raise InputError(f"{where}: by {by}: use address or user, or leave it out")
    route, _, query = path.partition("?")
    segments: list[bytes | None] = []
    placeholders: list[str] = []
    for segment in route.split("/"):
        whole = _PLACEHOLDER.fullmatch(segment)
        if whole is None and ("{" in segment or "}" in segment):
            raise InputError(
                f"{where}: {shown(segment)} is part of a segment; a placeholder is a whole one, "
                "such as /items/{item}"
            )
        if whole is None:
            if segment:
                segments.append(segment.encode())
        elif whole[1]:
            _check_placeholder(whole[1], where)
            placeholders.append(whole[1])
            segments.append(b"")
        else:
            segments.append(None)
    if len(segments) > MOST_SEGMENTS:
        raise InputError(f"{where}: a path has at most {MOST_SEGMENTS} segments")
    parameter = b""
    if query:
        found = _QUERY.fullmatch(query)
        if found is None:
            raise InputError(
                f"{where}: {shown(query)} is no query that is read; name one parameter, such as "
                "?q={q}"
            )
        if placeholders:
            raise InputError(f"{where}: the key is in the path and in the query; name one of them")
        _check_placeholder(found[2], where)
        parameter, placeholders = found[1].encode(), [found[2]]
    if by is not None and placeholders:
        raise InputError(f"{where}: the key is {placeholders[0]} and by {by}; name one of them")
    if by is not None:
        key = KeyFrom.ADDRESS if by == "address" else KeyFrom.USER
    else:
        key = KeyFrom.QUERY if parameter else KeyFrom.PATH if placeholders else KeyFrom.NOTHING
    return Rule(
        name=name, method=match["method"], path=path, segments=tuple(segments), key=key,
        placeholders=tuple(placeholders), parameter=parameter,
    )  # fmt: skip


def _check_placeholder(name: str, where: str) -> None:
    try:
        check_name(name.casefold(), "placeholder")
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def check_rules(rules: Sequence[Rule], where: str) -> None:
    """Raise InputError where *rules* are none, too many, or name one endpoint twice."""
    if not any(rule.name != LEFT_OUT for rule in rules):
        raise InputError(f"{where}: names no endpoint; {_EXAMPLE}")
    if len(rules) > MOST_RULES:
        raise InputError(f"{where}: has {len(rules)} rules; at most {MOST_RULES} are read")
    seen: dict[str, Rule] = {}
    for rule in rules:
        if rule.name != LEFT_OUT and rule.name in seen:
            raise InputError(
                f"{where}: {rule.name} stands twice; an endpoint has one request: give the second "
                "one another name"
            )
        seen[rule.name] = rule


def read_rules(file: Path) -> list[Rule]:
    """Return the rules in *file*, one a line; # begins a comment.

    Raise InputError if it cannot be read, or a line is no rule.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"--rules {file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"--rules {file}: is no UTF-8 text; give a file of rules") from None
    rules = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
        if line:
            rules.append(parse_rule(line, f"{file}:{number}"))
    return rules


def by_specificity(rules: Sequence[Rule]) -> list[int]:
    """Return the positions of *rules* in the order in which they are tried.

    Rules with a fixed segment come before those with a placeholder in its place, and rules of one
    method before those of any; else their own order counts.
    """

    def rank(position: int) -> tuple[tuple[int, ...], bool, int]:
        rule = rules[position]
        return tuple(int(not each) for each in rule.segments), rule.method == "*", position

    return sorted(range(len(rules)), key=rank)
