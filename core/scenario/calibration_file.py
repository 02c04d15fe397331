"""calibration.toml: what was learned of a service, as a commented file that is read again."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.distributions import Distribution, constant, empirical, parse_distribution
from core.endpoints import CDP, EndpointTable
from core.errors import InputError
from core.scenario.by_endpoint import context_of
from core.scenario.calibration import DEPTHS, TIER_TIMES, Calibration
from core.scenario.idling import Idling
from core.scenario.outside import Learned, Mixture
from core.scenario.topology import Cpu
from core.texts import bounded_text, one_line
from core.units import parse_duration

VERSION = 1
TABLE = 256
"""Quantiles of a table in the file."""

MAX_BYTES = 2_000_000
_PER_LINE = 8
_WHAT = {
    "l2.read": "reads of keys that were read within tiers.l2.cache_ttl",
    "l2.cold_read": "reads of other keys",
    "l2.write": "writes",
    "l3.round_trip": "the part of a query that overlaps with others'",
    "l3.read_execution": "the part of a read that keeps others waiting",
    "l3.write_execution": "the part of a write that keeps others waiting",
}
_DEPTH = {
    "l1": "requests that no store was asked for",
    "l2": "requests that the key-value store answered",
    "l3": "requests that the database was asked for",
}


def learned(seconds: Any) -> Learned:
    """Return the table of *seconds*, two samples or more, as long as the file keeps it."""
    times = empirical(seconds, TABLE)
    value = times.constant
    return Learned(times=times if value is None else constant(value), samples=len(seconds))


def to_toml(calibration: Calibration, *, source: str = "") -> str:
    """Return the text of calibration.toml; `from_toml` gives the same calibration again."""
    return "\n".join(_lines(calibration, source)) + "\n"


def _lines(known: Calibration, source: str) -> Iterator[str]:
    yield "# What edgeproof learned of a service: simulate, plan and prove take --calibration FILE."
    yield "# A table holds equally spaced quantiles; its mean is that of the samples."
    yield "# What is left out here keeps the value that the scenario states."
    if source:
        yield f"# From {one_line(source)}."
    yield 'schema = "edgeproof/calibration"'
    yield f"schema_version = {VERSION}"
    yield f"requests = {known.requests}  # answered"
    if known.speed is not None:
        yield f"speed = {known.speed!r}  # seconds that the service took for a fixed piece of work"
    if known.lag is not None:
        yield f"lag = {known.lag!r}  # seconds that 5 % of the requests were sent late"
    if known.notes:
        yield "notes = ["
        yield from (f"    {_text(note)}," for note in known.notes)
        yield "]"
    if known.few:
        yield ""
        yield "[few]  # what the scenario's value stays for, and why"
        yield from (f"{_text(place)} = {_text(why)}" for place, why in known.few.items())
    yield from _cpu_lines(known)
    if known.concurrency is not None:
        yield ""
        yield "[tiers.l3]"
        yield f"concurrency = {known.concurrency}  # executions at a time that explain the waiting"
    for place in TIER_TIMES:
        if (times := known.tiers.get(place)) is None:
            continue
        yield ""
        yield f"[tiers.{place}]  # {_WHAT[place]}"
        yield from _times(times)
    for endpoint, depths in known.between.items():
        for depth in DEPTHS:
            if (times := depths.get(depth)) is None:
                continue
            yield ""
            yield f"[between.{endpoint}.{depth}]  # client to service and back: {_DEPTH[depth]}"
            yield from _times(times)
    if known.idling.after:
        yield ""
        yield "[idle]  # a request that comes so long after the one before it takes longer"
        yield f"after = [{', '.join(_durations(known.idling.after))}]"
        yield f"longer = [{', '.join(_durations(known.idling.longer))}]"
    if known.ttls:
        yield ""
        yield "[ttl]  # how long entries live in any cache, by cache type"
        yield from (f'{name} = "{seconds!r}s"' for name, seconds in known.ttls.items())
    if known.unread:
        yield ""
        yield "[unread]  # cache reads that the service was never seen to make, by endpoint"
        for endpoint, names in known.unread.items():
            yield f"{endpoint} = [{', '.join(_text(name) for name in names)}]"
    for endpoint, mixture in known.outside.items():
        yield from _mixture_lines(endpoint, mixture)


def _cpu_lines(known: Calibration) -> Iterator[str]:
    if known.cpu is not None:
        yield ""
        yield "[cpu]  # of the process, fitted: a request's own, and for each store operation"
        for name, seconds in known.cpu:
            yield f'{name} = "{seconds!r}s"'
    elif known.cpu_scale != 1:
        yield ""
        yield "[cpu_stated]  # answers came faster than the scenario's CPU costs allow"
        yield f"scale = {known.cpu_scale!r}"


def _mixture_lines(endpoint: str, mixture: Mixture) -> Iterator[str]:
    yield ""
    yield f"[outside.{endpoint}]  # seen from outside only: its tiers are unknown"
    if mixture.fast is not None:
        yield f"fast_first = {mixture.fast_first!r}  # share of ids not asked for before"
        yield f"fast_repeat = {mixture.fast_repeat!r}  # share of ids asked for before"
    if mixture.most_others is not None:
        yield f"most_others = {mixture.most_others}  # other ids since, then it is slow again"
    if mixture.most_age is not None:
        yield f'most_age = "{mixture.most_age!r}s"  # then it is slow again'
    for name, times in (("fast", mixture.fast), ("slow", mixture.slow)):
        if times is not None:
            yield ""
            yield f"[outside.{endpoint}.{name}]"
            yield from _times(times)


def _times(known: Learned) -> Iterator[str]:
    times = known.times
    p50, p95, p99 = (_ms(times.sample(q)) for q in (0.5, 0.95, 0.99))
    yield f"# mean {_ms(times.mean)}, p50 {p50}, p95 {p95}, p99 {p99}"
    yield f"samples = {known.samples}"
    if times.constant is not None and len(times.table) == 2:
        yield f'times = "{times.constant!r}s"'
        return
    texts = [f'"{_exact(value)}"' for value in times.table]
    yield "times = { table = ["
    for start in range(0, len(texts), _PER_LINE):
        yield f"    {', '.join(texts[start : start + _PER_LINE])},"
    yield "] }"


def _durations(values: Iterable[float]) -> list[str]:
    return [f'"{_exact(value)}"' for value in values]


def _exact(seconds: float) -> str:
    """Return a duration in milliseconds, or in seconds where that would not be the same number."""
    text = f"{round(seconds * 1e3, 6):.12g}ms"
    return text if parse_duration(text) == seconds else f"{seconds!r}s"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"


def _text(value: str) -> str:
    escaped = one_line(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def read_calibration(path: Path, endpoints: EndpointTable = CDP) -> Calibration:
    """Return the calibration in *path*; InputError says what is wrong with it."""
    try:
        text = bounded_text(path, MAX_BYTES, "a calibration")
    except FileNotFoundError:
        raise InputError(f"{path}: no such calibration; `edgeproof calibrate` writes one") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    try:
        return from_toml(text, endpoints)
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            f"{path}: not valid TOML: {one_line(str(error))}; mend the line it names"
        ) from None
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not a calibration ({one_line(str(error))}); write it anew with "
            "`edgeproof calibrate`"
        ) from None
    except ValueError as error:
        raise InputError(f"{path}: {one_line(str(error))}") from None


def from_toml(text: str, endpoints: EndpointTable = CDP) -> Calibration:
    """Return the calibration that `to_toml` wrote; ValueError or KeyError if it is none.

    endpoints: those of the scenario that it is for.
    """
    data = tomllib.loads(text)
    if data.get("schema") != "edgeproof/calibration":
        raise ValueError("not a calibration: `schema` is no edgeproof/calibration")
    if data.get("schema_version") != VERSION:
        raise ValueError(
            f"schema_version is {data.get('schema_version')!r}; this version reads {VERSION}: "
            "write it anew with `edgeproof calibrate`"
        )
    _check_keys(data)
    tiers = data.get("tiers", {})
    known = {
        place: _learned(value, f"tiers.{place}")
        for place in TIER_TIMES
        if (value := tiers.get(place[:2], {}).get(place[3:])) is not None
    }
    for section in ("between", "unread", "outside"):
        for name in data.get(section, {}):
            if name not in endpoints:
                raise ValueError(
                    f"{section}.{name}: the scenario has no such endpoint; it has "
                    f"{', '.join(endpoints.names)}"
                )
    cpu = data.get("cpu")
    try:
        costs = None if cpu is None else Cpu.model_validate(cpu, context=context_of(endpoints))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"cpu.{place}: {first['msg']}") from None
    return Calibration(
        cpu=costs,
        cpu_scale=_number(data.get("cpu_stated", {}).get("scale", 1.0), "cpu_stated.scale"),
        between={
            name: {
                depth: _learned(depths[depth], f"between.{name}.{depth}")
                for depth in DEPTHS
                if depth in depths
            }
            for name, depths in data.get("between", {}).items()
        },
        idling=_idling(data.get("idle", {})),
        tiers=known,
        concurrency=_whole(tiers.get("l3", {}).get("concurrency"), "tiers.l3.concurrency"),
        unread={name: tuple(map(str, each)) for name, each in data.get("unread", {}).items()},
        outside={name: _mixture(each, name) for name, each in data.get("outside", {}).items()},
        ttls={
            name: _duration(value, f"ttl.{name}", endpoints)
            for name, value in data.get("ttl", {}).items()
        },
        speed=None if "speed" not in data else _number(data["speed"], "speed"),
        lag=None if "lag" not in data else _number(data["lag"], "lag"),
        requests=int(_number(data.get("requests", 0), "requests")),
        few={str(place): str(why) for place, why in data.get("few", {}).items()},
        notes=tuple(map(str, data.get("notes", ()))),
    )


_KEYS = (
    "schema", "schema_version", "requests", "speed", "lag", "notes", "few", "cpu", "cpu_stated",
    "tiers", "between", "idle", "ttl", "unread", "outside",
)  # fmt: skip


def _check_keys(data: Mapping[str, Any]) -> None:
    places = [*data]
    for tier, values in data.get("tiers", {}).items():
        places += [f"tiers.{tier}.{name}" for name in values]
    known = {*_KEYS, "tiers.l3.concurrency", *(f"tiers.{place}" for place in TIER_TIMES)}
    for place in places:
        if place not in known:
            raise ValueError(f"{place} is not a known key of a calibration; correct or remove it")


def _learned(data: Mapping[str, Any], place: str) -> Learned:
    try:
        times: Distribution = parse_distribution(data["times"])
    except ValueError as error:
        raise ValueError(f"{place}.times: {error}") from None
    return Learned(times=times, samples=int(_number(data.get("samples", 0), f"{place}.samples")))


def _idling(data: Mapping[str, Any]) -> Idling:
    columns = []
    for name in ("after", "longer"):
        values = data.get(name, [])
        if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
            raise ValueError(f'idle.{name} is {values!r}; write durations such as ["0ms", "1ms"]')
        columns.append(tuple(parse_duration(each) for each in values))
    return Idling(after=columns[0], longer=columns[1])


def _mixture(data: Mapping[str, Any], name: str) -> Mixture:
    place = f"outside.{name}"
    age = data.get("most_age")
    return Mixture(
        slow=_learned(data["slow"], f"{place}.slow"),
        fast=_learned(data["fast"], f"{place}.fast") if "fast" in data else None,
        fast_first=_share(data.get("fast_first", 0.0), f"{place}.fast_first"),
        fast_repeat=_share(data.get("fast_repeat", 0.0), f"{place}.fast_repeat"),
        most_others=_whole(data.get("most_others"), f"{place}.most_others"),
        most_age=None if age is None else parse_distribution(age).mean,
    )


def _duration(value: Any, place: str, endpoints: EndpointTable) -> float:
    if place.partition(".")[2] not in endpoints.cache_types:
        raise ValueError(
            f"{place}: no endpoint reads such a cache type; they read "
            f"{', '.join(endpoints.cache_types)}"
        )
    seconds = parse_duration(value) if isinstance(value, str) else -1.0
    if seconds <= 0:
        raise ValueError(f'{place} is {value!r}; write a duration such as "60s"')
    return seconds


def _number(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise ValueError(f"{place} is {value!r}; it is a number from 0 on")
    return float(value)


def _share(value: Any, place: str) -> float:
    number = _number(value, place)
    if number > 1:
        raise ValueError(f"{place} is {value!r}; a share is at most 1")
    return number


def _whole(value: Any, place: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000_000:
        raise ValueError(f"{place} is {value!r}; it is a whole number from 1 on")
    return value
