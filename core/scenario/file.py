"""Scenario files: reading TOML, overriding fields from the command line, naming every fault."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.endpoints import CDP, EndpointTable
from core.errors import InputError
from core.scenario.effects import check_effects
from core.scenario.endpoint_tables import from_file, refuse_old_keys
from core.scenario.fault_kinds import BUILT_IN, FaultKinds
from core.scenario.faults import CONTEXT
from core.scenario.kpis import with_kpis
from core.scenario.pace import with_rate, with_rate_text
from core.scenario.places import Place, file_place
from core.scenario.places import shown as shown_place
from core.scenario.prices import merged, read_prices
from core.scenario.rates_file import with_rates
from core.scenario.scenario import BY_ENDPOINT, Scenario
from core.scenario.shapes import curve_of
from core.scenario.subjects import with_files
from core.secrets import masked
from core.texts import MAX_PARTS, SHOWN, bounded_text, one_line, parse_toml, shown

MAX_FILE_BYTES = 256_000
MOST_FAULTS = 20
_MOST_OF_LINE = 500
_MOST_OF_OVERRIDE = 10_000
_TRACE_OPTIONS = {
    "file": "--trace", "offset": "--trace-offset", "limit": "--trace-limit",
    "time_unit": "--time-unit", "format": "--format", "columns": "--columns",
}  # fmt: skip


def load_scenario(
    path: Path,
    *,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    rate: float | str | None = None,
    trace: Mapping[str, Any] | None = None,
    kpis: Sequence[str] = (),
    prices: Path | None = None,
    endpoints: EndpointTable | None = None,
    fault_kinds: FaultKinds = BUILT_IN,
    on_notice: Callable[[str], None] | None = None,
) -> Scenario:
    """Read the scenario at *path* and apply what the command line changes.

    *overrides* are "path=value" texts; *rate* is in requests/s, or a text as `with_rate_text` takes
    it; *trace* replaces fields of the trace table; *kpis* are added, or take the place of those of
    their metrics, each as `kpi_of` reads it; *prices* is a file of those that differ, which go
    before the scenario's; *endpoints* stand in for those of the CDP.
    *fault_kinds* are those that a fault may be of, beside the ones of installed packages. Raise
    InputError, naming the file or the override, the field, the value and the remedy for every fault
    found, and for what has no effect in this run; on_notice is told what has none and was turned
    off on purpose.
    """
    data = read_toml(path)
    traffic = data.get("traffic")
    if isinstance(traffic, dict) and isinstance(traffic.get("rates"), str):
        traffic["rates"] = {"file": traffic["rates"]}  # so that its other fields can be set
    changed = {apply_override(data, text): f"--set {masked([text])[0]}" for text in overrides}
    refuse_old_keys(data, str(path), changed)
    if not isinstance(data.get("endpoints", {}), dict):
        # A list is what records hold; it may name code, which would be imported.
        place = next((text for steps, text in changed.items() if steps == ("endpoints",)), path)
        raise InputError(
            f"{place}: endpoints is no table; head each endpoint with [endpoints.NAME]"
        )
    if "traffic" in data:
        data["traffic"] = _with_curve(data["traffic"], path, changed)
    if "subjects" in data:
        data["subjects"] = with_files(data["subjects"], path.parent, str(path))
    if seed is not None:
        data["seed"] = seed
    if trace:
        table = data.setdefault("trace", {})
        if not isinstance(table, dict):
            raise InputError(f"{path}: trace is {table!r}; it is a table")
        for name, value in trace.items():
            if value is not None:
                table[name] = value
                changed["trace", name] = f"{_TRACE_OPTIONS[name]} {value}"
    if prices is not None:
        own = data.get("prices", {})
        changes = read_prices(prices)
        data["prices"] = merged(own if isinstance(own, Mapping) else {}, changes)
    parse = partial(
        parse_scenario, source=str(path), changed=changed, fault_kinds=fault_kinds,
        endpoints=endpoints or CDP,
    )  # fmt: skip
    scenario = parse(data)
    if kpis:
        found, positions = with_kpis(scenario.kpis, kpis, scenario.metric_table)
        data["kpis"] = [spec.model_dump() for spec in found]
        changed |= {("kpis", position): option for position, option in positions.items()}
        scenario = parse(data)
    if isinstance(rate, str):
        scenario = with_rate_text(scenario, rate)
    elif rate is not None:
        scenario = with_rate(scenario, rate)
    if on_notice is not None and (cut := _cut_curve(data.get("traffic"), scenario)):
        on_notice(cut)
    for notice in check_effects(scenario, source=str(path), asked=changed):
        if on_notice is not None:
            on_notice(notice)
    return scenario


def _with_curve(traffic: Any, path: Path, changed: Mapping[Place, str]) -> Any:
    """Return the data of [traffic] with the rows of its file of rates.

    A curve of the command line goes before the file's, and its path counts from here.
    """
    asked = [name for name in ("rates", "daily") if _is_set("traffic", name, changed)]
    if asked and isinstance(traffic, dict) and not _is_set("traffic", "stages", changed):
        others = {"stages", "rates", "daily"} - {*asked}
        traffic = {name: value for name, value in traffic.items() if name not in others}
    rates: Place = ("traffic", "rates")
    given = changed.get(rates) or changed.get((*rates, "file"))
    if given is not None:
        return with_rates(traffic, Path(), given)
    return with_rates(traffic, path.parent, str(path))


def _is_set(table: str, name: str, changed: Mapping[Place, str]) -> bool:
    return any(place[:2] == (table, name) for place in changed)


def _cut_curve(traffic: Any, scenario: Scenario) -> str:
    """Return that the run ends before the traffic's curve does, "" if it does not."""
    found = curve_of(traffic)
    if found is None or scenario.total_time > found[1].span - 1e-6:
        return ""
    name, curve = found
    return (
        f"the run has the first {scenario.total_time:g} s of traffic.{name}, which lasts "
        f"{curve.span:,.6g} s; leave duration out to play all of it"
    )


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of the TOML file at *path*; InputError if it cannot be read."""
    try:
        text = bounded_text(path, MAX_FILE_BYTES, "a scenario")
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such scenario; `edgeproof scenario list` names those that are here"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give a readable TOML file"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not valid TOML: {error}; save it as UTF-8") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    try:
        return parse_toml(text)
    except tomllib.TOMLDecodeError as error:
        reason = one_line(str(error))
        raise InputError(f"{path}: not valid TOML: {reason}; mend the line it names") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid TOML: {error}") from None


def apply_override(data: dict[str, Any], text: str) -> Place:
    """Set one field of *data* from "tiers.l1.max_entries=500" or "kpis[0].target=< 90ms".

    The value is read as TOML where it is TOML, as text otherwise. Return the field's place.
    """
    path, separator, value = text.partition("=")
    text = masked([text])[0]
    if not separator or not path.strip():
        raise InputError(f"--set {text}: write it as PATH=VALUE, such as tiers.l1.max_entries=500")
    if (size := len(path) + len(value)) > _MOST_OF_OVERRIDE:
        raise InputError(
            f"--set {one_line(text, most=SHOWN)}: {size:,} characters; give at most "
            f"{_MOST_OF_OVERRIDE:,}, or write it into the file"
        )
    if {"\n", "\r"} & {*path, *value}:
        # It would begin another key, which nobody would see.
        raise InputError(
            f"--set {one_line(text, most=SHOWN)}: holds a line break; give one field to each --set"
        )
    parsed: Any
    try:
        parsed = parse_toml(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    except ValueError as error:
        raise InputError(f"--set {one_line(text, most=SHOWN)}: {error}") from None
    steps = _steps(path.strip(), text)
    if len(steps) > MAX_PARTS:
        raise InputError(
            f"--set {one_line(text, most=SHOWN)}: a path of more than {MAX_PARTS} parts leads "
            "nowhere; check it against the file"
        )
    place: Any = data
    default: Any = scenario_data(Scenario(name="defaults"))
    for position, step in enumerate(steps[:-1]):
        try:
            default = _within(default, step)
            if isinstance(step, str):
                # An item of a list that the file leaves out is one of the default's.
                is_list = isinstance(steps[position + 1], int)
                place = place.setdefault(step, (default or []) if is_list else {})
            else:
                place = place[step]
        except (AttributeError, IndexError, KeyError, TypeError):
            raise InputError(
                f"--set {text}: {path} leads nowhere; check it against the file"
            ) from None
    try:
        if isinstance(place, dict) and not isinstance(steps[-1], str):
            raise TypeError("an index into a table")
        place[steps[-1]] = parsed
    except (IndexError, TypeError):
        raise InputError(f"--set {text}: {path} leads nowhere; check it against the file") from None
    return tuple(steps)


def _within(default: Any, step: str | int) -> Any:
    try:
        return default[step]
    except (IndexError, KeyError, TypeError):
        return None


def _steps(path: str, text: str) -> list[str | int]:
    steps: list[str | int] = []
    for part in path.split("."):
        name, *indices = part.split("[")
        steps.append(name)
        for index in indices:
            if not index.endswith("]") or not index[:-1].isdecimal() or len(index) > 8:
                raise InputError(f"--set {text}: {part!r} is not a field; an index is written [0]")
            steps.append(int(index[:-1]))
    return steps


def parse_scenario(
    data: Mapping[str, Any],
    *,
    source: str,
    changed: Mapping[Place, str] | None = None,
    fault_kinds: FaultKinds = BUILT_IN,
    endpoints: EndpointTable = CDP,
) -> Scenario:
    """Return the scenario of *data*; InputError with one line for each fault.

    *data* is as a file has it, with a table for each endpoint, or as `scenario_data` returns it.
    endpoints: those of the file's preset. source: what a fault is laid to, but for those in
    *changed*, which names its own for each place.
    fault_kinds: what its faults may be of, beside the kinds of installed packages.
    """
    try:
        if isinstance(data.get("endpoints", {}), Mapping):
            data = from_file(data, endpoints)
        return Scenario.model_validate({**data, CONTEXT: fault_kinds})
    except ValidationError as error:
        faults = error.errors(include_url=False)
        # Faulty items are left out of their list, which pydantic then finds too short.
        inside = {fault["loc"][:end] for fault in faults for end in range(len(fault["loc"]))}
        faults = [
            fault for fault in faults if fault["type"] != "too_short" or fault["loc"] not in inside
        ]
        lines = [
            f"{_source(fault['loc'], source, changed or {})}: {_explain(fault)}"
            for fault in faults[:MOST_FAULTS]
        ]
        # The end says what to do.
        lines = [
            line if len(line) <= _MOST_OF_LINE else f"{line[:300]}...{line[-150:]}"
            for line in lines
        ]
        if len(faults) > MOST_FAULTS:
            lines.append(f"{source}: {len(faults) - MOST_FAULTS:,} more faults are not shown")
        raise InputError("\n".join(lines)) from None


def _source(place: Place, source: str, changed: Mapping[Place, str]) -> str:
    """Return what set the value at *place*: all that did, where it is a table."""
    place = file_place(place)
    inside = []
    for steps, text in changed.items():
        if place[: len(steps)] == steps:
            return text
        if steps[: len(place)] == place:
            inside.append(text)
    return f"{source} with {' '.join(inside)}" if inside else source


_NEEDED = {
    "bool": "true or false is needed",
    "int": "a whole number is needed",
    "float": "a number is needed",
    "finite": "a finite number is needed",
    "string": "a text in quotes is needed",
    "tuple": "a list in square brackets is needed",
    "dict": "a table is needed",
    "model": "a table is needed",
}
"""Remedies by the first word of pydantic's names for what is not of its type."""

