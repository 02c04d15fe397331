"""Service times: quantile tables that a uniform random number is looked up in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist
from typing import Annotated, Any

from pydantic import BeforeValidator, GetCoreSchemaHandler, PlainSerializer, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

from core.units import parse_duration

TABLE_SIZE = 1024
_TAIL = 0.9999
"""A table ends here: beyond the last quantile that anybody published a tail would be invented."""


class Distribution:
    """A service time in seconds, sampled by inversion of a table of quantiles.

    `sample` is linear between the table's points, so the mean of samples is the mean of the
    table's trapezoids, which `mean` returns.
    """

    __slots__ = ("_last", "constant", "mean", "source", "table")

    def __init__(self, table: Sequence[float], source: Any) -> None:
        if len(table) < 2 or any(b < a for a, b in pairwise(table)):
            raise ValueError("a quantile table has at least two values and never falls")
        self.table = tuple(table)
        self._last = len(self.table) - 1
        self.constant = table[0] if table[0] == table[-1] else None
        inner = math.fsum(table[1:-1])
        self.mean = (table[0] / 2 + inner + table[-1] / 2) / (len(table) - 1)
        self.source = source

    def sample(self, uniform: float) -> float:
        """Return the value in seconds at the fraction *uniform* in [0, 1) of the distribution."""
        if self.constant is not None:
            return self.constant
        table = self.table
        position = uniform * self._last
        index = int(position)
        low = table[index]
        return low + (position - index) * (table[index + 1] - low)

    def scaled(self, factor: float) -> Distribution:
        """Return the distribution of *factor* times this one's values."""
        table = [_grid(value * factor) for value in self.table]
        return Distribution(table, {"table": [f"{value!r}s" for value in table]})

    def shifted(self, seconds: float) -> Distribution:
        """Return the distribution of this one's values and *seconds* more."""
        if not seconds:
            return self
        table = [_grid(value + seconds) for value in self.table]
        return Distribution(table, {"table": [f"{value!r}s" for value in table]})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Distribution) and self.table == other.table

    def __hash__(self) -> int:
        return hash(self.table)

    def __repr__(self) -> str:
        return f"Distribution({self.source!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.is_instance_schema(cls)


def _grid(value: float) -> float:
    """Round to whole nanoseconds, so that no platform's exp or log shows in a result."""
    return round(value * 1e9) / 1e9


def constant(seconds: float) -> Distribution:
    """Return the distribution that is always *seconds*."""
    return Distribution((_grid(seconds), _grid(seconds)), f"{seconds!r}s")


def exponential(mean: float) -> Distribution:
    """Return an exponential distribution cut at its 99.99 % quantile, with *mean* in seconds."""
    step = _TAIL / (TABLE_SIZE - 1)
    table = [-math.log1p(-i * step) for i in range(TABLE_SIZE)]
    scale = mean / Distribution(table, None).mean
    return Distribution(
        [_grid(value * scale) for value in table],
        {"distribution": "exponential", "mean": f"{mean!r}s"},
    )


def quantiles(points: Mapping[str, float]) -> Distribution:
    """Return the distribution through *points* ("p50" -> seconds), log-normal between them.

    log(value) is linear in the normal score of the quantile, which is exactly a log-normal for
    two points; the first and last slopes go on beyond the outer points up to 0.01 % and 99.99 %.
    Raise ValueError unless there are two or more points that rise.
    """
    scores = []
    for name, value in sorted(points.items(), key=lambda item: float(item[0][1:])):
        scores.append((NormalDist().inv_cdf(float(name[1:]) / 100), math.log(value)))
    if len(scores) < 2:
        raise ValueError("give two or more quantiles, such as p50 and p99")
    if any(b[0] == a[0] for a, b in pairwise(scores)):
        raise ValueError(f"two of {', '.join(points)} are the same quantile; keep one")
    if any(b[1] < a[1] for a, b in pairwise(scores)):
        raise ValueError("quantiles must rise")
    table = []
    for i in range(TABLE_SIZE):
        q = (1 - _TAIL) + i * (2 * _TAIL - 1) / (TABLE_SIZE - 1)
        try:
            table.append(_grid(math.exp(_interpolate(scores, NormalDist().inv_cdf(q)))))
        except OverflowError:
            raise ValueError("the quantiles are too far apart: the tail is infinite") from None
    return Distribution(table, {name: f"{value!r}s" for name, value in points.items()})


