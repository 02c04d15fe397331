"""Accesses of several files in the order of their times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

SORTED_WITHIN = 300_000_000
"""Microseconds by which an access may stand behind a later one: answers end out of order."""

FAR = 86_400_000_000
"""Microseconds from the others of its lines at which a time is a mistake."""

ACCESS = np.dtype([("time", "<i8"), ("key", "<u8"), ("rule", "<i2")])
"""An access; time: microseconds since 1970."""

_MOST_WAITING = 1_000_000
_FEW = 0.02

Accesses = NDArray[Any]


@dataclass(slots=True)
class Waiting:
    """Accesses that may still be overtaken.

    late: how many came too late to be put in their place; moved: how many were put before one
    that the file has earlier.
    """

    late: int = 0
    moved: int = 0
    _parts: list[Accesses] = field(default_factory=list)
    _texts: list[list[bytes]] = field(default_factory=list)
    _count: int = 0
    _emitted: int = -(2**62)

    def add(self, accesses: Accesses, texts: list[bytes] | None) -> None:
        """Add *accesses*, and the texts of their keys, one each."""
        is_late = accesses["time"] < self._emitted
        if is_late.any():
            self.late += int(is_late.sum())
            accesses = accesses[~is_late]
            if texts is not None:
                texts = [text for text, late in zip(texts, is_late, strict=True) if not late]
        if accesses.size:
            self.moved += int(np.count_nonzero(np.diff(accesses["time"]) < 0))
            self._parts.append(accesses)
            if texts is not None:
                self._texts.append(texts)
            self._count += accesses.size

    def ready(self, until: int) -> Iterator[tuple[Accesses, list[bytes]]]:
        """Yield what is before *until*, in order; or the earlier half if too much waits."""
        if not self._count:
            return
        if self._count <= _MOST_WAITING:
            # Sorting all that waits for every chunk would cost more than reading it.
            if self._count < 2**18 and until < 2**62:
                return
        else:
            times = np.concatenate([part["time"] for part in self._parts])
            until = max(until, int(np.partition(times, times.size // 2)[times.size // 2]))
        every = np.concatenate(self._parts)
        texts = [text for part in self._texts for text in part]
        order = np.argsort(every["time"], kind="stable")
        every = every[order]
        if texts:
            texts = [texts[at] for at in order.tolist()]
        cut = int(np.searchsorted(every["time"], until))
        self._parts = [every[cut:]] if cut < every.size else []
        self._texts = [texts[cut:]] if texts and cut < every.size else []
        self._count = every.size - cut
        if cut:
            self._emitted = max(self._emitted, int(every["time"][cut - 1]))
            yield every[:cut], texts[:cut]

    def rest(self) -> Iterator[tuple[Accesses, list[bytes]]]:
        """Yield all that waits, in order."""
        yield from self.ready(2**62)


def outliers(times: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of *times* lie days from all others: a wrong clock, not a gap of the log."""
    if times.size < 8:
        return np.zeros(times.size, np.bool_)
    far: NDArray[np.bool_] = np.abs(times - np.int64(np.median(times))) > FAR
    return far if far.sum() <= max(1, _FEW * times.size) else np.zeros(times.size, np.bool_)


def spread(times: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return *times* of whole seconds spread at random over their seconds, in the same order.

    A log with whole seconds would otherwise ask for everything at the start of each second.
    """
    draws = rng.random(times.size)
    order = np.lexsort((draws, times))
    places = np.argsort(times, kind="stable")
    found = times.copy()
    found[places] += (draws[order] * 1e6).astype(np.int64)
    return found
