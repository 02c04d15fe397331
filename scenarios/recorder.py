"""What a load generator writes down of each request, in arrays: no object per request."""

from __future__ import annotations

import json
import math
from array import array
from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from core.scenario.checks import Checks
from core.scenario.scenario import Scenario
from core.scenario.statuses import expected_statuses
from core.wire import L1_HIT, L2_HIT, NEGATIVE, READ_OUTCOMES
from scenarios.cache_status import Remark, tell, without_keys
from scenarios.cdn_headers import cdn_outcome
from scenarios.header_notes import HeaderCount
from scenarios.rendering import Request
from scenarios.result import Kind, Rows
from scenarios.server_timing import parse_server_timing

RECENT = 2000
_CACHE_BOUND = 4096
_HITS = (("l1", L1_HIT), ("l2", L2_HIT))
_WITHOUT_BODY = (204, 205, 304)


class Recent(NamedTuple):
    """Columns of some rows, as far as a running load has filled them."""

    endpoint: NDArray[Any]
    kind: NDArray[Any]
    status: NDArray[Any]
    lag: NDArray[Any]
    latency: NDArray[Any]

    def part(self, start: int, end: int) -> Recent:
        """Return the rows from *start* up to *end*."""
        return Recent(*(column[start:end] for column in self))


class Recorder:
    """The rows of a load in the order of sending, filled in as the answers come."""

    def __init__(self, scenario: Scenario) -> None:
        table = scenario.endpoints
        targets = [scenario.targets.of(name) for name in table.names]
        self._expected = [expected_statuses(target.status) for target in targets]
        self._has_body = [target.method != "HEAD" for target in targets]
        self._checks = [Checks(target.checks) if target.checks else None for target in targets]
        self._names = [table.read_names[name] for name in table.names]
        self._primary = [endpoint.primary_read for endpoint in table]
        self._width = table.read_width
        self._tiers = scenario.caches
        # A foreign service may put an id into the header: the values in use are remembered.
        self._codes = lru_cache(maxsize=_CACHE_BOUND)(self._read)
        self._weak_codes = lru_cache(maxsize=_CACHE_BOUND)(self._read_weakly)
        self.headers = HeaderCount()
        self._index, self._intended_ns = array("q"), array("q")
        self._endpoint, self._subject, self._host = array("B"), array("I"), array("H")
        self._lag, self._latency = array("d"), array("d")
        self._kind, self._status = array("B"), array("H")
        self._reads = array("B")  # a row of read_width for each request
        self._no_reads = array("B", bytes(self._width))
        self._cpu, self._total = array("d"), array("d")
        self._attempts, self._is_refused = array("B"), array("B")
        self._retried_at = array("d")
        stages = scenario.metrics.table.stages
        timed = [stage for stage in stages if stage.source == "header"]
        self._samples = {stage.name: (array("q"), array("d")) for stage in timed}
        self._told = {stage.told_as: self._samples[stage.name] for stage in timed}
        # One time a request, told by the row it belongs to.
        self._of_request = {"cpu": self._cpu, "total": self._total}
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
        self._reads.extend(self._no_reads)
        self._cpu.append(math.nan)
        self._total.append(math.nan)
        self._attempts.append(1)
        self._is_refused.append(0)
        return position

    def reopen(self, position: int) -> None:
        """Take back that the request at *position* has just failed: it will be tried again."""
        self.done -= 1
        self.failed -= 1
        self.answered -= Kind(self._kind[position]).is_answer
        self._recent.pop()
        self._kind[position] = Kind.UNFINISHED
        self._status[position] = 0

    def send_again(self, position: int, at: float) -> None:
        """Note that the request at *position* goes out again, *at* s from the start of the load."""
        self._attempts[position] += 1
        self._retried_at.append(at)

    def refuse(self, position: int) -> None:
        """Note that only the budget kept the request at *position* from another attempt."""
        self._is_refused[position] = 1

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
        cdn_header: tuple[str, str] | None = None,
    ) -> Kind:
        """Note the answer to the request at *position* and return how it is judged.

        cdn_header: name and value of a header that stands in for a missing Cache-Status.
        """
        endpoint = self._endpoint[position]
        self._status[position] = status
        self.headers.answers += 1
        if cache_status:
            if '"' in cache_status:
                cache_status = without_keys(cache_status, self._names[endpoint])
            reads, remarks = self._codes(endpoint, cache_status)
            self.headers.cache_status += 1
            if remarks:
                self.headers.note(remarks)
            start = position * self._width
            self._reads[start : start + self._width] = reads
        elif cdn_header is not None:
            reads, is_read = self._weak_codes(endpoint, *cdn_header)
            self.headers.note_weak(cdn_header[0], is_read=is_read)
            start = position * self._width
            self._reads[start : start + self._width] = reads
        if server_timing:
            self._note_timing(position, server_timing)
        if status not in self._expected[endpoint]:
            kind = Kind.STATUS
        else:
            has_body = self._has_body[endpoint]
            kind = judged_body(status, content_type, body) if has_body else Kind.ANSWERED
            checks = self._checks[endpoint]
            if checks is not None and kind is Kind.ANSWERED and (number := checks.failed(body)):
                kind = Kind.CHECK
                self._status[position] = number
        if kind is not Kind.ANSWERED:
            self.fail(position, kind)
            return kind
        self._kind[position] = Kind.ANSWERED
        self._latency[position] = latency
        self._recent.append(latency)
        self.done += 1
        self.answered += 1
        return Kind.ANSWERED

    def failed_check(self, position: int) -> str:
        """Return the name of the check that the answer at *position* failed."""
        checks = self._checks[self._endpoint[position]]
        return "" if checks is None else checks.names[self._status[position] - 1]

    def _read(self, endpoint: int, value: str) -> tuple[array[int], tuple[Remark, ...]]:
        told = tell(
            value,
            self._names[endpoint],
            primary=self._primary[endpoint],
            tiers=self._tiers,
            width=self._width,
        )
        return self._row(told.codes), told.remarks

    def _read_weakly(self, endpoint: int, header: str, value: str) -> tuple[array[int], bool]:
        code = cdn_outcome(header, value, self._tiers)
        return self._row((*(0,) * self._primary[endpoint], code)), code != 0

    def _row(self, codes: tuple[int, ...]) -> array[int]:
        return array("B", codes + (0,) * (self._width - len(codes)))

    def _note_timing(self, position: int, value: str) -> None:
        for name, seconds in parse_server_timing(value):
            if name in self._told:
                positions, values = self._told[name]
                positions.append(position)
                values.append(seconds)
            elif name in self._of_request:
                self._of_request[name][position] = seconds

    def since(self, position: int) -> Recent:
        """Return the rows from *position* on."""
        columns = (self._endpoint, self._kind, self._status, self._lag, self._latency)
        return Recent(*(_copy(column[position:]) for column in columns))

    def recent(self, qs: Iterable[float]) -> list[float | None]:
        """Return quantiles in seconds of the last RECENT outcomes, None where one failed."""
        ordered = sorted(self._recent)
        values = [
            ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else math.inf for q in qs
        ]
        return [value if math.isfinite(value) else None for value in values]

    def recent_hits(self) -> dict[str, float]:
        """Return the shares of L1 and of L2 in the cache reads of the last RECENT requests.

        Empty where the service tells of none.
        """
        reads = np.array(self._reads[-RECENT * self._width :], dtype=np.uint8)
        outcomes = np.bincount(reads & (NEGATIVE - 1), minlength=len(READ_OUTCOMES))
        total = int(outcomes[1:].sum())
        if not total:
            return {}
        return {name: float(outcomes[code] / total) for name, code in _HITS}

    def rows(self, dropped: Iterable[int], held: Iterable[int] = ()) -> Rows:
        """Return what was written down so far, with the indices of the arrivals never sent.

        held: those of them for which the service left no connection.
        """
        reads = _copy(self._reads).reshape(-1, self._width)
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
            attempts=_copy(self._attempts),
            is_refused=_copy(self._is_refused),
            retried_at=_copy(self._retried_at),
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
