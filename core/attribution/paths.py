"""Many journeys as flat arrays: channel codes, times, and where each journey begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.attribution.names import is_direct
from core.attribution.parameters import DirectRule

Floats = NDArray[np.float64]
Codes = NDArray[np.int32]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paths:
    """Journeys, or counted kinds of journeys, one after the other.

    channels: names; codes: int32 positions in them, one per touch, oldest first; offsets: int64,
    one more than there are paths: path j has the touches offsets[j] to offsets[j + 1]. Per path,
    conversions and nulls: how often it was walked with and without converting; values: the value
    of its conversions together. times_ms: int64 per touch, None if unknown. lead, opportunity:
    int32 per path, the touch within it that an event marks, -1 for none; None if no path has one.
    conversion_ids: one per path, "" for one that did not convert; None if not requested.
    converted_ms: int64 per path, when its conversion was, -1 for none; None if unknown.
    """

    channels: tuple[str, ...]
    codes: Codes
    offsets: Integers
    conversions: Floats
    nulls: Floats
    values: Floats
    times_ms: Integers | None = None
    lead: Codes | None = None
    opportunity: Codes | None = None
    conversion_ids: tuple[str, ...] | None = None
    converted_ms: Integers | None = None

    def __post_init__(self) -> None:
        paths, touches = len(self.offsets) - 1, len(self.codes)
        per_path = (
            self.conversions, self.nulls, self.values, self.lead, self.opportunity,
            self.converted_ms,
        )  # fmt: skip
        if (
            paths < 0
            or self.offsets[0] != 0
            or self.offsets[-1] != touches
            or any(array is not None and len(array) != paths for array in per_path)
            or (self.conversion_ids is not None and len(self.conversion_ids) != paths)
            or (self.times_ms is not None and len(self.times_ms) != touches)
        ):
            raise ValueError("the arrays of paths do not fit together")
        if touches and not 0 <= int(self.codes.min()) <= int(self.codes.max()) < len(self.channels):
            raise ValueError("a code of a touch names no channel")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Integers:
        """The number of touches of each path."""
        return np.diff(self.offsets)

    def per_touch(self, of_path: Floats) -> Floats:
        """Return the entry of each touch's path."""
        return np.repeat(of_path, self.lengths)


def kept_touches(paths: Paths, rule: DirectRule) -> NDArray[np.bool_] | None:
    """Return the touches that *rule* leaves in *paths*, None if all."""
    if rule == "own channel":
        return None
    direct = np.array([is_direct(name) for name in paths.channels], dtype=np.bool_)
    if not direct.any():
        return None
    of_direct = direct[paths.codes]
    others = np.concatenate(([0], np.cumsum(~of_direct)))
    has_others = others[paths.offsets[1:]] > others[paths.offsets[:-1]]
    kept: NDArray[np.bool_] = ~of_direct | ~np.repeat(has_others, paths.lengths)
    return kept


def under_direct_rule(paths: Paths, rule: DirectRule) -> Paths:
    """Return *paths* under *rule*: without direct touches, unless all of a path are direct."""
    kept = kept_touches(paths, rule)
    if kept is None:
        return paths
    before = np.concatenate(([0], np.cumsum(kept)))
    offsets = before[paths.offsets].astype(np.int64)
    return replace(
        paths,
        codes=paths.codes[kept],
        offsets=offsets,
        times_ms=None if paths.times_ms is None else paths.times_ms[kept],
        lead=_remarked(paths, paths.lead, kept, before),
        opportunity=_remarked(paths, paths.opportunity, kept, before),
    )


def chosen_paths(paths: Paths, chosen: Integers) -> Paths:
    """Return the paths at the places *chosen*, in that order."""
    lengths = paths.lengths[chosen]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    at = np.arange(offsets[-1]) + np.repeat(paths.offsets[chosen] - offsets[:-1], lengths)
    ids = paths.conversion_ids
    return Paths(
        channels=paths.channels,
        codes=paths.codes[at],
        offsets=offsets,
        times_ms=None if paths.times_ms is None else paths.times_ms[at],
        conversions=paths.conversions[chosen],
        nulls=paths.nulls[chosen],
        values=paths.values[chosen],
        lead=None if paths.lead is None else paths.lead[chosen],
        opportunity=None if paths.opportunity is None else paths.opportunity[chosen],
        conversion_ids=None if ids is None else tuple(ids[place] for place in chosen.tolist()),
        converted_ms=None if paths.converted_ms is None else paths.converted_ms[chosen],
    )


def _remarked(
    paths: Paths, marks: Codes | None, kept: NDArray[np.bool_], before: Integers
) -> Codes | None:
    """Return the positions of the marked touches among the *kept* ones.

    A mark on a removed touch moves to the closest kept one in time, the earlier of two.
    """
    if marks is None:
        return None
    if paths.times_ms is None:
        raise ValueError("milestones need times")
    moved = marks.copy()
    starts = paths.offsets[:-1]
    for path in np.flatnonzero(marks >= 0):
        at = starts[path] + marks[path]
        if kept[at]:
            moved[path] = before[at] - before[starts[path]]
        else:
            stay = np.flatnonzero(kept[starts[path] : paths.offsets[path + 1]])
            ages = np.abs(paths.times_ms[starts[path] + stay] - paths.times_ms[at])
            moved[path] = int(np.argmin(ages))
    return moved


def merged_channels(names: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], list[Integers]]:
    """Return all *names* once, sorted, and for each tuple the places of its names among them."""
    channels = tuple(sorted({name for group in names for name in group}))
    place = {name: position for position, name in enumerate(channels)}
    return channels, [np.array([place[n] for n in group], dtype=np.int64) for group in names]
