"""Latencies and KPIs: histograms, the profiler, records of runs, verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.doors import front_door

if TYPE_CHECKING:
    from core.metrics.estimate import Estimate
    from core.metrics.histogram import LatencyHistogram
    from core.metrics.kpi import Kpi, Metric, Outcome, Verdict
    from core.metrics.profile import THRESHOLDS, Threshold
    from core.metrics.profiler import LatencyProfiler
    from core.metrics.record import RunRecord, read_record, write_record
    from core.metrics.span import SlowRequest
else:  # mypy would take any name for one that this offers
    __getattr__, __dir__ = front_door(
        __name__,
        {
            "Estimate": "estimate",
            "LatencyHistogram": "histogram",
            "Kpi": "kpi",
            "Metric": "kpi",
            "Outcome": "kpi",
            "Verdict": "kpi",
            "THRESHOLDS": "profile",
            "Threshold": "profile",
            "LatencyProfiler": "profiler",
            "RunRecord": "record",
            "read_record": "record",
            "write_record": "record",
            "SlowRequest": "span",
        },
    )

__all__ = [
    "THRESHOLDS",
    "Estimate",
    "Kpi",
    "LatencyHistogram",
    "LatencyProfiler",
    "Metric",
    "Outcome",
    "RunRecord",
    "SlowRequest",
    "Threshold",
    "Verdict",
    "read_record",
    "write_record",
]
