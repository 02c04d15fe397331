"""A service's clock that moves in whole milliseconds, and what the client's clock adds to it.

A stage of 4 ms then reads 3 to 5 ms: right on average, but its quantiles are whole milliseconds.
The client saw the whole request to the microsecond. What a request took longer or shorter than
others of its kind, by less than a step, is put back into its stages.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

STEP = 1e-3
_WHOLE = 0.9
"""Share of the samples that are whole milliseconds, from which the clock is one."""

_FEWEST = 20
_TOLERANCE = 1e-6

ByRow = Mapping[str, Mapping[int, list[float]]]
"""The seconds of each stage, by the position of the row."""


def is_coarse(samples: ByRow) -> bool:
    """Return whether the stages were timed by a clock of whole milliseconds."""
    told = np.array([s for stage in ("l2", "l3") for each in samples[stage].values() for s in each])
    told = told[told > 0] / STEP
    if told.size < _FEWEST:
        return False
    whole = np.abs(told - np.round(told)) < _TOLERANCE / STEP
    return bool(whole.mean() >= _WHOLE)


def refined(
    samples: ByRow, latency: NDArray[np.float64], endpoint: NDArray[np.uint8]
) -> dict[str, dict[int, list[float]]]:
    """Return *samples* with the parts of a step that the client saw; means stay as they are.

    latency: of each row in seconds; endpoint: its code. Requests of a kind have the same endpoint
    and as many stages of each tier; kinds of which there are few keep their samples.
    """
    timed: dict[int, list[tuple[str, int]]] = defaultdict(list)
    told: dict[int, float] = defaultdict(float)
    for stage, by_row in samples.items():
        for row, seconds in by_row.items():
            told[row] += sum(seconds)
            if stage in ("l2", "l3"):
                timed[row] += [(stage, place) for place in range(len(seconds))]
    kinds: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for row, stages in timed.items():
        if np.isfinite(latency[row]):
            kinds[int(endpoint[row]), *stages].append(row)
    found = {stage: {row: [*s] for row, s in by.items()} for stage, by in samples.items()}
    for rows in kinds.values():
        if len(rows) < _FEWEST:
            continue
        rest = np.array([latency[row] - told[row] for row in rows])
        part = np.clip(rest - np.median(rest), -STEP, STEP)
        part -= part.mean()
        for row, seconds in zip(rows, part.tolist(), strict=True):
            stages = timed[row]
            for stage, place in stages:
                of_row = found[stage][row]
                of_row[place] = max(0.0, of_row[place] + seconds / len(stages))
    return found
