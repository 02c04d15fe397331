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
    there = measured.all_latencies
    names = [name for name in measured.endpoints.names if name in there]
    for endpoint in (*names, *sorted(set(there) - set(names))):
        for side, record in found:
            if (histogram := record.all_latencies.get(endpoint)) is not None and histogram.count:
                table.append((endpoint, *((side,) if has_sides else ()), *_cells(histogram)))
    return table


def basis(predicted: RunRecord | None, measured: RunRecord | None) -> str:
    """Return of which runs the latencies by endpoint are, as a sentence; "" for one alone."""
    if measured is None or not measured.pooled:
        return ""
    beside = " Predicted: those of one run." if predicted is not None else ""
    return (
        f"Latencies by endpoint are of all requests of the {measured.runs} runs together; KPIs are "
        f"means of the runs.{beside}"
    )


def _cells(histogram: LatencyHistogram) -> tuple[str, ...]:
    times = (*histogram.quantiles(_QUANTILES.values()), histogram.maximum)
    counts = (f"{histogram.count:,}", f"{histogram.failed:,}")
    return (*counts, *map(format_duration, times))  # "∞" where a failed request stands


def data(predicted: RunRecord | None, measured: RunRecord | None) -> dict[str, Any]:
    """Return the same in seconds by side and endpoint; what is infinite is the text "Infinity".

    runs: of how many runs the requests are, all counted together.
    Empty without a measurement: a prediction is the mean of several runs, and a histogram is one's.
    """
    found = () if measured is None else sides(predicted, measured)
    return {
        "latencies": {
            side: {
                endpoint: {"runs": record.runs if record.pooled else 1, **_numbers(histogram)}
                for endpoint, histogram in record.all_latencies.items()
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
