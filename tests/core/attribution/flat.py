"""Small sets of paths as flat arrays, and what is true of them by plain Python."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from core.attribution.paths import Paths

DAY_MS = 24 * 3_600_000
NAMES = ("a", "b", "(direct)", "d")


def paths_from(
    walked: Sequence[tuple[Sequence[str], float, float, float]],
    *,
    times: Sequence[Sequence[int]] | None = None,
    marks: Sequence[tuple[int, int]] | None = None,
) -> Paths:
    """Return paths of (channels, conversions, value, nulls)."""
    names = tuple(sorted({name for names, *_ in walked for name in names}))
    lengths = [len(channels) for channels, *_ in walked]
    return Paths(
        channels=names,
        codes=np.array([names.index(n) for c, *_ in walked for n in c], dtype=np.int32),
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        conversions=np.array([row[1] for row in walked], dtype=np.float64),
        values=np.array([row[2] for row in walked], dtype=np.float64),
        nulls=np.array([row[3] for row in walked], dtype=np.float64),
        times_ms=None if times is None else np.array([t for ts in times for t in ts], np.int64),
        lead=None if marks is None else np.array([m[0] for m in marks], np.int32),
        opportunity=None if marks is None else np.array([m[1] for m in marks], np.int32),
    )


def channels_of(paths: Paths, number: int) -> list[str]:
    """Return the channels of one path."""
    start, end = paths.offsets[number : number + 2]
    return [paths.channels[code] for code in paths.codes[start:end]]


@st.composite
def path_sets(
    draw: st.DrawFn, *, timed: bool = False, max_paths: int = 8, whole: bool = False
) -> Paths:
    """Draw paths over few channels: empty ones, some that never convert, counts with fractions."""
    rows, times, marks = [], [], []
    counts = st.integers(0, 5) if whole else st.sampled_from([0.0, 1.0, 0.25, 3.0, 7.5])
    for _ in range(draw(st.integers(1, max_paths))):
        channels = draw(st.lists(st.sampled_from(NAMES), max_size=7))
        conversions = float(draw(counts))
        value = draw(st.integers(0, 900)) / 9 if conversions else 0.0
        rows.append((channels, conversions, value, float(draw(counts))))
        ages = draw(
            st.lists(st.integers(0, 60 * DAY_MS), min_size=len(channels), max_size=len(channels))
        )
        times.append(sorted(10**12 - age for age in ages))
        top = len(channels) - 1
        marks.append((draw(st.integers(-1, top)), draw(st.integers(-1, top))))
    has_marks = timed and draw(st.booleans())
    return paths_from(rows, times=times if timed else None, marks=marks if has_marks else None)


TEXT = """path,total_conversions,total_conversion_value,total_null
search > email > direct,12,120.5,40
search,30,300,200
email > social > email,5,80,10
social > display > search > email,9,200,90
display,2,20,150
affiliate > search,4,44,10
"""
