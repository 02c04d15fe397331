"""edgeproof serve: the reference service, behind the scenario's latencies."""

from __future__ import annotations

import os
import signal
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer

from core.errors import EdgeproofError, InputError
from core.ledger.provenance import database_state
from core.scenario.addresses import is_loopback
from core.scenario.scenario import Scenario
from core.service.crew import MOST_ENDS
from core.service.launcher import MAX_WORKERS, running_service
from core.service.limits import DEFAULT_LIMITS, GRACE_SECONDS, ConnectionLimits
from core.service.remote import D1
from core.units import parse_duration
from core.wire import TOKEN_VARIABLE, service_token
from edgeproof.database import D1_HELP, Source
from edgeproof.invocation import current
from edgeproof.notices import notice
from edgeproof.options import (
    ColumnsOption,
    FormatOption,
    OnOption,
    RateOption,
    ScenarioArgument,
    SeedOption,
    SetOption,
    TimeUnitOption,
    TraceLimitOption,
    TraceOffsetOption,
    TraceOption,
    chosen_scenario,
    draws_arrivals,
)
from edgeproof.otlp import OtlpOption, otlp_endpoint, told_endpoint
from edgeproof.workerd.adapted import check_runtime, on_workerd, refuse_on_workerd
from edgeproof.workerd.launcher import running_on_workerd


class Synchronous(StrEnum):
    """What a write waits for."""

    NORMAL = "normal"
    FULL = "full"


