"""What the generator adds to the latencies that it measures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scenarios.result import Rows

_APART = 0.5e-3
"""Seconds between two requests below which they belong to one burst."""


def unhurried(rows: Rows, answered: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the latencies that a generator would see that is never later than it usually is.

    What a busy generator adds to some requests is no time of the service.
    """
    usual = float(np.median(rows.lag[answered]))
    return rows.latency - np.maximum(rows.lag - usual, 0.0)


def lag_of(rows: Rows) -> float:
    """Return the seconds by which 5 % of the requests, or more, were sent late; 0 without any.

    Those that came in bursts wait for each other, on any machine; they are left out.
    """
    lag = rows.lag[alone(rows.intended_ns)]
    return round(float(np.quantile(lag, 0.95)), 6) if lag.size else 0.0


def alone(intended_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which requests have no other within half a millisecond; shape (n,)."""
    order = np.argsort(intended_ns, kind="stable")
    gaps = np.diff(intended_ns[order]) < _APART * 1e9
    near = np.zeros(intended_ns.size, dtype=np.bool_)
    near[order[1:]] |= gaps
    near[order[:-1]] |= gaps
    return ~near
