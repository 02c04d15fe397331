"""What a pause before a request costs: processes are woken later, and find their caches cold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Idling:
    """How much longer a request takes by the pause before it.

    after: seconds since the request before it, ascending; longer: seconds, 0 at first, never less
    than before. Between two pauses it is interpolated.
    """

    after: tuple[float, ...] = ()
    longer: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.after) != len(self.longer):
            raise ValueError("idle.after and idle.longer have different lengths")
        for name, values in (("after", self.after), ("longer", self.longer)):
            if any(b < a for a, b in zip((0.0, *values), values, strict=False)):
                raise ValueError(f"idle.{name} has to ascend from 0 on")

    def seconds(self, pauses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how much longer requests after *pauses* take; seconds, shape (n,)."""
        if not self.after:
            return np.zeros(pauses.size)
        return np.interp(pauses, self.after, self.longer)

    def scaled(self, ratio: float) -> Idling:
        """Return what it is where all takes *ratio* times as long."""
        return Idling(after=self.after, longer=tuple(ratio * each for each in self.longer))


def pauses_of(intended_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the seconds since the request before each; infinite for the first; shape (n,)."""
    pauses = np.full(intended_ns.size, np.inf)
    order = np.argsort(intended_ns, kind="stable")
    pauses[order[1:]] = np.diff(intended_ns[order]) / 1e9
    return pauses
