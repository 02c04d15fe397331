"""edgeproof attribute: what each channel gets under every attribution model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from core.attribution.bootstrap import Intervals, bootstrap
from core.attribution.fitted import MIN_CONVERSIONS
from core.attribution.model import Model
from core.attribution.models import BUILT_IN, DATA_DRIVEN, MODELS
from core.attribution.order import OrderChoice
from core.attribution.parameters import DirectRule, Parameters
from core.attribution.path_columns import Columns
from core.attribution.path_file import read_paths
from core.attribution.periods import DAY_MS
from core.errors import InputError
from core.ledger.database_account import Survey
from core.ledger.path_reader import Window
from core.units import parse_duration, slip
from edgeproof.credit import check_parquet, show_study
from edgeproof.group import HelpfulGroup
from edgeproof.journeys import Journeys, Options, Wanted, check_by, study_of
from edgeproof.notices import tell_plain
from edgeproof.options import JsonOption, OutOption, PlainOption
from edgeproof.own_models import resolved
from edgeproof.progress import Display

app = typer.Typer(cls=HelpfulGroup, no_args_is_help=False, invoke_without_command=True)

_OF_EVENTS = (
    "--from", "--to", "--by", "--lookback", "--half-life", "--lead", "--opportunity", "--own-event",
    "--jobs",
)  # fmt: skip
_OF_PATHS = (
    "--joiner", "--path-column", "--conversions-column", "--value-column", "--nulls-column",
    "--count-column", "--direct-channel",
)  # fmt: skip
_SETS = {
    "--half-life": "half_life_ms",
    "--u-shape": "u_shape",
    "--w-shape": "w_shape",
    "--lead": "milestones",
    "--opportunity": "milestones",
}
"""Options that set a parameter which not every model uses: without effect if none chosen does."""

_OF_FITS = ("--order", "--without-nulls", "--min-conversions", "--bootstrap", "--most-channels")

_DIRECT: dict[str, DirectRule] = {"own": "own channel", "ignore": "ignore unless all direct"}


MostChannelsOption = Annotated[
    int | None,
    typer.Option(
        "--most-channels",
        min=1,
        metavar="N",
        help="Channels that data_driven tells apart; rarer ones are one, (other). Default: as many "
        "as it can.",
        rich_help_panel="Models",
    ),
]


@app.callback()
def command(
    context: typer.Context,
    db: Annotated[
        Path | None,
        typer.Option(
            "--db", metavar="FILE", help="A database of the service.", rich_help_panel="Data"
        ),
    ] = None,
    paths: Annotated[
        Path | None,
        typer.Option(
            "--paths",
            metavar="FILE.csv",
            help="Aggregated paths: path, total_conversions, total_conversion_value, total_null, "
            "or what other tools call them; channels joined by ' > ' or an arrow, columns by ',', "
            "';' or tab. Also .gz and .xz.",
            rich_help_panel="Data",
        ),
    ] = None,
    joiner: Annotated[
        str | None,
        typer.Option(
            "--joiner",
            metavar="TEXT",
            help="With --paths: what joins the channels of a path. Default: '>', an arrow, or what "
            "the paths show, which is said.",
            rich_help_panel="Data",
        ),
    ] = None,
    path_column: Annotated[
        str,
        typer.Option(
            "--path-column",
            metavar="NAME",
            help="With --paths: the column of the paths, by name or by number from 1; two numbers, "
            "this and the next one, need no header.",
            rich_help_panel="Data",
        ),
    ] = "",
    conversions_column: Annotated[
        str,
        typer.Option(
            "--conversions-column",
            metavar="NAME",
            help="That of the conversions: numbers, or True and False.",
            rich_help_panel="Data",
        ),
    ] = "",
    value_column: Annotated[
        str,
        typer.Option(
            "--value-column",
            metavar="NAME",
            help="That of the conversions' value.",
            rich_help_panel="Data",
        ),
    ] = "",
    nulls_column: Annotated[
        str,
        typer.Option(
            "--nulls-column",
            metavar="NAME",
            help="That of the journeys without a conversion.",
            rich_help_panel="Data",
        ),
    ] = "",
    count_column: Annotated[
        str,
        typer.Option(
            "--count-column",
            metavar="NAME",
            help="That of the journeys of a row whose conversions are True or False.",
            rich_help_panel="Data",
        ),
    ] = "",
    direct_channel: Annotated[
        str,
        typer.Option(
            "--direct-channel",
            metavar="NAME",
            help="With --paths: the channel of direct traffic, such as 'Typed/Bookmarked'.",
            rich_help_panel="Data",
        ),
    ] = "",
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="Conversions from this time on: 2026-01-31, "
            "2026-01-31T12:00 (UTC) or epoch milliseconds.",
            rich_help_panel="Data",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="TIME", help="Before this time, as it was then.", rich_help_panel="Data"
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help=f"One of {', '.join(MODELS)}, or one that an installed package offers. "
            "Repeatable. Default: these seven.",
            rich_help_panel="Models",
        ),
    ] = None,
    order: Annotated[
        str,
        typer.Option(
            "--order",
            metavar="1|2|3|auto",
            help="Channels that data_driven remembers; auto: what predicts held-out journeys best.",
            rich_help_panel="Models",
        ),
    ] = "1",
    without_nulls: Annotated[
        bool,
        typer.Option(
            "--without-nulls",
            help="Fit data_driven on paths that converted only.",
            rich_help_panel="Models",
        ),
    ] = False,
    min_conversions: Annotated[
        int,
        typer.Option(
            "--min-conversions",
            min=1,
            metavar="N",
            help="With fewer, data_driven gives every touch the same credit.",
            rich_help_panel="Models",
        ),
    ] = MIN_CONVERSIONS,
    bootstrap_: Annotated[
        int,
        typer.Option(
            "--bootstrap",
            min=0,
            metavar="N",
            help="With --paths: intervals of data_driven from N resamples, 20 or more.",
            rich_help_panel="Models",
        ),
    ] = 0,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            min=0,
            metavar="N",
            help="Of what is drawn at random.",
            rich_help_panel="Models",
        ),
    ] = 1,
    half_life: Annotated[
        str,
        typer.Option(
            "--half-life",
            metavar="TIME",
            help="With --db: of time_decay.",
            rich_help_panel="Models",
        ),
    ] = "7d",
    lookback: Annotated[
        str,
        typer.Option(
            "--lookback",
            metavar="TIME",
            help="With --db: touches older than this before the conversion do not count.",
            rich_help_panel="Models",
        ),
    ] = "30d",
    u_shape: Annotated[
        str,
        typer.Option(
            "--u-shape",
            metavar="F/M/L",
            help="Percent for the first touch, the middle ones, the last.",
            rich_help_panel="Models",
        ),
    ] = "40/20/40",
    w_shape: Annotated[
        str,
        typer.Option(
            "--w-shape",
            metavar="F/L/O/R",
            help="Percent for the first touch, the lead, the opportunity, the rest.",
            rich_help_panel="Models",
        ),
    ] = "30/30/30/10",
    lead: Annotated[
        str,
        typer.Option(
            "--lead",
            metavar="EVENT",
            help="With --db: the event that marks w_shape's lead. Default: the middle touch.",
            rich_help_panel="Models",
        ),
    ] = "",
    opportunity: Annotated[
        str,
        typer.Option(
            "--opportunity",
            metavar="EVENT",
            help="With --db: the event that marks its opportunity. Default: the last touch.",
            rich_help_panel="Models",
        ),
    ] = "",
    direct: Annotated[
        str,
        typer.Option(
            "--direct",
            metavar="own|ignore",
            help="Direct traffic ('(direct)', 'Direct', 'direct / none') is a channel of its own, "
            "or ignored unless all touches are direct.",
            rich_help_panel="Models",
        ),
    ] = "own",
    own_event: Annotated[
        bool,
        typer.Option(
            "--own-event",
            help="With --db: a conversion's own event is a touch of it.",
            rich_help_panel="Models",
        ),
    ] = False,
    most_channels: MostChannelsOption = None,
    with_shapley: Annotated[
        bool,
        typer.Option(
            "--shapley",
            help="Shapley values of the channels of each journey beside the models: exact up to 12 "
            "channels, sampled beyond.",
            rich_help_panel="Analysis",
        ),
    ] = False,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="day|week",
            help="With --db: the credit by the day or week (UTC) of the conversion.",
            rich_help_panel="Analysis",
        ),
    ] = "",
    costs: Annotated[
        Path | None,
        typer.Option(
            "--costs",
            metavar="FILE.csv",
            help="Costs: channel, cost and, where known, period; gives CPA, ROAS and ROI.",
            rich_help_panel="Analysis",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="FROM..TO|FILE",
            help="The period before, 2026-01-01..2026-02-01; with --paths its file. Shows what "
            "changed: volume, mix, credit.",
            rich_help_panel="Analysis",
        ),
    ] = None,
    holdout: Annotated[
        str | None,
        typer.Option(
            "--holdout",
            metavar="TIME|FILE",
            help="Check how each model predicts the conversions from this time on; with --paths, "
            "those of a later file.",
            rich_help_panel="Analysis",
        ),
    ] = None,
    export: Annotated[
        str,
        typer.Option(
            "--export",
            metavar="csv|parquet",
            help="Every table of the report as a file in the run's folder.",
            rich_help_panel="Analysis",
        ),
    ] = "",
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            min=1,
            max=64,
            metavar="N",
            help="With --db: processes; the figures stay the same. Do not write to it meanwhile.",
        ),
    ] = 1,
    out: OutOption = None,
    plain: PlainOption = False,
    json: JsonOption = False,
) -> int:
    """Share out conversions and their value over channels, under seven attribution models.

    last_click, first_click, linear, time_decay, u_shape, w_shape, and data_driven: exact Markov
    removal effects. Every model shares out every conversion that has a touch, whole. data_driven
    has two figures: conversions shared path by path, and removal_conversions, the total shared out
    by global removal effects, as other tools do.

    Example: edgeproof attribute --paths paths.csv --order 2
    """  # fmt: skip
    asked = _asked(context)
    if context.invoked_subcommand is not None:
        if asked:
            raise InputError(
                f"{asked[0]} stands before {context.invoked_subcommand}, which has options of its "
                "own; write them behind it"
            )
        return 0
    if (db is None) == (paths is None):
        raise InputError("attribute needs data: give --db FILE or --paths FILE.csv, one of them")
    models = resolved(model or ())
    _check_models(asked, models)
    if "--seed" in asked and not bootstrap_ and not with_shapley:
        raise InputError(
            f"--seed {seed}: it draws the resamples or Shapley's orders; give --bootstrap N or "
            "--shapley"
        )
    check_by(by)
    if export not in ("", "csv", "parquet"):
        raise InputError(f"--export {export[:40]}: use csv or parquet")
    if export and json and out is None:
        raise InputError(f"--export {export}: --json writes no files; give --out FOLDER, too")
    if export == "parquet":
        check_parquet()
    tell_plain(plain=plain, as_json=json)
    parameters = Parameters(
        half_life_ms=milliseconds("--half-life", half_life),
        lookback_ms=milliseconds("--lookback", lookback),
        u_shape=_shares("--u-shape", u_shape, 3),  # type: ignore[arg-type]  # the length is checked
        w_shape=_shares("--w-shape", w_shape, 4),  # type: ignore[arg-type]  # the length is checked
        direct=direct_rule(direct),
        order=1 if order == "auto" else _order(order),
        milestones=(lead, opportunity),
        own_event=own_event,
    )
    if paths is not None:
        for name in asked:
            if name in _OF_EVENTS:
                raise InputError(f"{name} needs --db: aggregated paths have no events or times")
    else:
        for name in asked:
            if name in _OF_PATHS:
                raise InputError(f"{name} needs --paths: the touches of a database are rows")
    if db is not None and bootstrap_:
        raise InputError("--bootstrap needs --paths: a database is read in parts")
    if 0 < bootstrap_ < 20:
        raise InputError(f"--bootstrap {bootstrap_}: 20 resamples or more are needed")
    display = Display(plain=plain, quiet=json)
    options = Options(
        parameters=parameters, models=models, with_nulls=not without_nulls,
        minimum=min_conversions, most=most_channels, jobs=jobs, on_progress=display.update,
    )  # fmt: skip
    columns = Columns(
        path=path_column, conversions=conversions_column, value=value_column,
        nulls=nulls_column, count=count_column,
    )  # fmt: skip
    notes: list[str] = []

    def of_file(file: Path) -> Journeys:
        read, said = read_paths(
            file, joiner=joiner, columns=columns, direct=[direct_channel] * bool(direct_channel)
        )
        notes.extend(said)
        return Journeys(options=options, paths=read)

    def of_window(window: Window) -> Journeys:
        assert db is not None
        survey = Survey(
            file=db, parameters=parameters, window=window, with_nulls=not without_nulls,
            most=most_channels,
        )  # fmt: skip
        return Journeys(options=options, survey=survey)

    with display.open():
        window = _window(from_, to)
        journeys = of_file(paths) if paths is not None else of_window(window)
        before = seen = later = None
        if against is not None:
            before = of_file(Path(against)) if paths is not None else of_window(_period(against))
        if holdout is not None and paths is not None:
            seen, later = journeys, of_file(Path(holdout))
        elif holdout is not None:
            split = _time("--holdout", holdout)
            seen = of_window(_part("--from", window.start_ms, "--holdout", split))
            later = of_window(_part("--holdout", split, "--to", window.end_ms))
        choice: OrderChoice | None = None
        if order == "auto":
            journeys, choice = journeys.with_best_order()
            notes.append(choice.said)
            chosen = journeys.options.parameters
            before = before and before.under(chosen)
            seen = journeys if paths is not None and seen else seen and seen.under(chosen)
            later = later and later.under(chosen)
        account = journeys.account()
        account = replace(account, notices=(*notes, *account.notices))
        intervals: Intervals | None = None
        if bootstrap_ and journeys.paths is not None and (journeys.paths.conversions < 0).any():
            raise InputError(
                f"--bootstrap {bootstrap_}: {paths} has negative conversions, which no resample "
                "can draw; leave these rows out"
            )
        if (
            bootstrap_
            and paths is not None
            and DATA_DRIVEN in account.models
            and account.attributed
        ):
            assert journeys.paths is not None
            intervals = bootstrap(
                journeys.paths, journeys.options.parameters, seed=seed, replicates=bootstrap_,
                minimum=min_conversions, with_nulls=not without_nulls, most=most_channels,
                on_progress=lambda share: display.update("resampling", share),
            )  # fmt: skip
        wanted = Wanted(
            anatomy=not json or out is not None, shapley=with_shapley, by=by, costs=costs,
            is_inside=lambda day: bool(window.holds(np.array([day * DAY_MS]))[0]),
            against=before, seen=seen, later=later, seed=seed,
        )  # fmt: skip
        study = study_of(
            journeys, account, wanted, source=str(paths or db), intervals=intervals, choice=choice
        )
    show_study(study, out, plain=plain, as_json=json, export=export)
    return 0


def _period(text: str) -> Window:
    """Return the period FROM..TO that --against gives."""
    from_, dots, to = text.partition("..")
    if not dots or not (from_ or to):
        raise InputError(f"--against {text[:60]}: write a period as 2026-01-01..2026-02-01")
    start, end = _time("--against", from_ or None), _time("--against", to or None)
    if start is not None and end is not None and start >= end:
        raise InputError(f"--against {text}: its end is not after its start")
    return Window(start_ms=start, end_ms=end)


def _part(first: str, start: int | None, last: str, end: int | None) -> Window:
    """Return the window from *start* to *end*, which the options *first* and *last* give."""
    if start is not None and end is not None and start >= end:
        raise InputError(f"{last} is not after {first}: no conversion lies between them")
    return Window(start_ms=start, end_ms=end)


def _check_models(asked: Sequence[str], models: Sequence[Model]) -> None:
    """Raise InputError for an option of *asked* that none of the chosen *models* uses."""
    for name in asked:
        if name in _OF_FITS:
            users = [each for each in (*BUILT_IN.values(), *models) if each.needs_weights]
        elif name in _SETS:
            every = (*BUILT_IN.values(), *models)
            users = [each for each in every if _SETS[name] in each.parameters]
        else:
            continue
        if models and not any(user in models for user in users):
            raise InputError(
                f"{name} has no effect: only {users[0].name} uses it, and --model chooses "
                f"{', '.join(each.name for each in models)}"
            )


def _asked(context: typer.Context) -> list[str]:
    """Return the options that the command line gives."""
    given = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            given.append(parameter.opts[0])
    return given


def direct_rule(text: str) -> DirectRule:
    """Return the rule that --direct names; InputError if it names none."""
    if text not in _DIRECT:
        raise InputError(f"--direct {text}: use own or ignore")
    return _DIRECT[text]


def milliseconds(name: str, text: str) -> int:
    """Return the duration *text* of the option *name*; InputError if it is none."""
    try:
        return round(parse_duration(text) * 1000)
    except ValueError as error:
        raise InputError(f"{name} {error}") from None


def _order(text: str) -> int:
    """Return the order that --order gives; `Parameters` checks its range."""
    if not text.isdecimal() or not text.isascii():
        raise InputError(f"--order {text[:40]}: use 1, 2, 3 or auto")
    return int(text[:9])


def _shares(name: str, text: str, count: int) -> tuple[float, ...]:
    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError:
        numbers = []
    total = sum(numbers)
    if len(numbers) != count or not abs(total - 100) <= 1e-9 or min(numbers) < 0:
        raise InputError(
            f"{name} {text[:40]}: {count} percentages of at least 0 that sum to 100 are needed, "
            f"such as {'40/20/40' if count == 3 else '30/30/30/10'}"
        )
    return tuple(number / 100 for number in numbers)


def _window(from_: str | None, to: str | None) -> Window:
    """Return the window from *from_* to *to*; InputError, in the words of the user, if empty."""
    start_ms, end_ms = _time("--from", from_), _time("--to", to)
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        raise InputError(f"--to {to} is not after --from {from_}: no conversion lies between them")
    return Window(start_ms=start_ms, end_ms=end_ms)


def _time(name: str, text: str | None) -> int | None:
    """Return *text* as epoch milliseconds; a time without a zone is UTC."""
    if text is None:
        return None
    if text.isdecimal() and text.isascii() and 9 <= len(text) <= 20:
        if fault := slip(int(text)):
            raise InputError(f"{name} {text}: {fault}")
        return int(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{name} {text[:40]!r}: no time; write 2026-01-31, 2026-01-31T12:00 or epoch "
            "milliseconds"
        ) from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return round(time.timestamp() * 1000)
