"""How near a prediction is to its measurement, and whether a flawed one can tell."""

from __future__ import annotations

import math
from collections.abc import Sequence

from core.metrics.kpi import Interval, Metric

MIN_LUCK = 3
RATIO_POINTS = 0.02
RELATIVE = 0.20
"""Errors up to which a prediction is believed: of ratios the difference, else relative."""


def relative_error(metric: Metric, predicted: float | None, measured: float | None) -> float | None:
    """Return predicted/measured - 1, for ratios the difference; None if it is not finite."""
    if predicted is None or measured is None:
        return None
    if metric.unit == "ratio":
        return predicted - measured
    if math.isinf(predicted) or math.isinf(measured) or measured == 0:
        return None
    return predicted / measured - 1


def side(metric: Metric, predicted: float, measured: float) -> int:
    """Return 0 where the prediction is near enough, 1 where it is too high, -1 where too low.

    A figure that is infinite on one side only is off without bound.
    """
    error = relative_error(metric, predicted, measured)
    if error is None:
        return (predicted > measured) - (predicted < measured)
    limit = RATIO_POINTS if metric.unit == "ratio" else RELATIVE
    return 0 if abs(error) <= limit else 1 if error > 0 else -1


def side_within(metric: Metric, predicted: float, possible: Interval) -> int | None:
    """Return `side` of a measurement anywhere in *possible*; None where that decides it."""
    low, high = (side(metric, predicted, end) for end in possible)
    return low if low == high else None


def error_ends(metric: Metric, predicted: float, possible: Interval) -> Interval:
    """Return the least and the greatest error of a measurement anywhere in *possible*."""
    high, low = (_error_at(metric, predicted, end) for end in possible)
    return low, high


def _error_at(metric: Metric, predicted: float, measured: float) -> float:
    error = relative_error(metric, predicted, measured)
    if error is not None:
        return error
    if predicted == measured:
        return 0.0
    return -1.0 if math.isinf(measured) else math.inf


def paired_interval(
    metric: Metric, predicted: float, measured: float, luck: Sequence[float]
) -> Interval | None:
    """Return the 95 % interval of the error of a prediction of the same requests.

    luck: the figure in further predicted runs of these requests, which differ in their service
    times alone. Both the prediction and the measurement are one such run, so their difference
    spreads by sqrt(2) of one run's deviation: error +- t(n-1, 0.975) s sqrt(2), relative to the
    measurement as the error is. None without an error, or with fewer than three runs.
    """
    values = [predicted, *luck]
    error = relative_error(metric, predicted, measured)
    if error is None or len(values) < MIN_LUCK or not all(map(math.isfinite, values)):
        return None
    from scipy.special import stdtrit  # slow to import, rarely needed

    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    half = float(stdtrit(len(values) - 1, 0.975)) * math.sqrt(2 * variance)
    if metric.unit != "ratio":
        half /= abs(measured)
    return error - half, error + half
