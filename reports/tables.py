"""The tables of a report, as rows of text: the KPIs, the cache reads, the generator's audit."""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.metrics.audit import MAX_CPU_SHARE, MAX_DELAY_ERROR, MAX_DROPPED
from core.metrics.lateness import CONFIDENCE, MAX_LATE, is_too_late
from core.metrics.record import Audit, RunRecord
from core.metrics.verdict import ComparisonRow
from core.texts import count_of
from core.units import format_duration
from core.wire import READ_OUTCOMES
from reports import words

KPI_HEADER = ("KPI", "target", "predicted", "measured", "error", "verdict")
READS_HEADER = ("cache read", "side", "reads", "L1", "L2", "database", "of these waited", "absent")
AUDIT_HEADER = ("what", "found", "limit", "verdict")
_EMPTY = ("", "-", words.DASH)

Table = list[tuple[str, ...]]


def filled(table: Sequence[tuple[str, ...]]) -> Table:
    """Return *table* without the columns that no line fills; the first one always stays."""
    header, *body = table
    kept = [
        column
        for column in range(len(header))
        if column == 0 or not body or any(row[column] not in _EMPTY for row in body)
    ]
    return [tuple(row[column] for column in kept) for row in table]


def kpi_table(rows: Sequence[ComparisonRow]) -> Table:
    """Return the header and one line per row: figures with unit and interval, and the verdict.

    A column that nothing fills is left out: a prediction alone has nothing measured.
    """
    table: Table = [KPI_HEADER]
    table += [
        (
            row.kpi.name,
            row.kpi.target_text,
            words.with_interval(row.predicted),
            words.with_interval(row.measured),
            words.error_text(row),
            words.verdict_text(row),
        )
        for row in rows
    ]
    return filled(table)


def reads_table(predicted: RunRecord | None, measured: RunRecord | None) -> Table:
    """Return the header and, per name of a cache read and side, the share that each tier answered.

    "of these waited": reads that waited for another request's load; "absent": hits on the cached
    answer that there is nothing; a column that no line fills is left out. Only the header if
    nothing was read.
    """
    table: Table = [READS_HEADER]
    for name, side, outcomes in reads(predicted, measured):
        total = sum(outcomes.get(outcome, 0) for outcome in READ_OUTCOMES[1:])
        l1, l2 = outcomes.get("l1", 0), outcomes.get("l2", 0)
        waited, absent = outcomes.get("collapsed", 0), outcomes.get("negative", 0)
        table.append(
            (
                name,
                side,
                f"{total:,}",
                *(_share(part, total) for part in (l1, l2, total - l1 - l2)),
                _share(waited, total) if waited else words.DASH,
                _share(absent, total) if absent else words.DASH,
            )
        )
    return filled(table)


def reads(
    predicted: RunRecord | None, measured: RunRecord | None
) -> list[tuple[str, str, dict[str, int]]]:
    """Return name, side and counts by outcome of the cache reads that were counted."""
    sides = [(w, r) for w, r in (("predicted", predicted), ("measured", measured)) if r is not None]
    names = dict.fromkeys(name for _, record in sides for name in record.reads)
    return [
        (name, side, dict(record.reads[name]))
        for name in names
        for side, record in sides
        if name in record.reads and any(record.reads[name].values())
    ]


def _share(part: int, total: int) -> str:
    return f"{100 * part / total:.1f} %" if total else words.DASH


def audit_table(record: RunRecord | None) -> Table:
    """Return the header and what the load generator says of itself, only the header without one."""
    table: Table = [AUDIT_HEADER]
    if record is None or record.audit is None:
        return table
    audit = record.audit
    dropped = len(audit.dropped)
    unsent = dropped - audit.held
    table += [
        (
            "requests sent",
            f"{audit.sent:,} of {audit.planned:,}",
            f"at most {100 * MAX_DROPPED:g} % dropped",
            _kept(unsent <= MAX_DROPPED * audit.planned),
        ),
        *_lag_lines(audit),
        (
            "generator's CPU",
            f"{100 * audit.cpu_share:.0f} % of a core",
            f"at most {100 * MAX_CPU_SHARE:.0f} %",
            _kept(audit.cpu_share <= MAX_CPU_SHARE),
        ),
        (
            "requests as planned",
            f"{audit.rendered_hash[:12]}…",
            f"{record.workload_hash[:12]}…",
            f"{words.DASH} drops change it"
            if dropped
            else _kept(audit.rendered_hash == record.workload_hash),
        ),
        (
            "order on the wire",
            f"{count_of(audit.inversions, 'inversion')}, farthest by"
            f" {audit.largest_displacement:,}",
            words.DASH,
            "reported",
        ),
    ]
    if audit.delay_error_mean is not None:
        table.append(
            (
                "emulated delays off by (mean)",
                format_duration(audit.delay_error_mean),
                f"at most {format_duration(MAX_DELAY_ERROR)}",
                _kept(abs(audit.delay_error_mean) <= MAX_DELAY_ERROR),
            )
        )
    speeds = (("generator", audit.generator_speed), ("service", audit.service_speed))
    for name, speed in speeds:
        if speed is not None:
            what = f"a fixed piece of work takes the {name}"
            table.append((what, format_duration(speed), words.DASH, "reported"))
    return table


def _lag_lines(audit: Audit) -> Table:
    found = f"{format_duration(audit.lag_p99)} (p50 {format_duration(audit.lag_p50)})"
    limit = format_duration(audit.lag_limit)
    if audit.late is None:  # an older record, judged by its p99
        return [
            (
                "sent late by (p99)",
                found,
                f"at most {limit}",
                _kept(audit.lag_p99 <= audit.lag_limit),
            )
        ]
    share = f" ({100 * audit.late / audit.judged:.1f} %)" if audit.judged else ""
    return [
        ("sent late by (p99)", found, words.DASH, "reported"),
        (
            f"sent more than {limit} late",
            f"{audit.late:,} of {audit.judged:,}{share}",
            f"at most {100 * MAX_LATE:g} %, {100 * CONFIDENCE:g} % sure",
            _kept(not is_too_late(audit.late, audit.judged)),
        ),
    ]


def _kept(is_kept: bool) -> str:
    return "✓ kept" if is_kept else "✗ broken"


def markdown(table: Sequence[tuple[str, ...]], *, left: int = 1) -> str:
    """Return *table* as Markdown, its first *left* columns and the last one aligned left."""
    header, *body = table
    sides = [":--" if i < left or i == len(header) - 1 else "--:" for i in range(len(header))]
    lines = [header, tuple(sides), *body]
    return "".join(
        f"| {' | '.join(row if line is lines[1] else escape(row) for row in line)} |\n"
        for line in lines
    )


def escape(text: str) -> str:
    """Return *text* so that Markdown shows it as it is, on one line and without any HTML."""
    text = words.printable(" ".join(text.split()))
    for mark, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(mark, entity)
    # An underscore within a word is one; $ begins a formula where GitHub shows the text.
    text = re.sub(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)
    # What would begin a heading or a list.
    return re.sub(r"^(?=[-+] |[#=])|^(\d+)(?=[.)] )", r"\1\\", text)
