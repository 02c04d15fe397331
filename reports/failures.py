"""Why requests failed, as a table: endpoint, reason, how many, and when first."""

from __future__ import annotations

from typing import Any

from core.metrics.failures import Cause, Failure
from core.metrics.record import RunRecord
from core.units import parse_duration
from reports import words

Table = list[tuple[str, ...]]
Sides = tuple[tuple[str, RunRecord], ...]


def sides(predicted: RunRecord | None, measured: RunRecord | None) -> Sides:
    """Return the records that there are, each with its side."""
    both = (("predicted", predicted), ("measured", measured))
    return tuple((side, record) for side, record in both if record is not None)


def failures_table(predicted: RunRecord | None, measured: RunRecord | None) -> Table:
    """Return the header and a line per endpoint, side and reason; only the header without any.

    "failed" counts the requests that the KPIs judge, "in warm-up" those before them; "first at"
    counts from the start of the run. A column that would be empty or the same throughout for want
    of a second side is left out.
    """
    found = sides(predicted, measured)
    rows = [(side, record, failure) for side, record in found for failure in record.failures]
    has_warm_up = any(failure.in_warm_up for _, _, failure in rows)

    def chosen(
        endpoint: str, side: str, count: str, early: str, first: str, why: str
    ) -> tuple[str, ...]:
        return (
            endpoint, *((side,) if len(found) > 1 else ()), count,
            *((early,) if has_warm_up else ()), first, why,
        )  # fmt: skip

    table: Table = [chosen("endpoint", "side", "failed", "in warm-up", "first at", "reason")]
    table += [
        chosen(
            failure.endpoint,
            side,
            f"{failure.count:,}",
            f"{failure.in_warm_up:,}",
            words.DASH if failure.first is None else f"{failure.first:.2f} s",
            reason(record, failure),
        )
        for side, record, failure in rows
    ]
    return table


def examples(predicted: RunRecord | None, measured: RunRecord | None) -> list[str]:
    """Return a line for each reason of which one request was kept: endpoint, reason, request."""
    return [
        f"{failure.endpoint}, {reason(record, failure)}: {failure.example.line}"
        for _, record in sides(predicted, measured)
        for failure in record.failures
        if failure.example is not None
    ]


def reason(record: RunRecord, failure: Failure) -> str:
    """Return why the requests of *failure* failed, in words."""
    own = record.scenario["targets"].get(failure.endpoint, {}).get("timeout")
    limit = parse_duration(own or record.scenario["timeout"])
    retries = record.scenario["traffic"].get("retries", {})
    if retries.get("timeout"):
        limit = min(limit, parse_duration(retries["timeout"]))
    text = failure.text(limit)
    attempts = retries.get("attempts", 1)
    if attempts > 1 and failure.cause in (Cause.TIMEOUT, Cause.STALLED):
        return f"{text}; the last of up to {attempts} attempts"
    return text


def answered(record: RunRecord) -> dict[str, int] | None:
    """Return how many judged requests there were, were answered in time, and failed.

    An answer with an unexpected status was answered, and failed. None for a record that was written
    before reasons were kept.
    """
    if any(failure.cause is Cause.UNKNOWN for failure in record.failures):
        return None
    total = sum(histogram.count for histogram in record.all_latencies.values())
    failed = sum(failure.count for failure in record.failures)
    silent = sum(failure.count for failure in record.failures if not failure.cause.is_answer)
    return {"judged": total, "answered": total - silent, "failed": failed}


def lines(predicted: RunRecord | None, measured: RunRecord | None) -> list[str]:
    """Return a line for each side on which requests failed: how many were answered, and failed."""
    found = []
    for side, record in sides(predicted, measured):
        if record.runs > 1:
            side = f"{side} in {f'{record.runs} runs' if record.pooled else 'one run'}"
        counts = answered(record)
        if record.failures and counts is not None:
            found.append(
                f"Requests after the warm-up, {side}: {counts['answered']:,} of "
                f"{counts['judged']:,} answered, {counts['failed']:,} failed{_both(counts)}."
            )
    return found


def _both(counts: dict[str, int]) -> str:
    """Return how many requests count on both sides, in words: answered, but as a failure."""
    both = counts["answered"] + counts["failed"] - counts["judged"]
    return f", {both:,} of them with an answer" if both > 0 else ""


def data(predicted: RunRecord | None, measured: RunRecord | None) -> dict[str, Any]:
    """Return the counts by side, and the table: seconds, and the reason as a code and in words."""
    rows = [
        {
            "side": side,
            "endpoint": failure.endpoint,
            "reason": reason(record, failure),
            "cause": failure.cause.value,
            "status": failure.status,
            "count": failure.count,
            "in_warm_up": failure.in_warm_up,
            "first_seconds": failure.first,
            "example": None if failure.example is None else failure.example.to_json(),
        }
        for side, record in sides(predicted, measured)
        for failure in record.failures
    ]
    counts = {side: answered(record) for side, record in sides(predicted, measured)}
    return {"requests": counts, "failures": rows}


def text(predicted: RunRecord | None, measured: RunRecord | None) -> str:
    """Return the table as lines of text in columns, "" where nothing failed."""
    table = failures_table(predicted, measured)
    if len(table) == 1:
        return ""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)
    return "".join(f"{line}\n" for line in lines)
