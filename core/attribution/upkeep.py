"""Upkeep of a database's attribution: fitted models kept with it, and its totals checked."""

from __future__ import annotations

import json
import math
import sqlite3
from dataclasses import dataclass

from core.attribution.fitted import FittedModel
from core.attribution.models import HEURISTICS

TOLERANCE = 1e-6
"""Relative difference of two sums of the same credits in another order."""

_SUMS = ", ".join(f"sum({model}), sum({model} * value)" for model in HEURISTICS)
# One pass over all rows, on purpose: this is what incremental totals are checked against.
_RECOUNT = (
    f"SELECT utm_source, count(DISTINCT conversion_id), {_SUMS}"
    " FROM touch_credits JOIN conversions USING (conversion_id) GROUP BY utm_source"
)
_KEPT = (
    "SELECT attribution_model, utm_source, total_attribution, total_conversions, total_value"
    " FROM channel_performance"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What one channel got under one model: credit in conversions, conversions, value."""

    credit: float
    conversions: int
    value: float

    def agrees(self, other: Totals) -> bool:
        """Return whether both are the same but for rounding."""
        return self.conversions == other.conversions and all(
            math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
            for a, b in ((self.credit, other.credit), (self.value, other.value))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where channel_performance is not the sum of the rows; None: there is no such entry."""

    model: str
    channel: str
    kept: Totals | None
    counted: Totals | None


def recount(connection: sqlite3.Connection) -> list[Difference]:
    """Return where the kept totals differ from the credits they are sums of, in order."""
    counted: dict[tuple[str, str], Totals] = {}
    for channel, conversions, *sums in connection.execute(_RECOUNT):
        for position, model in enumerate(HEURISTICS):
            counted[model, channel] = Totals(
                credit=sums[2 * position], conversions=conversions, value=sums[2 * position + 1]
            )
    kept = {
        (model, channel): Totals(credit=credit, conversions=conversions, value=value)
        for model, channel, credit, conversions, value in connection.execute(_KEPT)
    }
    return [
        Difference(model=place[0], channel=place[1], kept=kept.get(place), counted=found)
        for place in sorted(kept.keys() | counted.keys())
        if (found := counted.get(place)) is None
        or (before := kept.get(place)) is None
        or not found.agrees(before)
    ]


def repair(connection: sqlite3.Connection, now_ms: int) -> list[Difference]:
    """Put the counted totals in place of those that differ, in one transaction; return them."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        differences = recount(connection)
        for each in differences:
            place = (each.model, each.channel)
            connection.execute(
                "DELETE FROM channel_performance WHERE attribution_model = ? AND utm_source = ?",
                place,
            )
            if (totals := each.counted) is not None:
                connection.execute(
                    "INSERT INTO channel_performance VALUES (?, ?, ?, ?, ?, ?)",
                    (*place, totals.credit, totals.conversions, totals.value, now_ms),
                )
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return differences


def keep_model(connection: sqlite3.Connection, model: FittedModel, now_ms: int) -> int:
    """Store *model* with the database; return its number there."""
    window = model.window or (now_ms, now_ms)
    cursor = connection.execute(
        "INSERT INTO fitted_models (fitted_at_ms, data_from_ms, data_until_ms, markov_order,"
        " parameters, weights) VALUES (?, ?, ?, ?, ?, ?)",
        (
            now_ms, *window, model.parameters.order,
            json.dumps(model.parameters.to_json()), json.dumps(model.to_json()),
        ),
    )  # fmt: skip
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def newest_model(connection: sqlite3.Connection) -> FittedModel | None:
    """Return the model stored last, None if there is none; InputError if it was changed since."""
    row = connection.execute(
        "SELECT weights FROM fitted_models ORDER BY version DESC LIMIT 1"
    ).fetchone()
    return None if row is None else FittedModel.from_json(json.loads(row[0]))
