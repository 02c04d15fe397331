"""edgeproof check-headers: what one answer of a service tells, and what cannot be read of it."""

from __future__ import annotations

import asyncio
import json as json_module
import os
import re
import ssl
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import typer

from core.errors import InputError
from core.scenario.caches import default_caches
from core.texts import one_line, reason_of
from core.units import parse_duration
from edgeproof.options import JsonOption, chosen_scenario
from reports.words import printable
from scenarios.header_check import HeaderCheck, Problem, check_headers

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MOST_SECONDS = 300.0


def command(
    url: Annotated[str, typer.Argument(metavar="URL", help="What to ask for, with GET.")],
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            "-H",
            metavar="'NAME: VALUE'",
            help="Send this header, too; ${NAME} in it is taken from the environment. Repeatable.",
        ),
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(
            "--scenario",
            metavar="SCENARIO",
            help="Whose tables [caches] and [metrics] name the service's tiers and stages.",
        ),
    ] = None,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="How long to wait for the answer.")
    ] = "10s",
    json: JsonOption = False,
) -> int:
    """Ask URL once and say what can be read of its Cache-Status and Server-Timing.

    Each thing that cannot be read is named with its remedy; docs/instrument.md shows what to send.
    The body is not read, redirects are not followed. Exit code 0: all can be read; 1: something
    cannot; 2: URL cannot be asked.

    Example: edgeproof check-headers http://127.0.0.1:8787/journey/u1
    """
    shown = _checked_url(url)
    sent = [_header(text) for text in header or ()]
    seconds = _seconds(timeout)
    chosen = chosen_scenario(scenario) if scenario else None
    status, fields = asyncio.run(_ask(url, shown, sent, seconds))
    if chosen is None:
        checks = check_headers(fields, default_caches())
    else:
        checks = check_headers(
            fields,
            chosen.caches,
            width=chosen.endpoints.read_width,
            stages=chosen.metrics.table.stages,
        )
    about = _about_status(status)
    is_readable = not about and not any(check.problems for check in checks)
    if json:
        data = {
            "url": shown,
            "status": status,
            "readable": is_readable,
            "problems": [asdict(problem) for problem in about],
            "headers": [asdict(check) for check in checks],
        }
        print(json_module.dumps(data))
    else:
        print("\n".join(map(printable, _lines(shown, status, about, checks))))
    return 0 if is_readable else 1


def _lines(
    shown: str, status: int, about: Sequence[Problem], checks: Sequence[HeaderCheck]
) -> list[str]:
    lines = [f"GET {shown}: {status}", *_problem_lines(about)]
    for check in checks:
        lines.append(f"{check.header}:")
        lines += [f"  {text}" for text in check.read]
        if check.ignored:
            lines.append(f"  of no use here: {', '.join(check.ignored)}")
        lines += _problem_lines(check.problems)
    number = len(about) + sum(len(check.problems) for check in checks)
    if not number:
        lines.append("All can be read.")
    else:
        lines.append(f"{number} {'thing' if number == 1 else 'things'} cannot be read.")
    return lines


def _problem_lines(problems: Sequence[Problem]) -> list[str]:
    return [f"  PROBLEM: {problem.text}; {problem.remedy}" for problem in problems]


def _about_status(status: int) -> list[Problem]:
    """Return what is wrong with an answer whose headers are not those of the endpoint."""
    if 200 <= status < 300:
        return []
    remedy = "ask for a URL that is answered with 200"
    if 300 <= status < 400:
        remedy = "ask for the address that it leads to"
    elif status in (401, 403):
        remedy = "give a token: --header 'Authorization: Bearer ${TOKEN}'"
    return [Problem(text=f"the answer is a {status}, not the endpoint's", remedy=remedy)]


def _checked_url(url: str) -> str:
    """Return *url* as it may be shown, without its query; InputError if it is none."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"{one_line(url)}: not a URL ({error}); write http://host/path") from None
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(
            f"{one_line(url)}: not an http or https URL; write it whole, as in "
            "http://127.0.0.1:8787/journey/u1"
        )
    if "@" in parts.netloc:
        raise InputError(
            f"{host}: the URL holds credentials; send them with --header "
            "'Authorization: Basic ${CREDENTIALS}'"
        )
    query = "?..." if parts.query else ""
    return one_line(f"{parts.scheme}://{parts.netloc}{parts.path}") + query


def _header(text: str) -> tuple[str, str]:
    """Return name and value of *text*; InputError, without the value, if it is no header."""
    name, colon, value = text.partition(":")
    if not colon or not _NAME.fullmatch(name.strip()):
        raise InputError(
            f"--header {one_line(name)}: not a header; write it as "
            "'Authorization: Bearer ${TOKEN}'"
        )
    name = name.strip()

    def given(found: re.Match[str]) -> str:
        if (secret := os.environ.get(found[1])) is None:
            raise InputError(f"--header {name}: the variable {found[1]} is not set; export it")
        return secret

    value = _VARIABLE.sub(given, value.strip())
    if not value.isascii() or not value.isprintable():
        raise InputError(f"--header {name}: the value holds more than printable ASCII; encode it")
    return name, value


def _seconds(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise InputError(f"--timeout: {error}") from None
    if not 0 < seconds <= _MOST_SECONDS:
        raise InputError(f"--timeout {text}: give more than 0s and at most {_MOST_SECONDS:g}s")
    return seconds


async def _ask(
    url: str, shown: str, sent: Sequence[tuple[str, str]], seconds: float
) -> tuple[int, list[tuple[str, str]]]:
    """Return status and header lines of the answer; InputError if there is none in time."""
    try:
        async with (
            asyncio.timeout(seconds),
            # Neither a proxy nor a .netrc of the environment: the answer is the service's own.
            httpx.AsyncClient(
                verify=ssl.create_default_context(), timeout=None, trust_env=False
            ) as client,
            client.stream("GET", url, headers=[("accept", "*/*"), *sent]) as answer,
        ):
            lines = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in answer.headers.raw]
            return answer.status_code, lines
    except TimeoutError:
        raise InputError(
            f"{shown} gave no answer within {seconds:g} s; raise --timeout, or look at the service"
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
        raise InputError(
            f"{shown} cannot be asked ({one_line(reason_of(error))}); start the service there, or "
            "name its address"
        ) from None
