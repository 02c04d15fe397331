"""What each run of a record came to, and what it could have come to at best and at worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.metrics.failed_share import FailedShare
from core.metrics.kpi import Interval, Metric
from core.metrics.ranges import Ranges
from core.metrics.record import RunRecord
from core.metrics.summary import own

Figure = Metric | FailedShare
Values = list[float | None]
"""One value of each run, None where a run did not see the figure."""


def figures(record: RunRecord, figure: Figure) -> Values:
    """Return *figure* of each run of *record*."""
    return [own(record, figure), *(run.get(figure.name) for run in record.replications)]


def run_ends(record: RunRecord, figure: Figure) -> tuple[Values, Values] | None:
    """Return the least and the greatest *figure* of each run of *record*, equal without flaws.

    None where the flaws of a run leave everything open (`is_open`).
    """
    found = figures(record, figure)
    if record.audit is None or not record.audit.invalid:
        return found, found
    if is_open(record):
        return None
    kept: list[Mapping[str, Interval] | None] = [*record.ranges]
    if record.runs == 1 or (kept and record.doubt is not None):
        # Any figure of the first run can be told, not only those that were kept.
        kept[:1] = [ranges(record, (figure,))]
    lows: Values = []
    highs: Values = []
    for value, run in zip(found, kept, strict=True):
        low, high = (run or {}).get(figure.name, (value, value))
        lows.append(low)
        highs.append(high)
    return lows, highs


def is_open(record: RunRecord) -> bool:
    """Return whether the flaws of a run leave everything open, or nobody kept what they leave."""
    if record.audit is None or not record.audit.invalid:
        return False
    if record.runs == 1:
        return record.doubt is None
    return len(record.ranges) != record.runs or None in record.ranges


def ranges(record: RunRecord, figures: Sequence[Figure]) -> Mapping[str, Interval] | None:
    """Return what the flaws of a record of one run leave open of *figures*, by name.

    Empty without flaws; None where they leave everything open.
    """
    if record.audit is None or not record.audit.invalid:
        return {}
    if record.doubt is None:
        return None
    found = Ranges(record, record.doubt)
    told = {
        figure.name: found.failed_share(figure.endpoint)
        if isinstance(figure, FailedShare)
        else found.of(figure)
        for figure in figures
    }
    return {name: ends for name, ends in told.items() if ends is not None}
