"""Two kinds of answers told apart from outside: fast ones and slow ones, and when each comes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from core.scenario.calibration_file import learned
from core.scenario.outside import Ages, Mixture, ages_of
from scenarios.result import Rows

FEWEST = 20
"""Answers without which nothing is learned of an endpoint."""

_FEWEST_OF_KIND = 5
_APART = 4.0
"""Ashman's D from which on two kinds are told apart: halves of one log-normal are 2.7 apart, of a
log-uniform 3.5 (Ashman, Bird and Zepf 1994 ask for 2 of a fitted mixture)."""

_LEAST_SAVED = 5
"""Answers that a limit of the cache has to explain beyond what it makes wrong."""


def learn_outside(
    rows: Rows, mine: NDArray[np.bool_], latencies: NDArray[np.float64]
) -> Mixture | None:
    """Return what the answered requests *mine* of one endpoint teach; None if they are too few.

    latencies: of all rows, without what a busy generator adds.
    """
    order = np.argsort(rows.intended_ns[mine], kind="stable")
    latency = latencies[mine][order]
    if latency.size < FEWEST:
        return None
    border = border_of(latency)
    if border is None:
        return Mixture(slow=learned(latency.tolist()))
    is_fast = latency < border
    times = rows.intended_ns[mine][order] / 1e9
    ages = ages_of(times, rows.subject[mine][order])
    most_others, most_age = _limits(ages, is_fast)
    known = ages.known(most_others=most_others, most_age=most_age)
    return Mixture(
        slow=learned(latency[~is_fast].tolist()),
        fast=learned(latency[is_fast].tolist()),
        fast_first=_share(is_fast[~known]),
        fast_repeat=_share(is_fast[known]) if known.any() else _share(is_fast),
        most_others=most_others,
        most_age=most_age,
    )


def border_of(latency: NDArray[np.float64]) -> float | None:
    """Return the latency between fast and slow answers; None if they are of one kind.

    The border leaves the least variance of log(latency) within the two kinds (Otsu 1979); Ashman's
    D of the two has to be `_APART` or more.
    """
    logs = np.sort(np.log(np.maximum(latency, 1e-6)))
    n = logs.size
    if n < 2 * _FEWEST_OF_KIND:
        return None
    counts = np.arange(1, n)
    below, below2 = np.cumsum(logs)[:-1], np.cumsum(logs**2)[:-1]
    above, above2 = logs.sum() - below, (logs**2).sum() - below2
    within = below2 - below**2 / counts + above2 - above**2 / (n - counts)
    allowed = (counts >= _FEWEST_OF_KIND) & (n - counts >= _FEWEST_OF_KIND)
    within[~allowed] = np.inf
    at = int(np.argmin(within))
    low, high = logs[: at + 1], logs[at + 1 :]
    spread = math.sqrt(float(low.var()) + float(high.var()))
    gap = float(high.mean() - low.mean())
    if (spread and math.sqrt(2) * gap / spread < _APART) or gap < 0.5:
        return None
    return math.exp((low[-1] + high[0]) / 2)


def _share(is_fast: NDArray[np.bool_]) -> float:
    return float(is_fast.mean()) if is_fast.size else 0.0


def _limits(ages: Ages, is_fast: NDArray[np.bool_]) -> tuple[int | None, float | None]:
    """Return the number of other ids, or the seconds, after which a repeat is slow again.

    The one that makes the fewest answers wrong, if any makes clearly fewer wrong than none does.
    """
    repeat = np.isfinite(ages.seconds)
    fast = is_fast[repeat]
    if not repeat.any():
        return None, None
    plain = int((~fast).sum())
    others, wrong_others = _limit(ages.others[repeat], fast)
    age, wrong_age = _limit(ages.seconds[repeat], fast)
    least = min(wrong_others, wrong_age)
    if plain - least < max(_LEAST_SAVED, plain // 2):
        return None, None
    if wrong_others <= wrong_age:
        return max(1, math.ceil(others)), None
    return None, round(age, 3)


def _limit(ages: NDArray[np.float64], is_fast: NDArray[np.bool_]) -> tuple[float, int]:
    """Return the limit below which answers are fast, and how many it makes wrong."""
    order = np.argsort(ages, kind="stable")
    fast, ordered = is_fast[order], ages[order]
    slow_below = np.concatenate(([0], np.cumsum(~fast)))
    fast_above = int(fast.sum()) - np.concatenate(([0], np.cumsum(fast)))
    wrong = slow_below + fast_above
    at = int(np.argmin(wrong))
    if at == ordered.size:
        return math.inf, int(wrong[at])
    before = ordered[at - 1] if at else 0.0
    return float((before + ordered[at]) / 2), int(wrong[at])
