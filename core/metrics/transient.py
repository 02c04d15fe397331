"""Whether a run had settled when its warm-up ended: MSER-5."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.metrics.seconds import Times

BATCH = 5
MIN_RUNS = 3
SURE, NOTABLE = 4.0, 0.05
_BLOCK = 100_000
WINDOWS = 200
"""The windows of a run whose means MSER-5 takes as its observations."""


def mser5(values: NDArray[np.float64]) -> int | None:
    """Return how many of *values* to leave out at the beginning, None if they never settle.

    The cut that minimises the squared standard error of the mean of what is left, over batches of
    five (White, Cobb and Spratt, "A comparison of five steady-state truncation heuristics", WSC
    2000). A cut in the second half says nothing: too little is left to judge it by.
    """
    count = len(values) // BATCH
    if count < 4:
        return 0
    batches = values[: count * BATCH].reshape(count, BATCH).mean(axis=1)
    left = np.arange(count, 0, -1)
    sums = np.cumsum(batches[::-1])[::-1]
    squares = np.cumsum((batches**2)[::-1])[::-1]
    errors = (squares - sums**2 / left) / left.astype(np.float64) ** 2
    cut = int(np.argmin(errors[: count - 2]))
    return None if cut > count // 2 else cut * BATCH


def window_means(times: Times, values: NDArray[np.float64], total: float) -> NDArray[np.float64]:
    """Return the means of *values* in equal windows of *total* seconds; nan where there is none."""
    counts, sums = np.zeros(WINDOWS, dtype=np.int64), np.zeros(WINDOWS)
    for start in range(0, len(times), _BLOCK):  # there may be many millions
        part = slice(start, start + _BLOCK)
        place = np.minimum((times[part] / total * WINDOWS).astype(np.int64), WINDOWS - 1)
        counts += np.bincount(place, minlength=WINDOWS)
        np.add.at(sums, place, values[part])  # in their order, whatever the blocks
    means = np.full(WINDOWS, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


@dataclass(frozen=True, slots=True, kw_only=True)
class Transit:
    """A beginning that differs from the rest: it lasts until *until* seconds (None: to the end).

    change: of the mean of the rest against that of the beginning.
    """

    until: float | None
    change: float


def in_transit(
    runs: Sequence[NDArray[np.float64]], *, warm_up: float, total: float
) -> Transit | None:
    """Return how long the means of replications are in transit beyond the *warm_up*, None if not.

    runs: `window_means` of each. The cut is MSER-5's over the windows' means over all runs. It
    counts if the runs' own differences between before and behind it (or between the halves behind
    the warm-up, if there is no cut) are surely more than 5 % of the mean: |t| above 4.
    """
    if len(runs) < MIN_RUNS:
        return None
    table = np.array(runs)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # windows without a request
        means = np.nanmean(table, axis=0)
        known = np.isfinite(means)
        if known.sum() < WINDOWS // 2:
            return None
        cut = mser5(means[known])
        places = np.flatnonzero(known)
        first = int(np.ceil(warm_up / total * WINDOWS))
        end = (first + WINDOWS) // 2 if cut is None else int(places[cut]) if cut else 0
        if end <= first:
            return None
        before = np.nanmean(table[:, first:end], axis=1)
        rest = np.nanmean(table[:, end:], axis=1)
    differences = (rest - before)[np.isfinite(rest - before)]
    spread = differences.std(ddof=1) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
    mean, base = float(differences.mean()), float(np.nanmean(before))
    if abs(mean) <= SURE * spread or abs(mean) <= NOTABLE * abs(base):
        return None
    until = None if cut is None else end * total / WINDOWS
    return Transit(until=until, change=mean / base if base else math.inf)
