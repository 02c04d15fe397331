"""The master's side of a load that a plan describes: one beginning, one progress, one result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gevent

from core.errors import InputError
from scenarios.fleet import Found
from scenarios.merging import Part, merged_progress, merged_result, unpacked
from scenarios.preflight import preflight
from scenarios.result import LoadResult
from scenarios.run import LoadRun
from scenarios.visitor import ConnectionPool

_PROGRESS_SECONDS = 1.0
_PREFLIGHT_CONNECTIONS = 4


class Gathering:
    """Begins and ends the load of several workers, of which this process sends nothing.

    folder: where the plan is and the result goes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._watching: list[gevent.Greenlet] = []

    def begin(self, run: LoadRun) -> float:
        """Send the requests ahead, ask for the clean start, and return when the load begins."""
        if run.plan.preflight:
            timeout = run.plan.timeout
            pool = ConnectionPool(
                run.plan.transport,
                concurrency=_PREFLIGHT_CONNECTIONS,
                connection_timeout=timeout,
                network_timeout=timeout,
            )
            try:
                preflight(run, pool)
            finally:
                pool.close()
        begins = run.prepare()
        self._watching = run.observe(begins)
        return begins

    def report(
        self,
        run: LoadRun,
        said: Callable[[], Sequence[Mapping[str, Any]]],
        tell: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """Give *tell* the progress of all workers, at once and each second until *run* ends."""
        planned = run.arrivals.planned
        tell(merged_progress((), planned=planned))
        while not run.finished.wait(_PROGRESS_SECONDS):
            tell(merged_progress(said(), planned=planned))
        tell({**merged_progress(said(), planned=planned), "phase": "done"})

    def end(self, run: LoadRun, found: Found) -> LoadResult:
        """Write the result of all workers together, and return it.

        Raise InputError where the load never began: nothing was sent.
        """
        gevent.killall(self._watching)
        try:
            if not found.has_begun:
                raise InputError("; ".join(found.lost) or "the load was ended before it began")
            if found.lost:
                run.interrupt()
            run.look_back()
            parts = [
                Part(name=name, result=unpacked(told["files"])) for name, told in found.told.items()
            ]
            result = merged_result(run.result(), parts, found.lost)
            result.write(self._folder)
        finally:
            run.finished.set()
        return result
