"""Which format a log has: as its first lines show, or as it was stated."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.errors import InputError
from core.texts import shown
from scenarios.intake.formats import (
    CLOUDFLARE,
    FORMATS,
    HEADED,
    REAL_TIME,
    REAL_TIME_COUNTS,
    fields_layout,
    layout_of,
)
from scenarios.intake.layout import MILLISECONDS, Field, Layout
from scenarios.intake.log_format import parse_log_format
from scenarios.intake.objects import (
    FIELDS,
    HAR_COLUMNS,
    PER_SECOND,
    UNIT_NAMES,
    Objects,
    parse_columns,
    recognised,
    unit_of_duration,
)
from scenarios.intake.plain import behind, reads_plainly

_ALB = re.compile(rb"(?:https?|h2|grpcs|wss?) \d{4}-\d\d-\d\dT\S+Z app/")
_ELB = re.compile(rb"\d{4}-\d\d-\d\dT\S+Z \S+ \d+\.\d+\.\d+\.\d+:\d+ ")
_REAL_TIME = re.compile(rb"\d{10}(?:\.\d{1,6})?\t")
HAR = re.compile(rb'\A(?:\xef\xbb\xbf)?\s*\{\s*"log"\s*:')
_VHOST = re.compile(rb"[^\s:]+:\d+ \S+ \S+ \S+ \[")
_HOW = "say --format " + "|".join(FORMATS) + ", or --log-format with the line of your configuration"
_OTHER_UNIT = "--duration-unit is of JSON durations and time-taken in a W3C log; leave it out"
_SAMPLE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What the user says of the files; None or empty: told by their content."""

    format: str | None = None
    log_format: str = ""
    fields: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    time_unit: str | None = None
    duration_unit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """A format: layout of lines, or how objects are read; told: what was recognised, a line."""

    format: str
    layout: Layout | None = None
    objects: Objects | None = None
    told: str = ""
    notices: tuple[str, ...] = ()

    @property
    def fields(self) -> frozenset[Field]:
        """What a line, or an object, tells."""
        if self.layout is not None:
            return self.layout.fields
        columns = self.objects.columns if self.objects is not None else {}
        named = frozenset(FIELDS[name] for name in columns if name in FIELDS)
        return named | {Field.LATENCY} if {"duration", "end"} & set(columns) else named

    @property
    def is_end(self) -> bool:
        """Whether times are those of the answer's end."""
        told = self.layout if self.layout is not None else self.objects
        return told is not None and told.is_end


def stated_of(
    format_: str | None,
    log_format: str,
    fields: str,
    columns: str | None,
    time_unit: str | None,
    duration_unit: str | None,
) -> Stated:
    """Return what options state; InputError for one that is none, or does not go with another."""
    if format_ is not None and format_ not in FORMATS:
        raise InputError(f"--format {format_}: use {', '.join(FORMATS)}")
    if log_format and format_:
        raise InputError("--log-format and --format both say what the lines are; give one of them")
    for option, unit in (("--time-unit", time_unit), ("--duration-unit", duration_unit)):
        if unit is not None and unit not in UNIT_NAMES:
            raise InputError(f"{option} {unit}: use {', '.join(UNIT_NAMES)}")
    if fields and format_ not in ("cloudfront-realtime", "w3c", "cloudfront"):
        raise InputError(
            "--fields is of --format cloudfront-realtime, cloudfront or w3c; say which of them"
        )
    if log_format:
        parse_log_format(log_format)
    if duration_unit and log_format:
        raise InputError(_OTHER_UNIT)
    mapped = parse_columns(columns)
    if mapped and (log_format or format_ not in (None, "jsonl", "cloudflare")):
        raise InputError("--columns is of --format jsonl; leave it out")
    return Stated(
        format=format_, log_format=log_format,
        fields=tuple(name for name in re.split(r"[\s,]+", fields) if name), columns=mapped,
        time_unit=time_unit, duration_unit=duration_unit,
    )  # fmt: skip


