"""edgeproof scenario: check scenario files, print their schema, write their data."""

from __future__ import annotations

import csv
import json as json_module
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from core.application.seeding import seed_database
from core.attribution.cells import guarded
from core.attribution.models import MODELS
from core.errors import InputError
from core.query.database import SqliteDatabase
from core.query.statement import whole_table
from core.scenario.file import scenario_hash
from core.scenario.population import populate
from core.scenario.prices import price_file
from core.scenario.replay import prepare_measured
from core.scenario.scenario import Scenario
from core.scenario.schema import scenario_schema
from core.scenario.workload import Workload
from core.texts import count_of
from edgeproof.group import HelpfulGroup
from edgeproof.notices import notice
from edgeproof.options import (
    ColumnsOption,
    FormatOption,
    KpiOption,
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
from edgeproof.runs import new_folder
from scenarios.catalogue import shipped, templates
from scenarios.rendering import compiled

_TABLES = {
    "sites": ("site_id", "enabled", "max_event_bytes"),
    "users": ("user_id", "segment", "profile"),
    "user_journeys": (
        "event_id", "user_id", "event_name", "utm_source", "event_timestamp", "conversion_id",
    ),
    "conversions": (
        "conversion_id", "event_id", "user_id", "conversion_timestamp", "value", "processed",
        "parameters_key", "model_version",
    ),
    "fitted_models": (
        "version", "fitted_at_ms", "data_from_ms", "data_until_ms", "markov_order", "parameters",
        "weights",
    ),
    "touch_credits": (
        "conversion_id", "touchpoint_index", "touchpoints", "utm_source", *MODELS,
    ),
    "channel_performance": (
        "attribution_model", "utm_source", "total_attribution", "total_conversions",
        "total_value", "last_updated",
    ),
}  # fmt: skip
"""The columns of every table that the service's database starts with.

The tables credits and channel_totals are packed: the views over them, which show all that they
hold, stand in their place.
"""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What a scenario may be called."""

app = typer.Typer(
    cls=HelpfulGroup,
    help="Write, list and check scenario files, print their schema, write their data.",
    no_args_is_help=True,
)


@app.command("list")
def list_() -> int:
    """List the scenarios that come with edgeproof."""
    for name in shipped():
        print(f"{name:<16} {chosen_scenario(name).description}".rstrip())
    return 0


@app.command()
def prices() -> int:
    """Print the platform's prices and limits as a file for --prices, with their sources."""
    print(price_file().read_text(encoding="utf-8"), end="")
    return 0


@app.command()
def new(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="The file to write; - prints it."),
    ] = Path("scenario.toml"),
    like: Annotated[
        str,
        typer.Option(
            "--like", metavar="|".join(templates()), help="What kind of service it describes."
        ),
    ] = "cdp",
) -> int:
    """Write a commented scenario to start from; it can be checked and simulated as it stands."""
    known = templates()
    if like not in known:
        raise InputError(f"--like {like}: there is no such file to start from; use one of "
                         f"{', '.join(known)}")  # fmt: skip
    is_printed = str(file) == "-"
    name = file.stem if not is_printed and NAME.fullmatch(file.stem) else "scenario"
    text = known[like].read_text(encoding="utf-8").replace("NAME", name)
    shown = "scenario.toml" if is_printed else shlex.quote(str(file))
    text = text.replace("FILE", shown)
    if is_printed:
        print(text, end="")
        return 0
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise InputError(f"{file}: is there already; name another file, or remove it") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror}); name another") from None
    print(f"{file}: written; edgeproof simulate {shown} predicts what it promises")
    return 0


@app.command()
def check(
    scenario: ScenarioArgument,
    trace: TraceOption = None,
    trace_offset: TraceOffsetOption = None,
    trace_limit: TraceLimitOption = None,
    time_unit: TimeUnitOption = None,
    format_: FormatOption = None,
    columns: ColumnsOption = None,
    seed: SeedOption = None,
    rate: RateOption = None,
    set_: SetOption = None,
    kpi: KpiOption = None,
) -> int:
    """Check SCENARIO (and its trace), and say what it asks for."""
    chosen = chosen_scenario(
        scenario, overrides=set_, seed=seed, rate=rate, trace=trace,
        trace_offset=trace_offset, trace_limit=trace_limit, time_unit=time_unit,
        format_=format_, columns=columns, kpis=kpi,
    )  # fmt: skip
    compiled(chosen)
    workload = prepare_measured(chosen).workload
    topology = chosen.topology
    print(f"{chosen.name}: {count_of(len(workload), 'request')} in {chosen.total_time:g} s")
    print(f"  {', '.join(_subjects(chosen, workload))}")
    print(
        f"  {count_of(topology.process_count, 'process')}, "
        f"{count_of(topology.isolate_count, 'isolate')}"
    )
    print(
        f"  {count_of(len(chosen.kpis), 'KPI')}, {count_of(len(chosen.faults), 'fault')}, "
        f"{chosen.start} start"
    )
    for note in workload.notes:
        print(f"  {note}")
    print(f"  scenario {scenario_hash(chosen)}")
    print(f"  requests {workload.identity()}")
    return 0


def _subjects(scenario: Scenario, workload: Workload) -> list[str]:
    """Return how many there are of what the requests of *scenario* are about."""
    counts = {"user": workload.users, "conversion": workload.conversions}
    own = scenario.subjects.items()
    counts |= {name: len(workload.ids.get(name, ())) or each.count or 0 for name, each in own}
    about = dict.fromkeys(each.subject for each in scenario.endpoints)
    known = {name: count for name, count in counts.items() if name in about}
    told = [f"{count:,} {name}{'' if count == 1 else 's'}" for name, count in known.items()]
    return told or ["no subjects"]


@app.command()
def schema() -> int:
    """Print the JSON Schema of scenario files, for editors."""
    print(json_module.dumps(scenario_schema(), indent=2))
    return 0


@app.command()
def data(
    scenario: ScenarioArgument,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="A new folder for the CSV files.")
    ],
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
    """Write the rows that SCENARIO's service starts with as CSV, for a deployed endpoint."""
    chosen = chosen_scenario(
        scenario, command="data", overrides=set_, seed=seed, rate=rate, trace=trace,
        trace_offset=trace_offset, trace_limit=trace_limit, time_unit=time_unit,
        format_=format_, columns=columns,
    )  # fmt: skip
    if rate is not None and not draws_arrivals(chosen):
        notice(f"--rate {rate} has no effect on data: the rows do not depend on it")
    population = populate(chosen, prepare_measured(chosen).workload)
    folder = new_folder(out, chosen.name)
    connection = SqliteDatabase(None, inline=True).connection
    try:
        seed_database(connection, population, chosen.attribution)
        for name, header in _TABLES.items():
            path = folder / f"{name}.csv"
            rows = connection.execute(whole_table(name, header).sql)
            print(f"{path}: {_write_csv(path, header, rows):,} rows")
    finally:
        connection.close()
    return 0


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """Write *rows* under *header*, no cell a formula; return how many there were."""
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in rows:
            writer.writerow([guarded(cell) for cell in row])
            count += 1
    return count
