"""What journeys look like: their paths, lengths, lags, steps, and the roles of channels."""

from __future__ import annotations

from collections import Counter

import numpy as np

from core.attribution.fitted import FittedModel
from core.attribution.grouping import channel_sets, distinct_paths, joined
from core.attribution.parameters import Parameters
from core.attribution.paths import Floats, Paths, under_direct_rule
from core.attribution.study import Cell, Table
from core.attribution.transitions import (
    Transitions,
    count_transitions,
    merge,
    with_rare_merged,
)

DAY_MS = 24 * 3_600_000
MOST_STEPS = 40
"""Channels of the table of steps; rarer ones are one."""
MOST_PATHS = 200_000
"""Distinct paths that are held; beyond, the rarest are dropped."""
LISTED_PATHS = 1_000
START, CONVERSION, NULL = "(start)", "(conversion)", "(null)"
_LONGEST = 100  # touches, and days: longer ones are one row


class Anatomy:
    """Counts over journeys that are added part by part; the direct rule is applied to each."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._paths: Paths | None = None
        self._sets: Paths | None = None
        self._steps: Transitions | None = None
        self._lengths = np.zeros((_LONGEST + 1, 3))
        self._lags: Counter[int] = Counter()
        self._roles: dict[str, Floats] = {}
        self._is_pruned = False

    def add(self, paths: Paths) -> None:
        """Add the journeys of *paths*."""
        paths = under_direct_rule(paths, self._parameters.direct)
        self._count_lengths(paths)
        self._count_roles(paths)
        self._count_lags(paths)
        walks = Paths(
            channels=paths.channels, codes=paths.codes, offsets=paths.offsets,
            conversions=np.maximum(paths.conversions, 0.0), nulls=paths.nulls, values=paths.values,
        )  # fmt: skip
        steps = count_transitions(walks, 1)
        self._steps = steps if self._steps is None else merge([self._steps, steps])
        own = distinct_paths(paths)
        if self._paths is not None:
            own = distinct_paths(joined([self._paths, own]))
        self._paths = self._pruned(own)
        sets = channel_sets(paths)
        self._sets = sets if self._sets is None else channel_sets(joined([self._sets, sets]))

    @property
    def sets(self) -> Paths:
        """Each set of channels once, as `channel_sets` gives them."""
        assert self._sets is not None
        return self._sets

    def _pruned(self, paths: Paths) -> Paths:
        if len(paths) <= MOST_PATHS:
            return paths
        from core.attribution.paths import chosen_paths

        self._is_pruned = True
        rank = np.argsort(-np.abs(paths.conversions), kind="stable")[: MOST_PATHS // 2]
        return chosen_paths(paths, np.sort(rank))

    def _count_lengths(self, paths: Paths) -> None:
        lengths = np.minimum(paths.lengths, _LONGEST)
        for column, amounts in enumerate((paths.conversions, paths.nulls, paths.values)):
            self._lengths[:, column] += np.bincount(
                lengths, weights=amounts, minlength=_LONGEST + 1
            )

    def _count_roles(self, paths: Paths) -> None:
        has_touch = paths.lengths > 0
        ends = (paths.offsets[:-1][has_touch], paths.offsets[1:][has_touch] - 1)
        sets = channel_sets(paths)
        size = len(paths.channels)
        table = np.zeros((size, 4))
        for column, places in enumerate(ends):
            table[:, column] = np.bincount(
                paths.codes[places], weights=paths.conversions[has_touch], minlength=size
            )
        for column, amounts in ((2, sets.conversions), (3, sets.nulls)):
            table[:, column] = np.bincount(
                sets.codes, weights=np.repeat(amounts, sets.lengths), minlength=size
            )
        for channel, row in zip(paths.channels, table, strict=True):
            self._roles[channel] = self._roles.get(channel, np.zeros(4)) + row

    def _count_lags(self, paths: Paths) -> None:
        if paths.converted_ms is None or paths.times_ms is None:
            return
        chosen = np.flatnonzero((paths.lengths > 0) & (paths.conversions != 0))
        lags = paths.converted_ms[chosen] - paths.times_ms[paths.offsets[:-1][chosen]]
        days = np.minimum(lags // DAY_MS, _LONGEST)
        for day, amount in zip(days.tolist(), paths.conversions[chosen].tolist(), strict=True):
            self._lags[day] += amount

    def tables(self, fitted: FittedModel | None) -> list[Table]:
        """Return the tables of what was added."""
        found = [self._roles_table(), self._steps_table()]
        if fitted is not None:
            found.append(removal_table(fitted))
        found += [self._paths_table(), self._lengths_table()]
        return found + ([self._lags_table()] if self._lags else [])

    def _roles_table(self) -> Table:
        rows: list[tuple[Cell, ...]] = []
        ranked = sorted(self._roles.items(), key=lambda item: (-item[1][2], item[0]))
        for channel, (first, last, present, nulls) in ranked:
            assisted, journeys = present - last, present + nulls
            rows.append((
                channel, float(first), float(last), float(assisted), _over(assisted, last),
                float(journeys), _over(present, journeys),
            ))  # fmt: skip
        return Table(
            name="roles",
            title="Assisted and last-click conversions",
            how="A conversion is assisted by each channel of its journey but the last one's. A "
            "ratio above 1 marks a channel that opens journeys, one below 1 a channel that ends "
            "them. The rate is that of the journeys that hold the channel.",
            columns=("channel", "first_click", "last_click", "assisted", "assisted_per_last_click",
                     "journeys", "conversion_rate"),
            rows=tuple(rows),
        )  # fmt: skip

    def _steps_table(self) -> Table:
        assert self._steps is not None
        steps = with_rare_merged(self._steps, MOST_STEPS)
        names = (START, *steps.channels)
        leaving = steps.converted + steps.lost
        np.add.at(leaving, steps.sources, steps.counts)
        states = steps.states.tolist()
        rows: list[tuple[Cell, ...]] = [
            (names[states[source]], names[states[target]], count, count / leaving[source])
            for source, target, count in zip(
                steps.sources.tolist(), steps.targets.tolist(), steps.counts.tolist(), strict=True
            )
        ]
        for end, amounts in ((CONVERSION, steps.converted), (NULL, steps.lost)):
            rows += [
                (names[states[place]], end, float(amounts[place]), amounts[place] / leaving[place])
                for place in np.flatnonzero(amounts).tolist()
            ]
        rows.sort(key=lambda row: (row[0] != START, str(row[0]), str(row[1])))
        return Table(
            name="transitions",
            title="Steps from channel to channel",
            how="The share of the journeys that leave a channel (row) for the next one (column), a "
            f"chain of order 1. Beyond {MOST_STEPS} channels the rarest are one.",
            columns=("from", "to", "journeys", "share"),
            rows=tuple((a, b, float(c), float(d)) for a, b, c, d in rows),  # type: ignore[arg-type]  # the last two are numbers
            shown=0,
        )

    def _paths_table(self) -> Table:
        assert self._paths is not None
        paths = self._paths
        total = float(self._lengths[:, 0].sum())
        rank = np.lexsort((np.arange(len(paths)), -paths.conversions))[:LISTED_PATHS]
        rows: list[tuple[Cell, ...]] = []
        for place in rank.tolist():
            codes = paths.codes[paths.offsets[place] : paths.offsets[place + 1]].tolist()
            conversions, nulls = float(paths.conversions[place]), float(paths.nulls[place])
            if not codes or conversions <= 0:
                continue
            steps = [paths.channels[code] for code in codes]
            rows.append((
                " > ".join(steps), conversions, _over(conversions, total),
                float(paths.values[place]), nulls, _over(conversions, conversions + nulls),
            ))  # fmt: skip
        said = (
            f" There were more than {MOST_PATHS:,} paths: rare ones were dropped on the way."
            if self._is_pruned
            else ""
        )
        return Table(
            name="paths",
            title="Top paths",
            how=f"The paths with most conversions.{said}",
            columns=("path", "conversions", "share", "value", "nulls", "conversion_rate"),
            rows=tuple(rows),
            shown=20,
        )

    def _lengths_table(self) -> Table:
        total = self._lengths[:, 0].sum()
        rows: list[tuple[Cell, ...]] = []
        for length, (conversions, nulls, value) in enumerate(self._lengths.tolist()):
            if conversions or nulls or value:
                rows.append((
                    _bin(length), conversions, _over(conversions, total), value, nulls,
                    _over(conversions, conversions + nulls),
                ))  # fmt: skip
        return Table(
            name="lengths",
            title="Path length",
            how="Journeys by their number of touches.",
            columns=("touches", "conversions", "share", "value", "nulls", "conversion_rate"),
            rows=tuple(rows),
            shown=15,
        )

    def _lags_table(self) -> Table:
        total = float(sum(self._lags.values()))
        return Table(
            name="lags",
            title="Time lag",
            how="Conversions by whole days from the first touch to the conversion.",
            columns=("days", "conversions", "share"),
            rows=tuple(
                (_bin(day), float(self._lags[day]), _over(self._lags[day], total))
                for day in sorted(self._lags)
            ),
            shown=35,
        )


def removal_table(fitted: FittedModel) -> Table:
    """Return the removal effects of *fitted*, the largest first."""
    shares, of_value = fitted.shared_out(1.0), fitted.shared_out(1.0, by_value=True)
    return Table(
        name="removal",
        title="Removal effects",
        how="The share of all conversions, and of their value, that would be lost if every journey "
        f"ended before the channel: a chain of order {fitted.parameters.order}. Shares add up to "
        "1.",
        columns=("channel", "removal_effect", "share", "removal_effect_value", "share_value"),
        rows=tuple(
            (channel, weight, shares[channel], fitted.value_weights[channel], of_value[channel])
            for channel, weight in sorted(
                fitted.weights.items(), key=lambda item: (-item[1], item[0])
            )
        ),
    )


def _bin(number: int) -> str:
    return f"{_LONGEST} or more" if number == _LONGEST else str(number)


def _over(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole else None
