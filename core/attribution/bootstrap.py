"""The sampling variation of the data-driven figures: bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.attribution.account import transitions_of
from core.attribution.fitted import fit
from core.attribution.fused import share_credit
from core.attribution.models import DATA_DRIVEN
from core.attribution.parameters import OTHER, Parameters
from core.attribution.paths import Floats, Paths, under_direct_rule
from core.attribution.transitions import with_others_merged
from core.context import Purpose
from core.streams import Stream

_MOST_WALKS = 2**62  # walks of a resample: they fit into 64 bits; with more, nothing would vary


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Intervals:
    """Percentile intervals, shape (channels, 2), in shares of all attributed conversions.

    credit: of data_driven; removal: of the global removal effects.
    """

    channels: tuple[str, ...]
    credit: Floats
    removal: Floats
    replicates: int

    def to_json(self) -> dict[str, Any]:
        """Return the intervals as JSON data, for each channel in shares of all conversions."""
        return {
            "replicates": self.replicates,
            "channels": {
                channel: {"data_driven": credit, "removal": removal}
                for channel, credit, removal in zip(
                    self.channels, self.credit.tolist(), self.removal.tolist(), strict=True
                )
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Intervals:
        """Return the intervals of `to_json`."""
        channels = data["channels"]
        return cls(
            channels=tuple(map(str, channels)),
            credit=np.array([of["data_driven"] for of in channels.values()], dtype=np.float64),
            removal=np.array([of["removal"] for of in channels.values()], dtype=np.float64),
            replicates=int(data["replicates"]),
        )


def bootstrap(
    paths: Paths,
    parameters: Parameters,
    *,
    seed: int,
    replicates: int = 200,
    level: float = 0.95,
    minimum: int = 1,
    with_nulls: bool = True,
    most: int | None = None,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Intervals | None:
    """Return intervals for the channels' shares, from *replicates* resamples of the paths.

    A resample draws as many walks as there were, each a path with or without its conversion, in
    proportion to how often it was seen (the multinomial bootstrap), and everything is fitted anew.
    *most* is that of `fit`; the channels that are one are the same in all resamples.
    Resamples without a conversion are left out; None if none is left. Raise ValueError for fewer
    than 20 replicates.
    """
    if replicates < 20:
        raise ValueError(f"{replicates} replicates; at least 20 are needed")
    paths = under_direct_rule(paths, parameters.direct)
    own = replace(parameters, direct="own channel")  # the rule has been applied
    walks = np.concatenate((np.maximum(paths.conversions, 0.0), paths.nulls))
    walked = np.flatnonzero(walks)
    if not walked.size:
        return None
    total = float(walks.sum())
    count = max(1, min(round(total), _MOST_WALKS))
    chances = walks[walked] / total
    whole = fit(
        transitions_of(paths, own, with_nulls=with_nulls), own, minimum=minimum, most=most
    )  # fmt: skip
    # The channels that are rare in all paths: with others, a resample would have other channels.
    has_rare = OTHER in whole.weights and any(c not in whole.weights for c in paths.channels)
    credits, removals = [], []
    for number in range(replicates):
        generator = Stream(seed, Purpose.BOOTSTRAP, replication=number).generator()
        # One binomial per path, however many walks it stands for.
        seen = np.zeros(len(walks))
        seen[walked] = generator.multinomial(count, chances)
        conversions, nulls = seen[: len(paths)], seen[len(paths) :]
        resample = replace(paths, conversions=conversions, nulls=nulls, values=np.zeros(len(paths)))
        transitions = transitions_of(resample, own, with_nulls=with_nulls)
        if has_rare:
            transitions = with_others_merged(transitions, whole.weights)
        model = fit(transitions, own, minimum=minimum)
        credit = share_credit(resample, own, weights=model.weights_of(paths.channels))
        if credit.attributed > 0:
            credits.append(credit.conversions[credit.models.index(DATA_DRIVEN)] / credit.attributed)
            shared = model.shared_out(1.0)
            removals.append([shared.get(channel, 0.0) for channel in paths.channels])
        on_progress((number + 1) / replicates)
    ends = ((1 - level) / 2, (1 + level) / 2)
    if not credits:
        return None
    return Intervals(
        channels=paths.channels,
        credit=np.quantile(credits, ends, axis=0).T,
        removal=np.quantile(removals, ends, axis=0).T,
        replicates=len(credits),
    )
