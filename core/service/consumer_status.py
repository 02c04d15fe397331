"""What a consumer's process has counted, in a file beside the database that it works on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.files import write_whole
from core.metrics.machine import peak_resident_bytes, process_cpu_seconds, resident_bytes
from core.metrics.profiler import LatencyProfiler
from core.query.executor import (
    Logged,
    QueryExecutor,
    StatementStatistics,
    log_from_json,
    log_to_json,
)
from core.service.statistics import (
    ProcessFigures,
    latencies_from_json,
    latencies_to_json,
    statements_from_json,
    statements_to_json,
)

_RUN_START = "run-starts-at-ms"

SIGN_OF_LIFE = 1.0
"""Seconds after which a consumer writes its figures though they have not changed."""

_PATIENCE = 5.0


class ConsumerStatus:
    """The file of one consumer: it writes, the first worker reads, who speaks for it.

    Its second line tells of statements and slow queries: they are dearer, and seldom asked for.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "consumer.json"
        self._queries = "{}"

    def write(
        self,
        counters: Mapping[str, int],
        profiler: LatencyProfiler,
        executor: QueryExecutor | None,
        now: float,
    ) -> None:
        """Replace the figures; a reader sees the old ones or the new ones, whole.

        executor: None leaves what was told of statements and slow queries. now: seconds of a clock
        that all processes of the machine share.
        """
        figures = {
            "counters": dict(counters), "latencies": latencies_to_json(profiler), "written": now,
        }  # fmt: skip
        if executor is not None:
            queries = {
                "process": {
                    "cpu_seconds": process_cpu_seconds(),
                    "rss_bytes": resident_bytes(),
                    "peak_rss_bytes": peak_resident_bytes(),
                },
                "statements": statements_to_json(executor.statement_statistics),
                "slow": log_to_json(executor.slow_log),
            }
            self._queries = json.dumps(queries)
        write_whole(self._path, f"{json.dumps(figures)}\n{self._queries}\n")

    def counters(self) -> dict[str, int]:
        """Return the counters; empty before a consumer has started."""
        counters: dict[str, int] = self._read().get("counters", {})
        return counters

    def profiler(self) -> LatencyProfiler:
        """Return the latencies; none before a consumer has started."""
        return latencies_from_json(self._read().get("latencies", []))

    def statements(self) -> dict[str, StatementStatistics]:
        """Return what each statement has cost; none before a consumer has started."""
        return statements_from_json(self._read(1).get("statements", {}))

    def slow_log(self) -> list[Logged]:
        """Return the slow operations, the latest last; none before a consumer has started."""
        queries = self._read(1)
        return log_from_json(queries["slow"]) if queries else []

    def figures(self) -> ProcessFigures | None:
        """Return what the consumer has counted, with its process; None before it has started."""
        read, queries = self._read(), self._read(1)
        if not read:
            return None
        return ProcessFigures(
            profiler=latencies_from_json(read["latencies"]),
            counters=read["counters"],
            processes=[{"worker": "consumer", **queries.get("process", {})}],
            statements={},
            slow=[],
            slow_requests=[],
            caches={},
        )

    def fault(self, now: float) -> str:
        """Return why the consumer seems not to work, "" if it does."""
        written = self._read().get("written")
        if written is None:
            return "it has not started yet"
        silent = now - float(written)
        return f"no sign of life for {silent:.0f} s" if silent > _PATIENCE else ""

    def _read(self, line: int = 0) -> dict[str, Any]:
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        data: dict[str, Any] = json.loads(text.splitlines()[line])
        return data

    def forget(self) -> None:
        """Remove the figures of an earlier consumer."""
        self._path.unlink(missing_ok=True)


def write_run_start(folder: Path, at_ms: int) -> None:
    """Tell the consumer when a run starts, which is when its faults count from."""
    write_whole(folder / _RUN_START, str(at_ms))


def read_run_start(folder: Path) -> int | None:
    """Return the start of the run in epoch milliseconds, None before there is one."""
    try:
        return int((folder / _RUN_START).read_text(encoding="ascii"))
    except FileNotFoundError:
        return None


def forget_run_start(folder: Path) -> None:
    """Remove the start that was told to an earlier consumer."""
    (folder / _RUN_START).unlink(missing_ok=True)
