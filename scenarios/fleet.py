"""Locust's distributed mode: workers start together and the master adds up what they found."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from gevent.event import AsyncResult
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from scenarios.run import PREPARE_SECONDS, LoadRun
from scenarios.tally import Tally

IDLE, BEGIN, DONE = "edgeproof_idle", "edgeproof_begin", "edgeproof_done"


class Worker:
    """This worker's part: it tells that its pool waits, and begins when the master says so."""

    def __init__(self, environment: Environment, runner: WorkerRunner) -> None:
        self._runner = runner
        self._begin: AsyncResult[dict[str, Any]] = AsyncResult()
        runner.register_message(BEGIN, self._on_begin)

    def _on_begin(self, msg: Any, **_: Any) -> None:
        self._begin.set((perf_counter(), msg.data))

    def carry_out(self, run: LoadRun) -> None:
        """Load this worker's share, and tell the master what came of it; blocks."""
        self._begin = AsyncResult()
        self._runner.send_message(IDLE)
        received, data = self._begin.get(timeout=PREPARE_SECONDS)
        run.arrivals.share(data["position"], data["of"])
        run.load(received + data["starts_in"])

    def tell(self, tally: Tally) -> None:
        """Send the master what this worker found."""
        self._runner.send_message(DONE, tally.to_message())


class Master:
    """Waits until every worker's pool waits, asks for the clean start, and adds up the tallies."""

    def __init__(self, runner: MasterRunner, on_done: Callable[[Tally], None]) -> None:
        self._runner = runner
        self._on_done = on_done
        self._run: LoadRun | None = None
        self._idle: list[str] = []
        self._awaited = 0
        self.tally: Tally | None = None
        runner.register_message(IDLE, self._on_idle, concurrent=True)
        runner.register_message(DONE, self._on_tally)

    def expect(self, run: LoadRun) -> None:
        """Take up a new test, of which *run* is the plan."""
        self._run, self._idle, self._awaited = run, [], 0
        self.tally = Tally(lag_limit=run.plan.lag_limit, timeout=run.plan.timeout)

    def _on_idle(self, msg: Any, **_: Any) -> None:
        self._idle.append(msg.node_id)
        workers = list(self._idle)
        if self._run is None or len(workers) != self._runner.worker_count:
            return
        self._awaited = len(workers)
        begins = self._run.prepare()
        for position, worker in enumerate(workers):
            message = {
                "position": position,
                "of": len(workers),
                "starts_in": max(0.0, begins - perf_counter()),
            }
            self._runner.send_message(BEGIN, message, client_id=worker)

    def _on_tally(self, msg: Any, **_: Any) -> None:
        if self.tally is None:
            return
        self.tally.add(Tally.from_message(msg.data))
        self._awaited -= 1
        if self._awaited == 0:
            self._on_done(self.tally)
