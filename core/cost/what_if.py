"""A scenario with one field at several values: what a what-if compares."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import InputError
from core.scenario.file import apply_override, parse_scenario, scenario_data
from core.scenario.scenario import Scenario
from core.units import parse_duration, parse_size

DEFAULT = ("tiers.l1.ttl=x0.25,x1,x4,x16", "tiers.l2.ttl=x0.25,x1,x4,x16")
"""What is tried where nothing else is asked for: TTLs of both tiers, shorter and longer."""

MOST_VALUES = 20
_FACTOR = re.compile(r"x(\d+\.?\d*|\.\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """*scenario* with *field* at *value*, as the command line writes it.

    is_base: whether it is the scenario as it was.
    """

    field: str
    value: str
    scenario: Scenario
    is_base: bool


def variants(scenario: Scenario, text: str) -> tuple[Variant, ...]:
    """Return the variants of *text*: "tiers.l1.ttl=10s,60s", or "tiers.l2.ttl=x0.5,x1,x2".

    A factor multiplies the field, or each field of a table. Raise InputError for what is none.
    """
    field, mark, values = (part.strip() for part in text.partition("="))
    listed = [value.strip() for value in values.split(",")]
    if not mark or not field or not all(listed):
        raise InputError(
            f"--over {text[:80]}: write it as FIELD=VALUE,VALUE such as tiers.l1.ttl=10s,60s,600s, "
            "or with factors: tiers.l2.ttl=x0.5,x1,x2"
        )
    if len(listed) > MOST_VALUES:
        raise InputError(f"--over {field}: {len(listed)} values; give at most {MOST_VALUES}")
    if len(set(listed)) < len(listed):
        raise InputError(f"--over {field}: a value is given twice; keep one of the two")
    own = scenario_data(scenario)
    found = []
    for value in listed:
        data = scenario_data(scenario)
        if match := _FACTOR.fullmatch(value):
            _multiply(data, field, float(match[1]))
        else:
            apply_override(data, f"{field}={value}")
        changed = parse_scenario(data, source=f"--over {field}={value}")
        found.append(
            Variant(
                field=field, value=value, scenario=changed, is_base=scenario_data(changed) == own
            )
        )
    return tuple(found)


def _multiply(data: dict[str, Any], field: str, factor: float) -> None:
    *outer, last = field.split(".")
    place: Any = data
    for name in outer:
        place = place.get(name) if isinstance(place, Mapping) else None
    if not isinstance(place, dict) or last not in place:
        raise InputError(f"--over {field}: leads nowhere; check it against the file")
    place[last] = _multiplied(place[last], factor, field)


def _multiplied(value: Any, factor: float, field: str) -> Any:
    if isinstance(value, dict):
        return {
            name: _multiplied(inner, factor, f"{field}.{name}") for name, inner in value.items()
        }
    if isinstance(value, bool):
        raise InputError(f"--over {field}: is true or false; give values in place of factors")
    if isinstance(value, int):
        return max(1, round(value * factor))
    if isinstance(value, float):
        return value * factor
    if isinstance(value, str):
        for parse, unit in ((parse_duration, "s"), (parse_size, "B")):
            try:
                number = parse(value) * factor
            except ValueError:
                continue
            return f"{number!r}s" if unit == "s" else f"{max(1, round(number))}B"
    raise InputError(f"--over {field}: is {value!r:.40}, which has no multiple; give values")
