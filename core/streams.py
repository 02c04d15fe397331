"""Random numbers by address: counter-based streams, one per purpose, with no cursor to share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from core.context import CURRENT, Purpose
from core.distributions import Distribution

_BLOCK_ROWS = 1024


def _generator(seed: int, purpose: Purpose, replication: int) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed, replication << 32 | purpose], dtype=np.uint64))


class Stream:
    """Uniforms in [0, 1) addressed by (row, slot): row a request or batch, slot a named operation.

    Each address has its number whatever else was asked before (Philox4x64-10: Salmon, Moraes,
    Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011). kept: how many blocks of
    rows it keeps beside the current one.
    """

    __slots__ = ("_block", "_end", "_first", "_kept", "_key", "_others", "width")

    def __init__(
        self, seed: int, purpose: Purpose, *, width: int = 1, replication: int = 0, kept: int = 1
    ) -> None:
        self._key = (seed, purpose, replication)
        self.width = width
        self._first = self._end = 0
        self._block: list[float] = []
        self._kept = kept
        self._others: dict[int, list[float]] = {}

    def at(self, row: int, slot: int = 0) -> float:
        """Return the uniform of (*row*, *slot*)."""
        if not self._first <= row < self._end:
            self._turn_to(row)
        return self._block[(row - self._first) * self.width + slot]

    def sampler(self, distribution: Distribution) -> Callable[[int, int], float]:
        """Return what samples *distribution* at the uniform of a row and a slot.

        It does what `distribution.sample(self.at(row, slot))` does, in one call.
        """
        if (constant := distribution.constant) is not None:
            return lambda row, slot: constant
        table, width = distribution.table, self.width
        last = len(table) - 1

        def sample(row: int, slot: int) -> float:
            if not self._first <= row < self._end:
                self._turn_to(row)
            position = self._block[(row - self._first) * width + slot] * last
            index = int(position)
            low = table[index]
            return low + (position - index) * (table[index + 1] - low)

        return sample

    def current_sampler(
        self, distribution: Distribution, of_batch: Callable[[int, int], float]
    ) -> Callable[[], float]:
        """Return what samples *distribution* at the running operation's number.

        of_batch: samples by row and slot where the operation is a batch's.
        """
        if (constant := distribution.constant) is not None:
            return lambda: constant
        current = CURRENT.get
        table, width = distribution.table, self.width
        last = len(table) - 1

        def sample() -> float:
            operation = current()
            span = operation.span
            if span.is_batch:
                return of_batch(span.row, operation.slot)
            row = span.row  # as `sampler`, without a call
            if not self._first <= row < self._end:
                self._turn_to(row)
            position = self._block[(row - self._first) * width + operation.slot] * last
            index = int(position)
            low = table[index]
            return low + (position - index) * (table[index + 1] - low)

        return sample

    def _turn_to(self, row: int) -> None:
        """Make the block of *row* the current one, and keep those before.

        Requests in flight lie on both sides of a border, and ask in turn.
        """
        others = self._others
        others[self._first] = self._block
        self._first = row - row % _BLOCK_ROWS
        self._end = self._first + _BLOCK_ROWS
        block = others.pop(self._first, None)
        if not block:
            block = self.rows(self._first, _BLOCK_ROWS).ravel().tolist()
        if len(others) > self._kept:
            del others[next(iter(others))]
        self._block = block

    def generator(self) -> np.random.Generator:
        """Return what draws from this stream's beginning, for work that addresses no number."""
        return np.random.Generator(_generator(*self._key))

    def rows(self, first: int, count: int) -> NDArray[np.float64]:
        """Return the uniforms of rows *first* to *first + count*; shape (count, width)."""
        # One Philox counter gives four numbers: start at the counter that holds the first one.
        start = first * self.width
        generator = _generator(*self._key)
        generator.advance(start // 4)
        raw = np.asarray(generator.random_raw(start % 4 + count * self.width))[start % 4 :]
        uniforms = ((raw >> np.uint64(11)) * 2.0**-53).astype(np.float64, copy=False)
        return uniforms.reshape(count, self.width)
