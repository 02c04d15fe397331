"""How near a prediction is to its measurement, and whether a flawed one can tell."""

from __future__ import annotations

import math

from core.metrics.kpi import Interval, Metric

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
