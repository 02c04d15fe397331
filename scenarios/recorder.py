"""What a load generator writes down of each request, in arrays: no object per request."""

from __future__ import annotations

import json
import math
from array import array
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from core.endpoints import ENDPOINTS, READ_NAMES
from core.scenario.scenario import Scenario
from core.wire import parse_cache_status, parse_server_timing
from scenarios.rendering import Request
from scenarios.result import TIMED_STAGES, Kind, Rows

RECENT = 2000
_CACHE_BOUND = 4096
_WITHOUT_BODY = (204, 205, 304)


class Recorder:
    """The rows of a load in the order of sending, filled in as the answers come."""

    def __init__(self, scenario: Scenario) -> None:
        targets = [getattr(scenario.targets, name) for name in ENDPOINTS]
        self._expected = [frozenset(target.status) for target in targets]
        self._names = [READ_NAMES[name] for name in ENDPOINTS]
        self._parsed: dict[tuple[int, str], tuple[int, int]] = {}
        self._index, self._intended_ns = array("q"), array("q")
        self._endpoint, self._subject, self._host = array("B"), array("I"), array("H")
        self._lag, self._latency = array("d"), array("d")
        self._kind, self._status = array("B"), array("H")
        self._first_read, self._second_read = array("B"), array("B")
        self._cpu, self._total = array("d"), array("d")
        self._samples = {name: (array("q"), array("d")) for name in TIMED_STAGES}
        self._recent: deque[float] = deque(maxlen=RECENT)
        self.done = 0
        self.answered = 0
        self.failed = 0

    @property
    def sent(self) -> int:
        """How many requests were sent."""
        return len(self._index)

    @property
    def in_flight(self) -> int:
        """How many requests have no outcome yet."""
        return len(self._index) - self.done

    def send(self, index: int, request: Request, lag: float) -> int:
        """Note that the request of row *index* goes out now; return its position."""
        position = len(self._index)
        self._index.append(index)
        self._intended_ns.append(request.intended_ns)
        self._endpoint.append(request.endpoint)
        self._subject.append(request.subject)
        self._host.append(request.host)
        self._lag.append(lag)
        self._latency.append(math.inf)
        self._kind.append(Kind.UNFINISHED)
        self._status.append(0)
        self._first_read.append(0)
        self._second_read.append(0)
        self._cpu.append(math.nan)
        self._total.append(math.nan)
        return position

    def fail(self, position: int, kind: Kind) -> None:
        """Note that the request at *position* got no answer that counts."""
        self._kind[position] = kind
        self.done += 1
        self.failed += 1
        self.answered += kind.is_answer
        self._recent.append(math.inf)

    def answer(
        self,
        position: int,
        latency: float,
        *,
        status: int,
        content_type: str,
        body: bytes,
        cache_status: str,
        server_timing: str,
    ) -> Kind:
        """Note the answer to the request at *position* and return how it is judged."""
        endpoint = self._endpoint[position]
        self._status[position] = status
        if cache_status:
            reads = self._parsed.get((endpoint, cache_status))
            if reads is None:
                reads = self._reads(endpoint, cache_status)
            self._first_read[position], self._second_read[position] = reads
        if server_timing:
            self._note_timing(position, server_timing)
        if status not in self._expected[endpoint]:
            kind = Kind.STATUS
        else:
            kind = judged_body(status, content_type, body)
        if kind is not Kind.ANSWERED:
            self.fail(position, kind)
            return kind
        self._kind[position] = Kind.ANSWERED
        self._latency[position] = latency
        self._recent.append(latency)
        self.done += 1
        self.answered += 1
        return Kind.ANSWERED

    def _reads(self, endpoint: int, value: str) -> tuple[int, int]:
        codes = parse_cache_status(value, self._names[endpoint])
        reads = (codes[0], codes[1] if len(codes) > 1 else 0)
        # A foreign service may put an id into the header: no more than so many are kept.
        if len(self._parsed) < _CACHE_BOUND:
            self._parsed[endpoint, value] = reads
        return reads

    def _note_timing(self, position: int, value: str) -> None:
        for name, seconds in parse_server_timing(value):
            if name in self._samples:
                positions, values = self._samples[name]
                positions.append(position)
                values.append(seconds)
            elif name == "cpu":
                self._cpu[position] = seconds
            elif name == "total":
                self._total[position] = seconds

    def recent(self, qs: Iterable[float]) -> list[float | None]:
        """Return quantiles in seconds of the last RECENT outcomes, None where one failed."""
        ordered = sorted(self._recent)
        values = [
            ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else math.inf for q in qs
        ]
        return [value if math.isfinite(value) else None for value in values]

    def rows(self, dropped: Iterable[int], held: Iterable[int] = ()) -> Rows:
        """Return what was written down so far, with the indices of the arrivals never sent.

        held: those of them for which the service left no connection.
        """
        reads = np.stack((_copy(self._first_read), _copy(self._second_read)), axis=1)
        samples = {n: (_copy(rows), _copy(values)) for n, (rows, values) in self._samples.items()}
        return Rows(
            index=_copy(self._index),
            intended_ns=_copy(self._intended_ns),
            endpoint=_copy(self._endpoint),
            subject=_copy(self._subject),
            host=_copy(self._host),
            lag=_copy(self._lag),
            latency=_copy(self._latency),
            kind=_copy(self._kind),
            status=_copy(self._status),
            reads=reads,
            cpu=_copy(self._cpu),
            total=_copy(self._total),
            samples=samples,
            dropped=np.sort(np.fromiter(dropped, dtype=np.int64)),
            held=np.sort(np.fromiter(held, dtype=np.int64)),
        )


def _copy(column: array[int] | array[float]) -> NDArray[Any]:
    return np.array(column, dtype=column.typecode)


def judged_body(status: int, content_type: str, body: bytes) -> Kind:
    """Return ANSWERED, or what is wrong with a body that calls itself JSON: NOT_JSON or EMPTY.

    A status that has no body by definition (RFC 9110, 15.3.5, 15.3.6 and 15.4.5) is taken whatever
    its type says.
    """
    if status in _WITHOUT_BODY and not body:
        return Kind.ANSWERED
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        return Kind.ANSWERED
    if not body or body.isspace():
        return Kind.EMPTY
    try:
        from_json(body)  # a tenth of the time of json.loads, which would delay every other request
    except ValueError:
        try:
            json.loads(body)  # takes other encodings, too
        except (ValueError, RecursionError):
            return Kind.NOT_JSON
    return Kind.ANSWERED
