"""The arrival rate of a running load: achieved beside planned."""

from __future__ import annotations

import math

import numpy as np

from core.scenario.workload import Workload
from scenarios.arrivals import Arrivals
from scenarios.recorder import Recorder


class Pace:
    """Compares what was sent with what was planned, from one look to the next."""

    def __init__(self, arrivals: Arrivals, recorder: Recorder, workload: Workload) -> None:
        self._arrivals, self._recorder, self._workload = arrivals, recorder, workload
        self._before = (0.0, 0, 0)

    def rates(self, seconds: float) -> tuple[float | None, float | None]:
        """Return requests/s sent and planned since the last look, *seconds* after the start.

        None before the start, after the last arrival, and where no time has passed.
        """
        if not math.isfinite(seconds) or seconds <= 0:
            return None, None
        planned = int(np.searchsorted(self._workload.intended_ns, round(seconds * 1e9)))
        at, sent_before, planned_before = self._before
        sent = self._recorder.sent
        self._before = (seconds, sent, planned)
        passed = seconds - at
        if passed <= 0 or planned_before >= len(self._workload):
            return None, None
        # Of several processes each sends its share.
        share = self._arrivals.planned / max(1, len(self._workload))
        rate = (planned - planned_before) * share / passed
        return round((sent - sent_before) / passed, 1), round(rate, 1)
