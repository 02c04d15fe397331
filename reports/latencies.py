"""The percentiles of each endpoint: of every request after the warm-up, failed ones included."""

from __future__ import annotations

import math
from typing import Any

from core.metrics.histogram import LatencyHistogram
from core.metrics.record import RunRecord
from core.units import format_duration
from reports.failures import Table, sides

_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
HEADER = ("endpoint", "requests", "failed", *_QUANTILES, "max")


def latencies_table(predicted: RunRecord | None, measured: RunRecord | None) -> Table:
    """Return the header and a line per endpoint and side; only the header without a measurement.

    A request that failed counts as slower than any limit: a percentile that falls on one is ∞.
    """
    if measured is None:
        return [HEADER]
    found = sides(predicted, measured)
    has_sides = len(found) > 1
    table: Table = [(HEADER[0], *(("side",) if has_sides else ()), *HEADER[1:])]
    names = [name for name in measured.endpoints.names if name in measured.latencies]
    for endpoint in (*names, *sorted(set(measured.latencies) - set(names))):
        for side, record in found:
            if (histogram := record.latencies.get(endpoint)) is not None and histogram.count:
                table.append((endpoint, *((side,) if has_sides else ()), *_cells(histogram)))
    return table


def _cells(histogram: LatencyHistogram) -> tuple[str, ...]:
    times = (*histogram.quantiles(_QUANTILES.values()), histogram.maximum)
    counts = (f"{histogram.count:,}", f"{histogram.failed:,}")
    return (*counts, *map(format_duration, times))  # "∞" where a failed request stands


def data(predicted: RunRecord | None, measured: RunRecord | None) -> dict[str, Any]:
    """Return the same in seconds by side and endpoint; what is infinite is the text "Infinity".

    Empty without a measurement: a prediction is the mean of several runs, and a histogram is one's.
    """
    found = () if measured is None else sides(predicted, measured)
    return {
        "latencies": {
            side: {
                endpoint: _numbers(histogram)
                for endpoint, histogram in record.latencies.items()
                if histogram.count
            }
            for side, record in found
        }
    }


def _numbers(histogram: LatencyHistogram) -> dict[str, Any]:
    values = dict(zip(_QUANTILES, histogram.quantiles(_QUANTILES.values()), strict=True))
    values["max"] = histogram.maximum
    times = {name: v if math.isfinite(v) else "Infinity" for name, v in values.items()}
    return {"requests": histogram.count, "failed": histogram.failed, **times}
