"""What several runs say together: the mean of their figures, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.metrics.kpi import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure over one or several runs: their mean, and its 95 % confidence interval if several.

    The value lies within the interval. runs: how many runs there were.
    """

    value: float
    interval: Interval | None
    runs: int


def estimate_of(values: Sequence[float], *, one_more: bool = False) -> Estimate:
    """Return the mean of *values*, one of each run, with its interval.

    With *one_more* the interval is that of one more run, mean +- t(n-1, 0.975) s sqrt(1 + 1/n).

    mean +- t(n-1, 0.975) s / sqrt(n) (Student, "The Probable Error of a Mean", 1908). Where some
    are infinite so is the mean, and the interval begins at the least of them. One run has no
    interval. Raise ValueError without a value.
    """
    n = len(values)
    if n == 0:
        raise ValueError("no run has a figure")
    if n == 1:
        return Estimate(value=values[0], interval=None, runs=1)
    least, most = min(values), max(values)
    if math.isinf(most):
        return Estimate(value=math.inf, interval=(least, math.inf), runs=n)
    from scipy.special import stdtrit  # slow to import, rarely needed

    mean = min(max(math.fsum(values) / n, least), most)  # never outside by rounding
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    half = float(stdtrit(n - 1, 0.975)) * math.sqrt(variance / n + (variance if one_more else 0.0))
    return Estimate(value=mean, interval=(mean - half, mean + half), runs=n)
