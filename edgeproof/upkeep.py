"""edgeproof attribute fit, store and recount: what a database keeps, made anew and checked."""

from __future__ import annotations

import json as json_module
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from core.attribution.fitted import MIN_CONVERSIONS
from core.attribution.parameters import Parameters
from core.attribution.scheme import Scheme
from core.clock import SystemClock, epoch_ms
from core.errors import InputError
from core.ledger.bulk_store import store_waiting
from core.ledger.connections import open_writer
from core.ledger.database_account import Survey, fit_database
from core.ledger.fitted_models import keep_model, newest_row
from core.ledger.one_by_one import Stored
from core.ledger.path_reader import Window
from core.ledger.provenance import database_state
from core.ledger.recount import Difference, Totals, check_credits, repair, share_out_anew, uneven
from core.query.database import SqliteDatabase
from core.texts import count_of
from edgeproof.attribution_choices import direct_rule, milliseconds, order_of
from edgeproof.attribution_options import MostChannelsOption
from edgeproof.database import DatabaseOption, LocalOption, check_database
from edgeproof.finish import show_table
from edgeproof.invocation import current
from edgeproof.journeys import Journeys, Options
from edgeproof.notices import tell_plain
from edgeproof.options import JsonOption, PlainOption, chosen_scenario
from edgeproof.progress import Display
from reports.words import printable

_T = TypeVar("_T")


def fit(
    db: DatabaseOption,
    order: Annotated[
        str,
        typer.Option(
            "--order",
            metavar="1|2|3|auto",
            help="Channels it remembers; auto: what predicts held-out journeys best.",
        ),
    ] = "1",
    min_conversions: Annotated[
        int,
        typer.Option(
            "--min-conversions", min=1, metavar="N", help="With fewer, every touch counts the same."
        ),
    ] = MIN_CONVERSIONS,
    lookback: Annotated[
        str,
        typer.Option(
            "--lookback", metavar="TIME", help="As the scenario's attribution.lookback has it."
        ),
    ] = "30d",
    direct: Annotated[
        str,
        typer.Option(
            "--direct", metavar="own|ignore", help="As the scenario's attribution.direct has it."
        ),
    ] = "own",
    own_event: Annotated[
        bool,
        typer.Option("--own-event", help="As the scenario's attribution.own_event has it."),
    ] = False,
    most_channels: MostChannelsOption = None,
    database: LocalOption = None,
    plain: PlainOption = False,
    json: JsonOption = False,
) -> int:
    """Fit data_driven on all journeys of a database, and store it there with its version.

    A service uses it if it was fitted with the order, lookback, direct and own_event of its
    scenario: set attribution.order to what --order auto chose.

    Example: edgeproof attribute fit --db data/cdp.sqlite --order 2
    """
    tell_plain(plain=plain, as_json=json)
    check_database(db)
    current().watch(db)
    parameters = Parameters(
        order=order_of(order),
        lookback_ms=milliseconds("--lookback", lookback),
        direct=direct_rule(direct),
        own_event=own_event,
    )
    notices = []
    if database_state(db) == "mixed":
        notices.append("the invented users of a scenario's population are left out")
    display = Display(plain=plain, quiet=json)
    with display.open():
        survey = Survey(file=db, parameters=parameters, window=Window(), most=most_channels)
        if order == "auto":
            options = Options(
                parameters=parameters, models=(), with_nulls=True, minimum=min_conversions,
                most=most_channels, jobs=1, on_progress=display.update,
            )  # fmt: skip
            journeys, choice = Journeys(options=options, survey=survey).with_best_order()
            survey = replace(survey, parameters=journeys.options.parameters)
            notices.append(choice.said)
        model = fit_database(survey, minimum=min_conversions, on_progress=display.update)
    number = _on(db, lambda database, now_ms: keep_model(database.connection, model, now_ms))
    notices += filter(None, [model.fallback])
    if json:
        data = {"number": number, **model.to_json(), "notices": notices}
        print(json_module.dumps(data, allow_nan=False))
        return 0
    rows: list[tuple[str, ...]] = [("channel", "removal effect", "on value")]
    for channel, weight in sorted(model.weights.items(), key=lambda pair: -pair[1]):
        rows.append((channel, f"{weight:.4g}", f"{model.value_weights[channel]:.4g}"))
    show_table(rows, plain=plain)
    print(
        f"Model {number}, version {model.version}: order {survey.parameters.order}, from "
        f"{count_of(model.paths, 'path')}, {model.conversions:,.6g} of them converting."
    )
    for notice in notices:
        print(f"Notice: {notice}")
    return 0


