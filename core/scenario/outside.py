"""An endpoint seen from outside only: how often it answers fast or slow, and in which time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.distributions import Distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """Times in seconds, and how many samples they come from."""

    times: Distribution
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """The answers of an endpoint whose tiers are unknown.

    slow and fast: their times from the intended start to the answer; fast is None where the
    answers do not fall into two kinds. fast_first, fast_repeat: the share of fast answers to ids
    that were not asked for before, and to those that were. most_others: the number of other ids
    since, most_age: the seconds since, from which on an id counts as not asked for before; None
    where no such limit was seen.
    """

    slow: Learned
    fast: Learned | None = None
    fast_first: float = 0.0
    fast_repeat: float = 0.0
    most_others: int | None = None
    most_age: float | None = None

    def latencies(
        self, ages: Ages, u: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the latency of each request in seconds, and whether it is a fast one.

        u: uniform numbers, shape (n, 2).
        """
        n = len(u)
        is_fast = np.zeros(n, dtype=np.bool_)
        if self.fast is not None:
            known = ages.known(most_others=self.most_others, most_age=self.most_age)
            is_fast = u[:, 0] < np.where(known, self.fast_repeat, self.fast_first)
        values = np.array(
            [
                (self.fast if fast and self.fast else self.slow).times.sample(x)
                for fast, x in zip(is_fast.tolist(), u[:, 1].tolist(), strict=True)
            ]
        )
        return values, is_fast


@dataclass(frozen=True, slots=True)
class Ages:
    """Since each request's id was last asked for: seconds, and other ids; infinite the first time.

    Both have shape (n,).
    """

    seconds: NDArray[np.float64]
    others: NDArray[np.float64]

    def known(self, *, most_others: int | None, most_age: float | None) -> NDArray[np.bool_]:
        """Return which requests are for ids that were asked for before, within the limits."""
        limit_others = np.inf if most_others is None else most_others
        limit_age = np.inf if most_age is None else most_age
        known: NDArray[np.bool_] = (
            np.isfinite(self.seconds) & (self.others < limit_others) & (self.seconds < limit_age)
        )
        return known


def ages_of(times: NDArray[np.float64], ids: NDArray[np.uint32]) -> Ages:
    """Return the ages of requests for *ids* at *times* in seconds, which ascend; shape (n,).

    The number of other ids since is the LRU stack distance (Mattson et al. 1970), counted with a
    Fenwick tree over the places of each id's last request.
    """
    n = ids.size
    seconds, others = np.full(n, np.inf), np.full(n, np.inf)
    tree = [0] * (n + 1)

    def add(place: int, value: int) -> None:
        while place <= n:
            tree[place] += value
            place += place & -place

    def up_to(place: int) -> int:
        total = 0
        while place:
            total += tree[place]
            place -= place & -place
        return total

    last: dict[int, int] = {}
    for place, (time, key) in enumerate(zip(times.tolist(), ids.tolist(), strict=True), 1):
        before = last.get(key)
        if before is not None:
            seconds[place - 1] = time - times[before - 1]
            others[place - 1] = up_to(place - 1) - up_to(before)
            add(before, -1)
        add(place, 1)
        last[key] = place
    return Ages(seconds, others)
