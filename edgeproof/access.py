"""The options of how a deployed service is reached and asked: TLS, addresses, tokens, checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import typer

from core.errors import InputError
from core.scenario.scenario import Scenario
from core.units import parse_duration
from edgeproof.invocation import current
from edgeproof.notices import notice
from scenarios.literal_secrets import literal_secrets
from scenarios.rendering import secret_names
from scenarios.tokens import Tokens, tokens_of
from scenarios.transport import Transport, transport_of

_PANEL = "Deployed service"
_OF_TLS = ("--ca", "--insecure", "--cert", "--cert-key")

CaOption = Annotated[
    Path | None,
    typer.Option(
        "--ca", metavar="FILE", help="Trust the authorities in this PEM file, and no others.",
        rich_help_panel=_PANEL,
    ),
]  # fmt: skip
InsecureOption = Annotated[
    bool,
    typer.Option(
        "--insecure", help="Verify no certificate; the report says so.", rich_help_panel=_PANEL
    ),
]
CertOption = Annotated[
    Path | None,
    typer.Option(
        "--cert", metavar="FILE", help="The client's own certificate (PEM).",
        rich_help_panel=_PANEL,
    ),
]  # fmt: skip
CertKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--cert-key", metavar="FILE", help="Its key, where it is not in the same file.",
        rich_help_panel=_PANEL,
    ),
]  # fmt: skip
ResolveOption = Annotated[
    list[str] | None,
    typer.Option(
        "--resolve", metavar="HOST:PORT:ADDRESS",
        help="Connect to ADDRESS for HOST and PORT. Repeatable.", rich_help_panel=_PANEL,
    ),
]  # fmt: skip
TokenOption = Annotated[
    list[str] | None,
    typer.Option(
        "--token-command", metavar="VARIABLE=COMMAND",
        help="Take ${VARIABLE} of the headers from what COMMAND prints, run without a shell; again "
        "when a request is answered 401. Repeatable.", rich_help_panel=_PANEL,
    ),
]  # fmt: skip
RefreshOption = Annotated[
    str | None,
    typer.Option(
        "--token-refresh", metavar="TIME", help="Run the token commands every TIME, too.",
        rich_help_panel=_PANEL,
    ),
]  # fmt: skip
PreflightOption = Annotated[
    bool,
    typer.Option(
        "--no-preflight", help="Send no request of each endpoint ahead.", rich_help_panel=_PANEL
    ),
]
KeepGoingOption = Annotated[
    bool,
    typer.Option(
        "--keep-going", help="Do not end a load whose first 5 s all failed.",
        rich_help_panel=_PANEL,
    ),
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a service is reached and asked.

    preflight: one request an endpoint is sent ahead. keep_going: a load whose requests all fail
    goes on.
    """

    transport: Transport = field(default_factory=Transport)
    tokens: Tokens = field(default_factory=lambda: Tokens({}))
    preflight: bool = True
    keep_going: bool = False

    def of_load(self, position: int) -> Access:
        """Return that of one of several loads: only at *position* 0 requests are sent ahead."""
        return replace(self, preflight=self.preflight and position == 0)


def access_of(
    scenario: Scenario,
    hosts: Sequence[str],
    *,
    ca: Path | None,
    insecure: bool,
    cert: Path | None,
    cert_key: Path | None,
    resolve: list[str] | None,
    token_command: list[str] | None,
    token_refresh: str | None,
    no_preflight: bool,
    keep_going: bool,
) -> Access:
    """Return the checked options, tokens fetched; InputError names one that cannot be used.

    What has no effect on *hosts*, or lowers the safety of the connection, is said on standard
    error.
    """
    given = {
        "--ca": ca, "--insecure": insecure, "--cert": cert, "--cert-key": cert_key,
        "--resolve": resolve, "--no-preflight": no_preflight,
    }  # fmt: skip
    asked = [name for name, value in given.items() if value]
    if not hosts and asked:
        raise InputError(
            f"{asked[0]}: no --host is given, and a service of our own is reached without it; "
            "leave it out"
        )
    transport = transport_of(
        ca=ca, insecure=insecure, certificate=cert, key=cert_key, resolve=resolve or ()
    )
    every = refresh_seconds(token_refresh)
    for place in literal_secrets(scenario):
        notice(
            f"{place} holds a secret by its name, which plan.json and record.json show as the "
            "scenario does; send it in a header, which takes it from the environment"
        )
    tokens = tokens_of(token_command or (), every=every, used=secret_names(scenario))
    tell_tls(asked, hosts)
    current().on_end(tokens.close)
    tokens.fetch()
    return Access(
        transport=transport,
        tokens=tokens,
        preflight=bool(hosts) and not no_preflight,
        keep_going=keep_going,
    )


def refresh_seconds(text: str | None) -> float | None:
    """Return the time of --token-refresh in seconds; InputError if it is none."""
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InputError(f"--token-refresh: {error}") from None


def tell_tls(
    asked: Sequence[str], urls: Sequence[str], *, place: str = "no --host is an https URL"
) -> None:
    """Say on standard error which options of TLS in *asked* do nothing for *urls*, or harm."""
    if not any(url.lower().startswith("https:") for url in urls):
        for name in _OF_TLS:
            if name in asked:
                notice(f"{name} has no effect: {place}")
    elif "--insecure" in asked:
        notice("--insecure: no TLS certificate is verified, so that anybody can answer")