_KNOWN_KEYS = "check its spelling against scenarios/reference.toml"


def _explain(fault: Any) -> str:
    place = shown_place(fault["loc"])
    value, context, kind = fault["input"], fault.get("ctx", {}), fault["type"]
    if kind == "extra_forbidden" and fault["loc"][:3] == ("tiers", "l2", "ttl"):
        return f"{place}: no endpoint reads a cache type of that name; check it, or leave it out"
    if kind == "extra_forbidden":
        return f"{place} is not a known key; {_KNOWN_KEYS}"
    if kind == "missing":
        return f"{place} is missing; add it"
    if kind == "value_error":
        return f"{place}: {context['error']}" if place else str(context["error"])
    remedies = {
        "greater_than_equal": f"at least {context.get('ge')}",
        "less_than_equal": f"at most {context.get('le')}",
        "greater_than": f"more than {context.get('gt')}",
        "less_than": f"less than {context.get('lt')}",
    }
    given = "***" if "headers" in fault["loc"] else shown(value)  # it may be a secret
    if kind in remedies:
        return f"{place} is {given}; it must be {remedies[kind]}"
    if kind == "literal_error":
        return f"{place} is {given}; use {context['expected']}"
    if kind == "too_short":
        return f"{place} is {given}; at least {context['min_length']} is needed"
    if kind == "tuple_type" and isinstance(value, dict):
        return f"{place} is a table and a list is needed; head each of its tables with [[{place}]]"
    if kind == "string_type" and place.startswith("kpis[") and not place.endswith(".metric"):
        return f"{place} is {given}; a text in quotes is needed, such as '< 100ms' or '>= 95%'"
    if (family := kind.partition("_")[0]) in _NEEDED and not kind.startswith("string_pattern"):
        return f"{place} is {given}; {_NEEDED[family]}"
    return f"{place} is {given}; {fault['msg'][0].lower()}{fault['msg'][1:]}"


def scenario_data(scenario: Scenario) -> dict[str, Any]:
    """Return every field of *scenario* as plain data that `parse_scenario` reads back."""
    data: dict[str, Any] = scenario.model_dump(mode="json")
    return data


def scenario_hash(scenario: Scenario) -> str:
    """Return the SHA-256 over every field that differs from its default.

    The name and the description do not count. A new field with a default changes no hash, and a
    default that is written out has the hash of one that is left out.
    """
    data = scenario.model_dump(mode="json", exclude_defaults=True)
    data.pop("name", None)
    data.pop("description", None)
    for place in BY_ENDPOINT:
        _keep_changes(data, scenario, place)
    for subject in data.get("subjects", {}).values():
        if "sha256" in subject:
            del subject["ids"]  # its content counts, not where it lies
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _keep_changes(data: dict[str, Any], scenario: Scenario, place: tuple[str, ...]) -> None:
    """Leave of the table at *place* in *data* what differs from the endpoints' descriptions."""
    table: Any = scenario
    *outer, last = place
    for name in outer:
        if name not in data:
            return
        data, table = data[name], getattr(table, name)
    if last in data:
        data[last] = getattr(table, last).changed(scenario.endpoints)
