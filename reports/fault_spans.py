"""What happens in a scenario's run, marked and named on a time axis: faults and deployments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from core.metrics.record import RunRecord
from core.scenario.fault_kinds import FaultKinds
from core.units import parse_duration
from reports import style

_Rows = Sequence[Mapping[str, Any]]


def shade_faults(axes: Axes, record: RunRecord, kinds: FaultKinds) -> None:
    """Shade the time in which a fault of the scenario lasts, and name it as *kinds* do."""
    faults: _Rows = record.scenario.get("faults") or ()
    left, right = axes.get_xlim()
    for fault in faults:
        start = _seconds(fault["at"])
        end = min(right, start + _seconds(fault["for"]))
        start = max(left, start)
        if start >= end:
            continue
        axes.axvspan(start, end, color=style.ABSENT, lw=0, zorder=0)
        middle = (start + end) / 2
        place = (middle - left) / (right - left)
        axes.annotate(
            _fault_name(fault, kinds),
            (start if place < 0.1 else end if place > 0.9 else middle, 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="left" if place < 0.1 else "right" if place > 0.9 else "center",
            fontsize=7.5,
            color=style.INK,
        )


def mark_deployments(axes: Axes, record: RunRecord) -> None:
    """Draw a line where a deployment starts, shade the time that it takes, and name it."""
    deployments: _Rows = record.scenario.get("deployments") or ()
    left, right = axes.get_xlim()
    # A name is written once where deployments stand close together.
    free, row = left, 1 if record.scenario.get("faults") else 0
    for deployment in deployments:
        start = _seconds(deployment["at"])
        end = start + _seconds(deployment.get("over", "0s"))
        if end < left or start > right:
            continue
        first, last = max(left, start), min(right, end)
        is_late = (first - left) / (right - left) > 0.85
        axes.axvspan(first, last, color=style.ABSENT, lw=0, zorder=0)
        if start >= left:
            axes.axvline(start, color=style.INK, lw=0.9, ls=(0, (3, 2)), zorder=1)
        if first >= free:
            axes.annotate(
                "deployment",
                (first, 0),
                xycoords=("data", "axes fraction"),
                xytext=(-4 if is_late else 4, 4 + 10 * row),
                textcoords="offset points",
                ha="right" if is_late else "left",
                fontsize=7.5,
                color=style.INK,
            )
            free = first + (right - left) / 6


def _fault_name(fault: Mapping[str, Any], kinds: FaultKinds) -> str:
    tier, endpoint = fault.get("tier"), fault.get("endpoint")
    kind = kinds.find(fault["kind"])
    if kind is not None:
        return kind.shown(tier, endpoint)
    # A record of another installation: its kind is unknown here, and was drawn all the same.
    return " ".join(filter(None, (str(tier).upper() if tier else endpoint, fault["kind"])))


def _seconds(value: object) -> float:
    return parse_duration(value) if isinstance(value, str) else float(str(value))
