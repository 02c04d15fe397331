"""The faults of a run: which hold a tier at a time, and what they do to an operation."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from core.context import Purpose
from core.emulation.platform import Platform
from core.scenario.faults import Fault


@dataclass(slots=True)
class FaultSchedule:
    """The faults of a run; *origin* is the platform's time at which the run starts."""

    faults: tuple[Fault, ...]
    origin: float = 0.0

    def active(self, tier: str, now: float) -> list[Fault]:
        """Return the faults that hold *tier* at *now*, in the order of the file."""
        since = now - self.origin
        return [f for f in self.faults if f.tier == tier and f.at <= since < f.at + f.for_]

    def apply(
        self, tier: str, now: float, seconds: float, fate: Purpose, platform: Platform
    ) -> tuple[float, bool]:
        """Return how long an operation of *seconds* takes at *now*, and whether it fails.

        A dead tier takes for ever; *fate* is the purpose that draws whether an error strikes.
        """
        failed = False
        for fault in self.active(tier, now):
            if fault.kind == "slow":
                seconds *= fault.value
            elif fault.kind == "dead":
                seconds = inf
            else:
                failed = failed or platform.uniform(fate) < fault.value
        return seconds, failed
