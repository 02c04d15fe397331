"""edgeproof serve: the reference service, behind the scenario's latencies."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from core.errors import EdgeproofError, InputError
from core.launcher import running_service
from core.monitoring import TOKEN_VARIABLE
from edgeproof.options import (
    RateOption,
    ScenarioArgument,
    SeedOption,
    SetOption,
    TraceLimitOption,
    TraceOffsetOption,
    TraceOption,
    chosen_scenario,
)


def command(
    scenario: ScenarioArgument,
    bind: Annotated[
        str, typer.Option("--bind", metavar="ADDRESS", help="The address to listen on.")
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
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="Keep the database here. Default: a temporary folder."
        ),
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option("--redis", metavar="URL", help="A Redis or Valkey as L2. Default: embedded."),
    ] = None,
    emulation: Annotated[
        bool,
        typer.Option(
            "--emulation/--no-emulation",
            help="Put the scenario's L2 and L3 latencies in front of the stores.",
        ),
    ] = True,
    trace: TraceOption = None,
    trace_offset: TraceOffsetOption = None,
    trace_limit: TraceLimitOption = None,
    seed: SeedOption = None,
    rate: RateOption = None,
    set_: SetOption = None,
) -> int:
    """Run the reference service with SCENARIO's users and conversions until Ctrl-C.

    Set EDGEPROOF_TOKEN to allow cache invalidation and clean starts of a load.

    Example: edgeproof serve baseline --port 8787
    """
    chosen = chosen_scenario(
        scenario, overrides=set_, seed=seed, rate=rate, trace=trace,
        trace_offset=trace_offset, trace_limit=trace_limit,
    )  # fmt: skip
    if data is not None:
        try:
            data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--data {data}: cannot be made ({error.strerror})") from None
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with running_service(
        chosen,
        token=os.environ.get(TOKEN_VARIABLE),
        host=bind,
        port=port,
        folder=data,
        redis=redis,
        emulate=emulation,
    ) as service:
        for url in service.urls:
            print(f"Serving {chosen.name} on {url}", flush=True)
        print("Ctrl-C ends it.", flush=True)
        while not stop.wait(0.2):
            if service.ended():
                raise EdgeproofError("a process of the service ended unexpectedly")
    return 0
