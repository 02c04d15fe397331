"""The options that commands share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from core.errors import InputError
from core.metrics.kpi import parse_metric
from core.scenario.file import load_scenario
from core.scenario.scenario import Scenario
from core.scenario.trace_formats import TraceFormat
from core.scenario.trace_window import timed_window
from core.scenario.traffic import TraceField
from core.scenario.workload import Workload
from core.units import parse_ratio
from edgeproof.ci import Ci, chosen_ci
from edgeproof.notices import notice, tell_plain, tell_unused
from scenarios.catalogue import find_scenario
from sim.engine_name import EngineName

ScenarioArgument = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO", help="A scenario file, or the name of one that comes with edgeproof."
    ),
]
OptionalScenario = Annotated[
    str | None,
    typer.Argument(
        metavar="SCENARIO",
        show_default=False,
        help="A scenario file, or the name of one that comes with edgeproof.",
    ),
]
TraceOption = Annotated[
    Path | None,
    typer.Option(
        "--trace",
        metavar="FILE",
        help="Take keys from a recorded trace: a table, JSON lines or a published format, also "
        ".gz, .xz and .zst.",
        rich_help_panel="Scenario",
    ),
]
TraceOffsetOption = Annotated[
    int | None,
    typer.Option(
        "--trace-offset", min=0, metavar="N", help="Start the window after N accesses.",
        rich_help_panel="Scenario",
    ),
]  # fmt: skip
TraceLimitOption = Annotated[
    int | None,
    typer.Option(
        "--trace-limit", min=1, metavar="N", help="Take at most N accesses.",
        rich_help_panel="Scenario",
    ),
]  # fmt: skip
TimeUnitOption = Annotated[
    str | None,
    typer.Option(
        "--time-unit",
        metavar="s|ms|us|ns",
        help="Of a trace's times. Default: told by the values from 1970 on, seconds otherwise.",
        rich_help_panel="Scenario",
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help=f"Of the trace: {', '.join(get_args(TraceFormat))}. Default: by the file's ending.",
        rich_help_panel="Scenario",
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="FIELD=COLUMN,...",
        help="Which column of the trace, by name or number, is what: key=2,time=1,size=4,op=6,"
        "ttl=7. Fields are key, time, size, op, ttl, type and endpoint.",
        rich_help_panel="Scenario",
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed", min=0, metavar="N", help="Another seed than the scenario's.",
        rich_help_panel="Scenario",
    ),
]  # fmt: skip
RateOption = Annotated[
    str | None,
    typer.Option(
        "--rate",
        metavar="R|Nx",
        help="R requests/s, or N times as many: the stages are scaled so that the highest rate is "
        "R, the times of a trace so that its mean is.",
        rich_help_panel="Scenario",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change any field, e.g. tiers.l1.max_entries=500. Repeatable.",
        rich_help_panel="Scenario",
    ),
]
PricesOption = Annotated[
    Path | None,
    typer.Option(
        "--prices",
        metavar="FILE",
        help="A TOML file of prices and limits that differ from the platform's "
        "(`edgeproof scenario prices`).",
        rich_help_panel="Scenario",
    ),
]
KpiOption = Annotated[
    list[str] | None,
    typer.Option(
        "--kpi",
        metavar="KPI",
        help="Judge this KPI, too, or in place of the scenario's of that metric: "
        "'p95(track) < 300ms', or with an alert line 'p95(track) < 300ms, alert > 600ms'. "
        "Repeatable.",
        rich_help_panel="Scenario",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", help="The run's folder. Default: runs/NAME-N.",
        rich_help_panel="Output",
    ),
]  # fmt: skip
ReportOutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", help="A folder of its own for the report. Default: the run's.",
        rich_help_panel="Output",
    ),
]  # fmt: skip
GateOption = Annotated[
    str,
    typer.Option(
        "--gate",
        metavar="target|alert|model",
        help="What makes the exit code 1: a missed target, only a crossed alert line, or "
        "also a prediction that is off.",
        rich_help_panel="Verdict",
    ),
]
PlainGateOption = Annotated[
    str,
    typer.Option(
        "--gate",
        metavar="target|alert",
        help="What makes the exit code 1: a missed target, or only a crossed alert line.",
        rich_help_panel="Verdict",
    ),
]
RequireOption = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        metavar="METRIC",
        help="Fail if this KPI could not be measured. Repeatable.",
        rich_help_panel="Verdict",
    ),
]
StrictOption = Annotated[
    bool,
    typer.Option(
        "--strict", help="Exit with 4 if a KPI is inconclusive.", rich_help_panel="Verdict"
    ),
]
PlainOption = Annotated[
    bool,
    typer.Option(
        "--plain", help="No colour and no live display: plain lines.", rich_help_panel="Output"
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON object on standard output and nothing else.",
        rich_help_panel="Output",
    ),
]  # fmt: skip
HostOption = Annotated[
    list[str] | None,
    typer.Option(
        "--host",
        metavar="URL",
        help="A deployed service: one URL for each process or isolate. Repeatable.",
        rich_help_panel="Load",
    ),
]
OnOption = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="workerd",
        help="Run the service as a Worker on workerd, a process for each isolate (needs Node.js "
        "and two npm packages: docs/workerd.md).",
    ),
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--i-am-allowed-to-load",
        metavar="HOST",
        help="Allow load on a host that is not this machine. Repeatable.",
        rich_help_panel="Load",
    ),
]
MaxRateOption = Annotated[
    float,
    typer.Option(
        "--max-rate", min=0.001, metavar="R", help="Refuse to send more than R requests/s.",
        rich_help_panel="Load",
    ),
]  # fmt: skip
RepeatOption = Annotated[
    int,
    typer.Option(
        "--repeat", min=1, max=100, metavar="N",
        help="Load N times, each with arrivals of its own, and judge the mean and its 95 % "
        "interval.",
        rich_help_panel="Load",
    ),
]  # fmt: skip
FindCapacityOption = Annotated[
    bool,
    typer.Option(
        "--find-capacity",
        help="Look for the highest rate at which every KPI holds: steps, bisection, hold.",
        rich_help_panel="Load",
    ),
]
StepOption = Annotated[
    str | None,
    typer.Option(
        "--step", metavar="TIME",
        help="With --find-capacity: what is judged of each load. [default: 15s]",
        rich_help_panel="Load",
    ),
]  # fmt: skip
ConnectionsOption = Annotated[
    int | None,
    typer.Option(
        "--connections", metavar="N",
        help="Hold at most N connections; by default the rate times the timeout, as far as the "
        "limit of open files allows.",
        rich_help_panel="Load",
    ),
]  # fmt: skip
OneRunOption = Annotated[
    bool,
    typer.Option(
        "--one-run",
        help="Show and judge the 95 % interval for one more run, not that of the mean.",
    ),
]
EngineOption = Annotated[
    EngineName,
    typer.Option(
        "--engine",
        help="What simulates: the application's own code (reference), a compiled twin that gives "
        "the same figures in a fraction of the time, or that one where it covers the scenario and "
        "pays.",
        rich_help_panel="Simulation",
    ),
]
FreshOption = Annotated[
    bool,
    typer.Option(
        "--fresh",
        help="Simulate every run anew, also those that earlier commands have kept.",
        rich_help_panel="Simulation",
    ),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision", metavar="P%",
        help="Add replications until half of every KPI's interval is at most P% of its mean, up "
        "to 200 replications.",
    ),
]  # fmt: skip
RatePrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision", metavar="P%",
        help="Add replications, up to 40, until half of the rate's interval is at most P% of the "
        "rate. [default: 2%]",
    ),
]  # fmt: skip
IsolatesOption = Annotated[
    str | None,
    typer.Option(
        "--isolates", metavar="N,N,...",
        help="Show only who answers the cache reads, L1, L2 or the origin, for each number of "
        "isolates; request: L1 dies with its request. E.g. 1,4,16,request",
    ),
]  # fmt: skip
HighestRateOption = Annotated[
    float | None,
    typer.Option(
        "--max-rate", min=0.001, metavar="R",
        help="Try no rate above R requests/s. [default: 16 times the rate of the scenario]",
    ),
]  # fmt: skip
WhatHelpsOption = Annotated[
    bool,
    typer.Option(
        "--what-helps",
        help="Also try the next value of each field (doubled, halved, switched on), one at a time, "
        "and rank them by how far they move the rate, with what they cost.",
    ),
]
GrowthOption = Annotated[
    str | None,
    typer.Option(
        "--growth", metavar="G",
        help="Say when traffic that grows by G reaches the rate: 8%/month, 8%±2%/month; also "
        "week and year.",
    ),
]  # fmt: skip
TodayOption = Annotated[
    float | None,
    typer.Option(
        "--today", min=0.001, max=1e6, metavar="R",
        help="Today's peak in requests/s, from which headroom and growth count. "
        "[default: the scenario's own rate]",
    ),
]  # fmt: skip
MaxDurationOption = Annotated[
    str,
    typer.Option(
        "--max-duration", metavar="TIME", help="Refuse a load that lasts longer, e.g. 1h.",
        rich_help_panel="Load",
    ),
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """How a run is judged and how that is shown."""

    gate: Literal["target", "alert", "model"]
    required: tuple[str, ...]
    strict: bool
    plain: bool
    as_json: bool
    ci: Ci = field(default_factory=Ci)

    def checked(self, scenario: Scenario) -> Judging:
        """Return the options with the required metrics by their names.

        Raise InputError if one is no metric, or is not among the KPIs of *scenario*.
        """
        known = [kpi.name for kpi in scenario.judged()]
        names = []
        for text in self.required:
            try:
                name = parse_metric(text, scenario.metric_table).name
            except ValueError as error:
                raise InputError(f"--require {error}") from None
            if name not in known:
                raise InputError(
                    f"--require {name}: {scenario.name} has no such KPI; it judges "
                    f"{', '.join(known)}"
                )
            names.append(name)
        return replace(self, required=tuple(names))


def judging(
    gate: str,
    require: list[str] | None,
    *,
    strict: bool,
    plain: bool,
    as_json: bool,
    has_model: bool = False,
    github: bool | None = False,
    code_quality: Path | None = None,
) -> Judging:
    """Return the checked options; InputError names one that cannot be used."""
    known = ("target", "alert", "model") if has_model else ("target", "alert")
    if gate not in known:
        raise InputError(f"--gate {gate}: use one of {', '.join(known)}")
    tell_plain(plain=plain, as_json=as_json)
    return Judging(
        gate=gate,  # type: ignore[arg-type]  # checked above
        required=tuple(require or ()),
        strict=strict,
        plain=plain,
        as_json=as_json,
        ci=chosen_ci(github, code_quality),
    )


def chosen_scenario(
    text: str,
    *,
    command: str = "",
    overrides: list[str] | None = None,
    seed: int | None = None,
    rate: str | None = None,
    trace: Path | None = None,
    trace_offset: int | None = None,
    trace_limit: int | None = None,
    time_unit: str | None = None,
    format_: str | None = None,
    columns: str | None = None,
    kpis: list[str] | None = None,
    prices: Path | None = None,
    is_quiet: bool = False,
) -> Scenario:
    """Return the scenario that the command line describes; InputError says what is wrong.

    What has no effect on *command* is said on standard error, unless it *is_quiet*.
    """
    path = find_scenario(text)
    source: dict[str, Any] = {
        "file": None if trace is None else str(trace),
        "offset": trace_offset,
        "limit": trace_limit,
        "time_unit": time_unit,
        "format": format_,
        "columns": trace_columns(columns),
    }
    found = load_scenario(
        path, overrides=overrides or (), seed=seed, rate=rate, kpis=kpis or (), prices=prices,
        trace={name: value for name, value in source.items() if value is not None},
        on_notice=None if is_quiet else notice,
    )  # fmt: skip
    if is_quiet:
        return found
    tell_unused(command, overrides or (), has_trace=found.trace.file is not None)
    if rate is not None and (speed := found.trace.speed) != 1:
        notice(
            f"--rate {rate}: warm-up and duration are {found.warm_up:.3g} s and "
            f"{found.duration:.3g} s, for {found.warm_up * speed:.3g} s and "
            f"{found.duration * speed:.3g} s of the trace: every rate judges the same accesses"
        )
    return found


LEAST_PRECISION = 0.001


def precision_of(text: str | None) -> float | None:
    """Return the share that --precision gives ("2%"); InputError if it is none."""
    if text is None:
        return None
    try:
        share = parse_ratio(text)
    except ValueError as error:
        raise InputError(f"--precision: {error}; give a percentage such as 2%") from None
    if not LEAST_PRECISION <= share < 1:
        raise InputError(f"--precision is {text}; give 0.1% to 99%, such as 2%")
    return float(share)


def trace_columns(text: str | None) -> dict[str, str] | None:
    """Return the columns of --columns by field; InputError if they cannot be read."""
    if text is None:
        return None
    fields = get_args(TraceField)
    columns: dict[str, str] = {}
    for part in text.split(","):
        field, mark, column = (piece.strip() for piece in part.partition("="))
        if not mark or not column:
            raise InputError(f"--columns has {part.strip()!r}; write FIELD=COLUMN, such as key=2")
        if field not in fields or field in columns:
            twice = "twice" if field in columns else f", which is none of {', '.join(fields)}"
            raise InputError(f"--columns names {field!r} {twice}".replace(" ,", ","))
        columns[field] = column
    if "key" not in columns:
        raise InputError(f"--columns {text}: no column is the key; add key=COLUMN")
    return columns


def draws_arrivals(scenario: Scenario) -> bool:
    """Return whether the rate of *scenario* decides which accesses of a trace are in its window."""
    return scenario.trace.file is not None and timed_window(scenario) is None


def tell_notes(workload: Workload) -> None:
    """Print what a reader has to know of *workload*, such as what a trace gave."""
    for note in workload.notes:
        notice(note)
