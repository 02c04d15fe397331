"""Layouts that a log_format of nginx, or a LogFormat of Apache, describes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from core.errors import InputError
from core.texts import shown
from scenarios.intake.layout import (
    MICROSECONDS,
    MILLISECONDS,
    SECONDS,
    Field,
    Layout,
    Part,
    Quoting,
    TimeForm,
)

_NGINX_NAME = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_APACHE_NAME = re.compile(r"%(?:[!,0-9]+)?[<>]?(?:\{([^}]*)\})?([a-zA-Z]|%|\^[a-z]{2})")

_NGINX: Mapping[str, Field] = {
    "time_local": Field.TIME,
    "time_iso8601": Field.TIME,
    "msec": Field.TIME,
    "request": Field.REQUEST,
    "request_method": Field.METHOD,
    "request_uri": Field.TARGET,
    "uri": Field.TARGET,
    "document_uri": Field.TARGET,
    "args": Field.QUERY,
    "query_string": Field.QUERY,
    "status": Field.STATUS,
    "request_time": Field.LATENCY,
    "upstream_response_time": Field.LATENCY,
    "upstream_cache_status": Field.CACHE,
    "remote_addr": Field.ADDRESS,
    "realip_remote_addr": Field.SKIP,
    "remote_user": Field.USER,
    "http_user_agent": Field.AGENT,
}
_NGINX_TIMES = {
    "time_local": TimeForm.CLF,
    "time_iso8601": TimeForm.ISO,
    "msec": TimeForm.SECONDS,
}
_APACHE: Mapping[str, Field] = {
    "h": Field.ADDRESS,
    "a": Field.ADDRESS,
    "u": Field.USER,
    "r": Field.REQUEST,
    "m": Field.METHOD,
    "U": Field.TARGET,
    "q": Field.QUERY,
    "s": Field.STATUS,
    "t": Field.TIME,
    "D": Field.LATENCY,
    "T": Field.LATENCY,
}
_APACHE_TIMES = {
    "": TimeForm.CLF,
    "sec": TimeForm.SECONDS,
    "msec": TimeForm.MILLISECONDS,
    "usec": TimeForm.MICROSECONDS,
}
_APACHE_UNITS = {"": SECONDS, "s": SECONDS, "ms": MILLISECONDS, "us": MICROSECONDS}
_PREFER = ("request_time", "upstream_response_time")
_LISTS = re.compile(r"upstream_\w+|http_x_forwarded_for|proxy_add_x_forwarded_for")
"""Variables that hold several values: one for each server that was tried, or proxy."""


def parse_log_format(
    text: str,
    *,
    name: str = "--log-format",
    names: Mapping[str, Field] | None = None,
    time: TimeForm | None = None,
) -> Layout:
    """Return the layout that *text* describes: the directive, or what stands in its quotes.

    names and time: of variables of another system, written as nginx's. Raise InputError if it
    cannot be read, has two values without anything between them, or tells no time or path.
    """
    text, is_apache = _unquoted(text)
    if not text.isprintable() and "\t" not in text:
        raise InputError(f"{name}: has control characters; write it on one line")
    if is_apache:
        pieces, forms, is_end = _apache(text, name)
    else:
        pieces, forms = _nginx(text, _NGINX if names is None else names, name)
        is_end = names is None
    if time is not None:
        forms = [time]
    parts = _parts(pieces, name)
    return Layout(
        name=name,
        head=pieces[0][0].encode(),
        parts=parts,
        time=forms[0] if forms else TimeForm.CLF,
        is_end=is_end,
    )


def _unquoted(text: str) -> tuple[str, bool]:
    """Return what the directive's quotes hold, and whether it is Apache's."""
    text = text.strip()
    if match := re.fullmatch(r"log_format\s+\w+\s+(?:escape=\w+\s+)?(.*?);?", text, re.DOTALL):
        text = match[1].strip()
    elif match := re.fullmatch(r"(?:LogFormat|CustomLog\s+\S+)\s+\"(.*)\"(?:\s+\w+)?", text):
        text = match[1].replace('\\"', '"')
    elif "%" in text and '\\"' in text:
        text = text.replace('\\"', '"')
    if re.fullmatch(r"(?:'[^']*'\s*)+;?", text):
        text = "".join(re.findall(r"'([^']*)'", text))
    return text, re.search(r"%(?:\{[^}]*\})?>?[a-zA-Z]", text) is not None and "$" not in text


_Piece = tuple[str, Field, int, bool]
"""The text before a value, what it is, the unit of a latency, and whether it may be a list."""


def _nginx(text: str, names: Mapping[str, Field], name: str) -> tuple[list[_Piece], list[TimeForm]]:
    found = list(_NGINX_NAME.finditer(text))
    if not found:
        raise InputError(
            f"{name}: {shown(text)} names no variable; write it as in log_format ($remote_addr) or "
            "in LogFormat (%h)"
        )
    known = [each[1] or each[2] for each in found]
    preferred = next((n for n in _PREFER if n in known), None)
    pieces: list[_Piece] = []
    forms: list[TimeForm] = []
    end = 0
    seen: set[Field] = set()
    for each, variable in zip(found, known, strict=True):
        field = names.get(variable, Field.SKIP)
        # One time, one target and one latency: the first, and the whole answer's latency.
        repeats = field in seen and not (names is not _NGINX and field is Field.LATENCY)
        if repeats or (variable in _PREFER and variable != preferred):
            field = Field.SKIP
        seen.add(field)
        if field is Field.TIME:
            forms.append(_NGINX_TIMES.get(variable, TimeForm.ISO))
        is_list = _LISTS.fullmatch(variable) is not None
        pieces.append((text[end : each.start()], field, SECONDS, is_list))
        end = each.end()
    pieces.append((text[end:], Field.SKIP, SECONDS, False))
    return pieces, forms


def _apache(text: str, name: str) -> tuple[list[_Piece], list[TimeForm], bool]:
    pieces: list[_Piece] = []
    forms: list[TimeForm] = []
    end, literal, is_end = 0, "", False
    seen: set[Field] = set()
    for each in _APACHE_NAME.finditer(text):
        argument, letter = each[1] or "", each[2]
        literal += text[end : each.start()]
        end = each.end()
        if letter == "%":
            literal += "%"
            continue
        if letter == "q" and not literal and pieces and pieces[-1][1] is Field.TARGET:
            continue  # %U%q is one value: a query brings its question mark
        field, unit = _APACHE.get(letter, Field.SKIP), SECONDS
        if letter == "i":
            field = Field.AGENT if argument.casefold() == "user-agent" else Field.SKIP
        before, after = literal, ""
        if letter == "t" and field not in seen:
            begins, _, form = argument.rpartition(":")
            is_end = begins == "end"
            if form not in _APACHE_TIMES:
                raise InputError(
                    f"{name}: {shown(each[0])} is no time that is read; use %t, %{{sec}}t, "
                    "%{msec}t or %{usec}t"
                )
            forms.append(_APACHE_TIMES[form])
            if not form:  # %t brings its brackets
                before, after = literal + "[", "]"
        elif letter == "T":
            unit = _APACHE_UNITS.get(argument, SECONDS)
        elif letter == "D":
            unit = MICROSECONDS
        if field in seen:
            field = Field.SKIP
        seen.add(field)
        pieces.append((before, field, unit, letter in ("i", "o")))
        literal = after
    pieces.append((literal + text[end:], Field.SKIP, SECONDS, False))
    return pieces, forms, is_end


def _parts(pieces: list[_Piece], name: str) -> tuple[Part, ...]:
    parts = []
    for position, (before, field, unit, is_list) in enumerate(pieces[:-1]):
        after = pieces[position + 1][0]
        if not after and position < len(pieces) - 2:
            raise InputError(
                f"{name}: two values stand without anything between them (the "
                f"{position + 1}. and the next); no line tells where one ends"
            )
        quoting = Quoting.LIST if is_list and after.startswith(" ") else Quoting.NONE
        if before.endswith('"') and after.startswith('"'):
            quoting = Quoting.LAYOUT
        parts.append(
            Part(
                field=field,
                after=after.encode(),
                quoting=quoting,
                per_second=unit,
            )
        )
    return tuple(parts)
