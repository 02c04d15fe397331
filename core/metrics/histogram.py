"""Latencies in a few kilobytes: a log-linear histogram over integer nanoseconds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUB_BUCKET_BITS = 8
_AT_A_TIME = 100_000  # which bounds the memory
_LINEAR = 1 << (SUB_BUCKET_BITS + 1)
_FRACTION_BITS = 52 - SUB_BUCKET_BITS
"""Of a float64 behind those that tell its bucket."""
_FIRST_BITS = (1023 + SUB_BUCKET_BITS - 1) << SUB_BUCKET_BITS
"""Of a float64 above the bucket of its value."""


def bucket_of(nanoseconds: int) -> int:
    """Return the bucket of a whole number of nanoseconds (see `LatencyHistogram`)."""
    shift = nanoseconds.bit_length() - SUB_BUCKET_BITS - 1
    return nanoseconds if shift <= 0 else (shift << SUB_BUCKET_BITS) + (nanoseconds >> shift)


def bucket_value(bucket: int) -> float:
    """Return the middle of *bucket* in seconds."""
    if bucket < _LINEAR:
        return bucket * 1e-9
    shift = (bucket >> SUB_BUCKET_BITS) - 1
    low = (bucket - (shift << SUB_BUCKET_BITS)) << shift
    return (low + ((1 << shift) - 1) / 2) * 1e-9


class LatencyHistogram:
    """Counts of latencies in log-linear buckets, and of requests that never succeeded.

    With b = 8 bits, v < 2^(b+1) ns has a bucket of its own; above, s = bit_length(v) - b - 1 and
    the bucket is (s << b) + (v >> s): 2^b buckets for each power of two, so a quantile is at most
    2^-(b+1) = 0.2 % away from the recorded value. A failed request counts as slower than any
    limit: it has no latency but it has a rank.
    """

    __slots__ = ("counts", "failed", "maximum_ns", "total_ns")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.failed = 0
        self.total_ns = 0
        self.maximum_ns = 0

    def record(self, seconds: float) -> None:
        """Count one latency; a negative one counts as 0, an infinite one as failed.

        Raise ValueError for NaN.
        """
        try:
            nanoseconds = int(seconds * 1e9 + 0.5)
        except (OverflowError, ValueError):
            self._record_odd(seconds)
            return
        if nanoseconds > 511:
            shift = nanoseconds.bit_length() - 9
            key = (shift << 8) + (nanoseconds >> shift)
        elif nanoseconds > 0:
            key = nanoseconds
        else:
            nanoseconds = key = 0
        counts = self.counts
        counts[key] = counts.get(key, 0) + 1
        self.total_ns += nanoseconds
        if nanoseconds > self.maximum_ns:
            self.maximum_ns = nanoseconds

    def _record_odd(self, seconds: float) -> None:
        if math.isnan(seconds):
            raise ValueError("a latency is NaN; count what has none with fail()")
        if seconds > 0:
            self.fail()
        else:
            self.record(0.0)

    def record_all(self, seconds: NDArray[np.float64]) -> None:
        """Count every latency of an array of any shape; infinite ones and NaN are failures."""
        flat = seconds.ravel()
        for start in range(0, flat.size, _AT_A_TIME):
            self._record_some(flat[start : start + _AT_A_TIME])

    def _record_some(self, seconds: NDArray[np.float64]) -> None:
        finite = seconds[np.isfinite(seconds)]
        self.failed += int(seconds.size - finite.size)
        if finite.size == 0:
            return
        whole = np.floor(finite * 1e9 + 0.5)
        np.maximum(whole, 0.0, out=whole)
        nanoseconds = whole.astype(np.int64)
        # Below 2^53 these are exact: their exponent and first bits are the bucket.
        buckets = (whole.view(np.int64) >> _FRACTION_BITS) - _FIRST_BITS
        is_small = whole < _LINEAR
        if is_small.any():
            buckets[is_small] = nanoseconds[is_small]
        counts = np.bincount(buckets)  # of the 14,848 that there are at most
        keys = np.flatnonzero(counts)
        for key, count in zip(keys.tolist(), counts[keys].tolist(), strict=True):
            self.counts[key] = self.counts.get(key, 0) + count
        self.total_ns += int(nanoseconds.sum())
        self.maximum_ns = max(self.maximum_ns, int(nanoseconds.max()))

    def fail(self, count: int = 1) -> None:
        """Count requests that were slower than any limit."""
        self.failed += count

    def add(self, other: LatencyHistogram) -> None:
        """Merge the counts of *other* into this histogram."""
        for key, count in other.counts.items():
            self.counts[key] = self.counts.get(key, 0) + count
        self.failed += other.failed
        self.total_ns += other.total_ns
        self.maximum_ns = max(self.maximum_ns, other.maximum_ns)

    def since(self, earlier: LatencyHistogram) -> LatencyHistogram:
        """Return what was counted after *earlier*, a copy of this histogram in the past.

        The maximum is that of the whole life: a maximum cannot be subtracted.
        """
        later = LatencyHistogram()
        for key, count in self.counts.items():
            if (rest := count - earlier.counts.get(key, 0)) > 0:
                later.counts[key] = rest
        later.failed = self.failed - earlier.failed
        later.total_ns = self.total_ns - earlier.total_ns
        later.maximum_ns = self.maximum_ns if later.counts else 0
        return later

    @property
    def count(self) -> int:
        """The number of requests, failed ones included."""
        return sum(self.counts.values()) + self.failed

    @property
    def mean(self) -> float:
        """The mean latency in seconds of what succeeded; ValueError if nothing did."""
        succeeded = sum(self.counts.values())
        if succeeded == 0:
            raise ValueError("nothing was recorded")
        return self.total_ns / succeeded * 1e-9

    @property
    def maximum(self) -> float:
        """The largest latency in seconds, infinite if a request failed; ValueError if empty."""
        if not self.counts and not self.failed:
            raise ValueError("nothing was recorded")
        return math.inf if self.failed else self.maximum_ns * 1e-9

    def quantile(self, q: float) -> float:
        """Return the latency in seconds below which a fraction *q* of requests fell.

        Infinite if the rank falls on a failed request. Raise ValueError if nothing was recorded
        or *q* is outside [0, 1].
        """
        return self.quantiles((q,))[0]

    def quantiles(self, qs: Iterable[float]) -> list[float]:
        """Return `quantile` of each of *qs* in seconds, in one pass."""
        total = self.count
        if total == 0:
            raise ValueError("nothing was recorded")
        keys = np.array(sorted(self.counts), dtype=np.int64)
        cumulative = np.cumsum([self.counts[key] for key in keys.tolist()])
        values = []
        for q in qs:
            if not 0 <= q <= 1:
                raise ValueError(f"a quantile is between 0 and 1, not {q}")
            # The nearest rank: the smallest value with at least q x total values at or below it.
            rank = max(1, math.ceil(q * total - 1e-9))
            position = int(np.searchsorted(cumulative, rank))
            values.append(bucket_value(int(keys[position])) if position < keys.size else math.inf)
        return values

    def at_most(self, bounds: Iterable[float]) -> list[int]:
        """Return how many latencies lie at or below each of *bounds*, ascending, in seconds.

        A latency counts as the middle of its bucket, so one within 0.2 % of a bound may count on
        its other side. What a bucket counts never changes sides. Failed requests lie below none.
        """
        keys = sorted(self.counts)
        found, total, position = [], 0, 0
        for bound in bounds:
            while position < len(keys) and bucket_value(keys[position]) <= bound:
                total += self.counts[keys[position]]
                position += 1
            found.append(total)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return plain data: sorted buckets with their counts."""
        keys = sorted(self.counts)
        return {
            "buckets": keys,
            "counts": [self.counts[key] for key in keys],
            "failed": self.failed,
            "total_ns": self.total_ns,
            "maximum_ns": self.maximum_ns,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LatencyHistogram:
        """Return the histogram that `to_json` wrote."""
        histogram = cls()
        histogram.counts = dict(zip(data["buckets"], data["counts"], strict=True))
        histogram.failed = data["failed"]
        histogram.total_ns = data["total_ns"]
        histogram.maximum_ns = data["maximum_ns"]
        return histogram

    @classmethod
    def of(cls, seconds: NDArray[np.float64]) -> LatencyHistogram:
        """Return the histogram of an array of latencies in seconds; infinite ones failed."""
        histogram = cls()
        histogram.record_all(seconds)
        return histogram
