"""The changes of one field that a planner may make next: doubled, halved, or switched on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core.cost.what_if import variants
from core.errors import InputError
from core.scenario.effects import check_effects
from core.scenario.file import scenario_data
from core.scenario.scenario import Scenario
from core.units import format_duration, format_size, parse_duration, parse_size


@dataclass(frozen=True, slots=True, kw_only=True)
class NextValue:
    """*scenario* with one field at its next value.

    field: its path, before and after: its values as the scenario file writes them, or factors of a
    table. meaning: what the change is, in a few words.
    """

    field: str
    before: str
    after: str
    meaning: str
    scenario: Scenario

    @property
    def name(self) -> str:
        """The change in short: "topology.isolates 4 -> 8"."""
        return f"{self.field} {self.before} → {self.after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """How a field goes on: by *factor*, or to *value*, where it has the value *only*.

    shown: the field's name in scenario files, where that is another one.
    """

    field: str
    meaning: str
    factor: float | None = None
    value: str = ""
    only: Any = None
    shown: str = ""


_OFF = 0
_STEPS = (
    _Step(field="topology.processes", factor=2, meaning="more CPUs"),
    _Step(
        field="topology.cpu", factor=0.5, shown="endpoints.*.cpu",
        meaning="code that takes half the CPU time, also in stores",
    ),
    _Step(field="topology.isolates", factor=2, meaning="more isolates in a process"),
    _Step(field="topology.isolates", factor=0.5, meaning="fewer isolates in a process"),
    _Step(field="tiers.l1.scope", value="isolate", only="request", meaning="an L1 that lives on"),
    _Step(field="tiers.l1.max_entries", factor=2, meaning="more entries in L1"),
    _Step(field="tiers.l1.max_bytes", factor=2, meaning="more memory for L1"),
    _Step(field="tiers.l1.ttl", factor=2, meaning="older values from L1"),
    _Step(field="tiers.l2.ttl", factor=2, meaning="older values from L2"),
    _Step(field="tiers.l2.cache_ttl", factor=2, meaning="older values near the reader"),
    _Step(field="tiers.l2.put", value="background", only="await", meaning="no wait for L2"),
    _Step(field="tiers.l3.concurrency", factor=2, meaning="more databases"),
    _Step(field="tiers.l3.read_execution", factor=0.5, meaning="reads that take half the time"),
    _Step(field="tiers.l3.write_execution", factor=0.5, meaning="writes that take half the time"),
    _Step(field="tiers.l3.round_trip", factor=0.5, meaning="a nearer database"),
    _Step(field="tiers.query_cache.ttl", factor=2, meaning="older rows from memory"),
    _Step(field="tiers.query_cache.ttl", value="10s", only=_OFF, meaning="rows kept in memory"),
    _Step(field="tiers.negative_ttl", factor=2, meaning="absence remembered for longer"),
    _Step(field="tiers.negative_ttl", value="30s", only=_OFF, meaning="absence remembered"),
    _Step(field="tiers.early_refresh", factor=2, meaning="values renewed earlier"),
    _Step(field="tiers.early_refresh", value="1.0", only=_OFF, meaning="values renewed early"),
    _Step(
        field="tiers.stale_while_revalidate", value="30s", only=_OFF,
        meaning="values served while renewed",
    ),
    _Step(
        field="tiers.stale_while_revalidate", factor=2, meaning="values served longer while renewed"
    ),
    _Step(field="tiers.single_flight", value="true", only=False, meaning="one load for all"),
    _Step(field="queue.batch_size", factor=2, meaning="larger batches"),
    _Step(field="queue.batch_size", factor=0.5, meaning="smaller batches"),
    _Step(field="queue.max_parallel", factor=2, meaning="more batches at a time"),
    _Step(field="queue.wait", factor=2, meaning="fuller batches, later"),
    _Step(field="destination.batch_size", factor=2, meaning="larger requests to the destination"),
    _Step(field="destination.max_parallel", factor=2, meaning="more requests to it at a time"),
)  # fmt: skip


def next_values(scenario: Scenario) -> tuple[tuple[NextValue, ...], tuple[str, ...]]:
    """Return the changes of one field that *scenario* allows, and the fields that have no effect.

    A field that the scenario turns off, or that a range does not let go on, is no candidate.
    """
    found, idle = [], []
    for step in _steps(scenario):
        try:
            change = _next(scenario, step)
        except InputError:
            continue  # out of the field's range, or against another field
        if change is None:
            continue
        if _is_idle(change, step):
            idle.append(change.field)
        else:
            found.append(change)
    return tuple(found), tuple(dict.fromkeys(idle))


def _is_idle(change: NextValue, step: _Step) -> bool:
    """Whether another setting takes the effect from the field; of a table, some may have one."""
    place = tuple(step.field.split("."))
    if isinstance(_value(scenario_data(change.scenario), step.field), Mapping):
        return False
    try:
        check_effects(change.scenario, source="", asked={place: step.field})
    except InputError:
        return True
    return False


def _steps(scenario: Scenario) -> Iterator[_Step]:
    is_kept = scenario.tiers.l1.scope == "isolate"
    for step in _STEPS:
        if step.field.startswith("destination.") and scenario.destination.url is None:
            continue
        if step.field.startswith("tiers.l1.") and step.only is None and not is_kept:
            continue
        own = _number(_value(scenario_data(scenario), step.field))
        if step.factor is not None and own == _OFF:
            continue
        if step.factor is None and (
            own != step.only or isinstance(own, bool) is not isinstance(step.only, bool)
        ):
            continue
        yield step


def _number(value: Any) -> Any:
    """Return *value* as a number where it is a duration, else itself."""
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError:
            return value
    return value


def _next(scenario: Scenario, step: _Step) -> NextValue | None:
    """Return the change of *step*, None where it changes nothing."""
    value = f"x{step.factor:g}" if step.factor is not None else step.value
    (variant,) = variants(scenario, f"{step.field}={value}")
    if variant.is_base:
        return None
    before = _value(scenario_data(scenario), step.field)
    after = _value(scenario_data(variant.scenario), step.field)
    if isinstance(before, Mapping) and "p50" in before:
        words = tuple(format_duration(_number(each["p50"])) for each in (before, after))
        words = (f"p50 {words[0]}", words[1])
    elif isinstance(before, Mapping):
        words = ("as it is", "doubled" if step.factor == 2 else "halved")
    else:
        words = (_text(before, step.field), _text(after, step.field))
    return NextValue(
        field=step.shown or step.field, before=words[0], after=words[1], meaning=step.meaning,
        scenario=variant.scenario,
    )  # fmt: skip


def _value(data: Mapping[str, Any], path: str) -> Any:
    value: Any = data
    for name in path.split("."):
        value = value[name]
    return value


def _text(value: Any, field: str) -> str:
    """Return *value* as a scenario file writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        for parse, written in ((parse_duration, _seconds), (parse_size, format_size)):
            try:
                return written(parse(value)).replace(" ", "")
            except ValueError:
                continue
        return value
    return f"{value:g}{'s' if _is_duration(field) else ''}"


def _seconds(seconds: float) -> str:
    return f"{seconds:g}s"


def _is_duration(field: str) -> bool:
    return field.rpartition(".")[2] in ("ttl", "negative_ttl", "wait", "cache_ttl")
