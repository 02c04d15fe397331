"""Where a field stands: in a scenario file, and in the data of the scenario read from it.

A file has one table for each endpoint. The scenario has a table for each of its uses: requests,
weights and CPU time, by endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping

Place = tuple[str | int, ...]
"""Names of tables, and indices into lists."""

REQUEST_FIELDS = (
    "method", "path", "query", "headers", "body", "body_type", "status", "timeout", "checks",
)  # fmt: skip
"""The fields of [endpoints.NAME] that say how its request is written and its answer judged."""

_OPERATIONS = {"per_l2_operation": "l2", "per_l3_operation": "l3"}


def file_place(place: Place) -> Place:
    """Return where the file has what stands at *place* of the scenario's data."""
    match place:
        case ("targets", *rest):
            return ("endpoints", *rest)
        case ("traffic", "mix", name, *rest):
            return ("endpoints", name, "weight", *rest)
        case ("traffic", "mix"):
            return ("endpoints",)
        case ("topology", "cpu", name, *rest):
            if name in _OPERATIONS:
                return ("tiers", _OPERATIONS[str(name)], "cpu", *rest)
            return ("endpoints", name, "cpu", *rest)
        case ("topology", "cpu"):
            return ("endpoints",)
    return place


def data_places(place: Place) -> tuple[Place, ...]:
    """Return where the scenario's data has what the file has at *place*."""
    match place:
        case ("endpoints",):
            return (place, ("targets",), ("traffic", "mix"), ("topology", "cpu"))
        case ("endpoints", name):
            return (place, ("targets", name), ("traffic", "mix", name), ("topology", "cpu", name))
        case ("endpoints", name, "weight", *rest):
            return (("traffic", "mix", name, *rest),)
        case ("endpoints", name, "cpu", *rest):
            return (("topology", "cpu", name, *rest),)
        case ("endpoints", name, field, *rest) if field in REQUEST_FIELDS:
            return (("targets", name, field, *rest),)
        case ("tiers", ("l2" | "l3") as tier, "cpu", *rest):
            return (("topology", "cpu", f"per_{tier}_operation", *rest),)
    return (place,)


def in_data(asked: Mapping[Place, str]) -> dict[Place, str]:
    """Return *asked*, by places of a file, by places of the scenario's data."""
    return {place: text for steps, text in asked.items() for place in data_places(steps)}


def shown(place: Place) -> str:
    """Return *place* of the scenario's data as --set writes it: faults[0].at."""
    text = ""
    for step in file_place(place):
        if isinstance(step, str) and not step.isprintable():
            step = repr(step)
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
