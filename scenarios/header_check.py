"""What edgeproof can read of one answer's headers, and what has to change for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.endpoints import CDP
from core.metrics.stage import STAGES, Stage, in_header
from core.units import format_duration
from core.wire import NEGATIVE, NONE, READ_OUTCOMES, READ_PARAMETER, STALE
from scenarios.cache_status import (
    FieldInvalid,
    Flaw,
    Member,
    State,
    members_of,
    tell,
)
from scenarios.cdn_headers import cdn_header, cdn_outcome
from scenarios.server_timing import metrics_of

PAGE = "docs/instrument.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that cannot be read, and what to do about it."""

    text: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderCheck:
    """What was read of one header, what of it is of no use here, and what cannot be read."""

    header: str
    read: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def check_headers(
    fields: Sequence[tuple[str, str]],
    tiers: Mapping[str, str],
    *,
    width: int = CDP.read_width,
    stages: tuple[Stage, ...] = STAGES,
) -> tuple[HeaderCheck, HeaderCheck]:
    """Return what Cache-Status and Server-Timing among *fields* tell.

    fields: name and value of every line. tiers: "l1", "l2" or "none" by the name of a cache.
    width: how many cache reads of an answer are kept. stages: those that KPIs may name.
    """
    lines: dict[str, list[str]] = {}
    for name, value in fields:
        lines.setdefault(name.lower(), []).append(value)
    values = {name: ", ".join(parts) for name, parts in lines.items()}
    known = [stage.told_as for stage in in_header(stages)]
    return (
        _cache_status(values, tiers, width),
        _server_timing(values.get("server-timing"), known),
    )


def _cache_status(values: Mapping[str, str], tiers: Mapping[str, str], width: int) -> HeaderCheck:
    name = "Cache-Status"
    value = values.get(name.lower())
    if not value:
        return _without_cache_status(values, tiers)
    try:
        members = members_of(value)
    except FieldInvalid as error:
        problem = Problem(
            text=f"no structured field (RFC 9651), so that all of it is ignored: {error}",
            remedy="write it as `L1; hit` or `L2; fwd=miss, L1; fwd=miss`",
        )
        return HeaderCheck(header=name, problems=(problem,))
    others = dict.fromkeys(m.cache for m in members if tiers.get(m.cache, "none") == "none")
    ours = [m for m in members if m.cache not in others and m.state is not State.NOT_ASKED]
    if not ours:
        return HeaderCheck(
            header=name, ignored=tuple(others), problems=(_no_tier(members, others),)
        )
    read, problems = _reads(value, ours, tiers, width)
    return HeaderCheck(
        header=name, read=tuple(read), ignored=tuple(others), problems=tuple(problems)
    )


def _no_tier(members: Sequence[Member], others: Iterable[str]) -> Problem:
    if all(member.state is State.NOT_ASKED for member in members):
        return Problem(
            text="no cache was asked for this request (fwd=method, or an empty list)",
            remedy="ask for a URL that reads a cache",
        )
    named = " and ".join(f'"{cache}" = "l2"' for cache in others)
    return Problem(
        text=f"no cache in it is a tier: {', '.join(others)}",
        remedy=f"give the scenario a table [caches] with {named}, and name it with --scenario",
    )


def _reads(
    value: str, members: Sequence[Member], tiers: Mapping[str, str], width: int
) -> tuple[list[str], list[Problem]]:
    names = tuple(dict.fromkeys(m.read for m in members if m.read is not None))
    told = tell(value, names, primary=0, tiers=tiers, width=width)
    read = [
        f"cache read {name}: {_outcome(code)}"
        for name, code in zip(names, told.codes, strict=False)
    ]
    unnamed = [code for code in told.codes[len(names) :] if code != NONE]
    read += [
        f"cache read without a name: {_outcome(code)}"
        + ("; it counts as the endpoint's main one" if len(unnamed) == 1 and not names else "")
        for code in unnamed
    ]
    is_cut = any(remark.flaw is Flaw.UNCOUNTED for remark in told.remarks)
    if len(unnamed) < 2 and not (names and unnamed) and not is_cut:
        return read, []
    text = (
        f"more cache reads without a name than the {width} that are kept"
        if is_cut
        else "which read of the endpoint each group is can only be told by their order"
    )
    remedy = f"name the read in each member: `L1; hit; {READ_PARAMETER}=profile`"
    return read, [Problem(text=text, remedy=remedy)]


def _outcome(code: int) -> str:
    flags = [name for flag, name in ((NEGATIVE, "absence"), (STALE, "stale")) if code & flag]
    word = READ_OUTCOMES[code & (NEGATIVE - 1)]
    hit = {"l1": "hit in L1", "l2": "hit in L2"}.get(word, word)
    return f"{hit} ({', '.join(flags)})" if flags else hit


def _without_cache_status(values: Mapping[str, str], tiers: Mapping[str, str]) -> HeaderCheck:
    remedy = f"send Cache-Status: {PAGE} shows how"
    found = cdn_header(lambda name: values.get(name.lower(), ""))
    if found is not None:
        code = cdn_outcome(*found, tiers)
        text = f"missing; {found[0]} stands in for it as a weak substitute"
        read = (f"{found[0]}: {_outcome(code)}",) if code else ()
        if not code:
            text = f"missing, and {found[0]} tells no outcome of a cache"
        return HeaderCheck(
            header="Cache-Status", read=read, problems=(Problem(text=text, remedy=remedy),)
        )
    text = "missing, so that no hit ratio can be seen"
    if "age" in values:
        text += "; Age alone tells of hits and not of misses"
    return HeaderCheck(header="Cache-Status", problems=(Problem(text=text, remedy=remedy),))


def _server_timing(value: str | None, known: Sequence[str]) -> HeaderCheck:
    name = "Server-Timing"
    if not value:
        problem = Problem(
            text="missing, so that no stage's time can be seen",
            remedy=f"send Server-Timing: {PAGE} shows how",
        )
        return HeaderCheck(header=name, problems=(problem,))
    metrics = metrics_of(value)
    ours = [metric for metric in metrics if metric.name in known]
    ignored = tuple(dict.fromkeys(m.name for m in metrics if m.name not in known))
    has_waits = any(metric.name == "l3wait" for metric in ours)
    read = tuple(
        f"{metric.name} {format_duration(metric.seconds)}"
        + (", taken to include waiting" if metric.name == "l3" and not has_waits else "")
        for metric in ours
        if metric.seconds is not None
    )
    problems = [
        Problem(
            text=f"{metric.name} has no duration that can be read",
            remedy=f"write it in milliseconds: `{metric.name};dur=12.3`",
        )
        for metric in ours
        if metric.seconds is None
    ]
    if not ours:
        problems.append(
            Problem(
                text="no metric in it is a stage that is known here",
                remedy=f"name the stages {', '.join(known)}",
            )
        )
    return HeaderCheck(header=name, read=read, ignored=ignored, problems=tuple(problems))
