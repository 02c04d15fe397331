"""What an answer's Cache-Status (RFC 9211) tells of an endpoint's cache reads.

The field is a list of RFC 9651. One that is none is ignored as a whole, as that RFC demands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import http_sf

from core.wire import (
    BYPASS,
    COLLAPSED,
    FLAGS_OF_DETAIL,
    L1_HIT,
    L2_HIT,
    MISS,
    NONE,
    READ_PARAMETER,
)

MAX_FIELD = 4_096
"""Characters of Cache-Status; a longer one, which would take milliseconds, tells nothing."""


class State(StrEnum):
    """What one cache did with a request."""

    HIT = "hit"
    MISS = "miss"
    COLLAPSED = "collapsed"
    BYPASS = "bypass"
    NOT_ASKED = "not asked"


class Member(NamedTuple):
    """What one cache says: its name, its state, flags of a hit, and whose read it was."""

    cache: str
    state: State
    flags: int
    read: str | None
    key: str | None


class Flaw(StrEnum):
    """Why a part of an answer's headers could not be counted."""

    INVALID = "invalid"
    UNKNOWN_CACHE = "unknown_cache"
    UNKNOWN_READ = "unknown_read"
    UNCOUNTED = "uncounted"


class Remark(NamedTuple):
    """A flaw, and what is wrong: a reason, or the name that is not known.

    The text holds what the service wrote, whole, and perhaps a secret.
    """

    flaw: Flaw
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The outcome codes of an endpoint's reads by position, NONE where nothing tells.

    Positions beyond the endpoint's reads hold reads that the endpoint does not describe.
    """

    codes: tuple[int, ...]
    remarks: tuple[Remark, ...] = ()


class FieldInvalid(ValueError):
    """A field that is no list of caches."""


def field_list(value: str) -> list[Any]:
    """Return the list of RFC 9651 that *value* is, as http_sf shows it; FieldInvalid if none."""
    if len(value) > MAX_FIELD:
        raise FieldInvalid(f"{len(value):,} characters; at most {MAX_FIELD:,} are read")
    try:
        members: Any = http_sf.parse(value.encode("ascii"), tltype="list")
    except UnicodeEncodeError as error:
        raise FieldInvalid(f"a character outside ASCII at position {error.start}") from None
    except http_sf.StructuredFieldError as error:
        raise FieldInvalid(_printable(str(error))) from None
    return list(members)


def members_of(value: str) -> list[Member]:
    """Return what each cache in *value* says; FieldInvalid if it is no list of caches."""
    return [_member(item, parameters) for item, parameters in field_list(value)]


def _member(item: Any, parameters: Mapping[str, Any]) -> Member:
    if not isinstance(item, str | http_sf.Token):
        raise FieldInvalid(f"{_shown(item)} names no cache; use a token or a string")
    name = str(item)
    for flag in ("hit", "collapsed"):
        if not isinstance(parameters.get(flag, False), bool):
            raise FieldInvalid(f"{flag} of {_shown(name)} is no boolean; write `{flag}`")
    forwarded = parameters.get("fwd")
    if forwarded is not None and not isinstance(forwarded, http_sf.Token):
        raise FieldInvalid(f"fwd of {_shown(name)} is no token; write `fwd=miss`")
    state = State.MISS
    if parameters.get("hit"):
        state = State.HIT
    elif parameters.get("collapsed"):
        state = State.COLLAPSED
    elif forwarded is not None:
        # A request whose method no cache answers asks none.
        state = {"bypass": State.BYPASS, "method": State.NOT_ASKED}.get(str(forwarded), State.MISS)
    detail = FLAGS_OF_DETAIL.get(_text(parameters.get("detail")) or "", 0)
    return Member(
        cache=name,
        state=state,
        flags=detail if state is State.HIT else 0,
        read=_text(parameters.get(READ_PARAMETER)),
        key=_text(parameters.get("key")),
    )


def tell(
    value: str, names: Sequence[str], *, primary: int, tiers: Mapping[str, str], width: int
) -> Told:
    """Return what *value* tells of the reads *names*, of which *primary* is the main one.

    tiers: "l1", "l2" or "none" for the name of each known cache. width: how many reads of an
    answer are kept. Members without the name of a read form groups, each ending with the cache
    closest to the client. They are the reads that are not named, in their order; where they are
    fewer, the first one is the primary read.
    """
    try:
        members = members_of(value)
    except FieldInvalid as error:
        return Told(codes=(NONE,) * len(names), remarks=(Remark(Flaw.INVALID, str(error)),))
    remarks: dict[Remark, None] = {}
    named: dict[int, list[Member]] = {}
    unnamed: list[Member] = []
    for member in members:
        if member.cache not in tiers:
            remarks[Remark(Flaw.UNKNOWN_CACHE, _shown(member.cache))] = None
        elif tiers[member.cache] == "none" or member.state is State.NOT_ASKED:
            continue
        elif (read := _read_of(member, names)) is None:
            unnamed.append(member)
        elif read in names:
            named.setdefault(names.index(read), []).append(member)
        else:
            remarks[Remark(Flaw.UNKNOWN_READ, _shown(read))] = None
    codes = [NONE] * max(len(names), width)
    for position, group in named.items():
        codes[position] = _outcome(group, tiers)
    free = [position for position in range(len(names)) if position not in named]
    groups = _groups(unnamed, tiers, is_one=len(names) <= 1)
    if len(groups) < len(free) and primary in free:
        free.remove(primary)
        free.insert(0, primary)
    free += range(len(names), width)
    for position, group in zip(free, groups, strict=False):
        codes[position] = _outcome(group, tiers)
    if len(groups) > len(free):
        remarks[Remark(Flaw.UNCOUNTED, "")] = None
    while len(codes) > len(names) and codes[-1] == NONE:
        codes.pop()
    return Told(codes=tuple(codes), remarks=tuple(remarks))


def without_keys(value: str, names: Sequence[str]) -> str:
    """Return *value* with empty cache keys, so that answers about many keys have few values.

    It tells the same: keys that are none of *names* tell nothing. Without a backslash, the quotes
    of a field open and close strings in turn; other fields are returned as they are.
    """
    parts = value.split('"')
    if len(parts) % 2 == 0 or len(value) > MAX_FIELD or "\\" in value:
        return value
    for position in range(1, len(parts), 2):
        key = parts[position]
        is_string = key.isascii() and key.isprintable()
        if is_string and key not in names and parts[position - 1].endswith("key="):
            parts[position] = ""
    return '"'.join(parts)


def _read_of(member: Member, names: Sequence[str]) -> str | None:
    """Return the name of the read that *member* belongs to, None if it tells none.

    Services that we wrote before `read` named it in `key`.
    """
    if member.read is not None:
        return member.read
    return member.key if len(names) > 1 and member.key in names else None


def _groups(
    members: Iterable[Member], tiers: Mapping[str, str], *, is_one: bool
) -> list[list[Member]]:
    """Return *members* by read; *is_one*: of one read at most, if no cache stands there twice."""
    members = list(members)
    if is_one and len({member.cache for member in members}) == len(members):
        return [members] if members else []
    groups: list[list[Member]] = []
    is_open = False
    for member in members:
        if is_open:
            groups[-1].append(member)
        else:
            groups.append([member])
        is_open = tiers[member.cache] != "l1"
        if is_open and any(member.cache == other.cache for other in groups[-1][:-1]):
            groups[-1].pop()
            groups.append([member])
    return groups


def _outcome(members: Iterable[Member], tiers: Mapping[str, str]) -> int:
    states = [(tiers[member.cache], member) for member in members]
    for tier, code in (("l1", L1_HIT), ("l2", L2_HIT)):
        for of, member in states:
            if of == tier and member.state is State.HIT:
                return code | member.flags
    if any(member.state is State.COLLAPSED for _, member in states):
        return COLLAPSED
    if any(of == "l2" and member.state is State.BYPASS for of, member in states):
        return BYPASS
    return MISS


def _text(value: Any) -> str | None:
    """Return a string's or a token's text; anything else says nothing to us."""
    return str(value) if isinstance(value, str | http_sf.Token) else None


def _shown(value: Any) -> str:
    return _printable(str(value))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
