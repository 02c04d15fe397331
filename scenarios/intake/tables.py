"""Layout and rules as flat arrays, which the compiled reader takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scenarios.intake.chunk import HITS, MISSES, STATIC, Left
from scenarios.intake.layout import Field, Layout
from scenarios.intake.rules import LEFT_OUT, Rule, by_specificity

Bytes = NDArray[np.uint8]
Integers = NDArray[Any]
Words = NDArray[np.uint64]

_MASK = 2**64 - 1


class Tables(NamedTuple):
    """Arrays; an array of places has one more than there are, the end of the last."""

    head: Bytes
    part_field: Integers
    part_after: Integers
    after: Bytes
    part_quoting: Integers
    part_per_second: Integers
    is_open: bool
    is_end: bool
    time_form: int
    rule_method: Words
    rule_segments: Integers
    segment: Words
    rule_key: Integers
    rule_parameter: Integers
    parameter: Bytes
    rule_code: Integers
    get: np.uint64
    head_method: np.uint64
    static: Words
    hits: Words
    misses: Words
    agent: Integers
    agents: Bytes
    salt: Words


def tables_of(
    layout: Layout, rules: Sequence[Rule], agents: Sequence[bytes], salt: tuple[int, int]
) -> Tables:
    """Return what `scan` is given; agents: words in small letters."""
    order = [rules[place] for place in by_specificity(rules)]
    codes = [
        int(Left.STATED) if rules[place].name == LEFT_OUT else place
        for place in by_specificity(rules)
    ]
    segments = [segment for rule in order for segment in rule.segments]
    after, after_at = _joined(part.after for part in layout.parts)
    parameter, parameter_at = _joined(rule.parameter for rule in order)
    agent, agent_at = _joined(agents)
    # Latencies are numbers in millionths of their unit.
    return Tables(
        head=_bytes(layout.head),
        part_field=np.array([part.field for part in layout.parts], np.int64),
        part_after=after_at,
        after=after,
        part_quoting=np.array([part.quoting for part in layout.parts], np.int64),
        part_per_second=np.array([part.per_second for part in layout.parts], np.int64),
        is_open=layout.is_open,
        is_end=layout.is_end,
        time_form=int(layout.time),
        rule_method=_hashes(b"" if r.method == "*" else r.method.encode() for r in order),
        rule_segments=np.cumsum([0, *(len(rule.segments) for rule in order)]),
        segment=np.array(
            [0 if s is None else 1 if s == b"" else fnv(s) for s in segments], np.uint64
        ),
        rule_key=np.array([rule.key for rule in order], np.int64),
        rule_parameter=parameter_at,
        parameter=parameter,
        rule_code=np.array(codes, np.int64),
        get=np.uint64(fnv(b"GET")),
        head_method=np.uint64(fnv(b"HEAD")),
        static=_hashes(STATIC),
        hits=_hashes(HITS),
        misses=_hashes(MISSES),
        agent=agent_at,
        agents=agent,
        salt=np.array(salt, np.uint64),
    )


def fnv(data: bytes) -> int:
    """Return the FNV-1a hash of *data*."""
    found = 0xCBF29CE484222325
    for byte in data:
        found = (found ^ byte) * 0x100000001B3 & _MASK
    return found


def _hashes(texts: Iterable[bytes]) -> Words:
    return np.array([fnv(text) if text else 0 for text in texts], np.uint64)


def _bytes(data: bytes) -> Bytes:
    return np.frombuffer(data, np.uint8).copy()


def _joined(texts: Iterable[bytes]) -> tuple[Bytes, Integers]:
    every = list(texts)
    return _bytes(b"".join(every)), np.cumsum([0, *map(len, every)])


__all__ = ["Bytes", "Field", "Integers", "Tables", "Words", "fnv", "tables_of"]
