"""The faults of a run: those active on a tier at a time, and their effect on an operation."""

from __future__ import annotations

from core.context import Purpose
from core.emulation.platform import Platform
from core.scenario.fault_kinds import Call, CallEffect
from core.scenario.faults import Fault


class FaultSchedule:
    """The faults of a run; *origin* is the platform's time at which the run starts."""

    __slots__ = ("_of_tier", "faults", "origin")

    def __init__(self, faults: tuple[Fault, ...], origin: float = 0.0) -> None:
        self.faults = faults
        self.origin = origin
        self._of_tier: dict[str, list[tuple[Fault, CallEffect]]] = {}
        for fault in faults:
            if fault.tier is not None and fault.kind.call is not None:
                self._of_tier.setdefault(fault.tier, []).append((fault, fault.kind.call))

    def active(self, tier: str, now: float) -> list[Fault]:
        """Return the faults that are active on *tier* at *now*, in the order of the file."""
        since = now - self.origin
        return [f for f, _ in self._of_tier.get(tier, ()) if f.at <= since < f.at + f.for_]

    def apply(
        self, tier: str, now: float, seconds: float, fate: Purpose, platform: Platform
    ) -> tuple[float, bool]:
        """Return how long an operation of *seconds* takes at *now*, and whether it fails.

        An operation on a dead tier takes for ever. *fate* is the purpose of the random number that
        decides on an error. Raise ValueError if the effect of a kind is not a time.
        """
        since = now - self.origin
        call = Call(seconds)
        for fault, effect in self._of_tier.get(tier, ()):
            if fault.at <= since < fault.at + fault.for_:
                call = effect(call, fault.value, since - fault.at, lambda: platform.uniform(fate))
                if not call.seconds >= 0:
                    raise ValueError(
                        f"fault kind {fault.kind.name!r} lets an operation on {tier} take "
                        f"{call.seconds} s; an effect returns 0 or more"
                    )
        return call
