"""Several loads of one scenario: each with arrivals of its own, judged together on their mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.errors import EdgeproofError, InputError
from core.metrics.failures import merged
from core.metrics.histogram import LatencyHistogram
from core.metrics.record import RunRecord
from core.metrics.run_ends import ranges
from core.metrics.summary import kept_figures, summary
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from edgeproof.loading import Bounds


class RunFailed(EdgeproofError):
    """One of several loads that ended without a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """The records of the loads that came to their end, and whether a further one did not.

    interrupted: the number of the load, from 1, that Ctrl-C ended; its requests are in no record
    if another load was finished before it.
    """

    records: tuple[RunRecord, ...]
    interrupted: int | None = None


def check_repeats(scenario: Scenario, number: int, limits: Bounds) -> None:
    """Raise InputError if *number* loads of *scenario* together last longer than they may."""
    if number > 1 and (total := number * scenario.total_time) > limits.max_duration:
        raise InputError(
            f"--repeat {number}: {number} loads of {scenario.total_time:g} s last {total:g} s, "
            f"above the bound of {limits.max_duration:g} s; repeat less often, shorten the "
            "duration, or raise it with --max-duration"
        )


def repeated(
    number: int,
    load: Callable[[int], tuple[RunRecord, bool]],
    *,
    folder: Path,
) -> Repeats:
    """Carry out *number* loads and return what they found.

    load: given the position from 0, returns a record and whether it was interrupted. Raise
    RunFailed, naming the load, if one after the first ends without a result.
    """
    records: list[RunRecord] = []
    for position in range(number):
        try:
            record, is_interrupted = load(position)
        except KeyboardInterrupt:
            if not records:
                raise
            return Repeats(records=tuple(records), interrupted=position + 1)
        except EdgeproofError as error:
            if not records:
                raise
            raise RunFailed(
                f"run {position + 1} of {number}: {error}; the runs before it are kept in {folder}"
            ) from None
        if is_interrupted:
            return Repeats(records=tuple(records) or (record,), interrupted=position + 1)
        records.append(record)
    return Repeats(records=tuple(records))


def combined(scenario: Scenario, repeats: Repeats, *, number: int) -> RunRecord:
    """Return the record of the first load, with the figures of the others as replications.

    The latencies of all loads stand together beside it, and its failures are those of all.
    Its audit holds the flaws of all loads, each with its number, and it keeps what those of each
    leave open; its notes say what else a reader of the others has to know.
    """
    first, *others = repeats.records
    figures = kept_figures(scenario.endpoints, (kpi.metric for kpi in scenario.judged()))
    flaws = _flaws(repeats.records, number)
    return replace(
        first,
        replications=tuple(summary(record, figures) for record in others),
        audit=None if first.audit is None else replace(first.audit, invalid=flaws),
        ranges=tuple(ranges(record, figures) for record in repeats.records)
        if flaws and others
        else (),
        failures=merged(failure for record in repeats.records for failure in record.failures),
        pooled=_pooled(repeats.records) if others else {},
        notes=(*first.notes, *_notes(repeats, number)),
    )


def _pooled(records: Sequence[RunRecord]) -> dict[str, LatencyHistogram]:
    found: dict[str, LatencyHistogram] = {}
    for record in records:
        for name, histogram in record.latencies.items():
            found.setdefault(name, LatencyHistogram()).add(histogram)
    return found


def _flaws(records: Sequence[RunRecord], number: int) -> tuple[str, ...]:
    return tuple(
        f"run {position} of {number}: {reason}"
        for position, record in enumerate(records, start=1)
        if record.audit is not None
        for reason in record.audit.invalid
    )


def _notes(repeats: Repeats, number: int) -> list[str]:
    records = repeats.records
    notes = [
        f"{len(records)} of {number} loads, each with arrivals and subjects of its own; latencies "
        "by endpoint and failures are those of all loads together, reads, curves and the load "
        "generator's figures those of the first"
    ]
    if repeats.interrupted is not None and len(records) < number:
        notes.append(f"interrupted in run {repeats.interrupted} of {number}, which does not count")
    for position, record in enumerate(records, start=1):
        if failed := sum(failure.count for failure in record.failures):
            judged = sum(histogram.count for histogram in record.latencies.values())
            notes.append(f"run {position} of {number}: {failed:,} of {judged:,} requests failed")
    if any(note.startswith("clean start: not possible") for r in records for note in r.notes):
        notes.append(
            "no clean start between the loads: each finds what those before it left in the caches, "
            "so they are not alike, and the interval is too narrow or too wide"
        )
    return notes


def workload_note(workloads: Sequence[Workload]) -> str:
    """Return that several loads replay the same requests, "" where each has its own."""
    is_same = len({workload.identity() for workload in workloads}) == 1
    if not is_same or len(workloads) == 1:
        return ""
    return (
        "every run replays the same requests: the times and keys of a recorded trace are not drawn"
    )
