"""Which model's channel values predict the conversions of journeys that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from core.attribution.grouping import channel_sets
from core.attribution.paths import Floats, Integers, Paths

RATE = "conversion rate"
"""The yardstick: each channel's own conversion rate, without any attribution."""
_ALIKE = 1e-11


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How well channel values rank later journeys.

    auc: for each model, the chance that a journey that converted has a higher score than one that
    did not, ties counted half. errors: the standard errors (DeLong). behind: how far the model is
    behind the best one, and the standard error of that difference; (0, 0) for the best.
    conversions, nulls: the journeys that were scored.
    """

    auc: Mapping[str, float]
    errors: Mapping[str, float]
    behind: Mapping[str, tuple[float, float]]
    conversions: float
    nulls: float

    @property
    def said(self) -> str:
        """What the check says of the models, in one sentence."""
        best = max(self.auc, key=lambda name: self.auc[name])
        if self.auc[best] - 1.96 * self.errors[best] <= 0.5:
            return (
                "no model predicts later conversions better than chance: the best AUC is "
                f"{self.auc[best]:.3f}, of {best}"
            )
        alike = [
            name for name, (gap, error) in self.behind.items()
            if name != best and gap <= 1.96 * error
        ]  # fmt: skip
        said = f"{best} predicts later conversions best: AUC {self.auc[best]:.3f}"
        if len(alike) == len(self.auc) - 1 and alike:
            return f"{said}, and no model is clearly behind it"
        if alike:
            return f"{said}; not clearly behind it: {', '.join(alike)}"
        return f"{said}, clearly ahead of the others"


def channel_values(credit: Mapping[str, float], seen: Paths) -> Floats:
    """Return the conversions that a model credits each channel with, per journey that holds it.

    credit: conversions by channel; seen: the journeys that they are of. Values lie in [0, 1].
    """
    sets = channel_sets(seen)
    walks = np.repeat(np.maximum(sets.conversions, 0.0) + sets.nulls, sets.lengths)
    present = np.bincount(sets.codes, weights=walks, minlength=len(sets.channels))
    amounts = np.array([credit.get(channel, 0.0) for channel in sets.channels])
    values = np.divide(amounts, present, out=np.zeros_like(amounts), where=present > 0)
    clipped: Floats = np.clip(values, 0.0, 1.0)
    return clipped


def conversion_rates(seen: Paths) -> dict[str, float]:
    """Return the conversions of the journeys that hold each channel: no credit is shared."""
    sets = channel_sets(seen)
    walks = np.repeat(np.maximum(sets.conversions, 0.0), sets.lengths)
    found = np.bincount(sets.codes, weights=walks, minlength=len(sets.channels))
    return dict(zip(sets.channels, found.tolist(), strict=True))


def check(credits: Mapping[str, Mapping[str, float]], seen: Paths, later: Paths) -> Check | None:
    """Return how the *credits* of models, of the journeys *seen*, rank *later* ones.

    A journey's score is 1 - (1 - v_1)(1 - v_2)..., over its distinct channels, with v the
    `channel_values` of the model; a channel that was never seen has the value 0. Journeys without
    a touch are left out. None if the later journeys all converted or none did.
    """
    sets = channel_sets(later)
    has_touch = sets.lengths > 0
    converted = np.where(has_touch, np.maximum(sets.conversions, 0.0), 0.0)
    failed = np.where(has_touch, sets.nulls, 0.0)
    if converted.sum() <= 0 or failed.sum() <= 0:
        return None
    placements: dict[str, tuple[Floats, Floats]] = {}
    for model, credit in credits.items():
        known = dict(zip(seen.channels, channel_values(credit, seen).tolist(), strict=True))
        stays = np.log1p(-np.minimum([known.get(c, 0.0) for c in sets.channels], 1 - 1e-12))
        sums = np.concatenate(([0.0], np.cumsum(stays[sets.codes])))
        scores = -np.expm1(sums[sets.offsets[1:]] - sums[sets.offsets[:-1]])
        placements[model] = _placements(_levels(scores), converted, failed)
    auc = {model: float(of[0] @ converted / converted.sum()) for model, of in placements.items()}
    best = max(auc, key=lambda name: auc[name])
    nothing = (np.zeros(len(converted)), np.zeros(len(converted)))
    return Check(
        auc=auc,
        errors={m: _error(p, nothing, converted, failed) for m, p in placements.items()},
        behind={
            model: (auc[best] - auc[model], _error(placements[best], of, converted, failed))
            if model != best else (0.0, 0.0)
            for model, of in placements.items()
        },
        conversions=float(converted.sum()),
        nulls=float(failed.sum()),
    )  # fmt: skip


def _levels(scores: Floats) -> Integers:
    """Return the rank of each score; equal ones may differ in the last digits of their sums."""
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(len(scores), dtype=np.int64)
    ranks[order] = np.cumsum(np.diff(scores[order], prepend=scores[order[0]]) > _ALIKE)
    return ranks


def _placements(level: Integers, converted: Floats, failed: Floats) -> tuple[Floats, Floats]:
    """Return, for each journey, the share of those of the other kind that it is ranked right of."""
    found = []
    for weights, is_above in ((failed, True), (converted, False)):
        at = np.bincount(level, weights=weights)
        below = np.cumsum(at) - at
        total = at.sum()
        ranked = (below if is_above else total - below - at) + at / 2
        found.append((ranked / total)[level])
    return found[0], found[1]


def _error(
    one: tuple[Floats, Floats], other: tuple[Floats, Floats], converted: Floats, failed: Floats
) -> float:
    """Return the standard error of the difference of two AUC (DeLong et al., Biometrics 44, 1988).

    Rows are weighted by the journeys that they stand for.
    """
    variance = 0.0
    for mine, theirs, weights in zip(one, other, (converted, failed), strict=True):
        total = float(weights.sum())
        gaps = mine - theirs
        mean = float(gaps @ weights) / total
        variance += float(((gaps - mean) ** 2) @ weights) / max(total - 1, 1.0) / total
    return math.sqrt(variance)
