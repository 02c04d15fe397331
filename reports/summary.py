"""The outcome of a command as one JSON object, for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from core.metrics.kpi import Interval, Outcome, Verdict
from core.metrics.verdict import ComparisonRow

SCHEMA_VERSION = 1


def summary(
    rows: Sequence[ComparisonRow],
    *,
    outcome: Outcome,
    out: str,
    invalid: Sequence[str] = (),
    doubts: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what `--json` prints: seconds, bytes and fractions, None where a side is missing.

    out: the folder of the run. invalid: why the run cannot be trusted. doubts: what is in doubt,
    and whether the outcome holds in spite of it. "measured_possible": the range of a figure that a
    flawed run leaves open. "error_possible": that of the error, and "error_in_doubt" whether it
    decides if the prediction is near enough. "predicted_runs": of how many runs a figure is the
    mean. JSON has no infinity: it is the text "Infinity".
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "outcome": outcome.value,
        "out": out,
        "invalid": list(invalid),
        "doubts": list(doubts),
        "kpis": [
            {
                "metric": row.kpi.name,
                "target": row.kpi.target_text,
                "alert": row.kpi.alert_text,
                **_side("predicted", row.predicted),
                **_side("measured", row.measured),
                "measured_possible": None if row.measured is None else _ends(row.measured.possible),
                "error": row.error,
                "error_possible": _ends(row.error_ends),
                "error_interval": _ends(row.error_interval),
                "error_in_doubt": row.is_error_in_doubt,
            }
            for row in rows
        ],
    }


def _side(name: str, verdict: Verdict | None) -> dict[str, Any]:
    return {
        name: None if verdict is None else _number(verdict.value),
        f"{name}_interval": None if verdict is None else _ends(verdict.interval),
        f"{name}_outcome": None if verdict is None else verdict.outcome.value,
        f"{name}_runs": None if verdict is None else verdict.runs,
    }


def _ends(interval: Interval | None) -> list[Any] | None:
    return None if interval is None else [_number(end) for end in interval]


def _number(value: float | None) -> float | str | None:
    if value is None or math.isfinite(value):
        return value
    return "Infinity" if value > 0 else "-Infinity"
