"""Fields at several values: what `--over` and `--field` name, checked before anything runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from core.errors import InputError
from core.metrics.panel import Unit
from core.metrics.sweep import SweptField
from core.scenario.file import scenario_data, scenario_hash
from core.scenario.pace import rate_of
from core.scenario.places import data_places
from core.scenario.replay import prepare_measured
from core.scenario.scenario import Scenario
from core.secrets import masked
from core.units import parse_dollars, parse_duration, parse_ratio, parse_size
from edgeproof.notices import UNUSED

RATE = "traffic.rate"
"""The field of the arrival rate: what --rate sets."""
RATE_NAMES = (RATE, "rate")
MOST_VALUES = 100
MOST_RUNS = 10_000
"""Cells times replications of one command."""

_UNITS: tuple[tuple[Callable[[str], float], Unit], ...] = (
    (parse_duration, "seconds"), (parse_size, "bytes"), (parse_ratio, "ratio"),
    (parse_dollars, "dollars"),
)  # fmt: skip
_OPENING, _CLOSING = "[{(", "]})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A field, as --set names it, and the values that it takes."""

    field: str
    values: tuple[str, ...]

    @property
    def is_rate(self) -> bool:
        """Whether it is the arrival rate."""
        return self.field == RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The scenario with fields at *values*, as the command line writes them."""

    values: tuple[str, ...]
    scenario: Scenario

    def name(self, axes: Sequence[Axis]) -> str:
        """Return how messages call it."""
        pairs = zip(axes, self.values, strict=True)
        return ", ".join(shown(axis.field, value) for axis, value in pairs) or self.scenario.name


Load = Callable[[Sequence[str], str | None], Scenario]
"""Returns the scenario with further --set options, and another --rate if one is given."""


def shown(field: str, value: str) -> str:
    """Return FIELD=VALUE as it may be printed and kept."""
    return masked([f"{field}={value}"])[0]


def parse_axes(texts: Sequence[str], *, option: str = "--over") -> tuple[Axis, ...]:
    """Return the axes of FIELD=A,B,... texts; InputError names the one that is none."""
    axes: list[Axis] = []
    for text in texts:
        field, mark, rest = (part.strip() for part in text.partition("="))
        values = [value.strip() for value in _split(rest)]
        if not mark or not field or not all(values):
            raise InputError(
                f"{option} {masked([text])[0][:80]}: write it as FIELD=VALUE,VALUE such as "
                f"tiers.l1.ttl=10s,60s,600s, or {RATE}=100,200,4x"
            )
        field = RATE if field in RATE_NAMES else field
        if len(values) > MOST_VALUES:
            raise InputError(f"{option} {field}: {len(values)} values; give at most {MOST_VALUES}")
        if twice := [value for value in values if values.count(value) > 1]:
            raise InputError(f"{option} {shown(field, twice[0])} is given twice; keep one of them")
        if any(axis.field == field for axis in axes):
            raise InputError(f"{option} {field} is given twice; put all its values into one")
        check_used(field, option)
        axes.append(Axis(field=field, values=tuple(values)))
    return tuple(axes)


def check_once(fields: Sequence[str], option: str, overrides: Sequence[str]) -> None:
    """Raise InputError if one of *overrides*, of --set, gives one of *fields* a value, too."""

    def place(field: str) -> tuple[int | str, ...]:
        return tuple(data_places(tuple(field.strip().split(".")))[-1])

    for text in overrides:
        for field in fields:
            if place(text.partition("=")[0]) == place(field):
                raise InputError(
                    f"--set {masked([text])[0]}: {option} {field} replaces it; leave one of them "
                    "out"
                )


def check_used(field: str, option: str) -> None:
    """Raise InputError if no simulated figure depends on *field*."""
    steps = tuple(field.split("."))
    path = ".".join(map(str, data_places(steps)[-1]))
    for unused, reason in UNUSED["simulate"].items():
        if path == unused or path.startswith((f"{unused}.", f"{unused}[")):
            raise InputError(f"{option} {field} changes nothing: {reason}; leave it out")


def check_runs(axes: Sequence[Axis], replications: int) -> None:
    """Raise InputError if the cells of *axes* take more runs than one command may make."""
    counts = [len(axis.values) for axis in axes]
    cells = math.prod(counts)
    if cells * replications > MOST_RUNS:
        raise InputError(
            f"--over: {' × '.join(map(str, counts))} values are {cells:,} cells, with "
            f"{replications} replications each {cells * replications:,} runs; one command makes "
            f"{MOST_RUNS:,} at most: give fewer values, or fewer --replications"
        )


def variants_of(axes: Sequence[Axis], load: Load, *, option: str = "--over") -> list[Variant]:
    """Return the scenario with every combination of values; the last field changes first.

    Each value is tried alone first, so that what is wrong with one is said of that one. Raise
    InputError for a value that cannot be, for two that mean the same, and for requests that cannot
    be made.
    """
    for axis in axes:
        known: dict[str, str] = {}
        for value in axis.values:
            key = scenario_hash(loaded((axis,), (value,), load, option=option))
            if key in known:
                raise InputError(
                    f"{option} {shown(axis.field, known[key])} and {shown(axis.field, value)} "
                    "are the same scenario; keep one of them"
                )
            known[key] = value
    found = [
        Variant(values=values, scenario=loaded(axes, values, load, option=option))
        for values in product(*(axis.values for axis in axes))
    ]
    prepared: set[str] = set()
    for variant in found:
        key = _requests(variant.scenario)
        if key not in prepared:
            prepared.add(key)
            prepare_measured(variant.scenario)
    return found


def loaded(
    axes: Sequence[Axis], values: Sequence[str], load: Load, *, option: str = "--over"
) -> Scenario:
    """Return the scenario with *values*; InputError lays what is wrong to *option*."""
    pairs = list(zip(axes, values, strict=True))
    overrides = [f"{axis.field}={value}" for axis, value in pairs if not axis.is_rate]
    rate = next((value for axis, value in pairs if axis.is_rate), None)
    try:
        return load(overrides, rate)
    except InputError as error:
        text = str(error)
        for axis, _ in pairs:
            text = text.replace(f"--set {axis.field}=", f"{option} {axis.field}=")
        if rate is not None:
            text = text.replace("--rate ", f"{option} {RATE}: ", 1)
        raise InputError(text) from None


def swept_fields(axes: Sequence[Axis], variants: Sequence[Variant]) -> tuple[SweptField, ...]:
    """Return the fields of *axes* with the numbers that their values stand for."""
    found = []
    for place, axis in enumerate(axes):
        first: dict[str, Scenario] = {}
        for variant in variants:
            first.setdefault(variant.values[place], variant.scenario)
        units: tuple[Unit, ...] = ("rate",) if axis.is_rate else ()
        numbers = []
        for value in axis.values:
            if axis.is_rate:
                numbers.append(rate_of(first[value]))
                continue
            number, unit = number_of(value)
            numbers.append(number)
            units += () if unit is None else (unit,)
        of_one = set(units) if axis.is_rate or len(units) == len(axis.values) else set()
        is_number = len(of_one) == 1 and all(map(math.isfinite, numbers))
        found.append(
            SweptField(
                name=axis.field,
                values=tuple(
                    masked([f"{axis.field}={v}"])[0].partition("=")[2] for v in axis.values
                ),
                numbers=tuple(numbers) if is_number else None,
                unit=of_one.pop() if is_number else "number",
            )
        )
    return tuple(found)


def number_of(text: str) -> tuple[float, Unit | None]:
    """Return what a value stands for in SI units and its unit; nan and None if it is no number."""
    text = text.strip().strip("\"'")
    try:
        return float(text.replace("_", "")), "number"
    except ValueError:
        pass
    for parse, unit in _UNITS:
        try:
            return float(parse(text)), unit
        except ValueError:
            continue
    return math.nan, None


def _requests(scenario: Scenario) -> str:
    """Return what the requests of *scenario* depend on, as text."""
    data: dict[str, Any] = scenario_data(scenario)
    for name in ("tiers", "queue", "destination", "kpis", "prices", "attribution", "network"):
        data.pop(name, None)
    return json.dumps(data, sort_keys=True)


def _split(text: str) -> list[str]:
    """Return the parts of *text* between commas that stand in no bracket and in no quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in _OPENING:
            depth += 1
        elif letter in _CLOSING:
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]
