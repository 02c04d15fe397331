"""What a load left behind: a row per request sent, and what the services said of themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import EdgeproofError
from core.files import write_whole
from core.metrics.failures import Cause
from core.metrics.histogram import LatencyHistogram

RESULT_VERSION = 1
ROWS_FILE = "rows.npz"
AUDIT_FILE = "audit.json"
POLLS_FILE = "polls.json"
GAUGES = ("queue_pending",)
"""Of a service's counters, those that may fall."""


class Kind(IntEnum):
    """How a request ended; ANSWERED alone is a success."""

    ANSWERED = 0
    TIMEOUT = 1
    CONNECTION = 2
    STATUS = 3
    NOT_JSON = 4
    UNFINISHED = 5
    EMPTY = 6
    NOT_HTTP = 7
    ENCODING = 8
    STALLED = 9
    REFUSED = 10
    RESET = 11
    CLOSED = 12
    TRUNCATED = 13
    CERTIFICATE = 14
    TLS = 15
    NAME = 16
    UNREACHABLE = 17
    EXHAUSTED = 18
    UNSENDABLE = 19
    TOO_LARGE = 20
    CLIENT_CERTIFICATE = 21
    HTTP2 = 22
    CHECK = 23

    @property
    def cause(self) -> Cause:
        """Why it failed; ValueError for a success.

        Every request has an outcome before the last wait ends: one without any is the generator's
        fault, if nothing interrupted it.
        """
        return Cause.LOST if self is Kind.UNFINISHED else Cause(self.name.lower())

    @property
    def is_answer(self) -> bool:
        """Whether a whole answer came in time, good or bad."""
        return self is Kind.ANSWERED or self.cause.is_answer


OWN_KINDS = (Kind.EXHAUSTED, Kind.UNFINISHED)
"""Failures that are the generator's own fault."""


class ResultUnreadable(EdgeproofError):
    """A load that left no complete result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The requests sent, in the order of sending; columns of shape (n,) if not said otherwise.

    index, intended_ns, endpoint, subject: as rendered; lag: seconds from the intended time to the
    start of sending; latency: seconds from the intended time to the answer, infinite if it failed;
    kind: a Kind; status: HTTP status, 0 without one, and of a failed check its number from 1;
    reads: outcome codes, shape (n, read_width of the endpoints); host: position of the URL; cpu,
    total: Server-Timing in seconds, NaN without. attempts: how often each was sent; is_refused: 1
    where only the budget kept it from another attempt; retried_at: when each further attempt was
    sent, in seconds from the start of the load, shape (m,). samples: for each stage that a request
    may have several times of, the positions of the rows and the seconds. dropped: indices never
    sent; held: those of them for which the service left no connection.
    """

    index: NDArray[np.int64]
    intended_ns: NDArray[np.int64]
    endpoint: NDArray[np.uint8]
    subject: NDArray[np.uint32]
    host: NDArray[np.uint16]
    lag: NDArray[np.float64]
    latency: NDArray[np.float64]
    kind: NDArray[np.uint8]
    status: NDArray[np.uint16]
    reads: NDArray[np.uint8]
    cpu: NDArray[np.float64]
    total: NDArray[np.float64]
    attempts: NDArray[np.uint8]
    is_refused: NDArray[np.uint8]
    samples: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]]
    dropped: NDArray[np.int64]
    held: NDArray[np.int64]
    retried_at: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return int(self.index.size)


_COLUMNS = tuple(name for name in Rows.__dataclass_fields__ if name != "samples")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a service counted since it started: histograms, counters, and its process."""

    histograms: Mapping[str, LatencyHistogram]
    counters: Mapping[str, int]
    process: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "histograms": {name: h.to_json() for name, h in self.histograms.items()},
            "counters": dict(self.counters),
            "process": dict(self.process),
        }

    def named(self, name: Callable[[str], str]) -> Snapshot:
        """Return the same figures, each called what *name* makes of its name."""
        return Snapshot(
            histograms={name(n): histogram for n, histogram in self.histograms.items()},
            counters={name(n): value for n, value in self.counters.items()},
            process={name(n): value for n, value in self.process.items()},
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Snapshot:
        """Return the snapshot in *data*; KeyError, TypeError or ValueError if it holds none."""
        return cls(
            histograms={
                name: LatencyHistogram.from_json(h) for name, h in data["histograms"].items()
            },
            counters={name: int(value) for name, value in data["counters"].items()},
            process={name: float(value) for name, value in data["process"].items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """A finished or interrupted load.

    before, after: a snapshot per host at the end of the warm-up and after the last answer, None
    for a host that has no statistics. polls: per host, {"t", "counters", "process"} once a second.
    audit: facts of the generator (planned, handed, cpu_seconds, wall_seconds, speed, clean_start,
    pool_size, run_id). notes: what a reader of the report has to know.
    """

    rows: Rows
    before: tuple[Snapshot | None, ...]
    after: tuple[Snapshot | None, ...]
    polls: tuple[tuple[Mapping[str, Any], ...], ...]
    audit: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    interrupted: bool = False

    def write(self, folder: Path) -> None:
        """Write rows.npz, polls.json and, last, audit.json: it stands for a whole result."""
        columns = {name: getattr(self.rows, name) for name in _COLUMNS}
        for stage, (positions, seconds) in self.rows.samples.items():
            columns[f"{stage}_row"], columns[f"{stage}_seconds"] = positions, seconds
        with (folder / ROWS_FILE).open("wb") as file:
            np.savez(file, **columns)
        polls = [list(polls) for polls in self.polls]
        (folder / POLLS_FILE).write_text(json.dumps(polls), encoding="utf-8")
        data = {
            "schema": "edgeproof/load-audit",
            "schema_version": RESULT_VERSION,
            "interrupted": self.interrupted,
            "notes": list(self.notes),
            "facts": dict(self.audit),
            "before": [None if s is None else s.to_json() for s in self.before],
            "after": [None if s is None else s.to_json() for s in self.after],
        }
        write_whole(folder / AUDIT_FILE, json.dumps(data))

    @classmethod
    def read(cls, folder: Path) -> LoadResult:
        """Return what `write` put into *folder*; ResultUnreadable if it is not all there."""
        try:
            data = json.loads((folder / AUDIT_FILE).read_text(encoding="utf-8"))
            if data["schema_version"] != RESULT_VERSION:
                raise ValueError(f"version {data['schema_version']}")
            with np.load(folder / ROWS_FILE, allow_pickle=False) as file:
                stages = [name.removesuffix("_row") for name in file.files if name[-4:] == "_row"]
                rows = Rows(
                    **{name: file[name] for name in _COLUMNS},
                    samples={s: (file[f"{s}_row"], file[f"{s}_seconds"]) for s in stages},
                )
            polls = json.loads((folder / POLLS_FILE).read_text(encoding="utf-8"))
            return cls(
                rows=rows,
                before=tuple(_snapshot(s) for s in data["before"]),
                after=tuple(_snapshot(s) for s in data["after"]),
                polls=tuple(tuple(host) for host in polls),
                audit=data["facts"],
                notes=tuple(data["notes"]),
                interrupted=data["interrupted"],
            )
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ResultUnreadable(
                f"{folder}: the load left no complete result ({error}); see its locust.log"
            ) from None


def _snapshot(data: Mapping[str, Any] | None) -> Snapshot | None:
    return None if data is None else Snapshot.from_json(data)
