"""The median and interval of ratios that were measured in pairs, in blocks of processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.context import Purpose
from core.streams import Stream

RESAMPLES = 5_000
FEWEST_BLOCKS = 8
"""A bootstrap interval of fewer blocks is too narrow to decide anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A median ratio with its interval."""

    median: float
    low: float
    high: float
    pairs: int
    blocks: int

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"


def paired_ratio(
    blocks: Sequence[Sequence[float]], *, seed: int = 1, confidence: float = 0.95
) -> Ratio:
    """Return the median of the ratios in *blocks*, with a bootstrap interval at *confidence*.

    A block holds the ratios of one set of processes. Blocks are resampled first and then the pairs
    within them, since the pairs of one process share its memory layout and hash seed and are not
    independent (Davison & Hinkley, Bootstrap Methods, 1997, section 3.8). Blocks are of one length.
    Raise ValueError for fewer than FEWEST_BLOCKS, blocks of different lengths, a ratio that is
    not a positive number, or a confidence that needs more than RESAMPLES.
    """
    if not 0 < confidence <= 1 - 20 / RESAMPLES:
        raise ValueError(f"confidence is {confidence}; {RESAMPLES} resamples tell no such interval")
    values = np.asarray(blocks, dtype=float)
    if values.ndim != 2 or values.shape[0] < FEWEST_BLOCKS or values.shape[1] < 1:
        raise ValueError(f"an interval needs at least {FEWEST_BLOCKS} blocks of at least one pair")
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError("a ratio is not a positive number")
    count, pairs = values.shape
    uniforms = Stream(seed, Purpose.DATA, width=count * (pairs + 1)).rows(0, RESAMPLES)
    chosen = (uniforms[:, :count] * count).astype(int)
    within = (uniforms[:, count:] * pairs).astype(int).reshape(RESAMPLES, count, pairs)
    medians = np.median(values[chosen[:, :, None], within].reshape(RESAMPLES, -1), axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(medians, (tail, 1 - tail))
    return Ratio(
        median=float(np.median(values)), low=float(low), high=float(high),
        pairs=values.size, blocks=count,
    )  # fmt: skip
