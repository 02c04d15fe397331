"""The endpoints of a scenario file: a table each, turned into what the scenario is made of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import ConfigDict, Field, ValidationError
from pydantic_core import InitErrorDetails

from core.endpoint import PLACEHOLDERS as OF_THE_CDP
from core.endpoint import STATED, Endpoint, Read, check_name
from core.endpoints import CDP, EndpointTable
from core.errors import InputError
from core.scenario.checks import Check
from core.scenario.headers import HeaderFields
from core.scenario.places import REQUEST_FIELDS, Place
from core.scenario.statuses import Statuses
from core.scenario.table import Table
from core.scenario.targets import BodyType, Method, Path
from core.units import Duration, Size

PRESETS = ("cdp", "none")
MOST_QUERIES = 100
PLACEHOLDER = re.compile(r"\{\{([A-Za-z_][A-Za-z0-9_]*)\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""{name} is a placeholder, {{name}} the text {name}; other braces stand for themselves."""

_Count = Annotated[int, Field(ge=0, le=MOST_QUERIES)]
_Scalar = str | bool | int | float


class ReadFields(Table):
    """A cache read of an endpoint: what the entry holds, what its key is made of, its TTL in L2.

    key: the subject's name, or "none" for one entry for all. queries: of a load, after a miss; by
    default the endpoint's. size: bytes of the value.
    """

    type: str
    name: str | None = None
    key: str | None = None
    ttl: Annotated[Duration, Field(gt=0)] = 600.0
    queries: _Count | None = None
    size: Size = 1_000


class EndpointFields(Table):
    """[endpoints.NAME]: how a request is written and judged, how often it comes, what it does.

    What is left out has the preset's value. reads, queries, writes and cpu are what the service
    does, as far as one knows: an endpoint of which they say nothing is loaded and not predicted.
    """

    method: Method | None = None
    path: Path | None = None
    query: dict[str, _Scalar] = Field(default_factory=dict)
    headers: HeaderFields = Field(default_factory=dict)
    body: str | dict[str, Any] | list[Any] | None = None
    body_type: BodyType | None = None
    status: Statuses | None = None
    timeout: Annotated[Duration, Field(gt=0)] | None = None
    checks: Annotated[tuple[Check, ...], Field(max_length=50)] = ()
    weight: Annotated[float, Field(ge=0)] | None = None
    subject: str | None = None
    reads: Annotated[tuple[ReadFields, ...], Field(max_length=20)] | None = None
    queries: _Count | None = None
    writes: _Count | None = None
    cpu: Annotated[Duration, Field(ge=0)] | None = None


class EndpointsTable(Table):
    """[endpoints]: which endpoints there are to begin with, and a table for each by its name."""

    preset: Literal["cdp", "none"] | None = None

    __pydantic_extra__: dict[str, EndpointFields] = Field(init=False)

    model_config = ConfigDict(extra="allow")


_OLD: tuple[tuple[Place, str], ...] = (
    (("targets",), "write [endpoints.NAME] for [targets.NAME]"),
    (("traffic", "mix"), "write endpoints.NAME.weight for traffic.mix.NAME"),
    (
        ("topology", "cpu"),
        "write endpoints.NAME.cpu for topology.cpu.NAME, and tiers.l2.cpu and tiers.l3.cpu for "
        "per_l2_operation and per_l3_operation",
    ),
)


def refuse_old_keys(data: Mapping[str, Any], source: str, changed: Mapping[Place, str]) -> None:
    """Raise InputError, with a line for each, for keys that [endpoints] has replaced."""
    lines = []
    for place, remedy in _OLD:
        table: Any = data
        for step in place:
            table = table.get(step) if isinstance(table, Mapping) else None
        if table is not None:
            told = next((text for at, text in changed.items() if at[: len(place)] == place), source)
            lines.append(f"{told}: {'.'.join(map(str, place))} is no key any more; {remedy}")
    if lines:
        raise InputError("\n".join(lines))