def command(
    scenario: ScenarioArgument,
    bind: Annotated[
        str,
        typer.Option(
            "--bind",
            metavar="ADDRESS",
            help="The address to listen on. Beyond this machine, /api/performance/* needs "
            f"{TOKEN_VARIABLE}.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port",
            min=0,
            max=65535,
            help="Of the first process; the others take the next ones. 0 chooses free ones.",
        ),
    ] = 8787,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            help=f"N processes, 1 to {MAX_WORKERS}, each on a port of its own; at each point of "
            "presence, where the scenario has several. Default: its topology.processes.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="Keep the database here; one service at a time. Default: a temporary folder.",
        ),
    ] = None,
    population: Annotated[
        bool | None,
        typer.Option(
            "--population/--no-population",
            help="Put SCENARIO's invented users, touches and conversions into an empty database, "
            "as a load test needs them. Default: only into a temporary one, without --data.",
        ),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="d1",
            help=f"{D1_HELP}, in place of a file of its own. It takes its own time: the scenario's "
            "L3 latencies are not put in front of it.",
        ),
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option(
            "--redis",
            metavar="URL",
            help="A Redis or Valkey as L2, or what an installed package adds for the URL's scheme. "
            "Default: embedded.",
        ),
    ] = None,
    emulation: Annotated[
        bool,
        typer.Option(
            "--emulation/--no-emulation",
            help="Put the scenario's L2 and L3 latencies in front of the stores.",
        ),
    ] = True,
    on: OnOption = None,
    max_connections: Annotated[
        int,
        typer.Option(
            "--max-connections",
            metavar="N",
            help="Connections at a time and process; one more is answered 503.",
        ),
    ] = DEFAULT_LIMITS.most,
    idle_timeout: Annotated[
        str,
        typer.Option(
            "--idle-timeout",
            metavar="TIME",
            help="Close a connection that has sent no request for so long.",
        ),
    ] = f"{DEFAULT_LIMITS.idle:g}s",
    receive_timeout: Annotated[
        str,
        typer.Option(
            "--receive-timeout",
            metavar="TIME",
            help="Answer 408 if the head of a request, or then its body, takes longer to arrive.",
        ),
    ] = f"{DEFAULT_LIMITS.receive:g}s",
    synchronous: Annotated[
        Synchronous,
        typer.Option(
            "--synchronous",
            help="full: a write is on the disk before it is answered; normal: a power cut may lose "
            "the last ones, the end of a process none.",
        ),
    ] = Synchronous.NORMAL,
    otlp: OtlpOption = None,
    trace: TraceOption = None,
    trace_offset: TraceOffsetOption = None,
    trace_limit: TraceLimitOption = None,
    time_unit: TimeUnitOption = None,
    format_: FormatOption = None,
    columns: ColumnsOption = None,
    seed: SeedOption = None,
    rate: RateOption = None,
    set_: SetOption = None,
) -> int:
    """Run the reference service with SCENARIO's users and conversions until Ctrl-C.

    With --data the database is yours: it gets SCENARIO's sites and nothing else, unless it is empty
    and --population is given.

    With --database d1 it is a D1 database, asked over its REST API; an empty one gets the schema.

    Ctrl-C, SIGTERM or a closed terminal lets requests in flight and the conversions queue be
    finished; a second Ctrl-C ends at once (exit code 130). Set EDGEPROOF_TOKEN to allow cache
    invalidation and clean starts of a load. GET /openapi.json describes every path.

    --on workerd runs the Worker of docs/workerd.md on the platform's own runtime, each isolate of
    the scenario on a port of its own.

    Example: edgeproof serve baseline --port 8787 --workers 2
    """
    is_worker = check_runtime(on)
    if is_worker:
        refuse_on_workerd(
            {
                "--workers": workers is not None,
                "--data": data is not None,
                "--database": database is not None,
                "--population/--no-population": population is not None,
                "--redis": redis is not None,
                "--no-emulation": not emulation,
                "--max-connections": max_connections != DEFAULT_LIMITS.most,
                "--idle-timeout": idle_timeout != f"{DEFAULT_LIMITS.idle:g}s",
                "--synchronous": synchronous is not Synchronous.NORMAL,
                "--otlp": otlp is not None,
                "--receive-timeout": receive_timeout != f"{DEFAULT_LIMITS.receive:g}s",
                f"--bind {bind}": not is_loopback(bind),
            }
        )
    if workers is not None:
        if not 1 <= workers <= MAX_WORKERS:
            raise InputError(f"--workers {workers}: run 1 to {MAX_WORKERS}")
        for text in set_ or []:
            if text.partition("=")[0].strip() in ("topology.processes", "topology"):
                notice(f"--set {text} has no effect on processes: --workers {workers} sets them")
        set_ = [*(set_ or []), f"topology.processes={workers}"]
    limits = ConnectionLimits(
        most=max_connections,
        idle=_seconds("--idle-timeout", idle_timeout),
        receive=_seconds("--receive-timeout", receive_timeout),
    )
    chosen = chosen_scenario(
        scenario, command="serve", overrides=set_, seed=seed, rate=rate, trace=trace,
        trace_offset=trace_offset, trace_limit=trace_limit, time_unit=time_unit,
        format_=format_, columns=columns,
    )  # fmt: skip
    if is_worker:
        chosen = on_workerd(chosen)
    if database is not None:
        _check_d1(database, chosen, data=data, population=population)
        if synchronous is not Synchronous.NORMAL:
            raise InputError(
                "--synchronous has no effect on --database d1: it is of a local file; leave it out"
            )
    if not emulation and any(fault.tier is not None for fault in chosen.faults):
        notice("--no-emulation: the faults of the scenario's tiers do not strike")
    if rate is not None and chosen.start == "cold" and not draws_arrivals(chosen):
        notice(f"--rate {rate} has no effect on serve: a cold start holds nothing of the traffic")
    if data is not None:
        try:
            data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--data {data}: cannot be made ({error.strerror})") from None
        current().watch(data)
    token = service_token()
    if not is_loopback(bind):
        needs = "needs" if token else "answers 403, because it needs"
        print(
            f"edgeproof: --bind {bind} lets other machines reach the service, without encryption: "
            f"put it behind TLS or a firewall. Monitoring (/api/performance/*) {needs} the token "
            f"of {TOKEN_VARIABLE}.",
            file=sys.stderr,
            flush=True,
        )
    traces = otlp_endpoint(otlp, os.environ)
    populates = data is None and database is None if population is None else population
    said = "" if data is None else _of_database(data, populates=populates, asked=population)
    if database is not None:
        said = f"Its database is {Source(path=None)}, which gets events from /track alone."
    interrupts = Interrupts()
    running = (
        running_on_workerd(chosen, token=token, host=bind, port=port)
        if is_worker
        else running_service(
            chosen,
            token=token,
            host=bind,
            port=port,
            folder=data,
            redis=redis,
            emulate=emulation,
            limits=limits,
            populate=populates,
            otlp=traces,
            synchronous="full" if synchronous is Synchronous.FULL else "normal",
            mends=MOST_ENDS,
            database=database or "",
        )
    )
    with running as service:
        interrupts.has_begun = True
        for url in service.urls:
            print(f"Serving {chosen.name} on {url}{' (workerd)' if is_worker else ''}", flush=True)
        if traces is not None:
            print(f"Traces go to {told_endpoint(traces)}.", flush=True)
        if said:
            print(said, flush=True)
        print("Ctrl-C ends it.", flush=True)
        while not interrupts.asked:
            try:
                mended = service.mend()
            except EdgeproofError as error:
                _show(service.news(), sys.stderr)
                last = service.logged().rpartition("\n")[2]
                raise EdgeproofError(f"{error}{last and f': {last}'}") from None
            _show(service.news() + "".join(f"edgeproof: {how}\n" for how in mended), sys.stderr)
            time.sleep(0.1)
        _show("Finishing what is in flight; another Ctrl-C ends at once.\n", sys.stdout)
    _show(service.last_news, sys.stderr)
    if service.cut_off:
        were = "request was" if service.cut_off == 1 else "requests were"
        _show(
            f"{service.cut_off} {were} cut off after {GRACE_SECONDS:g} s and told to come again.\n",
            sys.stderr,
        )
    if service.faults:
        raise EdgeproofError("; ".join(service.faults))
    return 0


