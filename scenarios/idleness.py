"""What a load teaches of the pauses before requests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.scenario.idling import Idling

_PER_BIN, _MOST_BINS, _FEWEST_BINS = 25, 8, 3
_SURE = 4.0
"""Standard errors by which medians have to differ."""

_MEDIAN_ERROR = 1.2533 * 1.4826
"""Standard error of a median, in median absolute deviations of one sample of a normal law."""


def idling_of(pauses: NDArray[np.float64], seconds: NDArray[np.float64]) -> Idling:
    """Return how much longer requests take after long *pauses*; nothing where that is not sure.

    seconds: what each took beyond the median of its kind. Medians of bins with as many requests
    each are made to ascend by pooling neighbours that do not (Barlow et al. 1972).
    """
    known = np.isfinite(pauses) & np.isfinite(seconds)
    pauses, seconds = pauses[known], seconds[known]
    bins = min(_MOST_BINS, pauses.size // _PER_BIN)
    if bins < _FEWEST_BINS:
        return Idling()
    parts = np.array_split(np.argsort(pauses, kind="stable"), bins)
    after = [float(np.median(pauses[part])) for part in parts]
    if not is_later(seconds[parts[0]], seconds[parts[-1]]):
        return Idling()
    medians = _ascending([float(np.median(seconds[part])) for part in parts])
    return Idling(
        after=tuple(round(each, 6) for each in after),
        longer=tuple(round(each - medians[0], 6) for each in medians),
    )


def is_later(some: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Return whether the median of *others* surely is greater than that of *some*."""
    errors = [
        _MEDIAN_ERROR * float(np.median(np.abs(each - np.median(each)))) / np.sqrt(each.size)
        for each in (some, others)
    ]
    return bool(np.median(others) - np.median(some) > _SURE * np.hypot(*errors))


def _ascending(values: list[float]) -> list[float]:
    """Return the nearest values, by squares, that never descend."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, n), (b, m) = pools[-2:]
            pools[-2:] = [((a * n + b * m) / (n + m), n + m)]
    return [value for value, count in pools for _ in range(count)]
