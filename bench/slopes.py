"""Whether memory grows: the slope of readings of several lives of processes, with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Readings = Sequence[tuple[float, float]]
"""Seconds and bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """Bytes/s that memory grows by, with the half width of its 95 % interval; lives: in it."""

    value: float
    half_width: float
    lives: int

    def verdict(self, limit: float) -> str:
        """Return FAIL where memory surely grows by more than *limit* bytes/s, else PASS.

        UNDECIDED where the interval holds the limit.
        """
        if self.value - self.half_width > limit:
            return "FAIL"
        return "PASS" if self.value + self.half_width <= limit else "UNDECIDED"

    @property
    def text(self) -> str:
        """The slope in kB a minute."""
        factor = 60 / 1e3
        return f"{self.value * factor:+,.0f} ± {self.half_width * factor:,.0f} kB/min"


def slope_of(
    lives: Mapping[str, Readings], *, settle: float, block: float, least: float
) -> Slope | None:
    """Return the slope that all *lives* have in common, None where they are too short.

    settle: seconds at the beginning of each life that are left out; least: that have to follow, or
    the life is left out. Readings are averaged over blocks of *block* seconds. Each life has a
    level of its own. The interval is that of least squares, widened by the correlation of
    neighbouring residuals.
    """
    times, values, owners = [], [], []
    for number, readings in enumerate(lives.values()):
        if not readings or readings[-1][0] - readings[0][0] < settle + least:
            continue
        begun = readings[0][0] + settle
        blocks: dict[int, list[tuple[float, float]]] = {}
        for reading in readings:
            if reading[0] >= begun:
                blocks.setdefault(int((reading[0] - begun) / block), []).append(reading)
        if len(blocks) < 3:
            continue
        means = [np.mean(found, axis=0) for _, found in sorted(blocks.items())]
        times += [float(mean[0]) for mean in means]
        values += [float(mean[1]) for mean in means]
        owners += [number] * len(means)
    if not times:
        return None
    at, size, owner = np.array(times), np.array(values), np.array(owners)
    kept = sorted({*owners})
    for number in kept:
        at[owner == number] -= at[owner == number].mean()
        size[owner == number] -= size[owner == number].mean()
    spread = float((at**2).sum())
    slope = float((at * size).sum() / spread)
    residuals = size - slope * at
    degrees = len(at) - len(kept) - 1
    error = math.sqrt(float((residuals**2).sum()) / degrees / spread)
    together = [residuals[owner == number] for number in kept]
    products = sum(float((part[1:] * part[:-1]).sum()) for part in together)
    correlation = min(0.95, max(0.0, products / max(float((residuals**2).sum()), 1e-12)))
    error *= math.sqrt((1 + correlation) / (1 - correlation))
    return Slope(
        value=slope, half_width=float(stats.t.ppf(0.975, degrees)) * error, lives=len(kept)
    )