def _seconds(option: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InputError(f"{option}: {error}") from None


def _check_d1(
    database: str, scenario: Scenario, *, data: Path | None, population: bool | None
) -> None:
    """Raise InputError for what goes with a local file only; say what has no effect."""
    if database != D1:
        raise InputError(f"--database {database[:40]}: use d1, or --data DIR for a local file")
    if data is not None:
        raise InputError(f"--data {data}: it keeps a local file; leave it out with --database d1")
    if population:
        raise InputError(
            "--population needs a local file, which it fills in bulk: leave out --database d1"
        )
    if any(fault.tier == "l3" for fault in scenario.faults):
        notice("--database d1: the faults of the scenario's L3 do not strike")


def _of_database(folder: Path, *, populates: bool, asked: bool | None) -> str:
    """Return what to say of the users in the database of *folder*.

    Raise InputError if it was to be populated and somebody else has filled it.
    """
    file = folder / "cdp.sqlite"
    holds = database_state(file)
    if populates and holds == "own":
        raise InputError(
            f"--population: {file} holds events already, and a database that somebody filled gets "
            "no invented ones; leave it out, or give another --data"
        )
    if holds == "mixed":
        return (
            f"Notice: {file} holds invented users beside your events; /channels counts their "
            "conversions, attribute --db leaves them out. A new --data has none."
        )
    if populates or asked is False or holds == "invented":
        return ""
    return (
        f"{file} gets events from /track alone. A load test needs the scenario's users and "
        "conversions: give --population with an empty --data for one."
    )


def _show(text: str, stream: TextIO) -> None:
    """Write *text*; where nobody can read any more, that holds nothing up."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:  # the terminal was closed
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Interrupts:
    """SIGTERM and SIGINT: the first one while serving is *asked*, any other ends at once.

    That is a KeyboardInterrupt, wherever the program is; so is one while the service starts. So is
    SIGHUP, of a terminal that was closed, but for a further one: shell and kernel both send it.
    Where it is ignored (nohup) it stays so.
    """

    def __init__(self) -> None:
        self.asked = False
        self.has_begun = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: object) -> None:
        if number == signal.SIGHUP and self.asked:
            return
        if self.asked or not self.has_begun:
            raise KeyboardInterrupt
        self.asked = True
