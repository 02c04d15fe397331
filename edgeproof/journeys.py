"""Journeys of a file or of a database, their account, and the study that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.attribution.account import Account, ChannelRow, account_of
from core.attribution.anatomy import Anatomy
from core.attribution.bootstrap import Intervals
from core.attribution.costs import costed, read_costs
from core.attribution.fitted import FittedModel
from core.attribution.grouping import channel_sets, joined
from core.attribution.holdout import RATE, check, conversion_rates
from core.attribution.model import Model
from core.attribution.models import BUILT_IN, DATA_DRIVEN
from core.attribution.order import OrderChoice, chosen_order, fold_counts
from core.attribution.parameters import Parameters
from core.attribution.paths import Paths, under_direct_rule
from core.attribution.periods import Trend, added, compared
from core.attribution.shapley import SHAPLEY, Shapley, shapley
from core.attribution.study import Cell, Study, Table
from core.errors import InputError
from core.ledger.database_account import Survey, account_of_database, paths_of_database

REMOVAL = "data_driven, removal"
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What every account of one command has in common."""

    parameters: Parameters
    models: Sequence[Model]
    with_nulls: bool
    minimum: int
    most: int | None
    jobs: int
    on_progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Journeys:
    """Paths of a file, or a database as *survey* looks at it."""

    options: Options
    paths: Paths | None = None
    survey: Survey | None = None

    def parts(self, phase: str) -> Iterable[Paths]:
        """Return the journeys, in parts that fit into memory."""
        if self.paths is not None:
            return (self.paths,)
        assert self.survey is not None
        return paths_of_database(self.survey, phase=phase, on_progress=self.options.on_progress)

    def account(self, fitted: FittedModel | None = None) -> Account:
        """Return the account of the journeys, with *fitted* instead of a model of their own."""
        asked = self.options
        if self.paths is not None:
            return account_of(
                self.paths, asked.parameters, models=asked.models, with_nulls=asked.with_nulls,
                minimum=asked.minimum, most=asked.most, fitted=fitted,
            )  # fmt: skip
        assert self.survey is not None
        return account_of_database(
            self.survey, models=asked.models, minimum=asked.minimum, jobs=asked.jobs,
            fitted=fitted, on_progress=asked.on_progress,
        )  # fmt: skip

    def with_best_order(self) -> tuple[Journeys, OrderChoice]:
        """Return the journeys with the order of the chain that predicts them best."""
        asked = self.options
        choice = chosen_order(
            fold_counts(part, asked.parameters, with_nulls=asked.with_nulls, part=number)
            for number, part in enumerate(self.parts("choosing"))
        )
        return self.under(replace(asked.parameters, order=choice.order)), choice

    def under(self, parameters: Parameters) -> Journeys:
        """Return the journeys under *parameters*."""
        survey = None if self.survey is None else replace(self.survey, parameters=parameters)
        return replace(self, options=replace(self.options, parameters=parameters), survey=survey)

    def sets(self, phase: str) -> Paths:
        """Return each set of channels of the journeys once."""
        found: Paths | None = None
        for part in self.parts(phase):
            own = channel_sets(under_direct_rule(part, self.options.parameters.direct))
            found = own if found is None else channel_sets(joined([found, own]))
        assert found is not None
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a study has beside its account.

    anatomy: the tables of a report. by: day or week, "" for no trend. costs: the file of costs,
    and which days they are counted of. against: the journeys of the period before; seen, later:
    those that models learn from, and those that they are checked on.
    """

    anatomy: bool = False
    shapley: bool = False
    by: str = ""
    costs: Path | None = None
    is_inside: Callable[[int], bool] = lambda day: True
    against: Journeys | None = None
    seen: Journeys | None = None
    later: Journeys | None = None
    seed: int = 1


def study_of(
    journeys: Journeys,
    account: Account,
    wanted: Wanted,
    *,
    source: str = "",
    intervals: Intervals | None = None,
    choice: OrderChoice | None = None,
) -> Study:
    """Return the study of *journeys*, whose *account* is known, with what is *wanted*."""
    parameters = journeys.options.parameters
    found: dict[str, object] = {} if choice is None else {"order_choice": choice.to_json()}
    tables: list[Table] = []
    said: list[str] = []
    anatomy = Anatomy(parameters) if wanted.anatomy else None
    trend = None
    if wanted.by:
        models = [_model(name, journeys.options.models) for name in account.models]
        trend = Trend(
            by=wanted.by, models=models, parameters=parameters, fitted=account.fitted
        )  # fmt: skip
    takers = [taker for taker in (anatomy, trend) if taker is not None]
    if takers:
        added(journeys.parts("counting"), *takers)
    if wanted.shapley:
        sets = anatomy.sets if anatomy is not None else journeys.sets("counting")
        shares = shapley(sets, seed=wanted.seed)
        account = with_shapley(account, shares)
        found["shapley"] = shares.to_json()
    if wanted.costs is not None:
        costs, noted = read_costs(wanted.costs)
        table, notices = costed(account, costs, wanted.is_inside)
        tables.append(table)
        said += (*noted, *notices)
    if wanted.against is not None:
        tables.append(_against(wanted.against, journeys, account))
    if wanted.seen is not None and wanted.later is not None:
        checked = _holdout(wanted, account if wanted.seen is journeys else None)
        if checked is None:
            said.append(
                "--holdout: the later journeys all converted, or none did: no model can be checked"
            )
        else:
            found["holdout"] = checked[0]
            tables.append(checked[1])
            said.append(f"--holdout: {checked[2]}")
    if trend is not None:
        tables.append(trend.table())
    if anatomy is not None:
        tables += anatomy.tables(account.fitted)
    return Study(
        account=replace(account, notices=(*account.notices, *said)),
        source=source,
        intervals=intervals,
        tables=tuple(tables),
        found=found,
    )


def _model(name: str, own: Sequence[Model]) -> Model:
    return next((model for model in own if model.name == name), None) or BUILT_IN[name]


def with_shapley(account: Account, shares: Shapley) -> Account:
    """Return *account* with the Shapley credit as a model beside the others."""
    rows = [
        ChannelRow(model=SHAPLEY, channel=channel, conversions=conversions, value=value)
        for channel, conversions, value in zip(
            shares.channels, shares.conversions.tolist(), shares.values.tolist(), strict=True
        )
    ]
    rows.sort(key=lambda row: (-row.conversions, row.channel))
    return replace(
        account,
        models=(*account.models, SHAPLEY),
        rows=(*account.rows, *rows),
        notices=(*account.notices, *shares.notices()),
    )


def _against(before: Journeys, journeys: Journeys, account: Account) -> Table:
    """Return the change from *before* to *journeys*, whose account is known."""
    old = before.account()
    mixed = account if old.fitted is None else journeys.account(old.fitted)
    plain = tuple(name for name in account.models if name != SHAPLEY)
    rows = tuple(row for row in account.rows if row.model != SHAPLEY)
    return compared(old, mixed, replace(account, models=plain, rows=rows))


def _holdout(wanted: Wanted, known: Account | None) -> tuple[object, Table, str] | None:
    """Return the check of the models on later journeys as JSON data, as a table, and in words."""
    assert wanted.seen is not None
    assert wanted.later is not None
    account = known or wanted.seen.account()
    seen, later = wanted.seen.sets("learning"), wanted.later.sets("checking")
    if wanted.shapley and SHAPLEY not in account.models:
        account = with_shapley(account, shapley(seen, seed=wanted.seed))
    credits = {
        model: {row.channel: row.conversions for row in account.rows if row.model == model}
        for model in account.models
    }
    if DATA_DRIVEN in credits:
        credits[REMOVAL] = {
            row.channel: row.removal_conversions or 0.0
            for row in account.rows
            if row.model == DATA_DRIVEN
        }
    credits[RATE] = conversion_rates(seen)
    found = check(credits, seen, later)
    if found is None:
        return None
    rows: list[tuple[Cell, ...]] = [
        (name, auc, found.errors[name], *found.behind[name])
        for name, auc in sorted(found.auc.items(), key=lambda item: -item[1])
    ]
    table = Table(
        name="holdout",
        title="Which model predicts later journeys?",
        how=f"AUC: the chance that, of {found.conversions:,.6g} later journeys that converted and "
        f"{found.nulls:,.6g} that did not, one that did has the higher score; 0.5 is chance. A "
        "journey's score combines the credit per journey of its channels. Conversion rate: each "
        "channel's own rate, the yardstick without attribution.",
        columns=("model", "auc", "standard_error", "behind_best", "standard_error_of_that"),
        rows=tuple(rows),
    )
    data = {
        "auc": dict(found.auc),
        "conversions": found.conversions,
        "nulls": found.nulls,
        "said": found.said,
    }
    return data, table, found.said


def check_by(by: str) -> str:
    """Return the period that --by names; InputError if it names none."""
    if by not in ("", "day", "week"):
        raise InputError(f"--by {by[:40]}: use day or week")
    return by
