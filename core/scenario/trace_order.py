"""The order of a trace's times: those that step back are sorted within a bound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.scenario.trace_source import TraceFault
from core.scenario.trace_time import UNITS, TimeUnit
from core.texts import count_of

SORTED_WITHIN = 60.0
"""Seconds by which the times of a trace may step back, and are sorted: logs of several writers."""


class StepsBack:
    """Times that are earlier than one before them: where the furthest one is."""

    def __init__(self) -> None:
        self._latest = 0.0
        self._furthest, self._place, self._number = 0.0, "", 0
        self.is_met = False

    def checked(self, time: float, place: str) -> float:
        """Return *time*, having noted whether it steps back."""
        if time >= self._latest:
            self._latest = time
            return time
        self.is_met = True
        self._number += 1
        if self._latest - time > self._furthest:
            self._furthest, self._place = self._latest - time, place
        return time

    def order(self, times: NDArray[np.float64], unit: TimeUnit) -> tuple[NDArray[np.int64], str]:
        """Return the order of *times*, stable, and what to tell; TraceFault if too far back."""
        seconds = self._furthest / UNITS[unit]
        if seconds > SORTED_WITHIN:
            raise TraceFault(
                f"time steps back by {seconds:,.6g} s; up to {SORTED_WITHIN:g} s are sorted: sort "
                "the trace by time",
                place=self._place,
            )
        stand = "access of the trace stands", "accesses of the trace stand"
        told = (
            f"{count_of(self._number, *stand)} up to {seconds:.3g} s behind later ones; the trace "
            "is sorted by time."
        )
        return np.argsort(times, kind="stable"), told
