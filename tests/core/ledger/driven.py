"""What data_driven says of a world, by plain Python: no matrix, no array, no inverse."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from tests.core.ledger.worlds import World

Walk = tuple[tuple[str, ...], bool]
"""The channels of a path, and whether it converted."""


def walks_of(world: World) -> list[Walk]:
    """Return every path of *world*: one per conversion, and one per user who did not convert."""
    walks = [
        (tuple(channel for _, channel in world.journey(name)), True) for name in world.conversions
    ]
    rests = [world.unconverted(user) for user in world.touches]
    return walks + [(tuple(channel for _, channel in rest), False) for rest in rests if rest]


def effects_of(walks: Sequence[Walk]) -> dict[str, float]:
    """Return the removal effect of each channel in the chain of order 1 that *walks* make."""
    steps: dict[str, Counter[str]] = defaultdict(Counter)
    for channels, converts in walks:
        places = ["start", *(f"at {channel}" for channel in channels)]
        places.append("converted" if converts else "lost")
        for here, there in pairwise(places):
            steps[here][there] += 1
    known = sorted({channel for names, _ in walks for channel in names})
    whole = _chance(steps, None)
    if not whole:
        return dict.fromkeys(known, 0.0)
    return {channel: 1 - _chance(steps, f"at {channel}") / whole for channel in known}


def _chance(steps: Mapping[str, Counter[str]], removed: str | None) -> float:
    """Return the chance to convert from the start, paths that meet *removed* being lost."""
    chance = dict.fromkeys(steps, 0.0) | {"converted": 1.0, "lost": 0.0}
    while True:
        change = 0.0
        for here, there in steps.items():
            if here == removed:
                continue
            new = math.fsum(n * chance[place] for place, n in there.items()) / there.total()
            change = max(change, abs(new - chance[here]))
            chance[here] = new
        if change < 1e-16:
            return chance["start"]


def driven_credits(channels: Sequence[str], effects: Mapping[str, float]) -> tuple[float, ...]:
    """Return the credit of each touch of one journey; equal shares where nothing has an effect."""
    weights = [effects.get(channel, 0.0) for channel in channels]
    total = math.fsum(weights)
    if total < 1e-12:
        return (1 / len(channels),) * len(channels)
    return tuple(weight / total for weight in weights)
