"""Equal journeys counted together: by their path, or by the set of their channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from core.attribution.paths import Floats, Integers, Paths, chosen_paths, merged_channels

_Hashes = NDArray[np.uint64]
_KEYS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)  # odd: powers of them never vanish


def joined(parts: Sequence[Paths]) -> Paths:
    """Return the paths of all *parts*, one after the other, without times."""
    channels, places = merged_channels([part.channels for part in parts])
    codes = [place.astype(np.int32)[part.codes] for part, place in zip(parts, places, strict=True)]
    lengths = np.concatenate([part.lengths for part in parts])
    return Paths(
        channels=channels,
        codes=np.concatenate(codes),
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        conversions=np.concatenate([part.conversions for part in parts]),
        nulls=np.concatenate([part.nulls for part in parts]),
        values=np.concatenate([part.values for part in parts]),
    )


def distinct_paths(paths: Paths) -> Paths:
    """Return each path of *paths* once, with its conversions, nulls and value, without times."""
    lengths = paths.lengths
    place = np.arange(len(paths.codes)) - np.repeat(paths.offsets[:-1], lengths)
    longest = int(lengths.max()) if len(lengths) else 0
    hashes = []
    for key in _KEYS:
        powers = np.cumprod(np.full(longest + 1, key, dtype=np.uint64), dtype=np.uint64)
        hashes.append(_sums(_mixed(paths.codes, key) * powers[place], paths.offsets))
    return _grouped(paths, hashes)


def channel_sets(paths: Paths) -> Paths:
    """Return each set of channels of *paths* once, as a path in the order of the channels."""
    channels = max(1, len(paths.channels))
    owner = np.repeat(np.arange(len(paths)), paths.lengths)
    keys = np.unique(owner * channels + paths.codes)
    counts = np.bincount(keys // channels, minlength=len(paths))
    sets = replace(
        paths,
        codes=(keys % channels).astype(np.int32),
        offsets=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        times_ms=None, lead=None, opportunity=None, conversion_ids=None, converted_ms=None,
    )  # fmt: skip
    return _grouped(sets, [_sums(_mixed(sets.codes, key), sets.offsets) for key in _KEYS])


def _mixed(codes: NDArray[np.int32], key: int) -> _Hashes:
    """Return a number for each code that looks random (the finaliser of SplitMix64)."""
    mixed = (codes.astype(np.uint64) + np.uint64(1)) * np.uint64(key)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _sums(numbers: _Hashes, offsets: Integers) -> _Hashes:
    """Return the sum of the *numbers* of each path, modulo 2^64."""
    sums = np.concatenate((np.zeros(1, dtype=np.uint64), np.cumsum(numbers, dtype=np.uint64)))
    return sums[offsets[1:]] - sums[offsets[:-1]]


def _grouped(paths: Paths, hashes: Sequence[_Hashes]) -> Paths:
    """Return the paths of equal *hashes* as one, in the order of their first appearance.

    Two hashes of 64 bits: that two of 10 million paths share both has a chance of 1 in 10^25.
    """
    if not len(paths):
        return paths
    order = np.lexsort((hashes[1], hashes[0]))
    is_new = np.ones(len(paths), dtype=np.bool_)
    is_new[1:] = (np.diff(hashes[0][order]) != 0) | (np.diff(hashes[1][order]) != 0)
    group = np.empty(len(paths), dtype=np.int64)
    group[order] = np.cumsum(is_new) - 1
    first = np.minimum.reduceat(order, np.flatnonzero(is_new))
    chosen = np.argsort(first)
    rank = np.empty_like(chosen)
    rank[chosen] = np.arange(len(chosen))
    group = rank[group]

    def added(amounts: Floats) -> Floats:
        sums = np.bincount(group, weights=amounts, minlength=len(first))
        return np.asarray(sums, dtype=np.float64)

    bare = replace(
        paths, times_ms=None, lead=None, opportunity=None, conversion_ids=None, converted_ms=None
    )
    return replace(
        chosen_paths(bare, first[chosen]),
        conversions=added(paths.conversions), nulls=added(paths.nulls), values=added(paths.values),
    )  # fmt: skip
