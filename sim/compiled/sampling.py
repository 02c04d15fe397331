"""Samples of latencies, counted in buckets as `LatencyHistogram` has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import sim.compiled.slots as s
from sim.compiled.jit import leaf, part
from sim.compiled.philox import bit_length
from sim.compiled.state import State


@leaf
def bucket(seconds: Any) -> Any:
    """Return the whole nanoseconds of a sample and its bucket, as `LatencyHistogram` has them."""
    value: Any = np.int64(math.floor(seconds * 1e9 + 0.5))
    if value < 0:
        value = 0
    if value < 512:
        return value, value
    shift = bit_length(value) - 9
    return value, (shift << 8) + (value >> shift)


@leaf
def sample(a: State, stage: Any, intended: Any, seconds: Any) -> Any:
    """Count a sample of a request in the whole run, and in the parts that it falls into."""
    if intended < a.cf[s.F_WARM]:
        return
    value, place = bucket(seconds)
    hist, sums, parts = a.hist, a.sums, a.parts
    hist[0, stage, place] += 1
    sums[0, stage, 0] += value
    if value > sums[0, stage, 1]:
        sums[0, stage, 1] = value
    for which in range(a.ci[s.I_PARTS]):
        if parts[which, 0] <= intended - a.cf[s.F_AHEAD] < parts[which, 1]:
            hist[which + 1, stage, place] += 1
            sums[which + 1, stage, 0] += value
            if value > sums[which + 1, stage, 1]:
                sums[which + 1, stage, 1] = value


@leaf
def sample_l1(a: State, intended: Any) -> Any:
    """Count a read of L1, which takes no time."""
    if intended < a.cf[s.F_WARM]:
        return
    a.hist[0, s.STAGE_L1, 0] += 1
    for which in range(a.ci[s.I_PARTS]):
        if a.parts[which, 0] <= intended - a.cf[s.F_AHEAD] < a.parts[which, 1]:
            a.hist[which + 1, s.STAGE_L1, 0] += 1


@part
def profile_failure(a: State, kind: Any) -> Any:
    """Count an operation that failed."""
    if a.si[s.S_SNAPPED]:
        a.psums[kind, 2] += 1


@part
def profile(a: State, process: Any, name: Any, kind: Any, seconds: Any) -> Any:
    """Count a sample of the profiler; its buckets are remembered by process and name."""
    value, place = bucket(seconds)
    a.seen[process, name, place] = 1
    if value > a.psums[kind, 1]:
        a.psums[kind, 1] = value
    if a.si[s.S_SNAPPED]:
        a.phist[kind, place] += 1
        a.psums[kind, 0] += value
