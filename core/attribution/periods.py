"""Credit over time: by day or week, and what changed from one period to another."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np

from core.attribution.account import Account, own_ones
from core.attribution.fitted import FittedModel
from core.attribution.fused import share_credit
from core.attribution.model import Model
from core.attribution.parameters import Parameters
from core.attribution.paths import Floats, Integers, Paths, under_direct_rule
from core.attribution.study import Cell, Table
from core.errors import InputError

DAY_MS = 24 * 3_600_000
_WEEK = 7
_MONDAY = 4  # the days from the first Monday after the epoch's Thursday
BY = ("day", "week")


def period_of(times_ms: Integers, by: str) -> Integers:
    """Return the first day, in days since 1970 (UTC), of the day or the ISO week of each time."""
    days = times_ms // DAY_MS
    if by == "day":
        return days
    return (days - _MONDAY) // _WEEK * _WEEK + _MONDAY


def day_name(day: int) -> str:
    """Return the date of a number of days since 1970."""
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def parse_days(text: str) -> range | None:
    """Return the days, since 1970, of a date, an ISO week or a month; None for none of these."""
    length = 1
    if re.fullmatch(r"\d{4}-?[Ww]\d\d", text, re.ASCII):
        length = _WEEK
    elif month := re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])", text, re.ASCII):
        text, length = f"{text}-01", monthrange(int(month[1]), int(month[2]))[1]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    first = int(found.replace(tzinfo=UTC).timestamp() // 86_400)
    return range(first, first + length)


@dataclass(slots=True, kw_only=True)
class Trend:
    """The credit of channels by day or week of the conversion, added part by part."""

    by: str
    models: Sequence[Model]
    parameters: Parameters
    fitted: FittedModel | None
    _found: dict[tuple[int, str, str], Floats] = field(default_factory=dict)

    def add(self, paths: Paths) -> None:
        """Add the conversions of *paths*, which know when they were."""
        paths = under_direct_rule(paths, self.parameters.direct)
        if paths.converted_ms is None:
            raise InputError("--by needs --db: aggregated paths have no times")
        times = np.maximum(paths.converted_ms, 0)
        periods, place = np.unique(period_of(times, self.by), return_inverse=True)
        size = len(paths.channels)
        # A channel of each period is a channel of its own, so that one pass credits all periods.
        codes = paths.codes + np.repeat(place, paths.lengths) * size
        weights = None if self.fitted is None else self.fitted.weights_of(paths.channels)
        credit = share_credit(
            replace(paths, channels=paths.channels * len(periods), codes=codes.astype(np.int32)),
            replace(self.parameters, direct="own channel"),
            weights=None if weights is None else np.tile(weights, len(periods)),
            own=own_ones(self.models),
        )
        for model in self.models:
            row = credit.models.index(model.name)
            amounts = np.stack((credit.conversions[row], credit.values[row]), axis=1)
            for number in np.flatnonzero(amounts.any(axis=1)).tolist():
                period, channel = divmod(number, size)
                key = (int(periods[period]), model.name, paths.channels[channel])
                self._found[key] = self._found.get(key, np.zeros(2)) + amounts[number]

    def table(self) -> Table:
        """Return the credit by period, model and channel."""
        return Table(
            name="trend",
            title=f"Conversions by {self.by}",
            how=f"By the {self.by} of the conversion (UTC{', from Monday' * (self.by == 'week')}), "
            "with the models of the whole time.",
            columns=(self.by, "model", "channel", "conversions", "value"),
            rows=tuple(
                (day_name(period), model, channel, float(amounts[0]), float(amounts[1]))
                for (period, model, channel), amounts in sorted(self._found.items())
            ),
            shown=0,
        )


def compared(before: Account, mixed: Account, after: Account) -> Table:
    """Return the change of each channel's credit, taken apart into volume, mix and credit.

    mixed: the journeys of *after* under the model fitted on those of *before*. With N the
    conversions (or value) of a period and s a channel's share of them: volume (N1 - N0) s0, mix
    N1 (s01 - s0), credit N1 (s1 - s01), where s01 is the share in *mixed*. They add up to the
    change. Rules do not change, so only data_driven has a part of credit.
    """
    rows: list[tuple[Cell, ...]] = []
    for kind, totals in (
        ("conversions", [each.attributed for each in (before, mixed, after)]),
        ("value", [each.value for each in (before, mixed, after)]),
    ):
        if not any(totals):
            continue
        tables = [
            {(row.model, row.channel): getattr(row, kind) for row in each.rows}
            for each in (before, mixed, after)
        ]
        for model, channel in dict.fromkeys(
            key for table in (tables[2], tables[0]) for key in table
        ):
            old, mid, new = (float(table.get((model, channel), 0.0)) for table in tables)
            # Without anything before there is no share that could have changed.
            stays = old / totals[0] * totals[2] if totals[0] else mid
            rows.append((kind, model, channel, old, new, new - old,
                         stays - old, mid - stays, new - mid))  # fmt: skip
    return Table(
        name="comparison",
        title="What changed",
        how="Volume: more or fewer conversions at the shares of before. Mix: other journeys, under "
        "the model of before. Credit: the model fitted anew. The three add up to the change.",
        columns=("of", "model", "channel", "before", "after", "change", "volume", "mix", "credit"),
        rows=tuple(rows),
    )


def added(parts: Iterable[Paths], *takers: object) -> None:
    """Give each of *parts* to each of *takers*."""
    for paths in parts:
        for taker in takers:
            taker.add(paths)  # type: ignore[attr-defined]  # an Anatomy or a Trend
