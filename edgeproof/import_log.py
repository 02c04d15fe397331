"""edgeproof import log: access logs into a scenario, a trace of their keys, and rules to edit."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import InputError
from core.units import parse_duration
from edgeproof.notices import tell_plain
from edgeproof.options import JsonOption, PlainOption
from edgeproof.progress import Display
from reports.words import printable
from scenarios.intake.figures import MINUTE, REASONS, EndpointFigures, busiest
from scenarios.intake.formats import FORMATS
from scenarios.intake.objects import COLUMNS
from scenarios.intake.recognition import stated_of
from scenarios.intake.rules import LEFT_OUT, Rule, check_rules, parse_rule, read_rules
from scenarios.intake.scenario_text import Written
from scenarios.intake.transfer import Asked, Gathered
from scenarios.intake.writing import Places, import_log, places_of

_READING, _MEANING = "Reading", "Meaning"
_TWO_MINUTES = 120
"""Seconds of a log that has a whole minute."""


def command(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Access logs, in any order; also .gz, .xz, .bz2 and .zst.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="NAME.toml",
            help="The scenario to write; NAME.trace.csv and NAME.rules stand beside it.",
        ),
    ],
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"{', '.join(FORMATS)}. Default: told by the content, and said.",
            rich_help_panel=_READING,
        ),
    ] = None,
    log_format: Annotated[
        str,
        typer.Option(
            "--log-format",
            metavar="TEXT",
            help="The log_format of nginx or LogFormat of Apache by which the lines were written.",
            rich_help_panel=_READING,
        ),
    ] = "",
    fields: Annotated[
        str,
        typer.Option(
            "--fields",
            metavar="NAME,...",
            help="Of cloudfront-realtime, or of a file without its #Fields line.",
            rich_help_panel=_READING,
        ),
    ] = "",
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="FIELD=NAME,...",
            help=f"Of JSON lines: which name is {', '.join(COLUMNS)}. A.B leads into an object, "
            "A|B takes the first that is there. Default: told by the names, and said.",
            rich_help_panel=_READING,
        ),
    ] = None,
    time_unit: Annotated[
        str | None,
        typer.Option(
            "--time-unit",
            metavar="s|ms|us|ns",
            help="Of JSON times that are numbers. Default: told by their size, and said.",
            rich_help_panel=_READING,
        ),
    ] = None,
    duration_unit: Annotated[
        str | None,
        typer.Option(
            "--duration-unit",
            metavar="s|ms|us|ns",
            help="Of JSON durations whose name tells none, or of time-taken in a W3C log.",
            rich_help_panel=_READING,
        ),
    ] = None,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--endpoint",
            metavar="RULE",
            help="'NAME = GET /items/{item}': an endpoint; '- = GET /health': left out. "
            "Repeatable. Default: proposed by the paths.",
            rich_help_panel=_MEANING,
        ),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(
            "--rules",
            metavar="FILE",
            help="A file of such rules, as an import has written it.",
            rich_help_panel=_MEANING,
        ),
    ] = None,
    ignore_agent: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore-agent",
            metavar="TEXT",
            help="Leave requests out whose user agent has this text: bots, health checks. "
            "Repeatable.",
            rich_help_panel=_MEANING,
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            "--window",
            metavar="DURATION",
            help="Run the busiest time of so long. Default: the whole log if it is short.",
            rich_help_panel=_MEANING,
        ),
    ] = None,
    keep_ids: Annotated[
        bool,
        typer.Option(
            "--keep-ids",
            help="Write keys as the log has them, as a load needs. Default: hashed.",
            rich_help_panel=_MEANING,
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the files of --out.")] = False,
    plain: PlainOption = False,
    json: JsonOption = False,
) -> int:
    """Write a scenario and a trace from access logs: endpoints, mix, arrival rates, keys.

    Addresses, queries and user agents are not kept; keys are hashed with a salt that is thrown
    away. What a log does not tell - reads, queries, CPU time - is marked as ASSUMED.

    Example: edgeproof import log access.log.1.gz access.log --out shop.toml
    """
    tell_plain(plain=plain, as_json=json)
    stated = stated_of(format_, log_format, fields, columns, time_unit, duration_unit)
    asked = Asked(
        stated=stated,
        rules=_rules(endpoint or [], rules),
        agents=_agents(ignore_agent or []),
        keep_ids=keep_ids,
        window=_window(window),
    )
    places = places_of(out, force=force)
    for path in places.every:
        if any(path.exists() and file.exists() and path.samefile(file) for file in files):
            raise InputError(f"{path}: is a file to import; name another --out")
    display = Display(plain=plain, quiet=json)
    with display.open():
        gathered, written = import_log(files, places, asked, display.update)
    if json:
        print(json_module.dumps(_data(gathered, written, places), allow_nan=False))
    else:
        for line in _lines(gathered, written, places, asked):
            print(printable(line))
    return 0


def _rules(texts: Sequence[str], file: Path | None) -> list[Rule]:
    found = [parse_rule(text, "--endpoint") for text in texts]
    if file is not None:
        found += read_rules(file)
    if found:
        check_rules(found, "--endpoint" if file is None else f"--rules {file}")
    elif file is not None:
        raise InputError(f"--rules {file}: has no rule; write NAME = GET /items/{{item}}")
    return found


def _agents(texts: Sequence[str]) -> tuple[str, ...]:
    for text in texts:
        if not text.strip():
            raise InputError("--ignore-agent is empty, and would leave everything out; give a text")
    return tuple(texts)


def _window(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise InputError(f"--window {text}: {error}") from None
    if seconds < 1:
        raise InputError(f"--window {text}: a run takes a second at least")
    return seconds


def _lines(gathered: Gathered, written: Written, places: Places, asked: Asked) -> Iterator[str]:
    yield from gathered.told
    total, seconds = sum(gathered.counts), (gathered.last - gathered.first) / 1e6
    figures = gathered.figures
    yield (
        f"{places.scenario}: {total:,} of {figures.lines:,} lines are requests of "
        f"{_number(sum(n > 0 for n in gathered.counts), 'endpoint')}, {_clock(gathered.first)} to "
        f"{_clock(gathered.last)} UTC"
        + (f", {total / seconds:,.3g}/s on average" if seconds >= 1 else "")
    )
    minute, most = busiest(figures.minutes, 1)
    if seconds >= _TWO_MINUTES:
        yield f"Busiest minute: {_clock(minute * MINUTE)}, {most / 60:,.3g}/s"
    if not written.is_whole:
        yield (
            f"The scenario runs the busiest {written.seconds:,.6g} s from "
            f"{_clock(gathered.window.begin)}: "
            f"{gathered.window.stop - gathered.window.start:,} requests; --window sets it"
        )
    yield ""
    yield from _table(gathered)
    yield ""
    for reason, count in figures.left_out.most_common():
        yield (
            f"Left out: {_number(count, 'line')} ({100 * count / figures.lines:.3g} %): "
            f"{REASONS[reason]} (first at {figures.examples[reason]})"
        )
    for notice in gathered.notices:
        yield f"Notice: {notice}"
    yield (
        "Assumed: what the service reads, queries and writes, its tiers and KPIs; a log tells none "
        f"of it. Edit ASSUMED in {places.scenario}"
    )
    if not asked.keep_ids:
        yield (
            f"Keys of {places.trace} are hashed. A load with it asks for ids that no service has; "
            "--keep-ids writes them as they are"
        )
    if not asked.rules:
        yield (
            f"Endpoints are proposed by the paths of {gathered.sampled:,} requests: edit "
            f"{places.rules}, and give it back with --rules {places.rules} --force"
        )
    yield f"edgeproof simulate {places.scenario} --trace {places.trace}"


def _table(gathered: Gathered) -> Iterator[str]:
    total = sum(gathered.counts)
    shown = [
        (rule, count, figures)
        for rule, count, figures in zip(
            gathered.rules, gathered.counts, gathered.figures.endpoints, strict=True
        )
        if rule.name != LEFT_OUT
    ]
    heads = ["endpoint", "request", "share", "p50", "p95", "p99", "hits", "4xx", "5xx"]
    rows = [heads]
    for rule, count, figures in sorted(shown, key=lambda each: -each[1]):
        rows.append(
            [rule.name, f"{rule.method} {rule.path}", f"{100 * count / total:.3g} %",
             *_quantiles(figures),
             "-" if figures.hit_ratio is None else f"{100 * figures.hit_ratio:.3g} %",
             _share(figures.client_errors, figures.count), _share(figures.failed, figures.count)]
        )  # fmt: skip
    kept = [at for at, _ in enumerate(heads) if at < 3 or any(r[at] != "-" for r in rows[1:])]
    widths = {at: max(len(row[at]) for row in rows) for at in kept}
    for row in rows:
        yield "  ".join(
            row[at].ljust(widths[at]) if at < 2 else row[at].rjust(widths[at]) for at in kept
        ).rstrip()


def _quantiles(figures: EndpointFigures) -> list[str]:
    if not figures.latency.count:
        return ["-", "-", "-"]
    return [f"{1000 * value:,.3g} ms" for value in figures.latency.quantiles((0.5, 0.95, 0.99))]


def _share(count: int, of: int) -> str:
    return "-" if not count else f"{100 * count / of:.2g} %"


def _number(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def _clock(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds // 10**6, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _data(gathered: Gathered, written: Written, places: Places) -> dict[str, Any]:
    figures = gathered.figures
    minute, most = busiest(figures.minutes, 1)
    is_long = (gathered.last - gathered.first) / 1e6 >= _TWO_MINUTES
    return {
        "scenario": str(places.scenario),
        "trace": str(places.trace),
        "rules": str(places.rules),
        "lines": figures.lines,
        "requests": sum(gathered.counts),
        "first": gathered.first / 1e6,
        "last": gathered.last / 1e6,
        "busiest_minute": {"start": minute * 60, "rate": most / 60} if is_long else None,
        "stages": [{"seconds": s, "rate": r} for s, r in written.stages],
        "endpoints": [
            {
                "name": rule.name,
                "rule": str(rule),
                "requests": count,
                "p50_ms": _ms(each, 0.5),
                "p95_ms": _ms(each, 0.95),
                "p99_ms": _ms(each, 0.99),
                "hit_ratio": each.hit_ratio,
                "client_errors": each.client_errors,
                "server_errors": each.failed,
            }
            for rule, count, each in zip(
                gathered.rules, gathered.counts, figures.endpoints, strict=True
            )
            if rule.name != LEFT_OUT
        ],
        "left_out": {REASONS[reason]: count for reason, count in figures.left_out.most_common()},
        "examples": {REASONS[reason]: place for reason, place in figures.examples.items()},
        "recognised": list(gathered.told),
        "notices": list(gathered.notices),
    }


def _ms(figures: EndpointFigures, q: float) -> float | None:
    return 1000 * figures.latency.quantile(q) if figures.latency.count else None