def recognise(head: bytes, source: str, stated: Stated) -> Recognised:
    """Return the format of the log *source*, which begins with *head*.

    Raise InputError if it has none that is known, or not the stated one.
    """
    if not head.strip():
        raise InputError(f"{source}: is empty; give a log with requests")
    lines = [line.rstrip(b"\r") for line in head.split(b"\n")]
    if len(lines) > 1:
        lines.pop()  # perhaps half a line
    if stated.log_format:
        layout = parse_log_format(stated.log_format)
        return _checked(Recognised(format="--log-format", layout=layout), lines, source, "")
    chosen = stated.format or _format(head, lines, source, stated)
    said = "" if stated.format else f"{source}: is {_titled(chosen)}"
    if stated.duration_unit is not None and chosen not in ("cloudflare", "jsonl", "w3c"):
        raise InputError(f"{source}: {_OTHER_UNIT}")
    if chosen in ("har", "cloudflare", "jsonl"):
        return _objects(chosen, lines, source, stated, said)
    if chosen in HEADED or chosen == "cloudfront-realtime":
        layout = _fields(_names(chosen, lines, source, stated), chosen, source)
        notices = _units(layout)
        if stated.duration_unit is not None:
            layout, notices = layout.with_latency_in(PER_SECOND[stated.duration_unit]), ()
        found = _checked(Recognised(format=chosen, layout=layout), lines, source, said)
        return replace(found, notices=notices)
    if chosen in ("combined", "common") and any(map(_VHOST.match, lines)):
        raise InputError(
            f"{source}: its lines begin with the virtual host; say --format vhost_combined"
        )
    found = _checked(Recognised(format=chosen, layout=layout_of(chosen)), lines, source, said)
    return replace(found, notices=_notices(chosen, lines))


def fields_of(lines: Sequence[bytes]) -> tuple[str, ...] | None:
    """Return the names of the first #Fields line, None if there is none."""
    for line in lines:
        if line.startswith(b"#Fields:"):
            return tuple(line[8:].decode("utf-8", "replace").split())
    return None


def _names(format_: str, lines: Sequence[bytes], source: str, stated: Stated) -> Sequence[str]:
    if stated.fields:
        return stated.fields
    if format_ == "cloudfront-realtime":
        return _real_time_fields(lines, source)
    names = fields_of(lines)
    if names is None:
        raise InputError(
            f"{source}: has no #Fields line, which says what a {format_} log holds; state them "
            "with --fields"
        )
    return names


def _units(layout: Layout) -> tuple[str, ...]:
    """Return the unit that time-taken of a W3C log is taken in: its files do not say it."""
    units = {part.per_second for part in layout.parts if part.field is Field.LATENCY}
    if layout.name != "w3c" or not units:
        return ()
    otherwise = "; --duration-unit says otherwise"
    if MILLISECONDS in units:
        because = "because other fields are those of IIS"
        return (f"time-taken is taken as milliseconds, {because}{otherwise}",)
    return (f"time-taken is taken as seconds, as W3C defines it{otherwise}",)


def _fields(names: Sequence[str], format_: str, source: str) -> Layout:
    try:
        return fields_layout(tuple(names), format_)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def _real_time_fields(lines: Sequence[bytes], source: str) -> tuple[str, ...]:
    count = len(lines[0].split(b"\t"))
    if count not in REAL_TIME_COUNTS:
        raise InputError(
            f"{source}: has {count} fields a line, and a real-time log with all fields has "
            f"{' or '.join(map(str, REAL_TIME_COUNTS))}; state those of yours with --format "
            "cloudfront-realtime --fields timestamp,c-ip,..."
        )
    return REAL_TIME[:count]


def _titled(format_: str) -> str:
    titles = {
        "combined": "a combined log of nginx or Apache",
        "common": "a common log of nginx or Apache",
        "vhost_combined": "a combined log of Apache with the virtual host",
        "cloudfront": "a standard log of CloudFront",
        "cloudfront-realtime": "a real-time log of CloudFront, taken to have its usual fields",
        "cloudflare": "a Logpush file of Cloudflare",
        "alb": "a log of an AWS Application Load Balancer",
        "w3c": "a W3C extended log",
        "har": "a HAR file",
        "jsonl": "JSON lines",
    }
    return titles[format_]


