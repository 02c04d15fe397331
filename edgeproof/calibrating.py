"""edgeproof calibrate: learn the times of a service, and write them to calibration.toml."""

from __future__ import annotations

import json as json_lines
import sys
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from core.errors import InputError
from core.scenario.calibration import Calibration
from core.scenario.replay import prepare_measured
from core.units import parse_duration
from edgeproof.access import (
    CaOption,
    CertKeyOption,
    CertOption,
    InsecureOption,
    KeepGoingOption,
    PreflightOption,
    RefreshOption,
    ResolveOption,
    TokenOption,
    access_of,
)
from edgeproof.asked import asked
from edgeproof.learning import (
    CALIBRATION_FILE,
    calibration_bounds,
    lines,
    teach,
    write_calibration,
)
from edgeproof.loading import bounds, check_allowed, check_hosts, check_load
from edgeproof.notices import tell_plain
from edgeproof.options import (
    AllowOption,
    HostOption,
    JsonOption,
    MaxDurationOption,
    MaxRateOption,
    OutOption,
    PlainOption,
    RateOption,
    SeedOption,
    SetOption,
    chosen_scenario,
)
from edgeproof.progress import Display
from edgeproof.runs import new_folder, run_facts, write_json
from scenarios.calibrate import NotCalibrated
from scenarios.hosts import MAX_RATE
from scenarios.learning import learn
from scenarios.plan import LoadPlan
from scenarios.result import ROWS_FILE, LoadResult, ResultUnreadable


def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO|RUN",
            help="A scenario, to send a few of its requests; or the folder of a measured run.",
        ),
    ],
    host: HostOption = None,
    seed: SeedOption = None,
    rate: RateOption = None,
    set_: SetOption = None,
    calibration_rate: Annotated[
        float | None,
        typer.Option(
            "--calibration-rate",
            min=0.001,
            metavar="R",
            help="Send R requests/s on average. [default: 20 % of the scenario's mean rate]",
            rich_help_panel="Load",
        ),
    ] = None,
    calibration_time: Annotated[
        str | None,
        typer.Option(
            "--calibration-time",
            metavar="TIME",
            help="Send for TIME at most. [default: 60s]",
            rich_help_panel="Load",
        ),
    ] = None,
    allow: AllowOption = None,
    max_rate: MaxRateOption = MAX_RATE,
    max_duration: MaxDurationOption = "1h",
    ca: CaOption = None,
    insecure: InsecureOption = False,
    cert: CertOption = None,
    cert_key: CertKeyOption = None,
    resolve: ResolveOption = None,
    token_command: TokenOption = None,
    token_refresh: RefreshOption = None,
    no_preflight: PreflightOption = False,
    keep_going: KeepGoingOption = False,
    out: OutOption = None,
    plain: PlainOption = False,
    json: JsonOption = False,
) -> int:
    """Learn the times of a service and write calibration.toml for simulate, plan and prove.

    With a SCENARIO it sends few requests to --host: at most 20 % of the scenario's rate for 60 s,
    for ids that were not asked for before, until each stage has 1,000 samples. With the folder of
    a RUN it sends nothing: what `edgeproof load` or `prove` measured is read again.

    Example: edgeproof calibrate baseline --host http://127.0.0.1:8787
    """  # fmt: skip
    started = monotonic()
    tell_plain(plain=plain, as_json=json)
    if Path(source).is_dir():
        if host:
            raise InputError(
                f"--host: {source} is the folder of a run, which was measured; leave --host out"
            )
        for name, value in (
            ("--seed", seed), ("--rate", rate), ("--set", set_),
            ("--calibration-rate", calibration_rate), ("--calibration-time", calibration_time),
            ("--i-am-allowed-to-load", allow), ("--ca", ca), ("--insecure", insecure),
            ("--cert", cert), ("--cert-key", cert_key), ("--resolve", resolve),
            ("--token-command", token_command), ("--token-refresh", token_refresh),
            ("--no-preflight", no_preflight), ("--keep-going", keep_going),
        ):  # fmt: skip
            if value:
                raise InputError(f"{name}: {source} is the folder of a run; leave {name} out")
        known = _of_run(Path(source))
        folder = new_folder(out, f"{Path(source).resolve().name}-calibration")
        told = {"run": str(source)}
    else:
        limits, seconds = bounds(allow, max_rate, max_duration), _seconds(calibration_time)
        chosen = chosen_scenario(source, command="calibrate", overrides=set_, seed=seed, rate=rate)
        if not host:
            raise InputError(
                "--host is missing; name the service, e.g. --host http://127.0.0.1:8787"
            )
        check_allowed(allow, host)
        access = access_of(
            chosen, host, ca=ca, insecure=insecure, cert=cert, cert_key=cert_key,
            resolve=resolve, token_command=token_command, token_refresh=token_refresh,
            no_preflight=no_preflight, keep_going=keep_going,
        )  # fmt: skip
        check_hosts(host, limits, access)
        workload = prepare_measured(chosen).workload
        check_load(chosen, workload, host, limits, access)
        lasts = calibration_bounds(chosen, workload, limits, rate=calibration_rate, seconds=seconds)
        told = asked(chosen, source, workload=workload, hosts=host)
        folder = new_folder(out, f"{chosen.name}-calibration")
        display = Display(plain=plain, quiet=json)
        with display.open():
            taught = teach(
                chosen, workload, host, folder / "load", bounds=lasts, limits=limits,
                display=display, access=access,
            )  # fmt: skip
        if taught.calibration is None:
            raise NotCalibrated(f"calibrate: {taught.why}; look into {folder / 'load'}")
        known = taught.calibration
    path = folder / CALIBRATION_FILE
    write_calibration(path, known, source=source)
    write_json(
        folder / "run.json",
        run_facts(
            "calibrate", {"calibrate": monotonic() - started}, asked=told, notes=lines(known)
        ),
    )
    if json:
        print(
            json_lines.dumps(
                {
                    "schema_version": 1,
                    "calibration": str(path),
                    "requests": known.requests,
                    "samples": {place: each.samples for place, each in known.tiers.items()},
                    "few": dict(known.few),
                    "notes": list(known.notes),
                }
            )
        )
    else:
        for line in lines(known):
            print(line)
        print(f"Written: {path}")
    sys.stdout.flush()
    return 0


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise InputError(f"--calibration-time: {error}") from None
    if seconds <= 0:
        raise InputError(f"--calibration-time {text}: give more than 0s")
    return seconds


def _of_run(folder: Path) -> Calibration:
    """Return what the measured run in *folder* teaches; InputError if nothing was measured."""
    for place in (folder / "load", folder):
        if (place / ROWS_FILE).is_file():
            break
    else:
        raise InputError(
            f"{folder}: no measured run: there is no load/{ROWS_FILE}; give the folder of an "
            "`edgeproof load` or `prove`"
        )
    plan = LoadPlan.read(place)
    try:
        return learn(plan.scenario, LoadResult.read(place))
    except ResultUnreadable as error:
        raise InputError(str(error)) from None
