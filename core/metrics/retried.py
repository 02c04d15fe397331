"""How often clients tried: attempts, first failures, and retries that a budget refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from core.metrics.seconds import Times


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """The further attempts of a run whose clients try again.

    attempts: of each planned request, shape (n,) (u1). at: when each further attempt was sent, in
    seconds from the start of the run (f8). refused: when each request was to be sent that only the
    budget kept from another attempt (f8).
    """

    attempts: NDArray[np.uint8]
    at: NDArray[np.float64]
    refused: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """Counts over requests of which each may be several attempts.

    attempts: of all together. first_failed: requests whose first attempt failed. refused: those
    that only the budget kept from another one.
    """

    attempts: int
    first_failed: int
    refused: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave; KeyError or ValueError if it is none."""
        return cls(**{name: int(data[name]) for name in cls.__slots__})


def tries_of(
    retried: Retried,
    intended: Times,
    latency: Times,
    *,
    after: float,
    until: float = math.inf,
) -> Tries:
    """Return the counts of the requests intended from *after* to *until* seconds.

    intended, latency: of each request, infinite where it failed, shape (n,).
    """
    chosen = (intended >= after) & (intended < until)
    attempts = retried.attempts[chosen]
    first_failed = (attempts > 1) | np.isinf(latency[chosen])
    refused = (retried.refused >= after) & (retried.refused < until)
    return Tries(
        attempts=int(attempts.sum(dtype=np.int64)),
        first_failed=int(np.count_nonzero(first_failed)),
        refused=int(np.count_nonzero(refused)),
    )
