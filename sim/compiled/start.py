"""What a replication's database says at its start, computed from its rows without a database."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.application.documents import credits_document
from core.attribution.account import time_window, transitions_of
from core.attribution.fitted import FittedModel, fit
from core.attribution.journeys import Journey
from core.attribution.models import DATA_DRIVEN, MODELS, role_of, weights_of
from core.attribution.parameters import Parameters
from core.attribution.paths import Paths
from core.attribution.scheme import Scheme
from core.clock import DATA_EPOCH_MS
from core.ledger.sample import MOST_CHANNELS
from core.scenario.population import Population, channel_name, model_name
from core.scenario.scenario import Scenario
from sim.compiled import credits

Array = NDArray[Any]

MOST_NAMES = 50
"""Channels of a page, at most; with more their order would matter."""

_DIGITS = 10 ** np.arange(1, 19, dtype=np.int64)


def digits(numbers: Array) -> Array:
    """Return how many decimal digits each of *numbers* has."""
    return np.searchsorted(_DIGITS, numbers, side="right") + 1


def is_usual(parameters: Parameters, channels: int) -> bool:
    """Return whether compiled code shares out credit as the shipped code does."""
    return (
        parameters.direct == "own channel"
        and not parameters.has_milestones
        and tuple(MODELS) == credits.MODELS
        and channels <= MOST_NAMES
        and sys.version_info < (3, 12)  # later ones sum floats with compensation
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The events of a population in the order of their arrival, and its conversions.

    order: the place of each event among touches and, behind these, conversions. users, times,
    channels: of touches. owners, converted, values: of conversions.
    """

    order: Array
    users: Array
    times: Array
    channels: Array
    owners: Array
    converted: Array
    values: Array

    @classmethod
    def of(cls, population: Population, channels: int) -> Rows:
        """Return the rows of *population*."""
        number = {channel_name(place): place for place in range(channels)}
        touches, conversions = population.touches, population.conversions
        times = np.array([row[4] for row in touches], dtype=np.int64)
        converted = np.array([row[3] for row in conversions], dtype=np.int64)
        return cls(
            order=np.argsort(np.concatenate((times, converted)), kind="stable"),
            users=np.array([int(row[1][1:]) for row in touches], dtype=np.int64),
            times=times,
            channels=np.array([number[row[3]] for row in touches], dtype=np.int64),
            owners=np.array([int(row[2][1:]) for row in conversions], dtype=np.int64),
            converted=converted,
            values=np.array([row[4] for row in conversions], dtype=np.float64),
        )


