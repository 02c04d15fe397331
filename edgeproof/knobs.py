"""The fields that `edgeproof size` looks for: their kind, their bounds, how values are written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import InputError
from core.scenario.file import scenario_data
from core.scenario.places import data_places
from core.scenario.scenario import Scenario
from edgeproof.axes import RATE_NAMES, check_used, number_of
from sim.sizing import Knob

REACH = 16.0
"""The bounds where none are given: the scenario's value over, and times, so much."""
MOST_FIELDS = 3
_FORMS = {"seconds": "s", "bytes": "B", "number": ""}
_NO_SIZES = {"seed": "it is what random numbers follow from"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """A field with its bounds. unit: seconds, bytes or number."""

    knob: Knob
    unit: str

    def text(self, value: float) -> str:
        """Return *value* as --set takes it."""
        return f"{value:.15g}{_FORMS[self.unit]}"


def sized_fields(
    scenario: Scenario, texts: Sequence[str], low: str | None, high: str | None
) -> list[Sized]:
    """Return the fields of --field NAME or NAME=LOW..HIGH; InputError names one that is none.

    low, high: of --from and --to, for one field.
    """
    if not 1 <= len(texts) <= MOST_FIELDS:
        raise InputError(f"--field: {len(texts)} fields; give 1 to {MOST_FIELDS}")
    for option, given in (("--from", low), ("--to", high)):
        if given is not None and len(texts) > 1:
            raise InputError(
                f"{option} {given}: of which field? With several, write --field NAME=LOW..HIGH"
            )
    found: list[Sized] = []
    for text in texts:
        name, mark, bounds = (part.strip() for part in text.partition("="))
        first, dots, last = (part.strip() for part in bounds.partition(".."))
        if not name or (mark and not (first and dots and last)):
            raise InputError(
                f"--field {text[:80]}: write it as NAME, such as tiers.l1.max_entries, or with "
                "bounds: tiers.l1.max_entries=100..5000"
            )
        if mark and (low is not None or high is not None):
            raise InputError(f"--field {text}: has bounds; leave --from and --to out")
        if any(each.knob.name == name for each in found):
            raise InputError(f"--field {name} is given twice; keep one of the two")
        if name in RATE_NAMES:
            raise InputError(
                f"--field {name}: the highest rate that holds is what `edgeproof plan` finds"
            )
        if name in _NO_SIZES:
            raise InputError(
                f"--field {name} has no size: {_NO_SIZES[name]}; name a field of the service or of "
                "its traffic"
            )
        check_used(name, "--field")
        found.append(_sized(scenario, name, (first or low, last or high)))
    return found


def _sized(scenario: Scenario, name: str, bounds: tuple[str | None, str | None]) -> Sized:
    own = _own(scenario, name)
    value, unit = number_of(str(own))
    is_number = not isinstance(own, (bool, Mapping, list)) and unit in _FORMS
    if own is not None and not is_number:
        raise InputError(
            f"--field {name} is {str(own)[:60]}, which has no size; name a field that is a number, "
            "a duration or a size in bytes"
        )
    ends = []
    for option, text in zip(("--from", "--to"), bounds, strict=True):
        if text is None:
            ends.append(math.nan)
            continue
        end, its_unit = number_of(text)
        if its_unit == "ratio":  # 10% is 0.1 wherever a scenario takes it
            its_unit = "number"
        if own is None:
            unit = its_unit
        if its_unit != unit or unit not in _FORMS or not 0 < end < math.inf:
            example = "1000" if own is None or unit == "number" else own
            raise InputError(
                f"--field {name}: the bound {text} ({option}) is none; it is more than 0 and "
                f"written as the field is, such as {example}"
            )
        ends.append(end)
    if math.isnan(value) or not value > 0:
        if any(map(math.isnan, ends)):
            raise InputError(
                f"--field {name}: the scenario has no value above 0, so give both bounds: --from "
                "and --to"
            )
        value = ends[1]
    is_whole = unit == "bytes" or (
        unit == "number"
        and (isinstance(own, int) or (own is None and all(float(e).is_integer() for e in ends)))
    )
    low = ends[0] if not math.isnan(ends[0]) else value / REACH
    high = ends[1] if not math.isnan(ends[1]) else value * REACH
    if is_whole:
        low, high = max(1.0, math.floor(low)), math.floor(high)
    if not low < high:
        raise InputError(
            f"--field {name}: from {low:g} to {high:g} is nothing to search; give a lower --from "
            "or a higher --to"
        )
    assert unit is not None
    return Sized(knob=Knob(name=name, low=low, high=high, is_whole=is_whole), unit=unit)


def _own(scenario: Scenario, name: str) -> Any:
    """Return the scenario's own value of the field *name*, None if it has none."""
    place: Any = scenario_data(scenario)
    for step in data_places(tuple(name.split(".")))[-1]:
        place = place.get(step) if isinstance(place, Mapping) else None
    return place