def from_file(data: Mapping[str, Any], base: EndpointTable = CDP) -> dict[str, Any]:
    """Return the scenario's data of *data*, whose `endpoints` is as a file has it.

    base: the endpoints that the preset "cdp" stands for. Raise ValidationError for what cannot be.
    """
    result = _with_operation_costs(data)
    given = data.get("endpoints")
    if given is None:
        return result if base is CDP else {**result, "endpoints": base}
    tables = _validated(given)
    preset = tables.preset or _implied(tables.by_name, base)
    subjects = data.get("subjects", {})
    own_subjects = tuple(subjects) if isinstance(subjects, Mapping) else ()
    known: EndpointTable | tuple[Endpoint, ...] = base if preset == "cdp" else ()
    endpoints = {each.name: each for each in known}
    preset_names = tuple(endpoints)
    for name, fields in tables.by_name.items():
        try:
            if name in endpoints:
                endpoints[name] = _changed(endpoints[name], fields, own_subjects)
            else:
                endpoints[name] = _own(name, fields, own_subjects)
        except ValueError as error:
            raise _fault(("endpoints", name), given[name], error) from None
    try:
        _check_types(endpoints.values())
        table = EndpointTable(tuple(endpoints.values()))
    except ValueError as error:
        raise _fault(("endpoints",), given, error) from None
    if table != CDP:
        result["endpoints"] = table
    else:
        result.pop("endpoints", None)
    for name, fields in tables.by_name.items():
        raw = given[name]
        if "weight" in raw:
            _put(result, ("traffic", "mix", name), raw["weight"])
        if "cpu" in raw:
            _put(result, ("topology", "cpu", name), raw["cpu"])
        if request := _request(raw, fields, endpoints[name], is_own=name not in preset_names):
            _put(result, ("targets", name), request)
    return result