def _interpolate(scores: Sequence[tuple[float, float]], z: float) -> float:
    right = next((i for i, (score, _) in enumerate(scores) if score >= z), len(scores) - 1)
    (z0, y0), (z1, y1) = scores[max(right, 1) - 1], scores[max(right, 1)]
    return y0 + (y1 - y0) * (z - z0) / (z1 - z0)


def empirical(seconds: Sequence[float], size: int = TABLE_SIZE) -> Distribution:
    """Return the distribution of samples in seconds as a table of at most *size* quantiles.

    Each table point is the mean of its share of the sorted samples, and few samples stand several
    times each. Sampling counts the table's two ends half: the last point makes up for it, so that
    the mean is the samples' and no other quantile moves. Where that would let the table fall, all
    points are scaled to the mean.
    Raise ValueError if there are fewer than two samples or one is negative.
    """
    ordered = sorted(seconds)
    if len(ordered) < 2:
        raise ValueError("a distribution needs two samples or more")
    if ordered[0] < 0:
        raise ValueError(f"a service time is at least 0 s, not {ordered[0]}")
    mean = math.fsum(ordered) / len(ordered)
    times = max(1, size // len(ordered))
    ordered = [value for value in ordered for _ in range(times)]
    count = min(size, len(ordered))
    table = []
    for i in range(count):
        low, high = i * len(ordered) // count, (i + 1) * len(ordered) // count
        table.append(math.fsum(ordered[low:high]) / (high - low))
    last = 2 * (mean * (count - 1) - math.fsum(table[1:-1])) - table[0]
    if last >= table[-2]:
        table[-1] = last
    else:
        sampled = Distribution(table, None).mean
        table = [value * mean / sampled for value in table]
    table = [_grid(value) for value in table]
    return Distribution(table, {"table": [f"{value!r}s" for value in table]})


def parse_distribution(value: Any) -> Distribution:
    """Return the distribution that a scenario file wrote; ValueError says what is wrong.

    "5ms" is a constant; {p50 = "5ms", p99 = "20ms"} goes through quantiles; {distribution =
    "exponential", mean = "5ms"}; {table = [...]} is a table of equally spaced quantiles.
    """
    if isinstance(value, Distribution):
        return value
    if isinstance(value, str):
        return constant(_positive(value))
    if not isinstance(value, dict) or not value:
        raise ValueError(
            f'{value!r} is not a latency; write "5ms" or {{p50 = "5ms", p99 = "20ms"}}'
        )
    return _parse_table(tuple(sorted((str(k), _freeze(v)) for k, v in value.items())))


def _freeze(value: Any) -> Any:
    """Return *value* as something that hashes; what is no text is refused later."""
    if isinstance(value, list | dict):
        return tuple(_freeze(item) for item in value)
    return value


@lru_cache(maxsize=256)
def _parse_table(items: tuple[tuple[str, Any], ...]) -> Distribution:
    value = dict(items)
    if "table" in value:
        if set(value) != {"table"} or not isinstance(value["table"], tuple):
            raise ValueError("a latency table stands alone: {table = [...]}")
        return Distribution(
            [_positive(item) for item in value["table"]], {"table": [*value["table"]]}
        )
    if "distribution" in value:
        if value["distribution"] != "exponential" or set(value) != {"distribution", "mean"}:
            raise ValueError('write {distribution = "exponential", mean = "5ms"}')
        return exponential(_positive(value["mean"]))
    points = {}
    for name, text in value.items():
        digits = name[1:].replace(".", "", 1)
        if not name.startswith("p") or not digits.isdecimal() or not 0 < float(name[1:]) < 100:
            raise ValueError(f"{name!r} is not a quantile; use p50, p95, p99 and the like")
        points[name] = _positive(text)
    if any(seconds == 0 for seconds in points.values()):
        raise ValueError("a quantile of a latency is more than 0")
    return quantiles(points)


def _positive(text: Any) -> float:
    if not isinstance(text, str):
        raise ValueError(f'{text!r} has no unit; write a duration such as "5ms"')
    seconds = parse_duration(text)
    if seconds < 0:
        raise ValueError(f"{text!r} is negative; a latency is at least 0s")
    return seconds


Latency = Annotated[
    Distribution,
    BeforeValidator(parse_distribution),
    PlainSerializer(lambda distribution: distribution.source),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "examples": ["5ms"]},
                {
                    "type": "object",
                    "examples": [{"p50": "5ms", "p99": "20ms"}],
                    "patternProperties": {
                        r"^p\d+(\.\d+)?$": {"type": "string"},
                        "^(distribution|mean)$": {"type": "string"},
                        "^table$": {"type": "array", "items": {"type": "string"}},
                    },
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
