"""edgeproof check-headers: what one answer of a service tells, and what cannot be read of it."""

from __future__ import annotations

import asyncio
import json as json_module
import os
import re
import ssl
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import typer

from core.errors import InputError
from core.scenario.caches import default_caches
from core.secrets import Blotter, is_secret_name, literal_secret
from core.texts import one_line, reason_of
from core.units import parse_duration
from edgeproof.access import (
    CaOption,
    CertKeyOption,
    CertOption,
    InsecureOption,
    ResolveOption,
    tell_tls,
)
from edgeproof.options import JsonOption, chosen_scenario
from reports.words import printable
from scenarios.header_check import HeaderCheck, Problem, check_headers
from scenarios.transport import Transport, transport_of

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MOST_SECONDS = 300.0
_MOST_SHOWN = 500


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
    ca: CaOption = None,
    insecure: InsecureOption = False,
    cert: CertOption = None,
    cert_key: CertKeyOption = None,
    resolve: ResolveOption = None,
    json: JsonOption = False,
) -> int:
    """Ask URL once and say what can be read of its Cache-Status and Server-Timing.

    Each thing that cannot be read is named with its remedy; docs/instrument.md shows what to send.
    The body is not read, redirects are not followed. Exit code 0: all can be read; 1: something
    cannot; 2: URL cannot be asked.

    Example: edgeproof check-headers http://127.0.0.1:8787/journey/u1
    """
    shown = _checked_url(url)
    blotter = Blotter()
    sent = [_header(text, blotter) for text in header or ()]
    seconds = _seconds(timeout)
    chosen = chosen_scenario(scenario) if scenario else None
    transport = transport_of(
        ca=ca, insecure=insecure, certificate=cert, key=cert_key, resolve=resolve or ()
    )
    given = {"--ca": ca, "--insecure": insecure, "--cert": cert, "--cert-key": cert_key}
    tell_tls([name for name, value in given.items() if value], [url], place="URL is no https URL")
    place = _Place.of(url, transport)
    try:
        status, fields = asyncio.run(_ask(place, shown, sent, seconds))
    except InputError as error:
        raise InputError(blotter.hide(str(error))) from None
    if chosen is None:
        checks = check_headers(fields, default_caches())
    else:
        checks = check_headers(
            fields,
            chosen.caches,
            width=chosen.endpoints.read_width,
            stages=chosen.metrics.table.stages,
        )
    about = _about_status(status, has_token=any(is_secret_name(name) for name, _ in sent))
    is_readable = not about and not any(check.problems for check in checks)
    if json:
        data = {
            "url": shown,
            "status": status,
            "readable": is_readable,
            "problems": [asdict(problem) for problem in about],
            "headers": [_blotted(asdict(check), blotter) for check in checks],
        }
        print(json_module.dumps(data))
    else:
        lines = _lines(shown, status, about, checks)
        print("\n".join(_blotted(printable(line), blotter) for line in lines))
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


def _about_status(status: int, *, has_token: bool) -> list[Problem]:
    """Return what is wrong with an answer whose headers are not those of the endpoint."""
    if 200 <= status < 300:
        return []
    remedy = "ask for a URL that is answered with 200"
    if 300 <= status < 400:
        remedy = "ask for the address that it leads to"
    elif status in (401, 403):
        remedy = (
            "check the token that --header gives"
            if has_token
            else "give a token: --header 'Authorization: Bearer ${TOKEN}'"
        )
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


def _blotted(told: Any, blotter: Blotter) -> Any:
    """Return *told*, of which the service wrote a part, without secrets and in short."""
    if isinstance(told, dict):
        return {name: _blotted(value, blotter) for name, value in told.items()}
    if isinstance(told, list | tuple):
        return [_blotted(each, blotter) for each in told]
    text = blotter.hide(told)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _header(text: str, blotter: Blotter) -> tuple[str, str]:
    """Return name and value of *text*, whose secrets *blotter* takes up.

    Raise InputError, without the value, if it is no header.
    """
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
        blotter.add(secret)
        return secret

    value = _VARIABLE.sub(given, value.strip())
    if not value.isascii() or not value.isprintable():
        raise InputError(f"--header {name}: the value holds more than printable ASCII; encode it")
    blotter.add(literal_secret(name, value))
    return name, value


def _seconds(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise InputError(f"--timeout: {error}") from None
    if not 0 < seconds <= _MOST_SECONDS:
        raise InputError(f"--timeout {text}: give more than 0s and at most {_MOST_SECONDS:g}s")
    return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a URL is asked: at which address, under which name, trusting whom.

    headers: what names the host where *url* holds an address in its place.
    """

    url: str
    name: str
    headers: tuple[tuple[str, str], ...]
    context: ssl.SSLContext

    @classmethod
    def of(cls, url: str, transport: Transport) -> _Place:
        """Return the place of *url*; InputError if an override is for another one."""
        parts = urlsplit(url)
        name = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        for host, at in transport.resolve:
            if (host, at) != (name, port):
                raise InputError(
                    f"--resolve {host}:{at}: URL asks for {name}:{port}; correct it or leave it out"
                )
        address = transport.address(name, port)
        context = transport.context()
        if address == name:
            return cls(url=url, name=name, headers=(), context=context)
        shown = f"[{address}]" if ":" in address else address
        return cls(
            url=parts._replace(netloc=f"{shown}:{port}").geturl(),
            name=name,
            headers=(("host", parts.netloc),),
            context=context,
        )


async def _ask(
    place: _Place, shown: str, sent: Sequence[tuple[str, str]], seconds: float
) -> tuple[int, list[tuple[str, str]]]:
    """Return status and header lines of the answer; InputError if there is none in time."""
    try:
        async with (
            asyncio.timeout(seconds),
            # Neither a proxy nor a .netrc of the environment: the answer is the service's own.
            httpx.AsyncClient(verify=place.context, timeout=None, trust_env=False) as client,
            client.stream(
                "GET",
                place.url,
                headers=[*place.headers, ("accept", "*/*"), *sent],
                extensions={"sni_hostname": place.name},
            ) as answer,
        ):
            lines = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in answer.headers.raw]
            return answer.status_code, lines
    except TimeoutError:
        raise InputError(
            f"{shown} gave no answer within {seconds:g} s; raise --timeout, or look at the service"
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
        raise InputError(
            f"{shown} cannot be asked ({one_line(reason_of(error))}); {_remedy(error)}"
        ) from None


def _remedy(error: BaseException) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "name its authority with --ca FILE, or take any with --insecure"
    if isinstance(error, ssl.SSLError) or "SSL" in str(error):
        return "check that https is spoken there, or give a certificate of your own with --cert"
    return "start the service there, or name its address"