def _format(head: bytes, lines: Sequence[bytes], source: str, stated: Stated) -> str:
    if stated.columns:
        return "jsonl"
    first = next((line for line in lines if line.strip() and not line.startswith(b"#")), b"")
    if (names := fields_of(lines)) is not None:
        return "cloudfront" if "x-edge-location" in names else "w3c"
    if head.lstrip()[:1] == b"[" and head.lstrip()[1:].lstrip()[:1] in (b"{", b"]"):
        raise InputError(
            f"{source}: is one JSON array; write an object a line, for example with jq -c '.[]'"
        )
    if head.lstrip()[:1] == b"{":
        if HAR.match(head):
            return "har"
        keys = _first_object(lines)
        if keys is None:
            raise InputError(
                f"{source}: begins as JSON, and its first line is no object; write an object a "
                "line (jq -c .), or say --format har"
            )
        return "cloudflare" if {"ClientRequestURI", "EdgeStartTimestamp"} & set(keys) else "jsonl"
    if _ALB.match(first):
        return "alb"
    if _ELB.match(first):
        raise InputError(
            f"{source}: is a log of a Classic Load Balancer; describe its lines with --log-format"
        )
    if _REAL_TIME.match(first):
        return "cloudfront-realtime"
    is_vhost = _VHOST.match(first) is not None
    for format_ in ("vhost_combined",) if is_vhost else ("combined", "common"):
        if any(reads_plainly(layout_of(format_), b"\n".join(lines[:_SAMPLE]))):
            return format_
    raise InputError(f"{source}: its lines are of no format that is known; {_HOW}")


def _first_object(lines: Sequence[bytes]) -> dict[str, Any] | None:
    for line in lines:
        if line.strip():
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(found, dict):
                return found
    return None


def _objects(
    format_: str, lines: Sequence[bytes], source: str, stated: Stated, said: str
) -> Recognised:
    if format_ == "har":
        return Recognised(
            format=format_, objects=Objects(columns=HAR_COLUMNS, duration_unit="ms"), told=said
        )
    notices: list[str] = []
    if format_ == "cloudflare":
        columns = {**CLOUDFLARE, **stated.columns}
    else:
        first = _first_object(lines)
        if first is None:
            raise InputError(f"{source}: has no JSON object on a line; {_HOW}")
        columns = {**recognised(first), **stated.columns}
    for needed in ("time", "path"):
        if needed not in columns and not (needed == "path" and "request" in columns):
            first = _first_object(lines) or {}
            raise InputError(
                f"{source}: nothing says which name holds the {needed}; say --columns "
                f"{needed}=NAME; an object has {', '.join(list(first)[:12])}"
            )
    unit = stated.duration_unit
    if "duration" in columns and unit is None:
        unit = unit_of_duration(columns["duration"], _first_object(lines) or {})
        if unit is None:
            notices.append(
                f"{columns['duration']} has no unit and is not used; --duration-unit s, ms, us or "
                "ns says it"
            )
    if unit is None:
        columns.pop("duration", None)
    if format_ == "jsonl":
        told = ", ".join(f"{n} = {c}" for n, c in columns.items())
        said = f"{said or source + ': JSON lines'}: {told}"
    return Recognised(
        format=format_,
        objects=Objects(columns=columns, time_unit=stated.time_unit, duration_unit=unit),
        told=said, notices=tuple(notices),
    )  # fmt: skip


def _checked(found: Recognised, lines: Sequence[bytes], source: str, said: str) -> Recognised:
    """Return *found*, saying *said*; InputError if no line is of its layout."""
    assert found.layout is not None
    sample = [line for line in lines if line and not line.startswith(b"#")][:_SAMPLE]
    if sample and not any(reads_plainly(found.layout, b"\n".join(sample))):
        first = sample[0].decode("utf-8", "replace")
        raise InputError(
            f"{source}: no line is of {found.format}; the first is {shown(first)}: {_HOW}"
        )
    return replace(found, told=said)


def _notices(format_: str, lines: Sequence[bytes]) -> tuple[str, ...]:
    """Return what stands behind the values of a format that lines go on behind."""
    if format_ not in ("combined", "vhost_combined"):
        return ()
    first = next((line for line in lines if line), b"")
    rest = behind(layout_of(format_), first).strip()
    if not rest:
        return ()
    return (
        f"lines have more behind the format ({shown(rest.decode('utf-8', 'replace'))}), which is "
        "not read; --log-format says what it is",
    )
