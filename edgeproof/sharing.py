"""The options of a load that several processes share, on this machine or on several."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from core.errors import InputError
from core.scenario.addresses import is_loopback
from edgeproof.invocation import current
from edgeproof.loading import progress_text
from edgeproof.notices import notice
from edgeproof.progress import Display
from scenarios.connections import checked_connections
from scenarios.crew import LOOPBACK, PORT, Fleet
from scenarios.driver import run_workers
from scenarios.tokens import tokens_of

_PANEL = "Several processes"
MOST_PROCESSES = 256

ProcessesOption = Annotated[
    int | None,
    typer.Option(
        "--processes", min=1, max=MOST_PROCESSES, metavar="N",
        help="Share the load among N processes of this machine.", rich_help_panel=_PANEL,
    ),
]  # fmt: skip
MasterOption = Annotated[
    bool,
    typer.Option(
        "--master", help="Share the load among workers that are started with --worker.",
        rich_help_panel=_PANEL,
    ),
]  # fmt: skip
BindOption = Annotated[
    str | None,
    typer.Option(
        "--bind", metavar="ADDRESS",
        help="With --master: where it listens; 0.0.0.0 for other machines. "
        f"[default: {LOOPBACK}]", rich_help_panel=_PANEL,
    ),
]  # fmt: skip
PortOption = Annotated[
    int | None,
    typer.Option(
        "--port", min=1, max=65535, metavar="P", help=f"With --master. [default: {PORT}]",
        rich_help_panel=_PANEL,
    ),
]  # fmt: skip
ExpectOption = Annotated[
    int | None,
    typer.Option(
        "--expect-workers", min=1, max=MOST_PROCESSES, metavar="N",
        help="With --master: begin when N workers are there. [default: 1]",
        rich_help_panel=_PANEL,
    ),
]  # fmt: skip
WorkerOption = Annotated[
    str | None,
    typer.Option(
        "--worker", metavar="HOST[:PORT]",
        help="Take part in the load of the master there, instead of one of your own: without "
        "SCENARIO and --host, which the master sends.", rich_help_panel=_PANEL,
    ),
]  # fmt: skip

_OF_WORKERS = ("--worker", "--processes", "--token-command", "--token-refresh", "--plain")


def fleet_of(
    *,
    processes: int | None,
    master: bool,
    bind: str | None,
    port: int | None,
    expect_workers: int | None,
    connections: int | None,
    several: Mapping[str, bool],
) -> Fleet | None:
    """Return the processes that share the load, None if it is one alone.

    several: options that load several times, and whether each is given. Raise InputError for what
    does not go together, and for an address that cannot be listened on.
    """
    if not master:
        for name, value in (
            ("--bind", bind), ("--port", port), ("--expect-workers", expect_workers),
        ):  # fmt: skip
            if value is not None:
                raise InputError(f"{name}: belongs to --master; leave it out, or give that, too")
        if processes is None:
            return None
        fleet = Fleet(workers=processes)
    else:
        if processes is not None:
            raise InputError(
                f"--processes {processes}: with --master, workers are started with --worker; give "
                "--processes there"
            )
        for name, is_given in several.items():
            if is_given:
                raise InputError(
                    f"{name}: with --master there is one load, since its workers end with it; use "
                    "--processes, or leave it out"
                )
        fleet = Fleet(
            workers=expect_workers or 1, bind=bind or LOOPBACK, port=port or PORT, are_local=False
        )
        _check_bindable(fleet.bind, fleet.port)
    if connections is not None and connections < fleet.workers:
        raise InputError(
            f"--connections {connections}: fewer than the {fleet.workers} processes, each of which "
            "needs one; give more"
        )
    checked_connections(None, fleet.workers)
    return fleet


def _check_bindable(address: str, port: int) -> None:
    try:
        family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    except ValueError:
        raise InputError(
            f"--bind {address}: is no IP address; give one of this machine, or 0.0.0.0 for all"
        ) from None
    try:
        with socket.socket(family) as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind((address, port))
    except OSError as error:
        raise InputError(
            f"--bind {address}, --port {port}: cannot be listened on "
            f"({(error.strerror or str(error)).lower()}); give another address or port"
        ) from None


def tell_place(fleet: Fleet, hosts: Sequence[str]) -> None:
    """Say on standard error where a master waits for its workers, and how they are started."""
    place = f"[{fleet.bind}]" if ":" in fleet.bind else fleet.bind
    start = "start them with `edgeproof load --worker"
    if is_loopback(fleet.bind):
        notice(
            f"--master: waits at {place}:{fleet.port} for {fleet.workers} "
            f"worker{'s' * (fleet.workers != 1)} of this machine; "
            f"{start} {place}:{fleet.port}`; for other machines give --bind 0.0.0.0"
        )
        return
    notice(
        f"--master: waits at {place}:{fleet.port} for {fleet.workers} workers; {start} "
        f"HOST:{fleet.port}`; anybody who reaches this port can take part"
    )
    for url in hosts:
        if is_loopback(urlsplit(url).hostname or ""):
            notice(
                f"--host {url}: on each worker's machine that is the machine itself; give an "
                "address that all of them reach"
            )


def take_part(
    context: typer.Context,
    place: str,
    *,
    processes: int | None,
    token_command: Sequence[str] | None,
    every: float | None,
    plain: bool,
) -> int:
    """Be *processes* workers of the master at *place*, until its load ends; return the exit code.

    Raise InputError for options that the master decides.
    """
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        name = parameter.opts[0]
        if source is not None and source.name == "COMMANDLINE" and name not in _OF_WORKERS:
            shown = name if name.startswith("-") else "SCENARIO"
            raise InputError(f"{shown}: with --worker the master decides it; leave it out")
    host, port = _address(place)
    commands = token_command or ()
    # Which variables the headers name, the master's plan says later.
    names = [text.partition("=")[0] for text in commands]
    tokens = tokens_of(commands, every=every, used=names)
    current().on_end(tokens.close)
    tokens.fetch()
    number = processes or 1
    display = Display(plain=plain, quiet=False)

    def show(said: Mapping[str, Any]) -> None:
        is_over = said.get("phase") == "done"
        planned = int(said.get("planned") or 0)
        done = int(said.get("done") or 0)
        share = 1.0 if is_over else min(done / max(1, planned), 0.99)
        display.update("loading", share, progress_text(said, planned))

    workers = "a worker" if number == 1 else f"{number} workers"
    display.say(f"edgeproof: {workers} of the master {host}:{port}; Ctrl-C ends the load")
    with display.open():
        was_stopped = run_workers((host, port), number, on_progress=show, tokens=tokens)
    return 130 if was_stopped else 0


def _address(text: str) -> tuple[str, int]:
    """Return the host and port of *text*, without brackets around an IPv6 address."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.path or parts.query or "@" in text:
        raise InputError(
            f"--worker {text}: is no address; write HOST or HOST:PORT, such as 10.0.0.5:{PORT}"
        )
    return host, port or PORT
