"""What a running load has counted so far, for who watches it: counts that add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.metrics.exposition import BOUNDS
from scenarios.arrivals import Arrivals
from scenarios.recorder import Recent, Recorder
from scenarios.result import Kind

_BOUNDS = np.array(BOUNDS)
_STATUSES = frozenset(status.value for status in HTTPStatus)


class LoadFigures:
    """Counts the rows of *recorder* once each, as soon as all before them have an outcome.

    endpoints: names by their code; endpoint: the code of each arrival's.
    """

    def __init__(
        self,
        recorder: Recorder,
        arrivals: Arrivals,
        endpoints: Sequence[str],
        endpoint: NDArray[np.uint8],
    ) -> None:
        self._recorder, self._arrivals = recorder, arrivals
        self._endpoints, self._endpoint = endpoints, endpoint
        self._counted: dict[str, Any] = {}
        self._next = 0

    def to_json(self) -> dict[str, Any]:
        """Return the counts; those of a later call are never lower, the gauges aside."""
        rows = self._recorder.since(self._next)
        open_ones = np.flatnonzero(rows.kind == Kind.UNFINISHED)
        over = int(open_ones[0]) if open_ones.size else rows.kind.size
        add_figures(self._counted, self._count(rows.part(0, over)))
        self._next += over
        told: dict[str, Any] = {}
        for part in (self._counted, self._count(rows.part(over, rows.kind.size)), self._unsent()):
            add_figures(told, part)
        users = self._arrivals.users
        told["users"] = {"busy": max(0, users - self._arrivals.idle), "idle": self._arrivals.idle}
        return told

    def _count(self, rows: Recent) -> dict[str, Any]:
        is_done = rows.kind != Kind.UNFINISHED
        sent, latency, failures = {}, {}, {}
        for code, name in enumerate(self._endpoints):
            is_its = rows.endpoint == code
            sent[name] = int(is_its.sum())
            latency[name] = _histogram(rows.latency[is_its & is_done])
            is_failed = is_its & is_done & (rows.kind != Kind.ANSWERED)
            # Of Kind.CHECK the status tells which check it was.
            status = np.where(rows.kind == Kind.STATUS, rows.status, 0)[is_failed]
            pairs, counts = np.unique(
                np.stack([rows.kind[is_failed], status], axis=1), axis=0, return_counts=True
            )
            found: dict[str, int] = {}
            for (kind, code_of_status), count in zip(pairs, counts, strict=True):
                reason = _reason(int(kind), int(code_of_status))
                found[reason] = found.get(reason, 0) + int(count)
            failures[name] = found
        return {
            "sent": sent, "latency": latency, "failures": failures, "lag": _histogram(rows.lag),
        }  # fmt: skip

    def _unsent(self) -> dict[str, Any]:
        dropped = self._by_endpoint(self._arrivals.dropped)
        held = self._by_endpoint(self._arrivals.held)  # they are among the dropped
        return {
            "failures": {
                name: {"dropped": dropped[code] - held[code], "held": held[code]}
                for code, name in enumerate(self._endpoints)
            }
        }

    def _by_endpoint(self, rows: Sequence[int]) -> list[int]:
        codes = self._endpoint[np.fromiter(rows, dtype=np.int64)]
        counts: list[int] = np.bincount(codes, minlength=len(self._endpoints)).tolist()
        return counts


def _reason(kind: int, status: int) -> str:
    cause = Kind(kind).cause
    if cause != "status":
        return str(cause)
    # What a service can choose must not make series without end.
    return f"status {status}" if status in _STATUSES else "status other"


def _histogram(seconds: NDArray[np.float64]) -> dict[str, Any]:
    """Return how many lie up to each bound and beyond the last, and the sum of the finite ones."""
    places = np.searchsorted(_BOUNDS, seconds, side="left")
    counts = np.bincount(places, minlength=_BOUNDS.size + 1).tolist()
    return {"counts": counts, "sum": float(seconds[np.isfinite(seconds)].sum())}


def add_figures(total: dict[str, Any], figures: Mapping[str, Any]) -> None:
    """Add every number of *figures* to the one at the same place of *total*."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            add_figures(total.setdefault(name, {}), value)
        elif isinstance(value, list):
            old = total.get(name, [0] * len(value))
            total[name] = [a + b for a, b in zip(old, value, strict=True)]
        else:
            total[name] = total.get(name, 0) + value
