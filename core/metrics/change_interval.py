"""How sure the change between the means of two sets of runs is."""

from __future__ import annotations

import math
from collections.abc import Sequence


def half_width(
    before: Sequence[float | None],
    after: Sequence[float | None],
    *,
    is_ratio: bool,
    is_paired: bool,
) -> float | None:
    """Return half the width of the change's 95 % interval, None where there is none.

    Of a quotient R = mean(b)/mean(a) by the delta method: the standard error of b - R a, over
    mean(a) (Cochran, "Sampling Techniques", 1977, 6.4); of a ratio's difference with R = 1. Paired
    with t(n-1); otherwise with both variances and Welch's degrees of freedom ("The generalization
    of Student's problem", 1947).
    """
    if is_paired:
        pairs = [
            (a, b) for a, b in zip(before, after, strict=True) if a is not None and b is not None
        ]
        a, b = [x for x, _ in pairs], [y for _, y in pairs]
    else:
        a, b = [x for x in before if x is not None], [y for y in after if y is not None]
    if min(len(a), len(b)) < 2 or any(map(math.isinf, (*a, *b))):
        return None
    from scipy.special import stdtrit  # slow to import, rarely needed

    mean = math.fsum(a) / len(a)
    factor = 1.0 if is_ratio else math.fsum(b) / len(b) / mean
    scale = 1.0 if is_ratio else mean
    if is_paired:
        squared = _variance([y - factor * x for x, y in pairs]) / len(pairs)
        freedom = float(len(pairs) - 1)
    else:
        parts = [(factor**2 * _variance(a) / len(a), len(a)), (_variance(b) / len(b), len(b))]
        squared = sum(part for part, _ in parts)
        below = sum(part**2 / (n - 1) for part, n in parts)
        freedom = squared**2 / below if below else 1.0
    return float(stdtrit(freedom, 0.975)) * math.sqrt(squared) / scale


def _variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
