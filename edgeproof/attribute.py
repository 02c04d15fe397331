"""edgeproof attribute: what each channel gets under every attribution model."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer

from core.attribution.bootstrap import Intervals, bootstrap
from core.attribution.fitted import MIN_CONVERSIONS
from core.attribution.models import DATA_DRIVEN
from core.attribution.order import OrderChoice
from core.attribution.parameters import Parameters
from core.attribution.path_columns import Columns
from core.attribution.path_file import read_paths
from core.attribution.periods import DAY_MS
from core.errors import InputError
from core.ledger.database_account import Survey
from core.ledger.path_reader import Window
from edgeproof.attribution_choices import (
    check_models,
    check_source,
    direct_rule,
    given_options,
    milliseconds,
    order_of,
    percentages,
)
from edgeproof.attribution_options import (
    AgainstOption,
    BootstrapOption,
    ByOption,
    CostsOption,
    DirectOption,
    ExportOption,
    HalfLifeOption,
    HoldoutOption,
    JobsOption,
    LeadOption,
    LookbackOption,
    MinConversionsOption,
    ModelOption,
    MostChannelsOption,
    OpportunityOption,
    OrderOption,
    OwnEventOption,
    SeedOption,
    UShapeOption,
    WithoutNullsOption,
    WithShapleyOption,
    WShapeOption,
)
from edgeproof.credit import check_parquet, show_study
from edgeproof.database import Source, copied_d1
from edgeproof.group import HelpfulGroup
from edgeproof.journeys import Journeys, Options, Wanted, check_by, study_of
from edgeproof.notices import tell_plain
from edgeproof.options import JsonOption, OutOption, PlainOption
from edgeproof.own_models import resolved
from edgeproof.path_options import (
    ConversionsColumnOption,
    CountColumnOption,
    D1Option,
    DbOption,
    DirectChannelOption,
    FromOption,
    JoinerOption,
    NullsColumnOption,
    PathColumnOption,
    PathsOption,
    ToOption,
    ValueColumnOption,
)
from edgeproof.progress import Display
from edgeproof.windows import part, period, time_of, window_of

app = typer.Typer(cls=HelpfulGroup, no_args_is_help=False, invoke_without_command=True)


@app.callback()
def command(
    context: typer.Context,
    db: DbOption = None,
    database: D1Option = None,
    paths: PathsOption = None,
    joiner: JoinerOption = None,
    path_column: PathColumnOption = "",
    conversions_column: ConversionsColumnOption = "",
    value_column: ValueColumnOption = "",
    nulls_column: NullsColumnOption = "",
    count_column: CountColumnOption = "",
    direct_channel: DirectChannelOption = "",
    from_: FromOption = None,
    to: ToOption = None,
    model: ModelOption = None,
    order: OrderOption = "1",
    without_nulls: WithoutNullsOption = False,
    min_conversions: MinConversionsOption = MIN_CONVERSIONS,
    bootstrap_: BootstrapOption = 0,
    seed: SeedOption = 1,
    half_life: HalfLifeOption = "7d",
    lookback: LookbackOption = "30d",
    u_shape: UShapeOption = "40/20/40",
    w_shape: WShapeOption = "30/30/30/10",
    lead: LeadOption = "",
    opportunity: OpportunityOption = "",
    direct: DirectOption = "own",
    own_event: OwnEventOption = False,
    most_channels: MostChannelsOption = None,
    with_shapley: WithShapleyOption = False,
    by: ByOption = "",
    costs: CostsOption = None,
    against: AgainstOption = None,
    holdout: HoldoutOption = None,
    export: ExportOption = "",
    jobs: JobsOption = 1,
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
    asked = given_options(context)
    if context.invoked_subcommand is not None:
        if asked:
            raise InputError(
                f"{asked[0]} stands before {context.invoked_subcommand}, which has options of its "
                "own; write them behind it"
            )
        return 0
    if database is not None and database != "d1":
        raise InputError(f"--database {database[:40]}: use d1, or --db FILE for a local file")
    if sum(data is not None for data in (db, database, paths)) != 1:
        raise InputError(
            "attribute needs data: give --db FILE, --database d1 or --paths FILE.csv, one of them"
        )
    models = resolved(model or ())
    check_models(asked, models)
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
        u_shape=percentages("--u-shape", u_shape, 3),  # type: ignore[arg-type]  # the length is checked
        w_shape=percentages("--w-shape", w_shape, 4),  # type: ignore[arg-type]  # the length is checked
        direct=direct_rule(direct),
        order=order_of(order),
        milestones=(lead, opportunity),
        own_event=own_event,
    )
    check_source(asked, has_paths=paths is not None)
    if paths is None and bootstrap_:
        raise InputError("--bootstrap needs --paths: a database is read in parts")
    if 0 < bootstrap_ < 20:
        raise InputError(f"--bootstrap {bootstrap_}: 20 resamples or more are needed")
    source = str(Source(path=None) if database is not None else paths or db)
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
    file = db

    def of_file(file: Path) -> Journeys:
        read, said = read_paths(
            file, joiner=joiner, columns=columns, direct=[direct_channel] * bool(direct_channel)
        )
        notes.extend(said)
        return Journeys(options=options, paths=read)

    def of_window(window: Window) -> Journeys:
        assert file is not None
        survey = Survey(
            file=file, parameters=parameters, window=window, with_nulls=not without_nulls,
            most=most_channels,
        )  # fmt: skip
        return Journeys(options=options, survey=survey)

    with ExitStack() as stack:
        stack.enter_context(display.open())
        if database is not None:
            file = stack.enter_context(copied_d1(notes, on_progress=display.update))
        window = window_of(from_, to)
        journeys = of_file(paths) if paths is not None else of_window(window)
        before = seen = later = None
        if against is not None:
            before = of_file(Path(against)) if paths is not None else of_window(period(against))
        if holdout is not None and paths is not None:
            seen, later = journeys, of_file(Path(holdout))
        elif holdout is not None:
            split = time_of("--holdout", holdout)
            seen = of_window(part("--from", window.start_ms, "--holdout", split))
            later = of_window(part("--holdout", split, "--to", window.end_ms))
        choice: OrderChoice | None = None
        if order == "auto":
            journeys, choice = journeys.with_best_order()
            notes.append(choice.said)
            chosen = journeys.options.parameters
            before = before and before.under(chosen)
            seen = journeys if paths is not None and seen else seen and seen.under(chosen)
            later = later and later.under(chosen)
        account = journeys.account()
        # A file that is compared and checked is read twice.
        said = [each.replace(f"{file}", source) for each in account.notices]
        account = replace(account, notices=(*dict.fromkeys(notes), *said))
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
            journeys, account, wanted, source=source, intervals=intervals, choice=choice
        )
    show_study(study, out, plain=plain, as_json=json, export=export)
    return 0