def _with_operation_costs(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return *data* with tiers.l2.cpu and tiers.l3.cpu where the topology has them."""
    result = dict(data)
    for tier in ("l2", "l3"):
        tiers = result.get("tiers")
        table = tiers.get(tier) if isinstance(tiers, Mapping) else None
        if isinstance(tiers, Mapping) and isinstance(table, Mapping) and "cpu" in table:
            rest = {name: value for name, value in table.items() if name != "cpu"}
            result["tiers"] = {**tiers, tier: rest}
            _put(result, ("topology", "cpu", f"per_{tier}_operation"), table["cpu"])
    return result


def _put(data: dict[str, Any], place: Sequence[str], value: Any) -> None:
    *outer, last = place
    for step in outer:
        inner = data.get(step, {})
        if not isinstance(inner, Mapping):
            return  # it says by itself what is wrong with it
        data[step] = inner = dict(inner)
        data = inner
    data[last] = value


class _Tables:
    """The validated tables of a file."""

    def __init__(self, preset: str | None, by_name: dict[str, EndpointFields]) -> None:
        self.preset, self.by_name = preset, by_name


def _validated(given: Any) -> _Tables:
    if not isinstance(given, Mapping):
        raise _fault(("endpoints",), given, "is a table: head each endpoint with [endpoints.NAME]")
    faults: list[InitErrorDetails] = []
    by_name: dict[str, EndpointFields] = {}
    preset = given.get("preset")
    if preset is not None and preset not in PRESETS:
        raise _fault(
            ("endpoints", "preset"), preset, f'{preset!r:.60} is none; use "cdp" or "none"'
        )
    for name, table in given.items():
        if name == "preset":
            continue
        place: Place = ("endpoints", name)
        try:
            check_name(name, "endpoint")
        except ValueError as error:
            raise _fault(place, table, error) from None
        if isinstance(table, Mapping) and "behaviour" in table:
            raise _fault(
                (*place, "behaviour"), table["behaviour"],
                "names code, which no file does; give the table from Python: "
                "load_scenario(path, endpoints=table)",
            )  # fmt: skip
        try:
            by_name[name] = EndpointFields.model_validate(table)
        except ValidationError as error:
            faults += [
                InitErrorDetails(
                    type=fault["type"],
                    loc=(*place, *fault["loc"]),
                    input=fault["input"],
                    ctx=fault.get("ctx", {}),
                )
                for fault in error.errors(include_url=False)
            ]
    if faults:
        raise ValidationError.from_exception_data("endpoints", faults)
    return _Tables(preset, by_name)


def _fault(place: Place, given: Any, error: ValueError | str) -> ValidationError:
    told = error if isinstance(error, ValueError) else ValueError(error)
    return ValidationError.from_exception_data(
        "endpoints",
        [InitErrorDetails(type="value_error", loc=place, input=given, ctx={"error": told})],
    )


def _implied(tables: Mapping[str, EndpointFields], base: EndpointTable) -> str:
    """Return the preset of a file that names none: the CDP's endpoints, or its own alone."""
    own = [name for name in tables if name not in base]
    shared = [name for name in tables if name in base]
    if own and shared:
        raise _fault(
            ("endpoints",), None,
            f"{own[0]} is an endpoint of your own and {shared[0]} one of the preset; add "
            'endpoints.preset = "cdp" to have both, or "none" to have those of the file alone',
        )  # fmt: skip
    return "none" if own else "cdp"


def _own(name: str, fields: EndpointFields, subjects: tuple[str, ...]) -> Endpoint:
    if fields.path is None:
        raise ValueError("path is missing; add it, such as /items/{item}")
    subject = _subject(fields, subjects)
    return Endpoint(
        name=name,
        path=fields.path,
        title=f"{name} requests",
        subject=subject,
        behaviour=STATED,
        method=fields.method or ("GET" if fields.body is None else "POST"),
        reads=_reads(fields, subject),
        queries=fields.queries,
        stores=fields.writes,
        cpu=fields.cpu or 0.0,
        weight=1.0 if fields.weight is None else fields.weight,
    )


def _changed(endpoint: Endpoint, fields: EndpointFields, subjects: tuple[str, ...]) -> Endpoint:
    """Return *endpoint* of a preset with what *fields* say that it does."""
    given = fields.model_fields_set
    if fields.subject is not None and fields.subject != endpoint.subject:
        raise ValueError(
            f"subject is {fields.subject!r}; that of {endpoint.name} is {endpoint.subject}: leave "
            "it out, or describe an endpoint of another name"
        )
    if not {"reads", "queries", "writes"} & given:
        return endpoint
    reads = endpoint.reads if fields.reads is None else _reads(fields, endpoint.subject)
    if given.isdisjoint(("queries", "writes")) and _alike(reads, endpoint.reads):
        # Only their TTLs are others: the preset's own loads make them.
        pairs = zip(endpoint.reads, reads, strict=True)
        return replace(endpoint, reads=tuple(replace(old, ttl=new.ttl) for old, new in pairs))
    if fields.reads is None and fields.queries is not None:
        reads = tuple(replace(read, queries=fields.queries, size=1_000) for read in reads)
    stores = fields.writes
    return replace(
        endpoint,
        behaviour=STATED,
        reads=reads,
        writes=endpoint.writes if stores is None else None,
        queries=fields.queries,
        stores=stores,
    )


def _alike(first: Sequence[Read], second: Sequence[Read]) -> bool:
    def kept(reads: Sequence[Read]) -> list[tuple[str, str, str]]:
        return [(read.name, read.cache_type, read.key) for read in reads]

    return kept(first) == kept(second) and all(read.queries is None for read in first)


def _reads(fields: EndpointFields, subject: str) -> tuple[Read, ...]:
    found = []
    for position, read in enumerate(fields.reads or ()):
        keys = {"none": "none", "subject": "subject", subject: "subject"}
        key = "subject" if subject != "none" else "none"
        if read.key is not None:
            if read.key not in keys:
                raise ValueError(
                    f"reads[{position}].key is {read.key!r}; use "
                    f"{subject if subject != 'none' else 'none'} or none"
                )
            key = keys[read.key]
        found.append(
            Read(
                name=read.name or read.type,
                cache_type=read.type,
                ttl=read.ttl,
                key="subject" if key == "subject" else "none",
                queries=fields.queries if read.queries is None else read.queries,
                size=read.size,
            )
        )
    return tuple(found)


def _check_types(endpoints: Any) -> None:
    """Raise ValueError where a stated endpoint shares a cache type with one that is not."""
    table = tuple(endpoints)
    of_code = {read.cache_type: e.name for e in table if not e.is_stated for read in e.reads}
    for endpoint in table:
        for read in endpoint.reads if endpoint.is_stated else ():
            if (other := of_code.get(read.cache_type)) is not None:
                raise ValueError(
                    f"{endpoint.name} reads the cache type {read.cache_type}, whose entries "
                    f"{other} loads; name another type"
                )


def _subject(fields: EndpointFields, subjects: tuple[str, ...]) -> str:
    """Return what the requests are about: as they say, or as their placeholders tell."""
    by_placeholder = {name: name for name in subjects}
    by_placeholder |= {"user_id": "user", "conversion_id": "conversion"}
    named = [name for name in _placeholders(fields) if name in by_placeholder]
    found = list(dict.fromkeys(by_placeholder[name] for name in named))
    allowed = (*subjects, *OF_THE_CDP)
    if fields.subject is not None:
        if fields.subject not in allowed:
            raise ValueError(
                f"subject is {fields.subject!r}; use {', '.join(allowed)}, or describe it in "
                f"[subjects.{fields.subject[:32]}]"
            )
        others = [each for each in found if each != fields.subject]
        if others and fields.subject in subjects:
            raise ValueError(
                f"its subject is {fields.subject}, and a placeholder names a {others[0]}: an "
                "endpoint is about one subject"
            )
        return fields.subject
    if len(found) > 1:
        raise ValueError(
            f"its placeholders name a {found[0]} and a {found[1]}; an endpoint is about one "
            "subject: use one of them"
        )
    if found:
        return found[0]
    return "model" if "model" in _placeholders(fields) else "none"


def _placeholders(fields: EndpointFields) -> list[str]:
    texts = [fields.path or "", *map(str, fields.query.values()), *fields.headers.values()]
    if fields.body is not None:
        texts.append(fields.body if isinstance(fields.body, str) else json.dumps(fields.body))
    return [found[2] for text in texts for found in PLACEHOLDER.finditer(text) if found[2]]


def _request(
    raw: Mapping[str, Any], fields: EndpointFields, endpoint: Endpoint, *, is_own: bool
) -> dict[str, Any]:
    """Return how the request is written and judged, as data of a target."""
    request = {name: raw[name] for name in REQUEST_FIELDS if name in raw}
    if is_own:
        request = {"method": endpoint.method, "status": "2xx"} | request
    if query := request.pop("query", None):
        path = request.get("path", endpoint.path)
        pairs = "&".join(f"{_quoted(str(n))}={_quoted(_text(v))}" for n, v in query.items())
        request["path"] = f"{path}{'&' if '?' in path else '?'}{pairs}"
    if isinstance(fields.body, dict | list):
        if fields.body_type == "raw":
            raise _fault(
                ("endpoints", endpoint.name, "body"), raw["body"],
                'is a table, which is sent as JSON or as a form; give a text for body_type = "raw"',
            )  # fmt: skip
        if fields.body_type == "form":
            request["body"] = "&".join(_form(fields.body, endpoint.name))
        else:
            request["body"] = json.dumps(fields.body)
            request["body_type"] = "json"
    return request


def _form(body: Any, name: str) -> Iterator[str]:
    if not isinstance(body, dict) or any(isinstance(v, dict | list) for v in body.values()):
        raise _fault(
            ("endpoints", name, "body"), body, "is a form: a table of texts, numbers and switches"
        )
    for key, value in body.items():
        yield f"{_quoted(key)}={_quoted(_text(value))}"


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _quoted(text: str) -> str:
    """Return *text* percent-encoded but for its placeholders."""
    parts: list[str] = []
    end = 0
    for found in PLACEHOLDER.finditer(text):
        parts += (quote(text[end : found.start()], safe=""), found[0])
        end = found.end()
    return "".join((*parts, quote(text[end:], safe="")))
