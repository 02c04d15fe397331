"""What a service accepted, and whether its database holds each of it once."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from core.attribution.models import MODELS

CHANNELS = ("email", "google", "bing", "partner")
_SHOWN = 3


@dataclass(slots=True)
class Accepted:
    """Events and conversions that were answered with 202, and those of which nobody knows.

    touches and conversions: ids that were accepted; channel: of each user's only touch, by
    conversion, accepted or not.
    """

    touches: set[str] = field(default_factory=set)
    conversions: set[str] = field(default_factory=set)
    channel: dict[str, str] = field(default_factory=dict)

    def faults(self, file: Path) -> list[str]:
        """Return what is wrong with the database *file* of a service that has ended.

        Each conversion has a user of its own, with one touch before it: one row of credits, which
        gives each model's whole credit to the touch's channel.
        """
        connection = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
        try:
            return [*self._lost(connection), *self._doubled(connection), *_totals(connection)]
        finally:
            connection.close()

    def _lost(self, connection: sqlite3.Connection) -> list[str]:
        faults = []
        if (found := connection.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
            faults.append(f"the file is damaged: {found[0][0]}")
        for name, table, column, wanted in (
            ("touches", "user_journeys", "event_id", self.touches),
            ("conversions", "conversions", "conversion_id", self.conversions),
        ):
            stored = {key for (key,) in connection.execute(f"SELECT {column} FROM {table}")}
            faults += _told(f"accepted {name} are lost", wanted - stored)
        credited = {key for (key,) in connection.execute("SELECT conversion_id FROM touch_credits")}
        faults += _told("accepted conversions have no credits", self.conversions - credited)
        waiting = connection.execute("SELECT conversion_id FROM conversions WHERE processed != 1")
        faults += _told("conversions were never processed", {key for (key,) in waiting})
        left = connection.execute("SELECT conversion_id FROM conversion_queue")
        faults += _told("conversions are left in conversion_queue", {key for (key,) in left})
        dead: dict[str, set[str]] = {}
        for key, reason in connection.execute("SELECT conversion_id, reason FROM dead_letters"):
            dead.setdefault(reason, set()).add(key)
        for reason, keys in dead.items():
            faults += _told(f"conversions are left in dead_letters ({reason})", keys)
        return faults

    def _doubled(self, connection: sqlite3.Connection) -> list[str]:
        rows = connection.execute(
            "SELECT conversion_id, utm_source, touchpoints, linear, last_click FROM touch_credits"
        ).fetchall()
        counts = Counter(row[0] for row in rows)
        wrong = {
            key for key, channel, touchpoints, *shares in rows
            if touchpoints != 1 or shares != [1.0, 1.0] or channel != self.channel.get(key)
        }  # fmt: skip
        twice = {key for key, count in counts.items() if count > 1}
        return [
            *_told("conversions are credited more than once", twice),
            *_told("conversions have credits of other touches than their own", wrong),
        ]


def _totals(connection: sqlite3.Connection) -> list[str]:
    """Return where the sums by channel are not those of the credits."""
    credited = dict(connection.execute("SELECT utm_source, count(*) FROM touch_credits GROUP BY 1"))
    kept = {
        (model, channel): (number, credit)
        for model, channel, number, credit in connection.execute(
            "SELECT attribution_model, utm_source, total_conversions, total_attribution"
            " FROM channel_performance"
        )
    }
    faults = []
    for model, channel in sorted(kept.keys() | {*product(MODELS, credited)}):
        number, credit = kept.get((model, channel), (0, 0.0))
        expected = credited.get(channel, 0)
        if number != expected or abs(credit - expected) > 1e-6 * max(1, expected):
            faults.append(
                f"{model} of {channel} counts {number} conversions and {credit:g} credits, and "
                f"{expected} have one"
            )
    return faults


def _told(what: str, keys: set[str]) -> list[str]:
    if not keys:
        return []
    return [f"{len(keys):,} {what}, such as {', '.join(sorted(keys)[:_SHOWN])}"]