class Start:
    """The credit of a population's conversions: of its channels, and the size of each document.

    names: of the channels. scheme: in force at the start. totals: by channel and model the credit
    and the value. counts: conversions by channel. sizes: bytes of the document of each conversion's
    credits.
    """

    def __init__(self, scenario: Scenario, rows: Rows) -> None:
        self._rows = rows
        self.names = [channel_name(place) for place in range(scenario.traffic.channels)]
        parameters = scenario.attribution.parameters()
        self._walk(parameters)
        stored = None
        if scenario.attribution.fit_every:
            model = self._fitted(parameters, scenario.attribution.min_conversions)
            stored = 1, json.dumps(model.to_json())
        self.scheme = Scheme(parameters, stored)
        self._share_out()
        self.sizes = self._document_sizes()

    def _walk(self, parameters: Parameters) -> None:
        """Find the touches of each conversion, as the statement ALL_JOURNEYS does."""
        rows = self._rows
        count, conversions = len(rows.times), len(rows.converted)
        place = np.empty(len(rows.order), dtype=np.int64)
        place[rows.order] = np.arange(len(rows.order))
        by_user = np.lexsort((place[:count], rows.times, rows.users))
        self._times, self._channels = rows.times[by_user], rows.channels[by_user]
        users = rows.users[by_user]
        base = min(rows.times.min(initial=DATA_EPOCH_MS), rows.converted.min(initial=DATA_EPOCH_MS))
        span = DATA_EPOCH_MS - base + 2
        keys = users * span + (self._times - base)

        def after(owners: Array, times: Array) -> Array:
            relative = np.clip(times - base, -1, span - 1)
            found: Array = np.searchsorted(keys, owners * span + relative, side="right")
            return found

        ends = np.lexsort((np.arange(conversions), rows.converted, rows.owners))
        sorted_keys = (rows.owners * span + (rows.converted - base))[ends]
        first = np.searchsorted(sorted_keys, sorted_keys, side="left")  # of its instant
        earlier = np.full(conversions, -1, dtype=np.int64)
        has = first > 0
        has[has] = rows.owners[ends[first[has] - 1]] == rows.owners[ends[has]]
        earlier[ends[has]] = rows.converted[ends[first[has] - 1]]
        lower = np.maximum(rows.converted - parameters.lookback_ms - 1, earlier)
        self._begins = after(rows.owners, lower)
        self._ends = np.maximum(after(rows.owners, rows.converted), self._begins)
        # Paths that did not convert: the touches behind the last conversion of each user.
        most = int(max(users.max(initial=-1), rows.owners.max(initial=-1))) + 1
        newest = np.full(most, -1, dtype=np.int64)
        np.maximum.at(newest, rows.owners, rows.converted)
        known = np.unique(users)
        last = np.searchsorted(users, known, side="right") - 1
        is_null = self._times[last] > newest[known]
        known, last = known[is_null], last[is_null]
        lower = np.maximum(self._times[last] - parameters.lookback_ms - 1, newest[known])
        self._null_begins, self._null_ends = after(known, lower), last + 1

    def _fitted(self, parameters: Parameters, minimum: int) -> FittedModel:
        """Return the model of all events, as `core.ledger.sample.fit_newest` fits it."""
        begins = np.concatenate((self._begins, self._null_begins))
        lengths = np.concatenate((self._ends, self._null_ends)) - begins
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        at = np.arange(offsets[-1]) + np.repeat(begins - offsets[:-1], lengths)
        walked = sorted({self.names[code] for code in np.unique(self._channels[at]).tolist()})
        number = {name: place for place, name in enumerate(walked)}
        codes = np.array([number.get(name, -1) for name in self.names], dtype=np.int32)
        converted = np.arange(len(lengths)) < len(self._begins)
        paths = Paths(
            channels=tuple(walked),
            codes=codes[self._channels[at]],
            offsets=offsets,
            times_ms=self._times[at],
            conversions=converted.astype(np.float64),
            nulls=(~converted).astype(np.float64),
            values=np.concatenate((self._rows.values, np.zeros(len(self._null_begins)))),
        )
        return fit(
            transitions_of(paths, parameters), parameters, window=time_window(paths),
            minimum=minimum, most=MOST_CHANNELS[parameters.order],
        )  # fmt: skip

    def _share_out(self) -> None:
        parameters, count = self.scheme.parameters, len(self._rows.converted)
        channels, models = len(self.names), len(MODELS)
        most = 1 + int((self._ends - self._begins).max(initial=0))
        # In the order of the ids' text, in which the shipped code adds them up.
        order = np.array(sorted(range(count), key=str), dtype=np.int64)
        self.totals = np.zeros((channels, models, 2))
        self.counts = np.zeros(channels, dtype=np.int64)
        self._offsets = np.concatenate(([0], np.cumsum(self._ends - self._begins)))
        self._credits = np.zeros(self._offsets[-1])
        credits.share_out_seeded(
            order, self._begins, self._ends, self._offsets, self._times, self._channels,
            self._rows.values, np.array([float(parameters.half_life_ms), 2.0]),
            np.array([*parameters.u_shape, *parameters.w_shape]),
            np.array(weights_of(self.scheme.weights, self.names)), np.zeros(most),
            np.zeros((channels, models)), np.zeros(channels, np.int64), self.totals, self.counts,
            self._credits,
        )  # fmt: skip

    def _document_sizes(self) -> Array:
        """Return the bytes of `credits_document` of each conversion under its model."""
        rows, count = self._rows, len(self._rows.converted)
        numbers, lengths = np.arange(count), self._ends - self._begins
        heads = np.array([self._head(model) for model in MODELS])
        sizes = heads[numbers % len(MODELS)] + digits(numbers) + digits(rows.owners)
        sizes += _lengths_of(rows.values)
        # Touches: the fixed text, and commas between them.
        owner = np.repeat(numbers, lengths)
        position = np.arange(len(owner)) - self._offsets[:-1][owner]
        at = position + self._begins[owner]
        names = np.array([len(name) for name in self.names])
        each = _touch_text() + digits(position) + names[self._channels[at]]
        each += _lengths_of(self._credits) + _lengths_of(100 * self._credits)
        roles = np.full(len(owner), len(role_of(1, 3)))
        roles[position == 0] = len(role_of(0, 3))
        roles[position == lengths[owner] - 1] = len(role_of(2, 3))
        roles[lengths[owner] == 1] = len(role_of(0, 1))
        each += roles
        sizes += np.bincount(owner, weights=each, minlength=count).astype(np.int64)
        sizes += np.maximum(lengths - 1, 0)
        for conversion in self._without_effect():
            journey = self._journey(conversion)
            sizes[conversion] = len(credits_document(journey, DATA_DRIVEN, self.scheme))
        return sizes

    def _without_effect(self) -> list[int]:
        """Return the conversions of data_driven whose document may tell of a fallback."""
        weights = np.array(weights_of(self.scheme.weights, self.names))
        if self.scheme.fallback or (weights > 0).all():
            return []
        place = MODELS.index(DATA_DRIVEN)
        return [
            number
            for number in range(place, len(self._begins), len(MODELS))
            if not (weights[self._channels[self._begins[number] : self._ends[number]]] > 0).any()
        ]

    def _journey(self, conversion: int) -> Journey:
        rows, touched = self._rows, slice(self._begins[conversion], self._ends[conversion])
        return Journey(
            conversion_id=f"c{conversion}", user_id=f"u{rows.owners[conversion]}",
            converted_ms=int(rows.converted[conversion]), value=float(rows.values[conversion]),
            times_ms=tuple(self._times[touched].tolist()),
            channels=tuple(self.names[code] for code in self._channels[touched].tolist()),
        )  # fmt: skip

    def _head(self, model: str) -> int:
        """Return the bytes of a document without touches, and without ids' digits and the value."""
        none = Journey(
            conversion_id="c", user_id="u", converted_ms=DATA_EPOCH_MS, value=0.0,
            times_ms=(), channels=(),
        )  # fmt: skip
        return len(credits_document(none, model, self.scheme)) - len(repr(0.0))


def _touch_text() -> int:
    """Return the bytes of a touch in a document of credits without what differs."""
    one = Journey(
        conversion_id="c", user_id="u", converted_ms=DATA_EPOCH_MS, value=0.0,
        times_ms=(DATA_EPOCH_MS,), channels=("",),
    )  # fmt: skip
    none = Journey(
        conversion_id="c", user_id="u", converted_ms=DATA_EPOCH_MS, value=0.0,
        times_ms=(), channels=(),
    )  # fmt: skip
    scheme, model = Scheme(), model_name(0)
    differs = len("0") + len(role_of(0, 1)) + len(repr(1.0)) + len(repr(100.0))
    both = [len(credits_document(journey, model, scheme)) for journey in (one, none)]
    return both[0] - both[1] - differs


def _lengths_of(numbers: Array) -> Array:
    """Return the length of each of *numbers* as JSON has it."""
    different, which = np.unique(numbers, return_inverse=True)
    return np.array([len(repr(number)) for number in different.tolist()], np.int64)[which]
