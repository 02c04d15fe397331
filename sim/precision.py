"""How many replications a wanted precision takes, and what was reached."""

from __future__ import annotations

import math
from collections.abc import Iterable

from core.metrics.kpi import Kpi
from core.metrics.record import RunRecord

MOST = 200
"""Replications of a simulation that is asked for a precision, at most."""


def relative_half_width(record: RunRecord, kpi: Kpi) -> float | None:
    """Return half the width of the mean's interval over the mean; None where there is none."""
    found = record.estimate(kpi.metric)
    if found is None or found.interval is None or not math.isfinite(found.value) or not found.value:
        return None
    low, high = found.interval
    return (high - low) / 2 / abs(found.value)


def widest(record: RunRecord, kpis: Iterable[Kpi]) -> tuple[str, float] | None:
    """Return the KPI whose interval is relatively widest, and that half-width."""
    widths = [(kpi.name, relative_half_width(record, kpi)) for kpi in kpis]
    known = [(name, width) for name, width in widths if width is not None]
    return max(known, key=lambda pair: pair[1], default=None)


def further(runs: int, width: float, precision: float) -> int:
    """Return how many more replications are due: as the width falls with their root, at most twice
    as many in all, and within the bound."""
    if width <= precision:
        return 0
    needed = math.ceil(runs * (width / precision) ** 2 * 1.05)
    return max(0, min(needed, 2 * runs, MOST) - runs)


def precision_note(record: RunRecord, kpis: Iterable[Kpi], precision: float) -> str:
    """Return in one sentence what the wanted precision took, or that it was not reached."""
    found = widest(record, kpis)
    asked = f"Precision {100 * precision:g} %"
    if found is None:
        return f"{asked}: no KPI has an interval to narrow ({record.runs} replications)."
    name, width = found
    widest_is = f"the widest interval is that of {name}, ±{100 * width:.2g} %"
    reached = f"{record.runs} replications, {widest_is}"
    if width <= precision:
        return f"{asked} reached: {reached}."
    return f"{asked} not reached within {MOST} replications: {reached}; lengthen the duration."