def store(
    db: DatabaseOption,
    scenario: Annotated[
        str,
        typer.Option(
            "--scenario",
            metavar="SCENARIO",
            help="The service's: its parameters count, and its destination is told, if it has one.",
        ),
    ],
    database: LocalOption = None,
    plain: PlainOption = False,
    json: JsonOption = False,
) -> int:
    """Attribute all conversions that wait in a database, dead letters included, and store them.

    For a backlog that is too long for the service's consumer, which may go on meanwhile: each
    conversion counts once. One whose data cannot be used becomes a dead letter. Ctrl-C keeps what
    is stored; run it again for the rest.

    Example: edgeproof attribute store --db data/cdp.sqlite --scenario baseline
    """
    tell_plain(plain=plain, as_json=json)
    check_database(db)
    current().watch(db)
    chosen = chosen_scenario(scenario)
    parameters = chosen.attribution.parameters()
    forwards = chosen.destination.url is not None
    display = Display(plain=plain, quiet=json)

    def show(share: float, stored: Stored) -> None:
        display.update("storing", share, count_of(stored.conversions, "conversion"))

    # Closed before the next one opens the file: the two may be of two SQLite libraries.
    newest = _on(db, lambda database, _: newest_row(database.connection))
    with display.open(), closing(open_writer(db)) as connection:
        stored = store_waiting(
            connection, Scheme(parameters, newest), now_ms=epoch_ms(SystemClock()),
            forwards=forwards, on_progress=show,
        )  # fmt: skip
    if json:
        print(json_module.dumps(asdict(stored)))
        return 0
    if stored.conversions:
        print(
            f"Stored {count_of(stored.conversions, 'conversion')} with "
            f"{count_of(stored.touches, 'touch')}; "
            f"{stored.without_touches:,} had none."
        )
    elif not stored.rejected:
        print("No conversion waits.")
    if stored.rejected:
        print(
            f"Notice: conversions whose data cannot be used: {stored.rejected:,}; edgeproof queue "
            f"dead --db {db} says why."
        )
    return 0


def recount_totals(
    db: DatabaseOption,
    mend: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Put the counted totals in place of wrong ones, and let the service share out "
            "anew, at its next start, what does not sum to 1.",
        ),
    ] = False,
    database: LocalOption = None,
    plain: PlainOption = False,
    json: JsonOption = False,
) -> int:
    """Check that every conversion's credits sum to 1, and channel_performance to them.

    In count and in value. Exit code 1 if they do not and --repair is not given.

    Example: edgeproof attribute recount --db data/cdp.sqlite
    """
    tell_plain(plain=plain, as_json=json)
    check_database(db)
    current().watch(db)

    def check(database: SqliteDatabase, now_ms: int) -> tuple[list[Difference], list[str]]:
        connection = database.connection
        if not mend:
            return check_credits(connection)
        names = uneven(connection)
        share_out_anew(connection, names)
        return repair(connection, now_ms), names

    found, names = _on(db, check)
    if json:
        differences = [
            {
                "model": d.model,
                "channel": d.channel,
                "kept": _data(d.kept),
                "counted": _data(d.counted),
            }
            for d in found
        ]
        data = {"differences": differences, "uneven": names, "repaired": mend}
        print(json_module.dumps(data))
        return 1 if (found or names) and not mend else 0
    if names:
        done = (
            "start the service once, which shares them out anew"
            if mend
            else "run it again with --repair, and start the service once, to share them out anew"
        )
        shown = ", ".join(map(printable, names[:5])) + (", ..." if len(names) > 5 else "")
        number = count_of(len(names), "conversion")
        print(f"The credits of {number} do not sum to 1 ({shown}); {done}.")
    if found:
        rows: list[tuple[str, ...]] = [("model", "channel", "kept", "counted")]
        rows += [(d.model, d.channel, _shown(d.kept), _shown(d.counted)) for d in found]
        show_table(rows, plain=plain)
        done = "repaired" if mend else "run it again with --repair to put the counted ones in place"
        print(f"{count_of(len(found), 'total is', 'totals are')} not the sum of the rows; {done}.")
    if not (found or names):
        print("Every total is the sum of its rows.")
    return 1 if (found or names) and not mend else 0


def _data(totals: Totals | None) -> dict[str, float] | None:
    if totals is None:
        return None
    return {"credit": totals.credit, "conversions": totals.conversions, "value": totals.value}


def _shown(totals: Totals | None) -> str:
    if totals is None:
        return "none"
    # As many digits as tell a wrong total from the right one.
    return f"{totals.credit:,.12g} of {totals.conversions:,}, {totals.value:,.12g}"


def _on(path: Path, work: Callable[[SqliteDatabase, int], _T]) -> _T:
    """Return what *work* does on the database at *path*, which is brought up to date first."""
    database = SqliteDatabase(path, inline=True)
    try:
        return work(database, epoch_ms(SystemClock()))
    except sqlite3.Error as error:
        raise InputError(
            f"--db {path}: {error}; see that it can be written and nothing else holds it"
        ) from None
    finally:
        database.connection.close()
